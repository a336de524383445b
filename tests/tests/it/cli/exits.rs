//! The exit code of every command in the situations that a script meets: nothing answers, a file is missing, a file is
//! a folder, the command line is wrong. Every error says what to do, and none shows a type of ours.

use std::{collections::BTreeSet, fs, process::Output};

use serde_json::Value;

use super::User;

const USAGE: i32 = 64;
const INVALID: i32 = 3;
const UNANSWERED: i32 = 5;
const DONE: i32 = 0;

/// Command line of every command, and the code with which it ends in a place where nothing is: no node, no file.
///
/// `KEY` stands for a person's key with its passphrase, `none` for a path at which nothing is, `DIGEST` for a digest.
const COMMANDS: &[(&str, i32)] = &[
    ("about CSQU3054383", UNANSWERED),
    ("advisory publish --threat narcotics KEY", UNANSWERED),
    ("alert raise --imo 9074729 KEY", UNANSWERED),
    ("backup --to to --keys-to keys", INVALID),
    ("backup verify none", INVALID),
    ("check CSQU3054383", DONE),
    ("clock confirm KEY", UNANSWERED),
    ("completions bash", DONE),
    ("consignment close 56839011 nothing KEY", UNANSWERED),
    ("consignment import goods.csv KEY", UNANSWERED),
    ("consignment list", UNANSWERED),
    ("consignment prune --before 2026-01-01 KEY", UNANSWERED),
    ("consignment show 56839011", UNANSWERED),
    (
        "dispatch backfill antwerp --since 2021-03-01 KEY",
        UNANSWERED,
    ),
    ("dispatch forks", UNANSWERED),
    ("dispatch retry 3f9a1c20 antwerp KEY", UNANSWERED),
    ("dispatch status", UNANSWERED),
    ("dispatch undelivered", UNANSWERED),
    ("doctor", 6),
    ("explain EX-07", DONE),
    ("federation admit none --register none --out new", INVALID),
    (
        "federation amend --register none --out new --remove hague",
        INVALID,
    ),
    ("federation apply none", INVALID),
    ("federation carry none", INVALID),
    (
        "federation freshness --key none --passphrase-file pass",
        INVALID,
    ),
    (
        "federation init --id eu --governance-key none --threshold 1 --out new",
        INVALID,
    ),
    (
        "federation key --out governance.key --passphrase-file pass",
        DONE,
    ),
    (
        "federation request --name A --kind customs --country BE --group g --regime led \
         --endpoint localhost:7443 --ca none --out new",
        INVALID,
    ),
    ("federation show none", INVALID),
    (
        "federation sign none --key none --passphrase-file pass",
        INVALID,
    ),
    (
        "federation suspend hague --for 24h --key none --passphrase-file pass",
        INVALID,
    ),
    ("federation verify none --pin DIGEST", INVALID),
    ("hold drop 3f9a1c20 --reason no KEY", UNANSWERED),
    ("hold list", UNANSWERED),
    ("hold release 3f9a1c20 --reason yes KEY", UNANSWERED),
    ("hold show 3f9a1c20", UNANSWERED),
    ("inbox", UNANSWERED),
    ("indicator import none KEY", INVALID),
    ("indicator publish --imo 9074729 KEY", UNANSWERED),
    (
        "init --federation eu --authority be-customs --id antwerp --dns-name a.example --pin DIGEST \
         --passphrase-file none",
        INVALID,
    ),
    ("keys passphrase", INVALID),
    ("keys rotate --use hop --out new", INVALID),
    ("list", UNANSWERED),
    ("log acts KEY", UNANSWERED),
    ("log events KEY", UNANSWERED),
    ("man", DONE),
    ("peer block antwerp KEY", UNANSWERED),
    ("peer list", UNANSWERED),
    ("peer unblock antwerp KEY", UNANSWERED),
    ("person end bert KEY", UNANSWERED),
    (
        "person enrol bert --name B --role analyst --public-key anna.key.pub KEY",
        UNANSWERED,
    ),
    ("person key --out bert.key --passphrase-file pass", DONE),
    ("person list", UNANSWERED),
    (
        "person passphrase none --passphrase-file pass --new-passphrase-file pass",
        INVALID,
    ),
    ("person proposals", UNANSWERED),
    ("person recover anna --public-key anna.key.pub", INVALID),
    (
        "person rekey bert --public-key anna.key.pub KEY",
        UNANSWERED,
    ),
    ("person role bert supervisor KEY", UNANSWERED),
    ("person second DIGEST KEY", UNANSWERED),
    ("person withdraw DIGEST KEY", UNANSWERED),
    ("policy check", INVALID),
    ("policy explain base-permit-release", DONE),
    ("policy preview --imo 9074729", UNANSWERED),
    ("profile publish KEY", UNANSWERED),
    ("quarantine drop 1 --reason no KEY", UNANSWERED),
    ("quarantine list", UNANSWERED),
    ("quarantine show 1", UNANSWERED),
    ("release resume all KEY", UNANSWERED),
    ("release stop all KEY", UNANSWERED),
    ("reload KEY", UNANSWERED),
    ("restore --from none --keys none", INVALID),
    ("run", INVALID),
    ("schema check", INVALID),
    ("schema show port", DONE),
    ("score", UNANSWERED),
    ("settings accept DIGEST KEY", UNANSWERED),
    ("settings show", UNANSWERED),
    ("show 3f9a1c20", UNANSWERED),
    ("status", UNANSWERED),
    ("tls install none", INVALID),
    ("watch", UNANSWERED),
];

/// A user with a person's key, and nothing else.
fn user() -> User {
    let user = User::new();
    user.file("pass", "a passphrase of anna\n");
    user.file("goods.csv", "Declaration ID\n");
    fs::create_dir(user.folder().join("folder")).unwrap();
    user.good(&[
        "person",
        "key",
        "--out",
        "anna.key",
        "--passphrase-file",
        "pass",
    ]);
    user
}

/// Runs a command line of the table with `--json`.
fn run(user: &User, line: &str) -> Output {
    let line = line
        .replace("KEY", "--key anna.key --passphrase-file pass")
        .replace("DIGEST", &"0a".repeat(32));
    let mut words: Vec<&str> = line.split_whitespace().collect();
    words.push("--json");
    user.run(&words)
}

/// Returns what is wrong with how a command ended: the status, no advice, or a word of Rust.
fn fault(line: &str, output: &Output, status: i32) -> Option<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(status) {
        let code = output.status.code();
        return Some(format!("`{line}` ends with {code:?}, not {status}: {said}"));
    }
    if status == DONE {
        return None;
    }
    let last = said.lines().last().unwrap_or_default();
    let Ok(error) = serde_json::from_str::<Value>(last) else {
        return Some(format!("`{line}` prints no error: {said}"));
    };
    let advice = error["do"].as_str().unwrap_or_default();
    let words = [
        "::", "Some(", "Error(", "Custom {", "kind:", "Os {", "NodeId(",
    ];
    if error["exit"] != status || advice.len() <= 8 {
        return Some(format!("`{line}`: {said}"));
    }
    let word = words.iter().find(|word| said.contains(*word))?;
    Some(format!("`{line}` shows `{word}`: {said}"))
}

/// Runs every line and checks how it ends.
#[track_caller]
fn check<L: AsRef<str>>(lines: impl IntoIterator<Item = (L, i32)>) {
    let user = user();
    let faults: Vec<String> = lines
        .into_iter()
        .filter_map(|(line, status)| fault(line.as_ref(), &run(&user, line.as_ref()), status))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_command_stands_in_the_table() {
    let user = user();
    user.good(&["man", "--out", "man"]);
    let pages: BTreeSet<String> = fs::read_dir(user.folder().join("man"))
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .map(|page| page.trim_end_matches(".1").to_owned())
        .collect();
    let is_group = |page: &String| {
        let below = format!("{page}-");
        page != "portcullis-backup" && pages.iter().any(|other| other.starts_with(&below))
    };
    let commands: BTreeSet<String> = pages
        .iter()
        .filter(|page| !is_group(page))
        .cloned()
        .collect();
    let listed: BTreeSet<String> = COMMANDS
        .iter()
        .map(|(line, _)| {
            let words: Vec<&str> = line.split_whitespace().take(2).collect();
            let (one, two) = (words[0].to_owned(), words.join("-"));
            let page = format!("portcullis-{two}");
            if pages.contains(&page) {
                page
            } else {
                format!("portcullis-{one}")
            }
        })
        .collect();
    assert_eq!(commands, listed);
}

/// Newcomer B19, B22: three things had one number, one thing had two, and some errors said nothing to do.
#[test]
fn every_command_ends_with_the_code_of_what_happened() {
    check(COMMANDS.iter().copied());
}

#[test]
fn an_unknown_flag_is_wrong_usage_of_every_command() {
    check(
        COMMANDS
            .iter()
            .map(|(line, _)| (format!("{line} --no-such-flag"), USAGE)),
    );
}

/// Newcomer B19: a file that was missing, or a folder, ended with 1 in some commands and 3 in others.
#[test]
fn what_is_no_such_file_is_wrong_input_of_every_command() {
    let wrong = [
        "reload --key none --passphrase-file pass",
        "reload --key anna.key --passphrase-file none",
        "reload --key folder --passphrase-file pass",
        "policy check none",
        "policy check pass",
        "person enrol bert --name B --role analyst --public-key none KEY",
        "person enrol bert --name B --role analyst --public-key folder KEY",
        "person passphrase folder --passphrase-file pass",
        "federation show folder",
        "federation apply folder",
        "federation admit pass --register pass --out new",
        "tls install folder",
        "tls install pass",
        "backup verify folder",
        "backup verify pass",
        "indicator import folder KEY",
        "schema check none",
        "schema check folder",
        "schema show pass",
    ];
    check(wrong.map(|line| (line, INVALID)));
}

/// Newcomer B19: a value that is none was usage in some commands and input in others.
#[test]
fn a_value_that_is_none_is_wrong_input() {
    let wrong = [
        "check x --color purple",
        "completions tcsh2",
        "list --kind rumour",
        "keys rotate --use none --out new",
        "list --limit many",
        "-n a/b status",
        "explain EX-99",
        "settings accept 0a KEY",
    ];
    check(wrong.map(|line| (line, INVALID)));
}

/// Newcomer B23: `portcullis help list` was unknown.
#[test]
fn help_of_a_command_is_asked_for_in_either_way() {
    let user = User::new();
    for command in [&[][..], &["list"], &["person", "enrol"], &["hold"]] {
        let before = user.good(&[&["help"], command].concat());
        let after = user.good(&[command, &["--help"]].concat());
        assert_eq!(before, after, "{command:?}");
    }
}
