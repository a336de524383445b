//! An item that a peer delivers and that fails verification is set apart with its reason; no other
//! item is.

use portcullis_protocol::record::Kind;
use portcullis_tests::hostile::{
    forge::{Loose, Who},
    stage::{Theatre, draft},
};

use crate::office::Office;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_verification_is_set_apart_with_rule_and_reason() {
    let mut stage = Theatre::start().await;
    let office = Office::open(&stage.target);
    let record = stage.honest_record(draft(Kind::Indicator)).await;
    let mut item = Loose::of(&record);
    let (first, second) = (item.section(2).salt.clone(), item.section(3).salt.clone());
    item.section(2).salt = second;
    item.section(3).salt = first;
    assert_eq!(stage.deliver(Who::Hub, &item).await, "refused RE-11");
    let listed = || office.json(&["quarantine", "list", "--from", "hub"]);
    // The item is set apart once its refusal is durable, and not before.
    let waiting = async {
        while listed()["items"].as_array().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), waiting)
        .await
        .unwrap();
    let listed_item = listed()["items"][0].clone();
    assert_eq!(listed_item["rule"], "RE-11");
    assert_eq!(listed_item["record"], item.id().to_string());
    let number = listed_item["number"].to_string();
    let shown = office.run(&["quarantine", "show", &number]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("rotterdam") && shown.contains("RE-11"),
        "{shown}"
    );
    let status = office.run(&["status"]);
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("quarantine list"), "{status}");
    // An item that policy refuses is not a bad item.
    assert_eq!(stage.target.kernel.store().bad_items().unwrap().len(), 1);
    let drop = ["quarantine", "drop", &number, "--reason", "looked into"];
    office.good("anna", &drop);
    assert!(stage.target.kernel.store().bad_items().unwrap().is_empty());
    assert!(!office.signed("anna", &drop).status.success(), "it is gone");
    stage.end().await;
}
