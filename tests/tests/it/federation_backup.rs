//! A node that is backed up while it runs, lost, and restored: it goes on with its peers both ways,
//! and nobody takes it for a fork.

use std::{
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use portcullis_node::{core::Core, home::Home, store::DisclosureState};
use portcullis_protocol::{
    body::{Assessment, Body},
    evaluation::Evaluation,
    marking::{Marking, Purpose, Tlp},
    record::{Kind, RecordId},
    register::AuthorityKind,
    seal::Draft,
};
use portcullis_tests::federation::{Federation, Member, Running, eventually};
use serde_json::Value;

use crate::binary::portcullis;

const MEMBERS: [Member; 2] = [
    ("rotterdam", AuthorityKind::Customs),
    ("antwerp", AuthorityKind::Customs),
];

fn advisory(threat: &str) -> Draft {
    let assessment = Assessment {
        threat: threat.to_owned(),
        finding: None,
        text: String::new(),
    };
    Draft::new(
        Kind::Advisory,
        Marking::new(Tlp::Green, [Purpose::CustomsControl]),
        Evaluation::default(),
        vec![Body::Assessment(assessment)],
    )
}

/// Publishes an advisory and waits until the peer has accepted it.
async fn deliver(from: &Arc<Core>, to: &str, threat: &str) -> RecordId {
    let id = from.publish(vec![advisory(threat)]).await.unwrap()[0];
    eventually(from, || is_accepted(from, to, &id)).await;
    id
}

fn is_accepted(from: &Core, to: &str, id: &RecordId) -> bool {
    let row = from.store().disclosure(id, &to.parse().unwrap()).unwrap();
    row.is_some_and(
        |row| matches!(row.state, DisclosureState::Answered(outcome) if outcome.is_admitted()),
    )
}

/// One record each way.
async fn exchange(rotterdam: &Running, antwerp: &Running, threat: &str) -> [RecordId; 2] {
    [
        deliver(&rotterdam.core, "antwerp", threat).await,
        deliver(&antwerp.core, "rotterdam", threat).await,
    ]
}

/// Runs the command line beside nodes that run in this process.
async fn command(home: &Home, arguments: &[&str]) -> Output {
    let mut command = Command::new(portcullis());
    command
        .args(["--json", "--home"])
        .arg(home.folder())
        .args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

async fn good(home: &Home, arguments: &[&str]) -> Value {
    let output = command(home, arguments).await;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn has_event(core: &Core, kind: &str) -> bool {
    let events = core.store().events(1_000).unwrap();
    events.iter().any(|event| event.kind == kind)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_lost_and_restored_goes_on_both_ways_and_is_no_fork() {
    let federation = Federation::new(&MEMBERS);
    let (data, keys) = (
        federation.folder().join("backup"),
        federation.folder().join("backup-keys"),
    );
    let (data, keys) = (text(&data), text(&keys));
    let antwerp = Running::start(federation.home("antwerp")).await;
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    exchange(&rotterdam, &antwerp, "before").await;
    let home = rotterdam.home.clone();
    let taken = good(&home, &["backup", "--to", data, "--keys-to", keys]).await;
    assert_eq!(taken["manifest"]["node"], "rotterdam");
    assert!(has_event(&rotterdam.core, "backup"));
    let again = command(&home, &["backup", "--to", data, "--keys-to", keys]).await;
    assert_eq!(again.status.code(), Some(3));
    let checked = good(&home, &["backup", "verify", data, "--keys", keys]).await;
    assert_eq!(checked["keys_checked"], true);
    // What follows is lost with the disk.
    exchange(&rotterdam, &antwerp, "after").await;
    let lost = rotterdam.core.store().generation().unwrap();
    std::fs::remove_dir_all(rotterdam.stop().await.folder()).unwrap();

    let new = Home::new(federation.folder().join("restored"));
    good(&new, &["restore", "--from", data, "--keys", keys]).await;
    let rotterdam = Running::start(new).await;
    assert_ne!(rotterdam.core.store().generation().unwrap(), lost);
    assert!(has_event(&rotterdam.core, "generation-started"));
    exchange(&rotterdam, &antwerp, "again").await;
    for core in [&rotterdam.core, &antwerp.core] {
        assert_eq!(core.store().forks().unwrap(), []);
        assert!(!has_event(core, "frame-refused"));
    }
    assert!(has_event(&antwerp.core, "peer-generation"));
    // A second start is one like any other.
    let generation = rotterdam.core.store().generation().unwrap();
    let rotterdam = Running::start(rotterdam.stop().await).await;
    assert_eq!(rotterdam.core.store().generation().unwrap(), generation);
    exchange(&rotterdam, &antwerp, "at last").await;
    rotterdam.stop().await;
    antwerp.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_run_is_backed_up_by_the_command_line() {
    let federation = Federation::new(&MEMBERS[..1]);
    let home = federation.home("rotterdam");
    let place = |name| federation.folder().join(name);
    let (data, keys, new) = (place("data"), place("keys"), place("new"));
    let (data, keys) = (text(&data), text(&keys));
    let together = command(&home, &["backup", "--to", data, "--keys-to", data]).await;
    assert_eq!(together.status.code(), Some(3));
    let nowhere = command(&home, &["backup", "--to", data]).await;
    assert_eq!(nowhere.status.code(), Some(64));
    good(&home, &["backup", "--to", data, "--keys-to", keys]).await;
    let wrong = command(&home, &["backup", "verify", keys]).await;
    assert_eq!(wrong.status.code(), Some(3));
    let copied = Path::new(data).join("data").join("store.db");
    let mut bytes = std::fs::read(&copied).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&copied, bytes).unwrap();
    let damaged = command(&home, &["backup", "verify", data]).await;
    assert_eq!(damaged.status.code(), Some(1));
    let new = Home::new(new);
    let refused = command(&new, &["restore", "--from", data, "--keys", keys]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(!new.folder().exists());
}
