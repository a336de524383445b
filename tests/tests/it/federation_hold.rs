//! Items that wait for a person at one node, and the decisions as their sender hears of them.

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
use portcullis_store::{DisclosureRow, DisclosureState, RecordFilter};
use portcullis_tests::federation::{Federation, Member, Running, eventually};

use crate::office::Office;

const MEMBERS: [Member; 2] = [
    ("rotterdam", AuthorityKind::Customs),
    ("antwerp", AuthorityKind::Customs),
];

/// An advisory under H3, released to antwerp by name. A person reads it there first.
fn restricted(threat: &str) -> Draft {
    let mut marking = Marking::new(Tlp::Green, [Purpose::CustomsControl]);
    marking.release_to = Some(["antwerp".parse().unwrap()].into());
    marking.handling = HandlingCodes {
        h3: Some("for the harbour unit alone".to_owned()),
        ..HandlingCodes::default()
    };
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

fn disclosure(rotterdam: &Kernel, id: &RecordId) -> Option<DisclosureRow> {
    let peer = "antwerp".parse().unwrap();
    rotterdam.store().disclosure(id, &peer).unwrap()
}

fn answer(rotterdam: &Kernel, id: &RecordId) -> Option<Outcome> {
    match disclosure(rotterdam, id)?.state {
        DisclosureState::Answered(outcome) => Some(outcome),
        DisclosureState::Intended | DisclosureState::Denied => None,
    }
}

/// Publishes restricted advisories at rotterdam and waits until antwerp holds them.
async fn held(rotterdam: &Arc<Kernel>, threats: &[&str]) -> Vec<RecordId> {
    let drafts = threats.iter().map(|threat| restricted(threat)).collect();
    let ids = rotterdam.publish(drafts).await.unwrap();
    eventually(rotterdam, || {
        ids.iter()
            .all(|id| answer(rotterdam, id) == Some(Outcome::Held))
    })
    .await;
    ids
}

fn records(kernel: &Kernel) -> usize {
    kernel
        .store()
        .records(&RecordFilter::default())
        .unwrap()
        .len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_releases_is_taken_in_and_its_sender_hears_it_at_once() {
    let federation = Federation::new(&MEMBERS);
    let antwerp = Running::start(federation.home("antwerp")).await;
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let office = Office::open(&antwerp);
    let ids = held(&rotterdam.kernel, &["one", "two", "three"]).await;
    let id = ids[0].to_string();
    let listed = office.json(&["hold", "list", "--from", "rotterdam", "--rule", "PO-03"]);
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
    assert_eq!(listed["items"][0]["policies"][0], "base-h3-held");
    let shown = office.run(&["hold", "show", &id]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("for the harbour unit alone"), "{shown}");
    assert_eq!(records(&antwerp.kernel), 0, "nothing held is a record");
    let release = ["hold", "release", &id, "--reason", "read"];
    let refused = office.signed("admin", &release);
    assert_eq!(
        refused.status.code(),
        Some(2),
        "an administrator decides on nothing"
    );
    let released = office.good("anna", &release);
    assert!(released.contains("accepted"), "{released}");
    // Without the decision the sender would ask again only after half a minute.
    eventually(&rotterdam.kernel, || {
        answer(&rotterdam.kernel, &ids[0]) == Some(Outcome::Accepted)
    })
    .await;
    assert_eq!(answer(&rotterdam.kernel, &ids[1]), Some(Outcome::Held));
    assert_eq!(records(&antwerp.kernel), 1);
    let again = office.signed("anna", &release);
    assert_ne!(again.status.code(), Some(0), "it waits no longer");
    // Without `--yes` the matching items are only counted.
    let all = [
        "hold",
        "release",
        "--from",
        "rotterdam",
        "--reason",
        "agreed",
    ];
    let counted = office.good("anna", &all);
    assert!(counted.contains("2 wait"), "{counted}");
    assert_eq!(records(&antwerp.kernel), 1);
    office.good("anna", &[&all[..], &["--yes"]].concat());
    eventually(&rotterdam.kernel, || {
        ids.iter()
            .all(|id| answer(&rotterdam.kernel, id) == Some(Outcome::Accepted))
    })
    .await;
    assert_eq!(records(&antwerp.kernel), 3);
    assert!(
        antwerp
            .kernel
            .store()
            .held_keys(None, 1)
            .unwrap()
            .is_empty()
    );
    rotterdam.stop().await;
    antwerp.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn po_04_what_a_person_declines_is_refused_for_good() {
    let federation = Federation::new(&MEMBERS);
    let antwerp = Running::start(federation.home("antwerp")).await;
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let office = Office::open(&antwerp);
    let ids = held(&rotterdam.kernel, &["one"]).await;
    let id = ids[0].to_string();
    office.good("anna", &["hold", "drop", &id, "--reason", "not ours"]);
    let reason = || disclosure(&rotterdam.kernel, &ids[0]).unwrap().reason;
    eventually(&rotterdam.kernel, || reason().as_deref() == Some("PO-04")).await;
    assert_eq!(answer(&rotterdam.kernel, &ids[0]), Some(Outcome::Refused));
    assert_eq!(records(&antwerp.kernel), 0);
    assert!(
        antwerp
            .kernel
            .store()
            .held_keys(None, 1)
            .unwrap()
            .is_empty()
    );
    rotterdam.stop().await;
    antwerp.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_policy_denies_meanwhile_no_person_takes_in() {
    let federation = Federation::new(&MEMBERS);
    let antwerp = Running::start(federation.home("antwerp")).await;
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let office = Office::open(&antwerp);
    let ids = held(&rotterdam.kernel, &["one"]).await;
    let deny = "@id(\"no-h3\")\nforbid (principal, action == Portcullis::Action::\"admit\", resource)\nwhen { context.marking.h3 };\n";
    std::fs::write(antwerp.home.policy().join("own.cedar"), deny).unwrap();
    antwerp.reload_accepting().await;
    let id = ids[0].to_string();
    let released = office.good("anna", &["hold", "release", &id, "--reason", "read"]);
    assert!(released.contains("refused (PO-01)"), "{released}");
    eventually(&rotterdam.kernel, || {
        answer(&rotterdam.kernel, &ids[0]) == Some(Outcome::Refused)
    })
    .await;
    assert_eq!(records(&antwerp.kernel), 0);
    rotterdam.stop().await;
    antwerp.stop().await;
}
