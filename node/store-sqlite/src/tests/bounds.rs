//! Tests of what stays bounded, and of numbers that are given again.

use portcullis_protocol::{
    body::SelectorKind, frame::Outcome, record::Kind, rules::Rule, verify::VerifiedRecord,
};
use rusqlite::Connection;

use super::{fixture::*, key};
use crate::{SqliteStore, schema::Sealing};
use portcullis_store::{HeldDecision, IntakeItem, Judgement, Retry, Store, StoreError, Write};

/// Attack HM7: a job that fails after it closed a pack leaves the index as it was, so that the pack
/// which gets that number next is found after a start.
#[test]
fn a_job_that_fails_after_a_pack_takes_no_number_from_the_index() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteStore::create(folder.path(), &key()).unwrap());
    let store = SqliteStore::open_gathering(folder.path(), &key(), (2, Sealing::MayBegin)).unwrap();
    let mut police = Originator::new(1);
    let records: Vec<_> = (0..5).map(|_| police.record(Kind::Indicator)).collect();
    let published = |n: usize| Write::Publish {
        records: vec![records[n].clone()],
        now: at(1),
    };
    publish(&store, &records[..1]);
    let fails = Write::Retry(Retry {
        peer: peer("hub"),
        record: records[0].id(),
        now: at(1),
        delete_at: None,
    });
    let mut jobs = vec![vec![published(1)], vec![published(2), fails]].into_iter();
    let results = store.commit_group(&mut || jobs.next());
    assert!(results[0].is_ok() && matches!(results[1], Err(StoreError::NotOwed)));
    publish(&store, &records[3..4]);
    publish(&store, &records[4..]);
    drop(store);
    let store = SqliteStore::open(folder.path(), &key()).unwrap();
    for n in [0, 1, 3, 4] {
        assert!(store.record(&records[n].id()).unwrap().is_some(), "{n}");
    }
    assert!(store.record(&records[2].id()).unwrap().is_none());
    let about = store.records_about(SelectorKind::Container, CONTAINER);
    assert_eq!(about.unwrap().len(), 4);
}

/// Attack HL10: ids are read page by page, each once and in order.
#[test]
fn every_id_is_on_one_page_and_no_page_is_longer_than_asked() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteStore::create(folder.path(), &key()).unwrap());
    let store = SqliteStore::open_gathering(folder.path(), &key(), (3, Sealing::MayBegin)).unwrap();
    let records = Originator::new(1).batch(vec![draft(Kind::Indicator); 7]);
    for record in &records {
        publish(&store, std::slice::from_ref(record));
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.ids_after(after.as_ref(), 2).unwrap();
        assert!(page.len() <= 2);
        after = page.last().copied();
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    let mut expected: Vec<_> = records.iter().map(VerifiedRecord::id).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// Attack HM1: of a peer that makes up ids, the oldest refusal gives way; nothing of it stays, and
/// what other peers were answered, and what is held, stays.
#[test]
fn the_refusals_of_a_peer_have_a_bound_and_the_oldest_gives_way() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let items: Vec<_> = (0..4).map(|_| police.record(Kind::Alert)).collect();
    let refuse = |from: &str, record: &VerifiedRecord| {
        let refuse = Judgement::Refuse {
            rule: Rule::PolicyDenied,
            note: note("no"),
        };
        deliver(&store, from, vec![(record.id(), record.form(), refuse)]);
    };
    let hold = Judgement::Hold {
        record: items[0].clone(),
        rule: Rule::PolicyHeld,
        note: note("h3"),
    };
    deliver(&store, "hub", vec![(items[0].id(), items[0].form(), hold)]);
    refuse("port", &items[1]);
    refuse("hub", &items[1]);
    refuse("hub", &items[2]);
    // The hub has used up all of its places but for the two.
    let raw = Connection::open(folder.path().join("store.db")).unwrap();
    raw.execute_batch(
        "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 65535)
         INSERT INTO refusal (peer, place, record, form) SELECT 'hub', i, -1000 - i, 1 FROM n;
         UPDATE refusal_turn SET next = 0 WHERE peer = 'hub'",
    )
    .unwrap();
    let count = |sql: &str| -> i64 { raw.query_row(sql, [], |row| row.get(0)).unwrap() };
    refuse("hub", &items[3]);
    let answered = |peer: &str, record: &VerifiedRecord| {
        let rows = store.arrivals(Some(&record.id())).unwrap();
        rows.iter().any(|row| row.peer.as_str() == peer)
    };
    assert!(!answered("hub", &items[1]) && answered("port", &items[1]));
    assert!(answered("hub", &items[2]) && answered("hub", &items[3]));
    // Now the next oldest, which nobody else brought: its record is not known any more.
    let known = count("SELECT count(*) FROM known");
    refuse("hub", &police.record(Kind::Alert));
    assert!(!answered("hub", &items[2]));
    assert_eq!(count("SELECT count(*) FROM known"), known);
    assert_eq!(
        count("SELECT count(*) FROM refusal WHERE peer = 'hub'"),
        65_536
    );
    assert_eq!(store.held_keys(None, 10).unwrap().len(), 1);
    // A second refusal of one item takes no second place.
    refuse("hub", &items[3]);
    assert_eq!(count("SELECT next FROM refusal_turn WHERE peer = 'hub'"), 2);
}

/// Attack HM1: a store of format 7 keeps the newest refusals of each peer, and what has another use.
#[test]
fn a_store_of_format_7_loses_only_the_oldest_refusals() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let record = Originator::new(1).record(Kind::Alert);
    let refuse = Judgement::Refuse {
        rule: Rule::PolicyDenied,
        note: note("no"),
    };
    deliver(&store, "port", vec![(record.id(), record.form(), refuse)]);
    drop(store);
    let raw = Connection::open(folder.path().join("store.db")).unwrap();
    raw.execute_batch(BACK_TO_8).unwrap();
    raw.execute_batch(
        "DROP TABLE refusal; DROP TABLE refusal_turn; ALTER TABLE act DROP COLUMN outcome; DROP INDEX exception_unlogged;
         DROP INDEX undelivered_unlogged; DROP INDEX channel_note_unlogged;
         PRAGMA user_version = 7;
         WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 65600)
         INSERT INTO known (n, id) SELECT -i, randomblob(32) FROM n;
         INSERT INTO arrival (record, peer, form, outcome, reason, decision, at)
         SELECT n, 'hub', 1, CASE n WHEN -2 THEN 'held' ELSE 'refused' END, 'PO-01',
             (SELECT min(decision) FROM arrival), -n FROM known WHERE n < -1",
    )
    .unwrap();
    drop(SqliteStore::open(folder.path(), &key()).unwrap());
    let of = |what: &str| -> (i64, i64) {
        let sql = format!("SELECT count(*), coalesce(min(at), 0) FROM arrival WHERE {what}");
        raw.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
    };
    assert_eq!(of("peer = 'hub' AND outcome = 'refused'"), (65_536, 65));
    assert_eq!(of("peer = 'hub' AND outcome = 'held'"), (1, 2));
    assert_eq!(of("peer = 'port'").0, 1);
    let known: i64 = raw
        .query_row("SELECT count(*) FROM known", [], |row| row.get(0))
        .unwrap();
    assert_eq!(known, 65_536 + 2);
}

/// Attack HH2, H3: held items were counted and not weighed, 28 GiB of one peer. The bytes are known
/// again after a start, and what is decided on makes room.
#[test]
fn what_waits_is_bounded_in_bytes_and_a_flood_leaves_room_for_the_alerts_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let hold = |store: &SqliteStore, record: &VerifiedRecord| {
        let hold = Judgement::Hold {
            record: record.clone(),
            rule: Rule::KeyEnded,
            note: note("retired"),
        };
        let answers = deliver(store, "hub", vec![(record.id(), record.form(), hold)]);
        (answers[0].outcome, answers[0].reason.clone())
    };
    let held = (Outcome::Held, Some("EX-09".to_owned()));
    let busy = (Outcome::RefusedForNow, Some("EX-15".to_owned()));
    let (mut flooder, mut police) = (Originator::new(1), Originator::new(2));
    let flood: Vec<_> = (0..17)
        .map(|_| with_file(&mut flooder, Kind::Indicator, 4_000_000))
        .collect();
    for record in &flood[..16] {
        assert_eq!(hold(&store, record), held);
    }
    assert_eq!(hold(&store, &flood[16]), busy);
    let alert = with_file(&mut police, Kind::Alert, 1_000_000);
    assert_eq!(hold(&store, &alert), held);
    drop(store);
    let store = SqliteStore::open(folder.path(), &key()).unwrap();
    assert_eq!(hold(&store, &flood[16]), busy);
    // The flooder's own alerts have the reserve, and no more.
    let alerts: Vec<_> = (0..5)
        .map(|_| with_file(&mut flooder, Kind::Alert, 4_000_000))
        .collect();
    let (last, first) = alerts.split_last().unwrap();
    for alert in first {
        assert_eq!(hold(&store, alert), held);
    }
    assert_eq!(hold(&store, last), busy);
    for dropped in &flood[..5] {
        let drop = Write::Decide(HeldDecision {
            peer: peer("hub"),
            now: at(1),
            items: vec![IntakeItem {
                id: dropped.id(),
                form: dropped.form(),
                judgement: Judgement::Refuse {
                    rule: Rule::HeldDropped,
                    note: note("flood"),
                },
            }],
        });
        store.commit(vec![drop]).unwrap();
    }
    assert_eq!(hold(&store, &flood[16]), held);
}
