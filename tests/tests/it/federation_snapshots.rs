//! An operator's commands with a running node, correct and wrong ones, with their output and exit
//! codes compared with snapshots.
//!
//! Times, ids and numbers that differ from run to run are replaced, and columns that move with them
//! are two spaces apart.

use std::sync::Arc;

use portcullis_kernel::Kernel;
use portcullis_protocol::{
    body::{Assessment, Body},
    evaluation::Evaluation,
    frame::Outcome,
    marking::{HandlingCodes, Marking, Purpose, Tlp},
    record::{Kind, RecordId},
    register::AuthorityKind,
    seal::Draft,
};
use portcullis_store::DisclosureState;
use portcullis_tests::federation::{Federation, Member, Running, eventually};

use crate::{cli::transcript, office::Office};

const MEMBERS: [Member; 3] = [
    ("antwerp", AuthorityKind::Customs),
    ("rotterdam", AuthorityKind::Customs),
    ("hamburg", AuthorityKind::Customs),
];

/// Runs commands at an office and records their output.
struct Scribe<'a> {
    office: &'a Office,
    federation: &'a Federation,
    told: String,
}

impl Scribe<'_> {
    fn says(&mut self, command: &[&str]) -> &mut Self {
        let output = self.office.run(command);
        self.told.push_str(&transcript(command, &output));
        self
    }

    /// Like [`Self::says`], without naming a node.
    fn alone(&mut self, command: &[&str]) -> &mut Self {
        let output = self.office.user().run(command);
        self.told.push_str(&transcript(command, &output));
        self
    }

    fn signs(&mut self, by: &str, command: &[&str]) -> &mut Self {
        let output = self.office.signed(by, command);
        self.told.push_str(&format!("# {by} signs\n"));
        self.told.push_str(&transcript(command, &output));
        self
    }

    /// Returns the output recorded since the last call, with replacements for what differs from run
    /// to run.
    fn page(&mut self) -> String {
        let places = [
            (self.office.folder().display().to_string(), "~"),
            (self.federation.folder().display().to_string(), "/srv"),
        ];
        let mut told = std::mem::take(&mut self.told);
        for (place, name) in places {
            told = told.replace(&place, name);
        }
        told.lines().map(|line| steady(line) + "\n").collect()
    }
}

/// Replaces each time, id and number in a line that differs from run to run by a token.
fn steady(line: &str) -> String {
    let mut words = String::new();
    let mut gap = 0;
    for word in line.split(' ') {
        if word.is_empty() {
            gap += 1;
            continue;
        }
        if !words.is_empty() || gap > 0 {
            words.push_str(if gap > 0 { "  " } else { " " });
        }
        gap = 0;
        words.push_str(&steady_word(word));
    }
    // The difference of the clock and its uncertainty.
    let mut shown: Vec<&str> = words.split(' ').collect();
    for at in 0..shown.len() {
        if shown[at].starts_with('±') {
            shown[at] = "±N";
            shown[at - 1] = "N";
        }
    }
    shown.join(" ")
}

fn steady_word(word: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-.:".contains(c);
    let mut steady = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        steady.push_str(token(run));
        let other = after.find(is_part).unwrap_or(after.len());
        let (between, next) = after.split_at(other);
        steady.push_str(between);
        rest = next;
    }
    steady
}

fn token(run: &str) -> &str {
    let digits = run.chars().filter(char::is_ascii_digit).count();
    let is_time = run.len() >= 20 && run.ends_with('Z') && run.as_bytes().get(4) == Some(&b'-');
    let is_hex = run.len() >= 12 && digits > 0 && run.chars().all(|c| c.is_ascii_hexdigit());
    if is_time {
        "TIME"
    } else if run.parse::<std::net::SocketAddr>().is_ok() {
        "ADDRESS"
    } else if digits == run.len() && digits >= 3 {
        "N"
    } else if is_hex {
        "HEX"
    } else {
        run
    }
}

fn advisory(threat: &str, restricted: bool) -> Draft {
    let mut marking = Marking::new(Tlp::Green, [Purpose::CustomsControl]);
    if restricted {
        marking.release_to = Some(["antwerp".parse().unwrap()].into());
        marking.handling = HandlingCodes {
            h3: Some("for the harbour unit alone".to_owned()),
            ..HandlingCodes::default()
        };
    }
    let assessment = Assessment {
        threat: threat.to_owned(),
        finding: None,
        text: String::new(),
    };
    Draft::new(
        Kind::Advisory,
        marking,
        Evaluation::default(),
        vec![Body::Assessment(assessment)],
    )
}

/// Publishes at `from` and waits until `to` has answered with this outcome.
async fn exchanged(from: &Arc<Kernel>, to: &str, draft: Draft, outcome: Outcome) -> RecordId {
    let id = from.publish(vec![draft]).await.unwrap()[0];
    eventually(from, || {
        let row = from.store().disclosure(&id, &to.parse().unwrap()).unwrap();
        row.map(|row| row.state) == Some(DisclosureState::Answered(outcome))
    })
    .await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_asks_of_a_running_node_prints_as_before() {
    let federation = Federation::new(&MEMBERS);
    let antwerp = Running::start(federation.home("antwerp")).await;
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let office = Office::open(&antwerp);
    let mut scribe = Scribe {
        office: &office,
        federation: &federation,
        told: String::new(),
    };
    exchanged(
        &antwerp.kernel,
        "rotterdam",
        advisory("own", false),
        Outcome::Accepted,
    )
    .await;
    let held = |threat| {
        exchanged(
            &rotterdam.kernel,
            "antwerp",
            advisory(threat, true),
            Outcome::Held,
        )
    };
    let (first, second) = (held("one").await.to_string(), held("two").await.to_string());

    scribe
        .says(&["hold", "list"])
        .says(&["hold", "list", "--from", "hamburg"])
        .says(&["hold", "show", &first])
        .says(&["hold", "show", "ffffffffffff"])
        .signs("admin", &["hold", "release", &first, "--reason", "read"])
        .signs("anna", &["hold", "release", &first, "--reason", "read"])
        .signs("anna", &["hold", "release", &first, "--reason", "again"])
        .signs("anna", &["hold", "drop", &second, "--reason", "not ours"])
        .says(&["hold", "list"]);
    insta::assert_snapshot!("hold", scribe.page());

    scribe
        .says(&["quarantine", "list"])
        .says(&["quarantine", "list", "--json"])
        .says(&["quarantine", "show", "7"])
        .signs(
            "anna",
            &[
                "quarantine",
                "drop",
                "--rule",
                "RE-11",
                "--reason",
                "looked into",
            ],
        )
        .signs("anna", &["quarantine", "drop", "7", "--reason", ""]);
    insta::assert_snapshot!("quarantine", scribe.page());

    let unknown = "ab".repeat(32);
    let older = ["dispatch", "backfill", "rotterdam", "--since", "2021-03-01"];
    scribe
        .says(&["dispatch", "undelivered"])
        .says(&["dispatch", "forks"])
        .signs("admin", &["dispatch", "retry", &unknown, "rotterdam"])
        .signs("admin", &["dispatch", "retry", "abab", "rotterdam"])
        .says(&older)
        .says(&["dispatch", "backfill", "nowhere", "--since", "2021-03-01"])
        .signs("admin", &["dispatch", "backfill", "hamburg", "--cancel"])
        .signs(
            "anna",
            &[
                "dispatch",
                "backfill",
                "hamburg",
                "--since",
                "2021-03-01",
                "--yes",
            ],
        )
        .signs("admin", &["dispatch", "backfill", "hamburg", "--cancel"])
        .says(&["dispatch", "status"]);
    insta::assert_snapshot!("dispatch", scribe.page());

    let met = || {
        let listed = office.json(&["peer", "list"]);
        let items = listed["items"].as_array().unwrap();
        let of = |node: &str| {
            items
                .iter()
                .find(|one| one["node"] == node)
                .unwrap()
                .clone()
        };
        let (there, away) = (of("rotterdam"), of("hamburg"));
        !there["delivers_since"].is_null()
            && there["state"] == "connected"
            && !away["failure"].is_null()
    };
    eventually(&antwerp.kernel, met).await;
    scribe
        .says(&["peer", "list"])
        .signs("anna", &["peer", "block", "hamburg"])
        .signs(
            "admin",
            &["peer", "block", "hamburg", "--reason", "a drill"],
        )
        .signs("admin", &["peer", "block", "nowhere"])
        .signs("anna", &["release", "stop", "all", "--reason", "a drill"]);
    let closed = || {
        let listed = office.json(&["peer", "list"]);
        let items = listed["items"].as_array().unwrap();
        items.iter().all(|one| one["connected_since"].is_null())
    };
    eventually(&antwerp.kernel, closed).await;
    scribe
        .says(&["peer", "list"])
        .signs("anna", &["release", "resume", "all"])
        .signs("admin", &["peer", "unblock", "hamburg", "--json"])
        .signs("admin", &["clock", "confirm"])
        .signs("anna", &["clock", "confirm"]);
    insta::assert_snapshot!("peer", scribe.page());

    let (data, keys) = ("data", "keys");
    let verify = ["backup", "verify", data, "--keys", keys];
    let restore = ["restore", "--from", data, "--keys", keys];
    scribe
        .says(&["backup", "--to", data, "--keys-to", keys])
        .signs("anna", &["backup", "--to", data, "--keys-to", keys])
        .signs("admin", &["backup", "--to", data, "--keys-to", keys])
        .signs("admin", &["backup", "--to", data, "--keys-to", keys])
        .signs("admin", &["backup", "--to", "x/..", "--keys-to", "y"])
        .says(&verify)
        .says(&["backup", "verify", keys])
        .says(&restore)
        .says(&["keys", "rotate", "--use", "log", "--out", "antwerp.request"])
        .says(&["keys", "rotate", "--use", "log", "--out", "antwerp.request"]);
    scribe.alone(&[&["--home", "again"], &restore[..]].concat());
    std::fs::write(office.folder().join("data/portcullis.toml"), "").unwrap();
    scribe
        .says(&verify)
        .alone(&[&["--home", "third"], &restore[..]].concat());
    assert!(!office.folder().join("third").exists());
    insta::assert_snapshot!("backup", scribe.page());
    antwerp.stop().await;
    rotterdam.stop().await;
}

/// Attack HM10, HL5: who had what done, when, and how it ended can be read, by those who watch over it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_events_and_acts_prints_as_before() {
    let federation = Federation::new(&MEMBERS[..1]);
    let antwerp = Running::start(federation.home("antwerp")).await;
    let office = Office::open(&antwerp);
    office.enrol("otto", "auditor");
    let mut scribe = Scribe {
        office: &office,
        federation: &federation,
        told: String::new(),
    };
    office.user().file("wrong.csv", "nothing\n");
    office.good("admin", &["clock", "confirm"]);
    let wrong = office.signed("anna", &["consignment", "import", "wrong.csv"]);
    assert_eq!(wrong.status.code(), Some(3));
    office.good("admin", &["backup", "--to", "data", "--keys-to", "keys"]);
    scribe
        .signs("otto", &["log", "events"])
        .signs("otto", &["log", "acts"])
        .signs("otto", &["log", "acts", "--before", "3", "--limit", "1"])
        .signs("otto", &["log", "acts", "--before", "2", "--json"])
        .signs("otto", &["log", "acts", "--limit", "0"])
        .signs("admin", &["log", "acts"]);
    insta::assert_snapshot!("log", scribe.page());
    antwerp.stop().await;
}
