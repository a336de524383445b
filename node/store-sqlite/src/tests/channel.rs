//! Tests of both ends of a channel, and of the writes that repair it.

use portcullis_protocol::{
    frame::{Generation, Lane, Outcome},
    reconcile::{Buckets, Entry},
    record::{Form, Kind, RecordId},
    verify::VerifiedRecord,
};
use rusqlite::Connection;

use super::{fixture::*, key};
use crate::SqliteStore;
use portcullis_store::{
    ChannelPage, ChannelSide, DisclosureState, Found, GiveBack, ReconciliationRow, Repair, Store,
    Write,
};

struct Bed {
    folder: tempfile::TempDir,
    store: SqliteStore,
    police: Originator,
}

fn bed() -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    Bed {
        folder,
        store,
        police: Originator::new(1),
    }
}

const ALL: ChannelPage = ChannelPage {
    of: Buckets::ALL,
    after: None,
    most: usize::MAX,
};

fn of(record: &VerifiedRecord, form: Form) -> Entry {
    Entry {
        id: record.id(),
        form,
    }
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_unstable();
    entries
}

impl Bed {
    fn records(&mut self, count: usize) -> Vec<VerifiedRecord> {
        (0..count)
            .map(|_| self.police.record(Kind::Indicator))
            .collect()
    }

    fn sent(&self) -> Vec<Entry> {
        let hub = peer("hub");
        self.store.channel(&hub, ChannelSide::Sent, &ALL).unwrap()
    }

    fn received(&self) -> Vec<Entry> {
        let hub = peer("hub");
        let side = ChannelSide::Received;
        self.store.channel(&hub, side, &ALL).unwrap()
    }

    /// Publishes records, and has the hub accept them.
    fn confirmed(&mut self, count: usize) -> Vec<VerifiedRecord> {
        let records = self.records(count);
        publish(&self.store, &records);
        let entries = records.iter().map(|one| entry(one.id(), one.form()));
        intend(&self.store, "hub", entries.collect(), None, at(0));
        let accepted = |one: &VerifiedRecord| answer(one.id(), one.form(), Outcome::Accepted);
        let answers = records.iter().map(accepted).collect();
        settle(&self.store, "hub", answers, None, at(1));
        records
    }

    fn repair(&self, change: impl FnOnce(&mut Repair)) {
        let mut repair = Repair {
            peer: peer("hub"),
            at: at(5),
            owed: Vec::new(),
            learned: Vec::new(),
            withdrawn: Vec::new(),
        };
        change(&mut repair);
        self.store.commit(vec![Write::Repair(repair)]).unwrap();
    }

    fn due(&self) -> Vec<RecordId> {
        let due = self.store.due(&peer("hub"), Lane::Bulk, at(5), 10);
        ids(&due.unwrap())
    }

    fn execute(&self, sql: &str) {
        let main = Connection::open(self.folder.path().join("store.db")).unwrap();
        main.execute_batch(sql).unwrap();
    }

    fn withdraw(&self, place: u32) {
        self.execute(&format!(
            "INSERT INTO tombstone (record, outcome, at) VALUES ({place}, 'recalled', 0)"
        ));
    }
}

#[test]
fn the_senders_end_is_what_was_confirmed_with_all_forms() {
    let mut bed = bed();
    let accepted = bed.confirmed(2);
    let others = bed.records(4);
    publish(&bed.store, &others);
    let outcomes = [
        Outcome::Duplicate,
        Outcome::Refused,
        Outcome::Held,
        Outcome::RefusedForNow,
    ];
    for (record, outcome) in others.iter().zip(outcomes) {
        let whole = record.form();
        intend(
            &bed.store,
            "hub",
            vec![entry(record.id(), whole)],
            None,
            at(0),
        );
        let answers = vec![answer(record.id(), whole, outcome)];
        settle(&bed.store, "hub", answers, None, at(1));
    }
    // One record is intended and not answered, the other is denied.
    let [open, denied]: [_; 2] = bed.records(2).try_into().unwrap();
    publish(&bed.store, &[open.clone(), denied.clone()]);
    let undecided = vec![
        entry(open.id(), open.form()),
        entry(denied.id(), Form::EMPTY),
    ];
    intend(&bed.store, "hub", undecided, None, at(2));
    let mut expected: Vec<_> = accepted.iter().map(|one| of(one, one.form())).collect();
    expected.push(of(&others[0], others[0].form()));
    assert_eq!(bed.sent(), sorted(expected));
    // A thin form is accepted first and the rest later. The channel has one entry for both.
    let grown = bed.records(1).remove(0);
    publish(&bed.store, std::slice::from_ref(&grown));
    for (part, outcome) in [
        (form(&[0, 1]), Outcome::Accepted),
        (form(&[0, 2]), Outcome::Extended),
    ] {
        intend(
            &bed.store,
            "hub",
            vec![entry(grown.id(), part)],
            None,
            at(3),
        );
        settle(
            &bed.store,
            "hub",
            vec![answer(grown.id(), part, outcome)],
            None,
            at(3),
        );
    }
    assert!(bed.sent().contains(&of(&grown, form(&[0, 1, 2]))));
    let port = bed.store.channel(&peer("port"), ChannelSide::Sent, &ALL);
    assert_eq!(port.unwrap(), []);
}

#[test]
fn the_receivers_end_is_what_it_admitted_and_still_holds() {
    let mut bed = bed();
    let records = bed.records(3);
    for record in &records[..2] {
        assert_eq!(accept(&bed.store, "hub", record), Outcome::Accepted);
    }
    assert_eq!(accept(&bed.store, "port", &records[2]), Outcome::Accepted);
    assert_eq!(accept(&bed.store, "hub", &records[2]), Outcome::Duplicate);
    let whole = |one: &VerifiedRecord| of(one, one.form());
    assert_eq!(bed.received(), sorted(records.iter().map(whole).collect()));
    // The third record stands in the second pack, which is the port's. Each of the hub's records
    // stands in a pack of its own.
    bed.execute("DELETE FROM pack WHERE source = 'port'");
    bed.execute("DELETE FROM pack WHERE n = 1");
    assert_eq!(bed.received(), [whole(&records[1])]);
    // A lost record is taken again as if it had never been there.
    assert_eq!(accept(&bed.store, "hub", &records[0]), Outcome::Accepted);
    assert!(bed.received().contains(&whole(&records[0])));
}

#[test]
fn pages_give_every_entry_once_in_order() {
    let mut bed = bed();
    bed.confirmed(60);
    let whole = bed.sent();
    assert_eq!(whole.len(), 60);
    let mut paged = Vec::new();
    let mut page = ChannelPage { most: 7, ..ALL };
    loop {
        let found = bed
            .store
            .channel(&peer("hub"), ChannelSide::Sent, &page)
            .unwrap();
        let Some(last) = found.last() else { break };
        page.after = Some(last.id);
        paged.extend(found);
    }
    assert_eq!(paged, whole);
    let half = ChannelPage {
        of: Buckets::new(0, 2047).unwrap(),
        ..ALL
    };
    let lower = bed.store.channel(&peer("hub"), ChannelSide::Sent, &half);
    let expected: Vec<_> = whole
        .iter()
        .filter(|entry| entry.id.as_bytes()[0] < 0x80)
        .copied()
        .collect();
    assert_eq!(lower.unwrap(), expected);
}

#[test]
fn what_the_peer_lost_is_tried_again_and_its_row_stays_as_it_was_answered() {
    let mut bed = bed();
    let records = bed.confirmed(3);
    let [back, gone, denied] = [0, 1, 2].map(|at: usize| records[at].id());
    bed.repair(|repair| repair.owed = vec![back, gone, denied]);
    assert_eq!(bed.sent(), []);
    assert_eq!(bed.store.owed(&peer("hub")).unwrap(), 3);
    let mut due = bed.due();
    due.sort_unstable();
    let mut expected = vec![back, gone, denied];
    expected.sort_unstable();
    assert_eq!(due, expected);
    let whole = records[0].form();
    let entries = vec![
        entry(back, whole),
        entry(gone, whole),
        entry(denied, Form::EMPTY),
    ];
    intend(&bed.store, "hub", entries, None, at(6));
    let answers = vec![
        answer(back, whole, Outcome::Accepted),
        answer(gone, whole, Outcome::Refused),
    ];
    settle(&bed.store, "hub", answers, None, at(7));
    assert_eq!(bed.due(), []);
    assert_eq!(bed.store.owed(&peer("hub")).unwrap(), 0);
    assert_eq!(bed.sent(), [of(&records[0], whole)]);
    let row = bed.store.disclosure_history(&gone, &peer("hub")).unwrap();
    let accepted = DisclosureState::Answered(Outcome::Accepted);
    assert_eq!(row.last().unwrap().state, accepted);
    // It is not scheduled again: the peer is known not to take it.
    bed.repair(|repair| repair.owed = vec![gone, denied]);
    assert_eq!(bed.due(), []);
}

#[test]
fn what_is_withdrawn_at_either_side_is_not_sent_and_has_no_form() {
    let mut bed = bed();
    let records = bed.confirmed(3);
    // The records stand in one pack, at 32, 33 and 34.
    bed.withdraw(32);
    bed.repair(|repair| repair.owed = vec![records[0].id(), records[1].id()]);
    bed.repair(|repair| repair.withdrawn = vec![records[1].id()]);
    assert_eq!(bed.due(), []);
    bed.repair(|repair| repair.owed = vec![records[1].id()]);
    assert_eq!(bed.due(), []);
    let expected = vec![
        of(&records[0], Form::EMPTY),
        of(&records[1], Form::EMPTY),
        of(&records[2], records[2].form()),
    ];
    assert_eq!(bed.sent(), sorted(expected));
    // The peer withdrew the other record and the ledger does not hold it. The withdrawal alone is
    // known.
    let other = bed.records(1).remove(0);
    bed.repair(|repair| repair.withdrawn = vec![other.id()]);
    assert!(bed.sent().contains(&of(&other, Form::EMPTY)));
    assert!(bed.received().contains(&of(&other, Form::EMPTY)));
}

#[test]
fn the_receiver_of_what_it_withdrew_says_so() {
    let mut bed = bed();
    let record = bed.records(1).remove(0);
    assert_eq!(accept(&bed.store, "hub", &record), Outcome::Accepted);
    bed.withdraw(32);
    assert_eq!(bed.received(), [of(&record, Form::EMPTY)]);
    let item = vec![(record.id(), record.form(), admit(&record))];
    deliver(&bed.store, "port", item);
    let port = bed
        .store
        .channel(&peer("port"), ChannelSide::Received, &ALL);
    assert_eq!(port.unwrap(), [of(&record, Form::EMPTY)]);
}

#[test]
fn a_disclosure_that_was_forgotten_is_in_the_ledger_again_and_says_how() {
    let mut bed = bed();
    let records = bed.records(2);
    publish(&bed.store, &records[..1]);
    let known = bed.confirmed(1).remove(0);
    let part = form(&[0, 1]);
    let learned = vec![
        of(&records[0], records[0].form()),
        of(&records[1], part),
        of(&known, part),
    ];
    bed.repair(|repair| repair.learned = learned);
    for (record, form) in [(&records[0], records[0].form()), (&records[1], part)] {
        let row = bed
            .store
            .disclosure(&record.id(), &peer("hub"))
            .unwrap()
            .unwrap();
        assert_eq!((row.form, row.answered_at), (form, Some(at(5))));
        assert_eq!(row.state, DisclosureState::Answered(Outcome::Accepted));
        assert_eq!(row.note, note("reconciled"));
    }
    let told = bed.store.disclosure_history(&known.id(), &peer("hub"));
    assert_eq!(told.unwrap().len(), 1, "the ledger told of it already");
    assert_eq!(bed.sent().len(), 3);
}

#[test]
fn what_a_peer_taught_is_counted_and_nothing_else() {
    let mut bed = bed();
    let records = bed.records(3);
    publish(&bed.store, &records);
    bed.confirmed(2);
    let learned = |to: &str| bed.store.learned(&peer(to)).unwrap();
    assert_eq!(learned("hub"), 0);
    let taught: Vec<_> = records.iter().map(|one| of(one, one.form())).collect();
    bed.repair(|repair| repair.learned = taught.clone());
    bed.repair(|repair| repair.learned = taught);
    assert_eq!((learned("hub"), learned("port")), (3, 0));
}

#[test]
fn what_is_given_back_is_in_the_ledger_once_and_is_no_part_of_the_channel() {
    let mut bed = bed();
    let records = bed.records(2);
    assert_eq!(accept(&bed.store, "hub", &records[0]), Outcome::Accepted);
    let given: Vec<_> = records.iter().map(|one| of(one, one.form())).collect();
    for second in [5, 6] {
        let back = GiveBack {
            peer: peer("hub"),
            at: at(second),
            given: given.clone(),
        };
        bed.store.commit(vec![Write::GiveBack(back)]).unwrap();
    }
    let told = |id: &RecordId| bed.store.disclosure_history(id, &peer("hub")).unwrap();
    let rows = told(&records[0].id());
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].state, rows[0].form),
        (DisclosureState::Intended, records[0].form())
    );
    assert_eq!(
        (&rows[0].note, rows[0].decided_at),
        (&note("given-back"), at(5))
    );
    assert_eq!(told(&records[1].id()), [], "it is not held here");
    assert_eq!(bed.sent(), []);
    assert_eq!(bed.received().len(), 1);
}

#[test]
fn a_record_that_is_on_its_way_is_not_learned_before_its_receipt() {
    let mut bed = bed();
    let record = bed.records(1).remove(0);
    publish(&bed.store, std::slice::from_ref(&record));
    intend(
        &bed.store,
        "hub",
        vec![entry(record.id(), record.form())],
        None,
        at(0),
    );
    bed.repair(|repair| repair.learned = vec![of(&record, record.form())]);
    let row = bed.store.disclosure(&record.id(), &peer("hub")).unwrap();
    assert_eq!(row.unwrap().state, DisclosureState::Intended);
}

#[test]
fn own_records_come_back_once_grow_and_stay_away_once_withdrawn() {
    let mut bed = bed();
    let records = bed.records(2);
    let thin = records[0].withhold(form(&[0, 1])).unwrap();
    let recover = |records: Vec<VerifiedRecord>| Write::Recover {
        records,
        now: at(9),
    };
    bed.store.commit(vec![recover(vec![thin])]).unwrap();
    let whole = records[0].clone();
    for _ in 0..2 {
        bed.store
            .commit(vec![recover(vec![whole.clone()])])
            .unwrap();
    }
    let held = bed.store.record(&whole.id()).unwrap().unwrap();
    assert_eq!((held.form, held.source), (whole.form(), None));
    assert_eq!(bed.police.verify(&held.sealed).unwrap(), whole);
    let log = bed
        .store
        .outbox(Lane::Bulk, portcullis_store::Relay::OwnOnly, 0, 10)
        .unwrap();
    assert_eq!(log.len(), 2, "the record, and what extends it");
    bed.withdraw(32);
    assert_eq!(accept(&bed.store, "hub", &records[1]), Outcome::Accepted);
    bed.store.commit(vec![recover(vec![whole])]).unwrap();
    let log = bed
        .store
        .outbox(Lane::Bulk, portcullis_store::Relay::OwnOnly, 0, 10)
        .unwrap();
    assert!(log.is_empty());
}

#[test]
fn when_a_channel_was_compared_is_kept_and_a_repair_is_an_event() {
    let bed = bed();
    let row = |found| ReconciliationRow {
        peer: peer("hub"),
        own: Generation::from_bytes([1; 16]),
        theirs: Generation::from_bytes([2; 16]),
        at: at(3),
        found,
    };
    let level = row(Found::default());
    bed.store
        .commit(vec![Write::Reconciled(level.clone())])
        .unwrap();
    assert_eq!(bed.store.reconciliations().unwrap(), [level]);
    assert_eq!(bed.store.events(10).unwrap(), []);
    let repaired = row(Found {
        owed: 3,
        learned: 2,
        withdrawn: 1,
        recovered: 4,
    });
    bed.store
        .commit(vec![Write::Reconciled(repaired.clone())])
        .unwrap();
    assert_eq!(bed.store.reconciliations().unwrap(), [repaired]);
    let events = bed.store.events(10).unwrap();
    assert_eq!(events[0].kind, "reconciled");
}

/// Attack HM9: what was past its date of deletion was owed again to a peer that had lost it, without
/// an end of its own. The two clocks differ by a second either way.
#[test]
fn a_record_past_its_date_of_deletion_is_not_owed_and_the_ends_agree_whatever_their_clocks_say() {
    let end = at(60_000);
    for here in [-1_000, 0, 1_000] {
        let mut bed = bed();
        let mut lasting = draft(Kind::Indicator);
        lasting.marking.delete_at = Some(end);
        let record = bed.police.batch(vec![lasting]).remove(0);
        publish(&bed.store, std::slice::from_ref(&record));
        let answered = |outcome| {
            let sent = vec![entry(record.id(), record.form())];
            intend(&bed.store, "hub", sent, None, at(0));
            let answers = vec![answer(record.id(), record.form(), outcome)];
            settle(&bed.store, "hub", answers, None, at(1));
        };
        answered(Outcome::Accepted);
        // As long as both have it, they agree: what is compared depends on no clock.
        let hub = super::channel::bed();
        assert_eq!(accept(&hub.store, "hub", &record), Outcome::Accepted);
        assert_eq!(bed.sent(), hub.received());
        // The peer loses it.
        let now = end.plus_millis(here);
        bed.repair(|repair| {
            repair.at = now;
            repair.owed = vec![record.id()];
        });
        let due = bed.store.due(&peer("hub"), Lane::Bulk, now, 10).unwrap();
        assert_eq!(due.len(), usize::from(here < 0), "{here}");
        // It is not tried beyond the date, and the peer, for which it is over, refuses it.
        let later = bed.store.due(&peer("hub"), Lane::Bulk, end, 10).unwrap();
        assert_eq!(later.len(), 0, "{here}");
        if here < 0 {
            answered(Outcome::Refused);
        }
        assert_eq!(bed.sent(), [], "{here}");
        assert_eq!(bed.store.owed(&peer("hub")).unwrap(), 0, "{here}");
        // Comparing again finds nothing to do.
        bed.repair(|repair| {
            repair.at = now.plus_millis(1);
            repair.owed = vec![record.id()];
        });
        let due = bed.store.due(&peer("hub"), Lane::Bulk, now, 10).unwrap();
        assert_eq!(due.len(), 0, "{here}");
    }
}
