//! The commands of README.md do what README.md shows.
//!
//! Every block that is marked `console` is run, those of one chapter in order in one POSIX shell, in a
//! temporary folder with the built binary first on the path. A line that begins with `$ ` is a command, `> `
//! goes on with it, the rest is what it must print (both streams). What differs from run to run is compared
//! by these rules and no others:
//!
//! * `…` alone on a line stands for any lines, also for none; the width of gaps does not count;
//! * a time stands for any time, and a duration in `s` or `ms` for any duration;
//! * a hexadecimal id of 12 digits or more stands for the one that is printed in its place, *everywhere*: what
//!   README.md shows as one id must be one id, and a later command that names it is given the real one;
//! * `police hub`, an originator and who delivered its record, is also `police police`: whichever of the two
//!   ways was faster brought it first. For the same reason `extended` is also `accepted`;
//! * `/home/me` stands for the temporary folder, the ports 7443 and 9464 for free ones.
//!
//! A command must fail if its output begins with `error:`, and succeed otherwise.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use crate::binary::portcullis;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");

/// Longest time that one command may take; the demo takes longest.
const PATIENCE: Duration = Duration::from_secs(240);

/// Mark that the shell prints after each command, followed by the exit status.
const MARK: &str = "-- end of the command, status";

/// Ids of README.md, with the ids of this run that replace them.
type Ids = BTreeMap<String, String>;

const CHAPTERS: [&str; 2] = [
    "The first ten minutes",
    "A new authority joins, in five steps",
];

#[test]
fn the_first_ten_minutes_go_as_the_readme_shows() {
    run(CHAPTERS[0]);
}

#[test]
fn a_new_authority_joins_as_the_readme_shows() {
    run(CHAPTERS[1]);
}

#[test]
fn no_command_of_the_readme_is_left_out() {
    let all = steps(&fs::read_to_string(README).unwrap());
    assert!(all.iter().all(|step| CHAPTERS.contains(&&*step.chapter)));
    for chapter in CHAPTERS {
        assert!(all.iter().any(|step| step.chapter == chapter));
    }
}

#[test]
fn an_id_that_changes_its_meaning_is_seen() {
    let shown = ["id 00112233445566", "…", "again 00112233445566"];
    let same = ["id abcdefabcdef12", "between", "again abcdefabcdef12"];
    let other = ["id abcdefabcdef12", "again 21fedcbafedcba"];
    assert!(matches(&shown, &same, &Ids::new()).is_some());
    assert!(matches(&shown, &other, &Ids::new()).is_none());
}

#[test]
fn another_word_number_or_line_is_seen() {
    let shown = ["state  ok 5 after 1.5 s at 2026-11-24T11:01:53.495Z"];
    let holds = |line: &str| matches(&shown, &[line], &Ids::new()).is_some();
    assert!(holds("state ok 5 after 20.75 s at 2027-01-01T00:00:00Z"));
    assert!(!holds("state ok 6 after 1.5 s at 2026-11-24T11:01:53.495Z"));
    assert!(!holds(
        "state bad 5 after 1.5 s at 2026-11-24T11:01:53.495Z"
    ));
    assert!(!holds("state ok 5 after 1.5 s at noon"));
    assert!(matches(&shown, &[], &Ids::new()).is_none());
    assert!(matches(&[], &["more"], &Ids::new()).is_none());
}

#[test]
fn a_record_may_come_by_either_way_and_no_other() {
    let shown = ["indicator  police  police  TLP:AMBER"];
    let holds = |line: &str| matches(&shown, &[line], &Ids::new()).is_some();
    assert!(holds("indicator  police  hub     TLP:AMBER"));
    assert!(!holds("indicator  hub     police  TLP:AMBER"));
    assert!(!holds("indicator  police  port    TLP:AMBER"));
    let shown = ["customs-13  accepted  0,1"];
    let holds = |line: &str| matches(&shown, &[line], &Ids::new()).is_some();
    assert!(holds("customs-13  extended  0,1"));
    assert!(!holds("customs-13  refused   0,1"));
}

/// A command and its expected output.
#[derive(Debug)]
struct Step {
    chapter: String,
    command: String,
    output: Vec<String>,
}

fn steps(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut chapter = String::new();
    let mut fence: Option<&str> = None;
    for line in readme.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            fence = fence.is_none().then_some(kind);
        } else if fence.is_none() {
            if let Some(title) = line.strip_prefix("## ") {
                chapter = title.to_owned();
            }
        } else if fence == Some("console") {
            take(&mut steps, &chapter, line);
        }
    }
    steps
}

fn take(steps: &mut Vec<Step>, chapter: &str, line: &str) {
    if let Some(command) = line.strip_prefix("$ ") {
        steps.push(Step {
            chapter: chapter.to_owned(),
            command: command.to_owned(),
            output: Vec::new(),
        });
        return;
    }
    let step = steps.last_mut().expect("a block begins with a command");
    match line.strip_prefix("> ") {
        Some(more) => {
            step.command.push('\n');
            step.command.push_str(more);
        }
        None => step.output.push(line.to_owned()),
    }
}

fn run(chapter: &str) {
    let ports = [free_port(), free_port()];
    let mut shell = Shell::open();
    let mut ids = Ids::new();
    for step in steps(&fs::read_to_string(README).unwrap()) {
        if step.chapter != chapter {
            continue;
        }
        let mut command = step.command.clone();
        for (shown, real) in &ids {
            command = command.replace(shown, real);
        }
        command = command
            .replace("7443", &ports[0])
            .replace("9464", &ports[1]);
        let (status, printed) = shell.run(&command);
        let expected: Vec<&str> = step.output.iter().map(String::as_str).collect();
        let printed: Vec<&str> = printed.iter().map(String::as_str).collect();
        ids = matches(&expected, &printed, &ids).unwrap_or_else(|| {
            panic!(
                "README.md shows for\n$ {command}\n{}\nand it printed\n{}\n",
                expected.join("\n"),
                printed.join("\n")
            )
        });
        let fails = expected
            .first()
            .is_some_and(|line| line.starts_with("error:"));
        assert_eq!(status != 0, fails, "status {status} of `{command}`");
    }
}

/// Returns the ids of this run for those of README.md, if the lines are the expected ones.
fn matches(expected: &[&str], printed: &[&str], ids: &Ids) -> Option<Ids> {
    let Some((line, rest)) = expected.split_first() else {
        return printed.is_empty().then(|| ids.clone());
    };
    if *line == "…" {
        return (0..=printed.len()).find_map(|skipped| matches(rest, &printed[skipped..], ids));
    }
    let (first, others) = printed.split_first()?;
    matches(rest, others, &line_matches(line, first, ids)?)
}

fn line_matches(expected: &str, printed: &str, ids: &Ids) -> Option<Ids> {
    let (expected, printed) = (pieces(expected), pieces(printed));
    if expected.len() != printed.len() {
        return None;
    }
    let mut ids = ids.clone();
    for (shown, real) in expected.iter().zip(&printed) {
        if is_id(shown) && is_id(real) && shown.len() == real.len() {
            let stands_for = ids.entry(shown.clone()).or_insert_with(|| real.clone());
            if stands_for != real {
                return None;
            }
        } else if shown != real {
            return None;
        }
    }
    Some(ids)
}

/// Splits a line into words and punctuation marks, with times, durations and the width of gaps removed.
fn pieces(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut pieces = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let unit = words.get(at + 1).map(|unit| unit.trim_matches(is_mark));
        let bare = word.trim_matches(is_mark);
        if *word == "hub" && at > 0 && words.get(at - 1) == Some(&"police") {
            pieces.push("police".to_owned());
        } else if *word == "extended" {
            pieces.push("accepted".to_owned());
        } else if is_time(bare) {
            pieces.push(word.replace(bare, "TIME"));
        } else if matches!(unit, Some("s" | "ms")) && bare.parse::<f64>().is_ok() {
            pieces.push(word.replace(bare, "DURATION"));
        } else {
            split(word, &mut pieces);
        }
    }
    pieces
}

fn split(word: &str, pieces: &mut Vec<String>) {
    let mut piece = String::new();
    for letter in word.chars() {
        if letter.is_ascii_alphanumeric() {
            piece.push(letter);
        } else {
            pieces.extend([std::mem::take(&mut piece), letter.to_string()]);
        }
    }
    pieces.push(piece);
}

const fn is_mark(letter: char) -> bool {
    matches!(letter, '(' | ')' | ',' | ';' | ':' | '`')
}

fn is_time(word: &str) -> bool {
    word.parse::<jiff::Timestamp>().is_ok()
}

fn is_id(word: &str) -> bool {
    let digit = |letter: char| letter.is_ascii_digit() || matches!(letter, 'a'..='f');
    word.len() >= 12 && word.chars().all(digit)
}

fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// A POSIX shell in a temporary folder. Processes still running in it end with it.
struct Shell {
    folder: tempfile::TempDir,
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Shell {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = command(folder.path()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut input = process.stdin.take().unwrap();
        input.write_all(b"exec 2>&1\n").unwrap();
        Self {
            folder,
            process,
            input: Some(input),
            lines,
        }
    }

    /// Runs a command; returns its status and its output, with the temporary folder written as `/home/me`.
    fn run(&mut self, command: &str) -> (i32, Vec<String>) {
        let script = format!("{{ {command}\n}} < /dev/null\nprintf '\\n%s %s\\n' '{MARK}' $?\n");
        let input = self.input.as_mut().unwrap();
        input.write_all(script.as_bytes()).unwrap();
        let folder = self.folder.path().display().to_string();
        let mut printed = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| {
                panic!("`{command}` did not end ({error}); it printed {printed:#?}")
            });
            if let Some(status) = line.strip_prefix(MARK) {
                // The line break before the mark.
                if printed.last().is_some_and(String::is_empty) {
                    printed.pop();
                }
                return (status.trim().parse().unwrap(), printed);
            }
            printed.push(line.replace(&folder, "/home/me"));
        }
    }
}

fn command(folder: &Path) -> Command {
    let binary = portcullis();
    let mut path = binary.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command
        .current_dir(folder)
        .env("PATH", path)
        .env("HOME", folder)
        .env("PORTCULLIS_NODES", folder.join(".portcullis/nodes"))
        .env("NO_COLOR", "1")
        .env_remove("PORTCULLIS_HOME")
        .env_remove("PORTCULLIS_PERSON_KEY")
        .env_remove("PORTCULLIS_PERSON_PASSPHRASE_FILE")
        .env_remove("TMPDIR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.input.take());
        let ended = self.process.kill().and_then(|()| self.process.wait());
        let left = self.left_running();
        for process in &left {
            end(process);
        }
        if let Some(demo) = self.demo() {
            fs::remove_dir_all(demo).ok();
        }
        if !thread::panicking() {
            ended.unwrap();
        }
    }
}

impl Shell {
    /// Returns the folder of the demo that was kept in this shell, if there is one.
    fn demo(&self) -> Option<PathBuf> {
        let name = self.folder.path().join(".portcullis/nodes/police");
        Some(fs::read_link(name).ok()?.parent()?.to_owned())
    }

    /// Returns the nodes that were started in this shell: their environment names its folder as HOME.
    fn left_running(&self) -> Vec<String> {
        let home = format!("HOME={}", self.folder.path().display());
        let of_shell = |environment: &[u8]| {
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == home.as_bytes())
        };
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter(|process| {
                fs::read(process.path().join("environ")).is_ok_and(|read| of_shell(&read))
            })
            .filter_map(|process| process.file_name().into_string().ok())
            .collect()
    }
}

/// Ends a process and waits until it is gone, so that its folder can be removed.
fn end(process: &str) {
    Command::new("kill").args(["-KILL", process]).status().ok();
    let proc = Path::new("/proc").join(process).join("exe");
    for _ in 0..10_000 {
        if fs::read_link(&proc).is_err() {
            return;
        }
        thread::yield_now();
    }
}
