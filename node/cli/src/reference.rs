//! The manual's tables: every command in a line, and every key of the configuration.
//!
//! Both are made of what the program itself goes by, the definition of its command line and the table of keys, so that
//! they cannot say anything else.

use std::fmt::Write as _;

use clap_mangen::roff::{Roff, bold, italic, roman};
use portcullis_home::config::keys::{KEYS, Key};

/// Keys that a configuration must give.
const REQUIRED: [&str; 6] = [
    "federation",
    "authority",
    "node",
    "dns_name",
    "listen",
    "register_pin",
];

/// Keys that have no default and may be left out; what the table of keys has for them is an example.
const EXAMPLES: [&str; 4] = [
    "key.passphrase_file",
    "key.systemd_credential",
    "freshness.key",
    "freshness.passphrase_file",
];

/// Whatever holds where a key is not given.
#[derive(Debug, PartialEq, Eq)]
enum Without {
    /// The configuration is refused.
    Refused,
    /// Nothing is set.
    Unset,
    /// The default.
    Default,
}

fn without(key: &Key) -> Without {
    if REQUIRED.contains(&key.name) {
        Without::Refused
    } else if EXAMPLES.contains(&key.name) {
        Without::Unset
    } else {
        Without::Default
    }
}

/// Lists every command with its line, as Markdown.
pub(super) fn commands(definition: &clap::Command) -> String {
    let name = definition.get_name();
    let mut text = format!(
        "# The commands of {name}\n\n\
         Every command in a line. Each has `--help` with examples, and a manual page (`man {name}-federation-init`). This page is\n\
         written by `{name} man --reference docs`, and a test compares it with the program.\n\n"
    );
    branch(&mut text, definition, name, 0);
    text
}

fn branch(text: &mut String, command: &clap::Command, path: &str, depth: usize) {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let path = format!("{path} {}", sub.get_name());
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let indent = "  ".repeat(depth);
        // Writing to a String cannot fail.
        _ = writeln!(text, "{indent}- `{path}`: {about}");
        branch(text, sub, &path, depth.saturating_add(1));
    }
}

/// Lists every key of the configuration, as Markdown.
pub(super) fn configuration() -> String {
    let mut text = String::from(
        "# Every key of portcullis.toml\n\n\
         `portcullis init` writes a file with all of them. A key that is not known is refused with the nearest that are, and the\n\
         whole file is checked before a port is bound. Which settings a person must accept before they count, and which need a\n\
         restart, says [operator.md](operator.md), \"Configuration\". Durations and sizes carry units (`10s`, `15m`, `24h`; `512 MiB`,\n\
         `4 GiB`). This page is written by `portcullis man --reference docs`, and a test compares it with the program.\n",
    );
    let mut present = None;
    for key in KEYS {
        let (section, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if present != Some(section) {
            present = Some(section);
            let title = match section {
                "" => "At the top".to_owned(),
                section => format!("`[{section}]`"),
            };
            // Writing to a String cannot fail.
            _ = write!(
                text,
                "\n## {title}\n\n| key | if it is not given | what |\n| --- | --- | --- |\n"
            );
        }
        let value = match without(key) {
            Without::Refused => format!("refused; for instance `{}`", key.example),
            Without::Unset => format!("unset; for instance `{}`", key.example),
            Without::Default => format!("`{}`", key.example),
        };
        _ = writeln!(text, "| `{name}` | {value} | {} |", key.doc);
    }
    text
}

/// Makes the manual page portcullis.toml(5).
pub(super) fn page(definition: &clap::Command) -> Roff {
    let version = definition.get_version().unwrap_or_default();
    let source = format!("portcullis {version}");
    let mut page = Roff::new();
    page.control("TH", ["portcullis.toml", "5", "", source.as_str(), ""]);
    page.control("SH", ["NAME"]);
    page.text([roman(
        "portcullis.toml - the configuration of a Portcullis node",
    )]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([
        roman("The file lies in the home folder of the node, "),
        italic("/var/lib/portcullis"),
        roman(
            " unless said otherwise. It is TOML. portcullis-init(1) writes it with every key there is, \
             portcullis-doctor(1) checks it. A key that is not known is refused. Durations and sizes carry units, as in \
             10s, 24h or 512 MiB. What decides is accepted by a person before it counts: portcullis-settings-accept(1).",
        ),
    ]);
    let mut present = "";
    page.control("SH", ["KEYS"]);
    for key in KEYS {
        let (section, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if present != section {
            present = section;
            page.control("SS", [format!("[{section}]").as_str()]);
        }
        page.control("TP", []);
        page.text([bold(name)]);
        page.text([roman(capitalised(key.doc)), roman(".")]);
        page.control("br", []);
        let value = match without(key) {
            Without::Refused => "It must be given. Example: ",
            Without::Unset => "Unset if it is not given. Example: ",
            Without::Default => "Default: ",
        };
        page.text([roman(value), bold(key.example)]);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([roman(
        "portcullis(1), portcullis-init(1), portcullis-doctor(1), portcullis-settings(1)",
    )]);
    page
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use portcullis_home::config::{Config, ConfigError, keys::render};

    use super::*;

    /// Reads a configuration with these keys alone.
    fn read(given: &BTreeMap<&str, &str>) -> Result<Config, ConfigError> {
        let given: Vec<(&str, String)> = given
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        Config::parse(Path::new("/home/portcullis.toml"), &render(&given))
    }

    /// The keys that every configuration needs, and what `also` names beside them.
    fn least(also: &[&str]) -> BTreeMap<&'static str, &'static str> {
        let needed = |key: &&Key| {
            without(key) == Without::Refused
                || key.name == "key.passphrase_file"
                || also.contains(&key.name)
        };
        KEYS.iter()
            .filter(needed)
            .map(|key| (key.name, key.example))
            .collect()
    }

    #[test]
    fn a_key_that_must_be_given_is_missed_and_no_other() {
        read(&least(&[])).unwrap();
        for name in REQUIRED {
            let mut given = least(&[]);
            given.remove(name).unwrap();
            let error = read(&given).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_default_in_the_manual_is_the_default_of_the_program() {
        let mut compared = 0;
        for key in KEYS {
            if without(key) != Without::Default {
                continue;
            }
            let beside: &[&str] = match key.name.split_once('.') {
                Some(("freshness", _)) => &["freshness.key", "freshness.passphrase_file"],
                Some(_) | None => &[],
            };
            let unsaid = read(&least(beside)).unwrap();
            let mut given = least(beside);
            given.insert(key.name, key.example);
            assert_eq!(read(&given).unwrap(), unsaid, "{}", key.name);
            compared += 1;
        }
        let others = REQUIRED.len() + EXAMPLES.len();
        assert_eq!(compared, KEYS.len() - others);
    }

    #[test]
    fn the_pages_name_every_key() {
        let page = page(&clap::Command::new("portcullis")).to_roff();
        let table = configuration();
        for key in KEYS {
            let name = key.name.rsplit('.').next().unwrap();
            assert!(table.contains(&format!("| `{name}` |")), "{name}");
            // A hyphen is written apart in a manual page; no key has one.
            assert!(page.contains(name), "{name}");
        }
    }

    #[test]
    fn a_hidden_command_stands_in_no_list() {
        let tree = clap::Command::new("it")
            .subcommand(clap::Command::new("does").about("Do it"))
            .subcommand(clap::Command::new("secret").hide(true));
        let listed = commands(&tree);
        assert!(listed.contains("- `it does`: Do it\n"), "{listed}");
        assert!(!listed.contains("secret"), "{listed}");
    }
}
