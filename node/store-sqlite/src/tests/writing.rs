//! The one writer over SQLite: what is answered, and in which order.

use std::sync::Arc;

use portcullis_protocol::{frame::Outcome, record::Kind};
use portcullis_store::{
    Store, StoreError, Written,
    writer::{OnDiskFailure, Priority, Writer, WriterHandle},
};

use super::{
    fixture::{Originator, admit, intake},
    key,
};
use crate::SqliteStore;

fn with_sqlite(folder: &std::path::Path) -> (Writer, WriterHandle, Arc<dyn Store>) {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::create(folder, &key()).unwrap());
    let hook: OnDiskFailure = Box::new(|error| panic!("{error}"));
    let (writer, handle) = Writer::start(Arc::clone(&store), hook).unwrap();
    (writer, handle, store)
}

#[test]
fn a_long_frame_is_answered_whole_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, handle, store) = with_sqlite(folder.path());
    let mut police = Originator::new(1);
    let records: Vec<_> = (0..200).map(|_| police.record(Kind::Indicator)).collect();
    let items = records
        .iter()
        .map(|record| (record.id(), record.form(), admit(record)))
        .collect();
    let mut log_end = handle.log_end();
    assert_eq!(*log_end.borrow_and_update(), 0);
    let written = handle
        .commit_blocking(Priority::Bulk, vec![intake("hub", items)])
        .unwrap();
    let [Written::Answers(answers)] = written.as_slice() else {
        panic!("one write gives one result");
    };
    let answered: Vec<_> = answers.iter().map(|answer| answer.record).collect();
    let expected: Vec<_> = records.iter().map(|record| record.id()).collect();
    assert_eq!(answered, expected);
    assert!(
        answers
            .iter()
            .all(|answer| answer.outcome == Outcome::Accepted)
    );
    writer.stop();
    assert!(log_end.has_changed().is_err() || *log_end.borrow() == 200);
    assert_eq!(*log_end.borrow(), store.log_end().unwrap());
}

#[tokio::test]
async fn a_job_that_is_refused_leaves_the_others_of_its_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, handle, store) = with_sqlite(folder.path());
    let mut police = Originator::new(1);
    let (one, other) = (police.record(Kind::Alert), police.record(Kind::Alert));
    let lie = vec![intake("hub", vec![(one.id(), one.form(), admit(&other))])];
    let truth = vec![intake(
        "hub",
        vec![(other.id(), other.form(), admit(&other))],
    )];
    let (lie, truth) = tokio::join!(
        handle.commit(Priority::Urgent, lie),
        handle.commit(Priority::Urgent, truth)
    );
    assert!(matches!(lie, Err(StoreError::Fault(_))));
    assert!(truth.is_ok());
    assert!(store.record(&other.id()).unwrap().is_some());
    assert!(store.record(&one.id()).unwrap().is_none());
    tokio::task::spawn_blocking(move || writer.stop())
        .await
        .unwrap();
}
