//! Delivery without loss: nodes that were rolled back, nodes that exist twice, and more records
//! than a frame takes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use openssl::{
    pkey::{Id, PKey},
    sign::Verifier,
};
use portcullis_home::Home;
use portcullis_kernel::{Kernel, health};
use portcullis_protocol::{
    body::{Assessment, Body},
    evaluation::Evaluation,
    frame::Lane,
    marking::{Marking, Purpose, Tlp},
    record::{Kind, RecordId},
    register::AuthorityKind,
    seal::Draft,
};
use portcullis_store::{DisclosureState, RecordFilter};
use portcullis_tests::federation::{Federation, Member, Running, eventually};

use crate::office::Office;

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

/// Publishes an advisory at rotterdam and waits until antwerp has accepted it.
async fn deliver(rotterdam: &Arc<Kernel>, threat: &str) -> RecordId {
    let id = rotterdam.publish(vec![advisory(threat)]).await.unwrap()[0];
    eventually(rotterdam, || is_accepted(rotterdam, &id)).await;
    id
}

fn is_accepted(rotterdam: &Kernel, id: &RecordId) -> bool {
    let peer = "antwerp".parse().unwrap();
    let row = rotterdam.store().disclosure(id, &peer).unwrap();
    row.is_some_and(
        |row| matches!(row.state, DisclosureState::Answered(outcome) if outcome.is_admitted()),
    )
}

fn has_event(kernel: &Kernel, kind: &str) -> bool {
    let events = kernel.store().events(1_000).unwrap();
    events.iter().any(|event| event.kind == kind)
}

/// Copies a store that nobody has open.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Keeps a copy of a stopped node's store under a name in its home.
fn keep(home: &Home, name: &str) -> PathBuf {
    let kept = home.folder().join(name);
    copy(&home.data(), &kept);
    kept
}

fn put_back(home: &Home, kept: &Path) {
    std::fs::remove_dir_all(home.data()).unwrap();
    copy(kept, &home.data());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ex_10_a_node_whose_store_was_rolled_back_starts_a_new_generation_and_goes_on() {
    let federation = Federation::new(&MEMBERS);
    let antwerp = Running::start(federation.home("antwerp")).await;
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    deliver(&rotterdam.kernel, "one").await;
    let home = rotterdam.stop().await;
    let backup = keep(&home, "backup");
    let rotterdam = Running::start(home).await;
    let first = rotterdam.kernel.store().generation().unwrap();
    for threat in ["two", "three"] {
        deliver(&rotterdam.kernel, threat).await;
    }
    let home = rotterdam.stop().await;
    put_back(&home, &backup);
    let rotterdam = Running::start(home).await;
    assert_eq!(rotterdam.kernel.store().generation().unwrap(), first);
    let four = deliver(&rotterdam.kernel, "four").await;
    assert_ne!(rotterdam.kernel.store().generation().unwrap(), first);
    assert!(has_event(&rotterdam.kernel, "generation-started"));
    assert!(has_event(&antwerp.kernel, "peer-generation"));
    assert_eq!(antwerp.kernel.store().forks().unwrap(), []);
    assert!(antwerp.kernel.store().record(&four).unwrap().is_some());
    let held = antwerp.kernel.store().records(&RecordFilter::default());
    assert_eq!(held.unwrap().len(), 4, "what was forgotten is not lost");
    rotterdam.stop().await;
    antwerp.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ex_11_of_two_nodes_with_one_key_the_second_history_is_refused_and_kept_as_evidence() {
    let federation = Federation::new(&MEMBERS);
    let antwerp = Running::start(federation.home("antwerp")).await;
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    deliver(&rotterdam.kernel, "one").await;
    let home = rotterdam.stop().await;
    let twin = keep(&home, "twin");
    let rotterdam = Running::start(home).await;
    deliver(&rotterdam.kernel, "two").await;
    let home = rotterdam.stop().await;
    let original = keep(&home, "original");
    // The twin does not know the second advisory; up to here it could as well have crashed.
    put_back(&home, &twin);
    let rotterdam = Running::start(home).await;
    for threat in ["the twin's two", "the twin's three"] {
        deliver(&rotterdam.kernel, threat).await;
    }
    let home = rotterdam.stop().await;
    put_back(&home, &original);
    let rotterdam = Running::start(home).await;
    let id = rotterdam
        .kernel
        .publish(vec![advisory("three")])
        .await
        .unwrap()[0];
    eventually(&rotterdam.kernel, || {
        let problems = health::problems(&rotterdam.kernel);
        problems
            .iter()
            .any(|problem| problem.what.contains("EX-11"))
    })
    .await;
    assert!(!is_accepted(&rotterdam.kernel, &id));
    let forks = antwerp.kernel.store().forks().unwrap();
    let [fork] = &forks[..] else {
        panic!("{forks:?}");
    };
    assert_eq!(fork.peer, "rotterdam".parse().unwrap());
    assert_eq!(fork.lane, Lane::Bulk);
    assert_ne!(fork.known, fork.forked);
    assert!(has_event(&antwerp.kernel, "fork"));
    assert!(!has_event(&rotterdam.kernel, "generation-started"));
    evidence_is_exported(&Office::open(&antwerp));
    rotterdam.stop().await;
    antwerp.stop().await;
}

/// Verifies both statements with OpenSSL, from the exported files alone.
fn evidence_is_exported(office: &Office) {
    let listed = office.json(&["dispatch", "forks", "--export", "evidence"]);
    let fork = &listed["items"][0];
    assert_eq!(fork["peer"], "rotterdam");
    assert_ne!(fork["known"]["chain"], fork["forked"]["chain"]);
    let hex = fork["known"]["public_key"].as_str().unwrap();
    let public = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
    let key = PKey::public_key_from_raw_bytes(&public, Id::ED25519).unwrap();
    let base64 = |value: &serde_json::Value| {
        let text = value.as_str().unwrap();
        data_encoding::BASE64.decode(text.as_bytes()).unwrap()
    };
    for name in ["known", "forked"] {
        let file = office
            .folder()
            .join(format!("evidence/fork-1-{name}.dsse.json"));
        let envelope: serde_json::Value =
            serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let payload = base64(&envelope["payload"]);
        let payload_type = envelope["payloadType"].as_str().unwrap();
        // https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
        let (type_length, length) = (payload_type.len(), payload.len());
        let mut signed = format!("DSSEv1 {type_length} {payload_type} {length} ").into_bytes();
        signed.extend(payload);
        let signature = base64(&envelope["signatures"][0]["sig"]);
        let mut verifier = Verifier::new_without_digest(&key).unwrap();
        assert!(
            verifier.verify_oneshot(&signature, &signed).unwrap(),
            "{name}"
        );
    }
    let again = office.run(&["dispatch", "forks", "--export", "evidence"]);
    assert!(!again.status.success(), "nothing is overwritten");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_window_of_frames_arrives_once_and_in_one_sequence() {
    const RECORDS: usize = 6_000;
    let federation = Federation::new(&MEMBERS);
    let antwerp = Running::start(federation.home("antwerp")).await;
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let drafts = vec![advisory("many"); RECORDS];
    let ids = rotterdam.kernel.publish(drafts).await.unwrap();
    let peer = "antwerp".parse().unwrap();
    let position = || {
        rotterdam
            .kernel
            .store()
            .position(&peer, Lane::Bulk)
            .unwrap()
    };
    eventually(&rotterdam.kernel, || {
        position().next_sequence == 1 + RECORDS as u64
    })
    .await;
    assert!(ids.iter().all(|id| is_accepted(&rotterdam.kernel, id)));
    let held = antwerp.kernel.store().records(&RecordFilter::default());
    assert_eq!(held.unwrap().len(), RECORDS);
    rotterdam.stop().await;
    antwerp.stop().await;
}
