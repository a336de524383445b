//! The commands in groups, by what one does with them: the help of the whole program, and the manual.

use std::fmt::Write as _;

/// Groups with their commands, in the order in which they are met.
pub(super) const GROUPS: &[(&str, &[&str])] = &[
    (
        "Set up",
        &["init", "federation", "tls", "schema", "person", "keys"],
    ),
    (
        "Exchange",
        &["indicator", "alert", "advisory", "profile", "consignment"],
    ),
    ("Decide", &["hold", "policy", "settings", "peer", "release"]),
    (
        "Look",
        &[
            "inbox", "list", "show", "about", "watch", "score", "check", "explain", "log",
        ],
    ),
    (
        "Operate",
        &[
            "run",
            "status",
            "doctor",
            "reload",
            "dispatch",
            "quarantine",
            "clock",
            "backup",
            "restore",
            "completions",
            "man",
        ],
    ),
];

/// Heading of the commands of a program that stand in no group.
const OTHERS: &str = "Commands";

/// Most columns of the help.
pub(super) const WIDEST: usize = 100;

/// Returns the commands of a program in their groups; those of no group come last.
pub(super) fn of(definition: &clap::Command) -> Vec<(&'static str, Vec<&clap::Command>)> {
    let shown = || {
        definition
            .get_subcommands()
            .filter(|one| !one.is_hide_set())
    };
    let mut groups: Vec<(&'static str, Vec<&clap::Command>)> = GROUPS
        .iter()
        .map(|(heading, names)| {
            let names = names.iter();
            let commands = names.filter_map(|name| shown().find(|one| one.get_name() == *name));
            (*heading, commands.collect())
        })
        .collect();
    let is_grouped = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    groups.push((
        OTHERS,
        shown().filter(|one| !is_grouped(one.get_name())).collect(),
    ));
    groups.retain(|(_, commands)| !commands.is_empty());
    groups
}

/// Returns the program's help with its commands in groups.
pub(super) fn grouped(definition: clap::Command) -> clap::Command {
    let groups = of(&definition);
    let names = groups.iter().flat_map(|(_, commands)| commands);
    let width = names.map(|one| one.get_name().len()).max().unwrap_or(0);
    let columns = terminal_size::terminal_size()
        .map_or(WIDEST, |(found, _)| usize::from(found.0).min(WIDEST));
    let mut text = String::new();
    for (heading, commands) in &groups {
        // A string takes every write.
        let _written = writeln!(text, "\u{1b}[1;4m{heading}:\u{1b}[0m");
        for command in commands {
            let name = command.get_name();
            let about = command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            let gap = " ".repeat(width.saturating_add(4));
            let about =
                wrapped(&about, columns.saturating_sub(gap.len())).join(&format!("\n{gap}"));
            let _written = writeln!(text, "  \u{1b}[1m{name:width$}\u{1b}[0m  {about}");
        }
        text.push('\n');
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{text}\u{1b}[1;4mOptions:\u{1b}[0m\n\
         {{options}}{{after-help}}"
    );
    definition.help_template(template)
}

/// Divides a text between words into lines of so many characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(names: &[&'static str]) -> clap::Command {
        let commands = names
            .iter()
            .map(|name| clap::Command::new(*name).about("Do it"));
        clap::Command::new("it").subcommands(commands)
    }

    /// Newcomer §6: 33 commands stood in one flat list.
    #[test]
    fn help_lists_every_command_once_below_its_group() {
        let mut grouped = grouped(program(&["list", "init", "frobnicate", "run"]));
        let help = grouped.render_long_help().to_string();
        let place = |text: &str| help.find(text).unwrap();
        assert!(place("Set up:") < place("  init"), "{help}");
        assert!(place("  init") < place("Look:"), "{help}");
        assert!(place("  list") < place("Operate:"), "{help}");
        assert!(place("Commands:") < place("  frobnicate"), "{help}");
        assert!(!help.contains("Exchange:"), "{help}");
        for name in ["list", "init", "frobnicate", "run"] {
            assert_eq!(help.matches(&format!("  {name}")).count(), 1, "{help}");
        }
    }

    #[test]
    fn lines_are_divided_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("elephants", 3), ["elephants"]);
    }

    #[test]
    fn no_command_stands_in_two_groups() {
        let mut names: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
