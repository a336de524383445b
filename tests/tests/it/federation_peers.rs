//! `portcullis peer list`: the state of each peer at a glance.

use portcullis_protocol::{
    body::{Assessment, Body},
    evaluation::Evaluation,
    marking::{Marking, Purpose, Tlp},
    record::Kind,
    register::AuthorityKind,
    seal::Draft,
};
use portcullis_tests::federation::{Federation, Member, Running, eventually};
use serde_json::Value;

use crate::office::Office;

const MEMBERS: [Member; 3] = [
    ("rotterdam", AuthorityKind::Customs),
    ("antwerp", AuthorityKind::Customs),
    ("hamburg", AuthorityKind::Customs),
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

fn line(office: &Office, peer: &str) -> Value {
    let listed = office.json(&["peer", "list"]);
    assert_eq!(listed["schema"], "portcullis/peers/v1");
    let items = listed["items"].as_array().unwrap();
    let line = items.iter().find(|one| one["node"] == peer);
    line.unwrap_or_else(|| panic!("no `{peer}` in {listed}"))
        .clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_peer_is_listed_with_what_an_administrator_asks_first() {
    let federation = Federation::new(&MEMBERS);
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let antwerp = Running::start(federation.home("antwerp")).await;
    let office = Office::open(&rotterdam);
    rotterdam
        .kernel
        .publish(vec![advisory("one")])
        .await
        .unwrap();
    eventually(&rotterdam.kernel, || {
        let line = line(&office, "antwerp");
        line["behind_bulk"] == 0
            && line["last_receipt"].is_string()
            && !line["delivers_since"].is_null()
    })
    .await;
    let there = line(&office, "antwerp");
    assert_eq!(there["state"], "connected");
    for known in ["connected_since", "certificate_ends", "clock_ahead_ms"] {
        assert!(!there[known].is_null(), "{known} of {there}");
    }
    // No node has ever run at hamburg.
    eventually(&rotterdam.kernel, || {
        line(&office, "hamburg")["failure"].is_string()
    })
    .await;
    let away = line(&office, "hamburg");
    assert_eq!(
        (&away["state"], &away["behind_bulk"]),
        (&"unreachable".into(), &1.into())
    );
    assert!(away["connected_since"].is_null() && away["certificate_ends"].is_null());
    assert!(away["last_heard"].is_null() && away["unreachable_since"].is_string());
    let why = away["unreachable"].as_str().unwrap();
    assert!(why.starts_with("nothing listens at `"), "{why}");
    antwerp.stop().await;
    eventually(&rotterdam.kernel, || {
        let lost = line(&office, "antwerp");
        lost["state"] == "unreachable" && lost["last_heard"].is_string()
    })
    .await;
    office.good("admin", &["peer", "block", "antwerp"]);
    assert_eq!(line(&office, "antwerp")["state"], "blocked here");
    office.good("anna", &["release", "stop", "hamburg"]);
    let page = String::from_utf8(office.run(&["peer", "list"]).stdout).unwrap();
    let of = |node: &str| page.lines().find(|line| line.starts_with(node)).unwrap();
    assert!(of("hamburg").contains("release stopped here"), "{page}");
    rotterdam.stop().await;
}

/// Newcomer A12, B3: a peer that was not there at the start looked dead until something was sent to
/// it, and one that is blocked at the other end was told of in the words of the TLS library.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_peer_is_reachable_and_one_that_blocks_this_node_says_so_in_words() {
    let federation = Federation::new(&MEMBERS);
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let office = Office::open(&rotterdam);
    eventually(&rotterdam.kernel, || {
        line(&office, "antwerp")["state"] == "unreachable"
    })
    .await;
    // Nothing is published: only a probe can find it.
    let antwerp = Running::start(federation.home("antwerp")).await;
    eventually(&rotterdam.kernel, || {
        let state = line(&office, "antwerp")["state"].clone();
        state == "reachable" || state == "connected"
    })
    .await;
    let there = Office::open(&antwerp);
    there.good("admin", &["peer", "block", "rotterdam"]);
    eventually(&rotterdam.kernel, || {
        line(&office, "antwerp")["state"] == "unreachable"
    })
    .await;
    let lost = line(&office, "antwerp");
    let why = lost["unreachable"].as_str().unwrap();
    assert_eq!(
        why,
        "it refuses this node's certificate, and does not say why"
    );
    let remedy = lost["unreachable_do"].as_str().unwrap();
    assert!(remedy.contains("blocked"), "{remedy}");
    let page = String::from_utf8(office.run(&["status"]).stdout).unwrap();
    for rust in ["Error", "Custom", "::", "kind:", "Some("] {
        assert!(!page.contains(rust), "{rust} in {page}");
    }
    antwerp.stop().await;
    rotterdam.stop().await;
}
