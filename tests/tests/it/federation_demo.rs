//! `portcullis-lab demo`, small: whole processes, and a report that adds up.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::binary::{portcullis, portcullis_lab};

fn demo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(portcullis_lab());
    command
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", folder)
        .env("HOME", folder)
        .env_remove("PORTCULLIS_NODES")
        .stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn reported(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let output = demo(folder.path(), arguments)
        .arg("--report")
        .arg(&report)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "only the report is left: {left:?}");
    serde_json::from_slice(&fs::read(report).unwrap()).unwrap()
}

fn number(value: &Value, path: &str) -> f64 {
    let found = value.pointer(path).unwrap_or_else(|| panic!("no `{path}`"));
    found
        .as_f64()
        .unwrap_or_else(|| panic!("`{path}` is {found}"))
}

#[test]
fn the_report_adds_up_and_a_denied_profile_changes_the_others_figures() {
    let small = ["--offices", "13,33", "--alerts", "3"];
    let whole = reported(&small);
    let exchange = |key: &str| number(&whole, &format!("/exchange/{key}"));
    let outcomes = ["delivered", "denied", "refused", "held"].map(exchange);
    assert_eq!(outcomes.iter().sum::<f64>(), exchange("candidates"));
    assert!(outcomes.iter().all(|count| *count > 0.0), "{outcomes:?}");
    assert!(exchange("withheld_sections") > 0.0);
    assert!(exchange("verified") >= exchange("sealed"));
    // Two offices, police, port authority, terminal, hub. The rows are those that `awk` counts in
    // the files.
    assert_eq!(number(&whole, "/nodes"), 6.0);
    for (n, history, arriving) in [(0, 956.0, 188.0), (1, 605.0, 141.0)] {
        assert_eq!(number(&whole, &format!("/offices/{n}/history")), history);
        assert_eq!(number(&whole, &format!("/offices/{n}/arriving")), arriving);
        for key in [
            "precision_at/1",
            "precision_at/5",
            "precision_at/10",
            "recall_at/5",
        ] {
            let share = number(&whole, &format!("/offices/{n}/{key}"));
            assert!((0.0..=1.0).contains(&share), "{key} is {share}");
        }
        number(&whole, &format!("/offices/{n}/lookup/precision_at/5"));
    }
    assert_eq!(number(&whole, "/alerts/count"), 3.0);
    for key in [
        "receipt_ms/p50",
        "receipt_ms/p99",
        "scored_ms/p50",
        "scored_ms/p99",
    ] {
        assert!(number(&whole, &format!("/alerts/{key}")) > 0.0, "{key}");
    }

    let denied = reported(&[&small[..], &["--withhold", "13"]].concat());
    let auc = |report: &Value, n: usize, key: &str| number(report, &format!("/offices/{n}/{key}"));
    assert_ne!(
        auc(&whole, 1, "auc_federated"),
        auc(&denied, 1, "auc_federated")
    );
    assert_eq!(
        auc(&denied, 1, "auc_federated"),
        auc(&denied, 1, "auc_local")
    );
    assert_eq!(
        auc(&whole, 0, "auc_federated"),
        auc(&denied, 0, "auc_federated")
    );
    assert_eq!(auc(&whole, 1, "auc_local"), auc(&denied, 1, "auc_local"));
}

#[test]
fn what_the_caller_gives_is_checked_before_a_node_starts() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.csv");
    fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();
    for (arguments, message) in [
        (
            vec!["--offices", "13"],
            "name at least two different offices",
        ),
        (vec!["--offices", "13,999"], "office `999` has no rows"),
        (vec!["--history", empty], "the file is empty"),
        (
            vec!["--offices", "13,33", "--rows", "5", "--alerts", "50"],
            "ask for fewer with `--alerts`",
        ),
    ] {
        let output = demo(folder.path(), &arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert!(said(&output).contains(message), "{}", said(&output));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

/// Returns the ids of the processes that have this folder in their command line.
fn processes_in(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|id| {
            // The command line of a process that has just ended cannot be read.
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(folder)
        })
        .collect()
}

fn signal(name: &str, processes: &[String]) {
    let sent = Command::new("kill").arg(name).args(processes).status();
    assert!(sent.unwrap().success());
}

#[test]
fn an_interrupted_demo_leaves_no_process_and_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = demo(folder.path(), &["--offices", "13,33", "--alerts", "2"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(running.stderr.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    let loading = lines.find(|line| line.starts_with("1 Loading"));
    assert!(loading.is_some(), "the demo did not come to its first step");
    assert_eq!(processes_in(folder.path()).len(), 6);
    signal("-INT", &[running.id().to_string()]);
    assert_eq!(running.wait().unwrap().code(), Some(1));
    assert!(lines.any(|line| line.contains("interrupted")));
    assert_eq!(processes_in(folder.path()), [""; 0]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn every_flipped_bit_is_caught_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(
        folder.path(),
        &["--offices", "13,33", "--alerts", "1", "--tamper"],
    )
    .output()
    .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{printed}", said(&output));
    let caught = |place: &str| {
        let line = printed.lines().find(|line| line.trim().starts_with(place));
        line.unwrap_or_else(|| panic!("{printed}")).to_owned()
    };
    assert!(caught("in transit").contains("TLS 1.3"), "{printed}");
    assert!(caught("in a store").contains("AES-256-GCM"), "{printed}");
    assert!(caught("in a register").contains("RG-"), "{printed}");
}

#[test]
fn nodes_that_are_kept_answer_the_commands_that_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let kept = demo(
        folder.path(),
        &["--offices", "13,33", "--alerts", "1", "--keep"],
    )
    .output()
    .unwrap();
    let printed = String::from_utf8_lossy(&kept.stdout).into_owned();
    let nodes = processes_in(folder.path());
    let commands: Vec<&str> = printed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("portcullis "))
        .collect();
    let answers: Vec<Output> = commands
        .iter()
        .map(|command| {
            Command::new(portcullis())
                .args(command.split_whitespace())
                .env("HOME", folder.path())
                .env_remove("PORTCULLIS_NODES")
                .output()
                .unwrap()
        })
        .collect();
    signal("-KILL", &nodes);
    assert!(kept.status.success(), "{}", said(&kept));
    assert_eq!((nodes.len(), commands.len()), (6, 4), "{printed}");
    for (command, answer) in commands.iter().zip(answers) {
        assert!(answer.status.success(), "`{command}`: {}", said(&answer));
        assert!(!answer.stdout.is_empty(), "`{command}` says nothing");
    }
}
