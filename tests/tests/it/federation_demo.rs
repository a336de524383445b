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

/// A kept demo in a folder of its own, with a shell that has the binaries on its path.
struct Kept {
    folder: tempfile::TempDir,
    environment: String,
}

impl Kept {
    fn run(&self, command: &str) -> Output {
        shell(
            self.folder.path(),
            &format!("{}\n{command}", self.environment),
        )
    }

    fn succeeds(&self, command: &str) -> String {
        let output = self.run(command);
        assert!(output.status.success(), "`{command}`: {}", said(&output));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!printed.is_empty(), "`{command}` says nothing");
        printed
    }

    /// Runs a command until it prints this. What was published takes a moment to arrive.
    fn comes_to_print(&self, command: &str, wanted: &str) {
        let mut printed = String::new();
        for _ in 0..500 {
            printed = self.succeeds(command);
            if printed.contains(wanted) {
                return;
            }
        }
        panic!("`{command}` does not come to print `{wanted}`: {printed}");
    }
}

/// Whatever fails, no process stays behind.
impl Drop for Kept {
    fn drop(&mut self) {
        let left = processes_in(self.folder.path());
        if !left.is_empty() {
            signal("-KILL", &left);
        }
    }
}

fn shell(folder: &Path, script: &str) -> Output {
    let mut path = portcullis().parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    Command::new("sh")
        .args(["-c", script])
        .env("PATH", path)
        .env("TMPDIR", folder)
        .env("HOME", folder)
        .env_remove("PORTCULLIS_NODES")
        .env_remove("PORTCULLIS_PERSON_KEY")
        .env_remove("PORTCULLIS_PERSON_PASSPHRASE_FILE")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Newcomer C1: in the kept demo nothing could be published, raised, released or enrolled. C2: nothing said how it
/// is stopped, and a second one took names of the first away.
#[test]
fn a_reader_acts_on_the_nodes_that_are_kept_and_ends_them_as_printed() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(
        folder.path(),
        &["--offices", "13,33", "--alerts", "1", "--keep"],
    )
    .output()
    .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, commands) = printed.split_once("act on them with\n").expect(&printed);
    let mut commands: Vec<&str> = commands.lines().collect();
    let kept = Kept {
        folder,
        environment: commands.remove(0).to_owned(),
    };
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(processes_in(kept.folder.path()).len(), 6);
    assert_eq!(commands.pop(), Some("portcullis-lab demo --stop"));

    let wanted = ["indicator publish", "alert raise", "hold release"];
    for act in wanted {
        assert!(commands.iter().any(|line| line.contains(act)), "{printed}");
    }
    for command in commands {
        if command.contains("list --about") {
            kept.comes_to_print(command, "indicator");
        } else {
            kept.succeeds(command);
        }
    }
    kept.succeeds(
        "cd \"$HOME\"; persons=${PORTCULLIS_PERSON_KEY%/*}; umask 077; echo 'a passphrase of anna' > pass
         portcullis person key --out anna.key --passphrase-file pass
         portcullis -n hub person enrol anna --name 'Anna Claes' --role analyst \\
             --public-key anna.key.pub --key $persons/administrator.key",
    );
    let open = kept.run(
        "cd ${PORTCULLIS_PERSON_KEY%/*}/.. && find env persons -type f ! -name '*.pub' -perm /077",
    );
    assert!(
        open.stdout.is_empty(),
        "others can read the demo's keys: {open:?}"
    );

    let before = fs::read_dir(kept.folder.path()).unwrap().count();
    let second = kept.run("portcullis-lab demo --offices 16,33 --alerts 1 --keep");
    assert_eq!(second.status.code(), Some(1), "{}", said(&second));
    assert!(
        said(&second).contains("portcullis-lab demo --stop"),
        "{}",
        said(&second)
    );
    assert!(!said(&second).contains("Reading"), "{}", said(&second));
    assert_eq!(fs::read_dir(kept.folder.path()).unwrap().count(), before);
    kept.succeeds("portcullis -n police status");

    let ended = kept.succeeds("portcullis-lab demo --stop");
    assert!(
        ended.contains("ended 6 nodes and removed 6 names"),
        "{ended}"
    );
    assert_eq!(processes_in(kept.folder.path()), [""; 0]);
    let names = kept.folder.path().join(".portcullis/nodes");
    assert_eq!(fs::read_dir(names).unwrap().count(), 0);
    let left = fs::read_dir(kept.folder.path()).unwrap();
    let demos = left.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("portcullis-demo-")
    });
    assert_eq!(demos.count(), 0);
    let again = shell(kept.folder.path(), "portcullis-lab demo --stop");
    assert_eq!(again.status.code(), Some(1));
    assert!(
        said(&again).contains("no kept demo is named"),
        "{}",
        said(&again)
    );
}

/// Newcomer C3: without a HOME that can be written, or a place for the report, the whole demo ran and its figures
/// were thrown away; an office that takes no part was withheld in silence.
#[test]
fn what_cannot_end_well_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let long = folder.path().join("x".repeat(80));
    fs::create_dir(&long).unwrap();
    let small = "portcullis-lab demo --offices 13,33 --alerts 1";
    let here = folder.path().display();
    for (command, status, message) in [
        (
            format!("unset HOME; {small} --keep"),
            64,
            "set PORTCULLIS_NODES",
        ),
        (
            format!("HOME={here}/file {small} --keep"),
            1,
            "file/.portcullis",
        ),
        (
            format!("HOME=/proc/1 {small} --keep"),
            1,
            "/proc/1/.portcullis",
        ),
        (
            format!("TMPDIR={} {small}", long.display()),
            1,
            "set TMPDIR",
        ),
        (
            format!("{small} --report {here}/none/report.json"),
            3,
            "none/report.json",
        ),
        (format!("{small} --report {here}"), 3, "is a folder"),
        (
            format!("{small} --withhold 99"),
            3,
            "--withhold` names `99`",
        ),
        (
            format!("{small} --keep --tamper"),
            64,
            "cannot be used with",
        ),
        (format!("{small} --stop"), 64, "cannot be used with"),
    ] {
        let output = shell(folder.path(), &command);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(status), "`{command}`: {said}");
        assert!(said.contains(message), "`{command}`: {said}");
        assert!(
            !said.contains("Reading the declarations"),
            "`{command}` ran: {said}"
        );
        assert!(output.stdout.is_empty(), "`{command}`");
    }
    let mut left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    left.sort();
    assert_eq!(left, [file, long.clone()]);
    assert_eq!(fs::read_dir(long).unwrap().count(), 0);
}
