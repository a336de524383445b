//! Documentation comments are sentences or noun phrases: none opens with a question word, which has no subject.
//!
//! The help of the command line is left out: clap prints it as it stands.

use std::path::{Path, PathBuf};

/// Words with which no documentation comment opens.
const QUESTIONS: [&str; 11] = [
    "What", "Who", "Whose", "Whom", "Whether", "How", "Which", "Where", "When", "Why", "That",
];

/// Folders whose comments are help texts of commands.
const HELP: [&str; 3] = ["node/cli/src", "node/src/commands", "node/lab/src/commands"];

#[test]
fn no_documentation_comment_opens_with_a_question_word() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut read = 0;
    let mut found = Vec::new();
    for folder in [
        "protocol",
        "policy",
        "scoring",
        "node",
        "certs-dev",
        "tests",
        "fuzz",
        "benches",
    ] {
        for path in sources(&root.join(folder)) {
            let shown = path.strip_prefix(&root).unwrap();
            if HELP.iter().any(|help| shown.starts_with(help)) {
                continue;
            }
            read += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            let opens = openings(&text).into_iter();
            found.extend(
                opens.map(|(line, opening)| format!("{}:{line}: {opening}", shown.display())),
            );
        }
    }
    assert!(read > 400, "only {read} files were read");
    assert!(
        found.is_empty(),
        "say it with a subject and a verb:\n{}",
        found.join("\n")
    );
}

/// The first lines of documentation comments that open with a question word, with their numbers.
fn openings(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut within = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        let comment = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"));
        if let Some(comment) = comment.map(str::trim_start)
            && !within
        {
            let first = comment
                .split(|letter: char| !letter.is_alphanumeric())
                .next();
            if first.is_some_and(|word| QUESTIONS.contains(&word)) {
                found.push((number, comment));
            }
        }
        within = comment.is_some();
    }
    found
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("target") {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn an_opening_question_is_noticed_and_a_later_one_is_not() {
    let text = "/// What is held apart.\nstruct A;\n\n/// Records held apart.\n/// When they came is not known.\nstruct B;\n//! Whoever asks.\n";
    assert_eq!(openings(text), [(1, "What is held apart.")]);
}
