//! A node that is backed up while it runs, lost, and restored: it continues with its peers both
//! ways, and nobody takes it for a fork.

use std::{
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use portcullis_exchange::reconcile;
use portcullis_home::Home;
use portcullis_kernel::{Kernel, calls::Call};
use portcullis_protocol::{
    body::{Assessment, Body},
    evaluation::Evaluation,
    marking::{Marking, Purpose, Tlp},
    reconcile::Summary,
    record::{Kind, RecordId},
    register::AuthorityKind,
    seal::Draft,
};
use portcullis_store::{ChannelSide, DisclosureState, Found, Write, writer::Priority};
use portcullis_tests::federation::{Federation, Member, Running, eventually};
use serde_json::Value;

use crate::{binary::portcullis, office::Office};

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
async fn deliver(from: &Arc<Kernel>, to: &str, threat: &str) -> RecordId {
    let id = from.publish(vec![advisory(threat)]).await.unwrap()[0];
    eventually(from, || is_accepted(from, to, &id)).await;
    id
}

fn is_accepted(from: &Kernel, to: &str, id: &RecordId) -> bool {
    let row = from.store().disclosure(id, &to.parse().unwrap()).unwrap();
    row.is_some_and(
        |row| matches!(row.state, DisclosureState::Answered(outcome) if outcome.is_admitted()),
    )
}

/// Delivers one record each way.
async fn exchange(rotterdam: &Running, antwerp: &Running, threat: &str) -> [RecordId; 2] {
    [
        deliver(&rotterdam.kernel, "antwerp", threat).await,
        deliver(&antwerp.kernel, "rotterdam", threat).await,
    ]
}

fn holds(kernel: &Kernel, ids: &[RecordId]) -> bool {
    let held = |id: &RecordId| kernel.store().record(id).unwrap().is_some();
    ids.iter().all(held)
}

fn summaries(sender: &Kernel, receiver: &Kernel) -> [Summary; 2] {
    let of = |kernel: &Kernel, other: &Kernel, side| {
        reconcile::summary(kernel.store().as_ref(), &other.me().node, side).unwrap()
    };
    [
        of(sender, receiver, ChannelSide::Sent),
        of(receiver, sender, ChannelSide::Received),
    ]
}

/// Waits until both ends of both channels between two nodes agree.
async fn level(one: &Arc<Kernel>, other: &Arc<Kernel>) {
    eventually(one, || {
        [(one, other), (other, one)]
            .iter()
            .all(|(sender, receiver)| {
                let [sent, received] = summaries(sender, receiver);
                sent == received
            })
    })
    .await;
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

fn has_event(kernel: &Kernel, kind: &str) -> bool {
    let events = kernel.store().events(1_000).unwrap();
    events.iter().any(|event| event.kind == kind)
}

/// Returns the details of all events of a kind.
fn details(kernel: &Kernel, kind: &str) -> Vec<String> {
    let events = kernel.store().events(1_000).unwrap().into_iter();
    let of_kind = events.filter(|event| event.kind == kind);
    of_kind.map(|event| event.detail).collect()
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
    let mut all = exchange(&rotterdam, &antwerp, "before").await.to_vec();
    let home = rotterdam.home.clone();
    let office = Office::open(&rotterdam);
    let order = ["--json", "backup", "--to", data, "--keys-to", keys];
    // Attack HH1: it takes an administrator's signature.
    assert_eq!(office.run(&order).status.code(), Some(64));
    assert_eq!(office.signed("anna", &order).status.code(), Some(2));
    assert!(!has_event(&rotterdam.kernel, "backup"));
    let taken: Value = serde_json::from_str(&office.good("admin", &order)).unwrap();
    assert_eq!(taken["manifest"]["node"], "rotterdam");
    assert!(has_event(&rotterdam.kernel, "backup"));
    let again = office.signed("admin", &order);
    assert_eq!(again.status.code(), Some(3));
    let checked = good(&home, &["backup", "verify", data, "--keys", keys]).await;
    assert_eq!(checked["keys_checked"], true);
    let log = rotterdam.kernel.log_key().id().to_string();
    assert_eq!(checked["signed"]["key"], log.as_str());
    assert_eq!(checked["signed"]["vouched"]["register"], 2);
    // Without the keys, the register alone supports the signature; with another pin it is refused.
    let alone = ["backup", "verify", data];
    let pin = checked["signed"]["pin"].as_str().unwrap();
    good(&home, &[&alone[..], &["--pin", pin]].concat()).await;
    let elsewhere = ["--pin", &"ab".repeat(32)];
    let refused = command(&home, &[&alone[..], &elsewhere].concat()).await;
    assert_eq!(refused.status.code(), Some(1));
    // The next records are lost with the disk.
    let forgotten = exchange(&rotterdam, &antwerp, "after").await;
    all.extend(forgotten);
    let lost = rotterdam.kernel.store().generation().unwrap();
    std::fs::remove_dir_all(rotterdam.stop().await.folder()).unwrap();

    let new = Home::new(federation.folder().join("restored"));
    good(&new, &["restore", "--from", data, "--keys", keys]).await;
    let rotterdam = Running::start(new).await;
    assert_ne!(rotterdam.kernel.store().generation().unwrap(), lost);
    assert!(has_event(&rotterdam.kernel, "generation-started"));
    all.extend(exchange(&rotterdam, &antwerp, "again").await);
    // The lost records come back, both those it made itself and those it was given.
    eventually(&rotterdam.kernel, || holds(&rotterdam.kernel, &all)).await;
    assert!(holds(&antwerp.kernel, &all));
    let [own, given] = forgotten;
    eventually(&rotterdam.kernel, || {
        is_accepted(&rotterdam.kernel, "antwerp", &own)
            && is_accepted(&antwerp.kernel, "rotterdam", &given)
    })
    .await;
    let row = rotterdam
        .kernel
        .store()
        .disclosure(&own, &"antwerp".parse().unwrap());
    assert_eq!(row.unwrap().unwrap().note.policies, ["reconciled"]);
    // The peer that gave the record back has it in its ledger.
    let row = antwerp
        .kernel
        .store()
        .disclosure(&own, &"rotterdam".parse().unwrap());
    let row = row.unwrap().unwrap();
    assert_eq!(row.note.policies, ["given-back"]);
    assert_eq!(row.state, DisclosureState::Intended);
    // Nothing was admitted twice: each record has one pack's place of 32 sequence numbers.
    for kernel in [&rotterdam.kernel, &antwerp.kernel] {
        assert_eq!(kernel.store().log_end().unwrap() / 32, all.len() as u64);
    }
    level(&rotterdam.kernel, &antwerp.kernel).await;
    for kernel in [&rotterdam.kernel, &antwerp.kernel] {
        assert_eq!(kernel.store().forks().unwrap(), []);
        assert_eq!(details(kernel, "frame-refused"), [""; 0]);
    }
    assert!(has_event(&antwerp.kernel, "peer-generation"));
    // A second start is an ordinary one.
    let generation = rotterdam.kernel.store().generation().unwrap();
    let rotterdam = Running::start(rotterdam.stop().await).await;
    assert_eq!(rotterdam.kernel.store().generation().unwrap(), generation);
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

/// Changes the database of a stopped node directly.
fn behind_its_back(home: &Home, sql: &str) {
    let main = rusqlite::Connection::open(home.data().join("store.db")).unwrap();
    main.execute_batch(sql).unwrap();
}

/// A second node at one home wrapped keys that the first one then no longer opened, and sealed rows by
/// other sums, before it found the port taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_at_a_home_is_refused_before_it_opens_the_store() {
    let federation = Federation::new(&MEMBERS);
    let antwerp = Running::start(federation.home("antwerp")).await;
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let home = federation.home("antwerp");
    let keys = || std::fs::read(home.keys()).unwrap();
    let before = keys();
    let refused = command(&home, &["run"]).await;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && told.contains("another process uses"),
        "{told}"
    );
    assert_eq!(keys(), before);
    exchange(&rotterdam, &antwerp, "after").await;
    rotterdam.stop().await;
    antwerp.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_a_receiver_lost_is_found_and_sent_again_but_not_one_that_was_withdrawn() {
    let federation = Federation::new(&MEMBERS);
    let antwerp = Running::start(federation.home("antwerp")).await;
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let mut ids = Vec::new();
    // Each record has a frame of its own and therefore a pack of its own, at 32, 64 and 96.
    for threat in ["one", "two", "three"] {
        ids.push(deliver(&rotterdam.kernel, "antwerp", threat).await);
    }
    let home = antwerp.stop().await;
    behind_its_back(&home, "DELETE FROM pack WHERE n IN (1, 3)");
    let withdraw = Write::Withdraw {
        records: ids[2..].to_vec(),
        outcome: "recalled".to_owned(),
        at: rotterdam.kernel.now(),
    };
    rotterdam
        .kernel
        .commit(Priority::Bulk, vec![withdraw])
        .await
        .unwrap();
    assert!(!holds(&rotterdam.kernel, &ids[2..]));
    let sender = rotterdam.stop().await;
    let antwerp = Running::start(home).await;
    let rotterdam = Running::start(sender).await;
    assert!(!holds(&antwerp.kernel, &ids[..1]));
    let peer = antwerp.kernel.me().node.clone();
    eventually(&antwerp.kernel, || {
        // A call has no effect before the node is up.
        rotterdam.kernel.call_to_compare(Call::With(peer.clone()));
        holds(&antwerp.kernel, &ids[..2])
    })
    .await;
    level(&rotterdam.kernel, &antwerp.kernel).await;
    assert!(!holds(&antwerp.kernel, &ids[2..]), "it was withdrawn");
    eventually(&rotterdam.kernel, || {
        has_event(&rotterdam.kernel, "reconciled")
    })
    .await;
    let expected = Found {
        owed: 1,
        withdrawn: 1,
        ..Found::default()
    };
    let told = details(&rotterdam.kernel, "reconciled");
    assert_eq!(told, [expected.to_string()]);
    rotterdam.stop().await;
    antwerp.stop().await;
}
