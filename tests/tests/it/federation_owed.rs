//! Records that a peer is owed: older ones once they are permitted, and those that were given up.

use std::sync::Arc;

use portcullis_kernel::Kernel;
use portcullis_protocol::{
    body::{Assessment, Body},
    digest::Digest,
    evaluation::Evaluation,
    frame::{Answer, Generation, Lane, Outcome},
    keys::{KeyUse, SigningKey},
    marking::{Marking, Purpose, Tlp},
    record::{Form, Kind, RecordId},
    register::AuthorityKind,
    seal::Draft,
    statement::{SignedStatement, StatementType},
};
use portcullis_store::{DisclosureState, RecordFilter, Settle, Write, writer::Priority};
use portcullis_tests::federation::{Federation, Member, Running, Site, eventually};

use crate::office::Office;

const MEMBERS: [Member; 2] = [
    ("rotterdam", AuthorityKind::Customs),
    ("antwerp", AuthorityKind::Customs),
];

fn draft(kind: Kind, threat: &str) -> Draft {
    let assessment = Assessment {
        threat: threat.to_owned(),
        finding: None,
        text: String::new(),
    };
    Draft::new(
        kind,
        Marking::new(Tlp::Green, [Purpose::CustomsControl]),
        Evaluation::default(),
        vec![Body::Assessment(assessment)],
    )
}

async fn published(rotterdam: &Arc<Kernel>, threats: &[&str]) -> Vec<RecordId> {
    let drafts = threats.iter().map(|threat| draft(Kind::Advisory, threat));
    rotterdam.publish(drafts.collect()).await.unwrap()
}

fn state(rotterdam: &Kernel, id: &RecordId) -> Option<DisclosureState> {
    let peer = "antwerp".parse().unwrap();
    let row = rotterdam.store().disclosure(id, &peer).unwrap();
    row.map(|row| row.state)
}

fn accepted(rotterdam: &Kernel, ids: &[RecordId]) -> bool {
    let accepted = Some(DisclosureState::Answered(Outcome::Accepted));
    ids.iter().all(|id| state(rotterdam, id) == accepted)
}

fn records(kernel: &Kernel) -> usize {
    kernel
        .store()
        .records(&RecordFilter::default())
        .unwrap()
        .len()
}

const LONG_AGO: &str = "2021-03-01";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_policy_newly_permits_is_sent_by_a_backfill_alone_and_once() {
    let federation = Federation::new(&MEMBERS);
    let deny = "@id(\"not-yet\")\nforbid (principal, action == Portcullis::Action::\"release\", resource);\n";
    let policy = federation.home("rotterdam").policy().join("own.cedar");
    std::fs::write(&policy, deny).unwrap();
    let antwerp = Running::start(federation.home("antwerp")).await;
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let office = Office::open(&rotterdam);
    let denied = published(&rotterdam.kernel, &["one", "two", "three"]).await;
    let is_denied = |id| state(&rotterdam.kernel, id) == Some(DisclosureState::Denied);
    eventually(&rotterdam.kernel, || denied.iter().all(is_denied)).await;
    std::fs::remove_file(&policy).unwrap();
    rotterdam.reload_accepting().await;
    let new = published(&rotterdam.kernel, &["four"]).await;
    eventually(&rotterdam.kernel, || accepted(&rotterdam.kernel, &new)).await;
    assert!(
        denied.iter().all(is_denied),
        "a widened policy sends nothing by itself"
    );
    let backfill = ["dispatch", "backfill", "antwerp", "--since", LONG_AGO];
    let preview = office.json(&backfill);
    assert_eq!(preview["looked_at"], 4);
    assert_eq!(preview["nothing_new"], 1, "{preview}");
    assert_eq!(preview["sends"][0]["records"], 3, "{preview}");
    assert_eq!(preview["sends"][0]["gets"][0], "assessment");
    assert!(preview["denied"].as_array().unwrap().is_empty());
    assert_eq!(records(&antwerp.kernel), 1, "a preview sends nothing");
    let send = [&backfill[..], &["--yes", "--reason", "agreed"]].concat();
    let refused = office.signed("admin", &send);
    assert_eq!(
        refused.status.code(),
        Some(2),
        "an administrator releases nothing"
    );
    office.good("anna", &send);
    eventually(&rotterdam.kernel, || accepted(&rotterdam.kernel, &denied)).await;
    assert_eq!(records(&antwerp.kernel), 4);
    let ended = || {
        let rows = rotterdam.kernel.store().backfills().unwrap();
        rows.iter().all(|row| row.ended_at.is_some())
    };
    eventually(&rotterdam.kernel, ended).await;
    let status = office.json(&["dispatch", "status"]);
    let backfills = status["backfills"].as_array().unwrap();
    let bulk = backfills.iter().find(|row| row["log"] == "bulk").unwrap();
    assert_eq!(
        (&bulk["looked_at"], &bulk["sent"]),
        (&4.into(), &3.into()),
        "{bulk}"
    );
    // Nothing is left to send.
    let preview = office.json(&backfill);
    assert_eq!(preview["nothing_new"], 4, "{preview}");
    rotterdam.stop().await;
    antwerp.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_member_gets_what_comes_from_now_on_and_what_is_older_by_a_backfill() {
    let mut newcomer = None;
    let mut federation = Federation::altered(
        &MEMBERS,
        |_| Site::free(),
        |register| {
            newcomer = register.authorities.remove(&"antwerp".parse().unwrap());
        },
    );
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let office = Office::open(&rotterdam);
    let before = published(&rotterdam.kernel, &["before"]).await;
    let alert = rotterdam
        .kernel
        .publish(vec![draft(Kind::Advisory, "also before")])
        .await
        .unwrap();
    federation.next_epoch("rotterdam", |register| {
        let antwerp = newcomer.take().unwrap();
        register.authorities.insert(antwerp.id.clone(), antwerp);
    });
    assert_eq!(rotterdam.reloader.take_up().await.unwrap(), 3);
    let home = federation.home("antwerp");
    let epoch = |home| portcullis_home::membership::epoch_path(home, 3);
    std::fs::copy(epoch(&federation.home("rotterdam")), epoch(&home)).unwrap();
    let antwerp = Running::start(home).await;
    let after = published(&rotterdam.kernel, &["after"]).await;
    eventually(&rotterdam.kernel, || accepted(&rotterdam.kernel, &after)).await;
    assert_eq!(state(&rotterdam.kernel, &before[0]), None);
    assert_eq!(records(&antwerp.kernel), 1);
    let backfill = [
        "dispatch", "backfill", "antwerp", "--since", LONG_AGO, "--yes",
    ];
    office.good("anna", &backfill);
    eventually(&rotterdam.kernel, || {
        accepted(&rotterdam.kernel, &before) && accepted(&rotterdam.kernel, &alert)
    })
    .await;
    assert_eq!(records(&antwerp.kernel), 3);
    rotterdam.stop().await;
    antwerp.stop().await;
}

/// Statement type of a receipt, as far as this test needs one.
enum Receipt {}

impl StatementType for Receipt {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.receipt.v1";
    const KEY_USE: KeyUse = KeyUse::Hop;
}

/// A write by which antwerp held a record eight days ago and has not answered since.
fn held_long_ago(rotterdam: &Kernel, record: RecordId) -> Write {
    let now = rotterdam.now().plus_millis(-8 * 24 * 3_600_000);
    let key = SigningKey::from_seed(KeyUse::Hop, [9; 32]);
    Write::Settle(Settle {
        peer: "antwerp".parse().unwrap(),
        lane: Lane::Bulk,
        now,
        // The receipt is of another generation: its answer counts, but no position moves.
        generation: Generation::from_bytes([1; 16]),
        frame: Digest::from_bytes([2; 32]),
        first_sequence: 1,
        answers: vec![Answer {
            record,
            form: Form::from_bits(1),
            outcome: Outcome::Held,
            reason: Some("PO-03".to_owned()),
        }],
        receipt: SignedStatement::sign::<Receipt>(b"receipt".to_vec().into(), &key).unwrap(),
        cursor: None,
        next_sequence: 2,
        retry_at: now.plus_millis(60_000),
        expires: Vec::new(),
        filled: None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_is_listed_and_tried_again_by_a_signed_act() {
    let federation = Federation::new(&MEMBERS);
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let office = Office::open(&rotterdam);
    // Nothing is planned meanwhile, so the last answer of antwerp stays the one shown.
    office.good(
        "admin",
        &["release", "stop", "antwerp", "--reason", "a test"],
    );
    let id = published(&rotterdam.kernel, &["one"]).await[0];
    let settle = held_long_ago(&rotterdam.kernel, id);
    rotterdam
        .kernel
        .commit(Priority::Bulk, vec![settle])
        .await
        .unwrap();
    let listed = office.json(&["dispatch", "undelivered", "--peer", "antwerp"]);
    let given_up = &listed["items"][0];
    assert_eq!(given_up["record"], id.to_string());
    assert_eq!(
        (&given_up["state"], &given_up["reason"]),
        (&"held".into(), &"PO-03".into())
    );
    let short = format!("{id:.12}");
    office.good(
        "admin",
        &[
            "dispatch",
            "retry",
            &short,
            "antwerp",
            "--reason",
            "it is back",
        ],
    );
    let listed = office.json(&["dispatch", "undelivered"]);
    assert!(listed["items"].as_array().unwrap().is_empty());
    let status = office.json(&["dispatch", "status"]);
    assert_eq!(status["exceptions"][0]["count"], 1, "{status}");
    let never = "0".repeat(64);
    let refused = office.signed("admin", &["dispatch", "retry", &never, "antwerp"]);
    assert!(!refused.status.success());
    rotterdam.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_that_is_cancelled_sends_no_more_and_says_so() {
    let federation = Federation::new(&MEMBERS);
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let office = Office::open(&rotterdam);
    published(&rotterdam.kernel, &["one", "two"]).await;
    // Antwerp does not run, so the range waits.
    let cancel = ["dispatch", "backfill", "antwerp", "--cancel"];
    let nothing = office.signed("admin", &cancel);
    assert_eq!(nothing.status.code(), Some(3), "nothing was entered yet");
    let enter = [
        "dispatch", "backfill", "antwerp", "--since", LONG_AGO, "--yes",
    ];
    office.good("anna", &enter);
    let bulk = || {
        let status = office.json(&["dispatch", "status"]);
        let rows = status["backfills"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["log"] == "bulk").unwrap()
    };
    assert_eq!(bulk()["cancelled"], false);
    assert!(bulk()["ended_at"].is_null());
    let both = office.signed("anna", &[&cancel[..], &["--yes"]].concat());
    assert_eq!(both.status.code(), Some(64));
    let told = office.good(
        "admin",
        &[&cancel[..], &["--reason", "wrong year"]].concat(),
    );
    assert!(told.contains("what was sent stays sent"), "{told}");
    assert_eq!(bulk()["cancelled"], true);
    assert!(bulk()["ended_at"].is_string());
    let page = String::from_utf8(office.run(&["dispatch", "status"]).stdout).unwrap();
    assert!(page.contains("cancelled"), "{page}");
    rotterdam.stop().await;
}
