//! The documents say what the program does: the tables are those of the program, whatever is cited is there, and each command
//! that is shown is one, with options that it has.

#![cfg(test)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn portcullis(arguments: &[&str]) -> String {
    let ran = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .env_clear()
        .args(arguments)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{arguments:?}");
    String::from_utf8(ran.stdout).unwrap()
}

/// Files of the repository below `folder` that have one of these endings.
fn files(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                files(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

#[test]
fn the_tables_of_commands_and_keys_are_those_of_the_program() {
    let made = tempfile::tempdir().unwrap();
    portcullis(&["man", "--reference", made.path().to_str().unwrap()]);
    for name in ["cli.md", "configuration.md"] {
        let wanted = fs::read_to_string(made.path().join(name)).unwrap();
        let found = fs::read_to_string(root().join("docs").join(name)).unwrap_or_default();
        assert!(
            found == wanted,
            "docs/{name} is not what the program says; run `target/release/portcullis man --reference docs`"
        );
    }
}

#[test]
fn no_document_is_cited_that_is_not_there() {
    let mut sources = Vec::new();
    files(
        &root(),
        &[
            ".md", ".rs", ".proto", ".py", ".toml", ".service", ".timer", ".txt", ".conf",
        ],
        &mut sources,
    );
    assert!(sources.len() > 400, "only {} files", sources.len());
    let mut missing = Vec::new();
    for source in &sources {
        // This file has examples of names.
        if source.ends_with("tests/documents.rs") {
            continue;
        }
        let text = fs::read_to_string(source).unwrap_or_default();
        for cited in cited(&text) {
            if !ELSEWHERE.contains(&cited) && !is_there(source, cited) {
                missing.push(format!("{}: {cited}", source.display()));
            }
        }
        // The name of a specification that is not part of the repository.
        if text.contains(concat!("DESI", "GN")) {
            missing.push(format!(
                "{}: a design that is not here; cite docs/design.md",
                source.display()
            ));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// Documents of others that the code names.
const ELSEWHERE: [&str; 1] = ["protocol.md"];

/// Names of documents in a text.
fn cited(text: &str) -> BTreeSet<&str> {
    let is_of_name =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '/' | '-');
    text.match_indices(".md")
        .filter_map(|(end, ending)| {
            let (before, after) = text.split_at(end);
            let stem = before.trim_end_matches(is_of_name);
            let is_end = !after.get(ending.len()..)?.starts_with(is_of_name_letter);
            is_end
                .then(|| text.get(stem.len()..end + ending.len()))
                .flatten()
        })
        // Not an ending alone, an address elsewhere, a pattern or a file that a test makes.
        .filter(|name| {
            !name.starts_with(".md") && !name.starts_with("//") && !name.contains("NNNN")
        })
        .collect()
}

fn is_of_name_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric()
}

fn is_there(source: &Path, cited: &str) -> bool {
    // Where an installation has it, and where a test takes it from.
    let cited = cited
        .split_once("share/doc/portcullis/")
        .map_or(cited, |(_, name)| name)
        .trim_start_matches("/../");
    let beside = source.parent().unwrap().to_owned();
    [
        beside,
        root(),
        root().join("docs"),
        root().join("docs/decisions"),
    ]
    .iter()
    .any(|folder| folder.join(cited).is_file())
}

#[test]
fn a_document_that_is_cited_in_a_sentence_or_a_link_is_found() {
    let text =
        "See docs/a.md. [b](../b.md#part), `c.md`; NNNN-title.md, *.md, x.mdx, https://host/d.md";
    assert_eq!(
        Vec::from_iter(cited(text)),
        ["../b.md", "c.md", "docs/a.md"]
    );
}

#[test]
fn every_command_that_a_document_shows_is_one_and_has_its_options() {
    let tree = Tree::of_program();
    let mut documents = Vec::new();
    files(&root(), &[".md"], &mut documents);
    let mut shown = 0;
    let mut wrong = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for command in commands(&text) {
            shown += 1;
            if let Err(why) = tree.check(&command) {
                wrong.push(format!("{}: `{command}`: {why}", document.display()));
            }
        }
    }
    assert!(shown > 150, "only {shown} commands were found");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_command_or_an_option_that_the_program_does_not_have_is_seen() {
    let tree = Tree::of_program();
    for right in [
        "portcullis -n police list --kind indicator",
        "portcullis federation init --id eu-ports --threshold 2 --out 1.register",
        "portcullis check CSQU3054383",
        "portcullis dispatch status",
    ] {
        tree.check(right).unwrap();
    }
    for wrong in [
        "portcullis federation found",
        "portcullis lst",
        "portcullis list --colour",
        "portcullis dispatch status --threshold 2",
    ] {
        assert!(tree.check(wrong).is_err(), "{wrong}");
    }
}

/// Commands of the program in the fences and between the backticks of a document, each from `portcullis ` on.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fence = false;
    let mut pending = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fence = !fence;
        } else if fence {
            let line = line.trim_start_matches(['$', '>', ' ']);
            match line.strip_suffix('\\') {
                Some(begun) => pending.push_str(begun),
                None => {
                    pending.push_str(line);
                    found.extend(of_line(&std::mem::take(&mut pending)));
                }
            }
        } else {
            found.extend(line.split('`').skip(1).step_by(2).flat_map(of_line));
        }
    }
    found
}

/// Whatever the shell would run as the program in this line.
fn of_line(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in line.split(['|', ';', '&', '(', ')', '#', '\'', '"', '>', '<']) {
        let words: Vec<&str> = part.split_whitespace().collect();
        let before = |word: &&str| {
            word.contains('=')
                || [
                    "sudo",
                    "-u",
                    "portcullis",
                    "do",
                    "then",
                    "until",
                    "if",
                    "!",
                    "exec",
                ]
                .contains(word)
                    && *word != "portcullis"
        };
        let mut at = words.iter().take_while(|word| before(word)).count();
        // The user whom sudo is told.
        if at > 0 && words.get(at - 1) == Some(&"-u") {
            at += 1;
        }
        if words.get(at) == Some(&"portcullis") && words.len() > at + 1 {
            found.push(words[at..].join(" "));
        }
    }
    found
}

/// Every command of the program, with its help.
struct Tree(BTreeMap<String, String>);

impl Tree {
    fn of_program() -> Self {
        let table = fs::read_to_string(root().join("docs/cli.md")).unwrap();
        let paths = table.lines().filter_map(|line| {
            let (path, _) = line.trim_start().strip_prefix("- `")?.split_once('`')?;
            Some(path.to_owned())
        });
        let mut all: BTreeMap<String, String> = paths
            .map(|path| {
                let mut arguments: Vec<&str> = path.split(' ').skip(1).collect();
                arguments.push("--help");
                let help = portcullis(&arguments);
                (path, help)
            })
            .collect();
        all.insert("portcullis".to_owned(), portcullis(&["--help"]));
        Self(all)
    }

    /// Says what is wrong with a command.
    fn check(&self, command: &str) -> Result<(), String> {
        let mut path = String::from("portcullis");
        let mut words = command.split(' ').skip(1).peekable();
        while let Some(word) = words.next() {
            let longer = format!("{path} {word}");
            if self.0.contains_key(&longer) {
                path = longer;
            } else if matches!(word, "-n" | "--home" | "--node" | "--color") {
                words.next();
            } else if let Some(option) = word.strip_prefix("--").filter(|name| !name.is_empty()) {
                self.option(&path, option)?;
            } else if self.is_group(&path) && is_word(word) {
                return Err(format!("`{path}` has no `{word}`"));
            }
        }
        Ok(())
    }

    fn option(&self, path: &str, option: &str) -> Result<(), String> {
        let name: String = option
            .chars()
            .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '-')
            .collect();
        let help = &self.0[path];
        let is_known = name == "help"
            || name == "version"
            // Hidden, because it is for who changes the program.
            || (path == "portcullis man" && name == "reference")
            || help
                .split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'))
                .any(|word| word.strip_prefix("--") == Some(&*name));
        if is_known {
            Ok(())
        } else {
            Err(format!("`{path}` has no `--{name}`"))
        }
    }

    fn is_group(&self, path: &str) -> bool {
        let below = format!("{path} ");
        self.0.keys().any(|known| known.starts_with(&below)) && path != "portcullis backup"
    }
}

/// Not a placeholder, an ellipsis or a sentence's end.
fn is_word(word: &str) -> bool {
    word.chars()
        .all(|letter| letter.is_ascii_lowercase() || letter == '-')
        && !word.starts_with('-')
}
