//! Every question that a store can be asked, with the answers in an order that does not depend on
//! the store.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
};

use portcullis_protocol::{
    body::SelectorKind,
    digest::Digest,
    frame::{Chain, Generation, Lane},
    identifiers::NodeId,
    reconcile::{Buckets, Entry},
    record::{Kind, RecordId},
    seal::SealedRecord,
    time::Timestamp,
};
use portcullis_store::{
    ArrivalRow, ChannelPage, ChannelSide, ConsignmentRanking, ConsignmentRow,
    ConsignmentStage as Consigned, ConsignmentsOf, DisclosureRow, ExceptionRow, FactRow, ForkRow,
    HeldItem, HeldRecord, LogEntry, Logged, PersonRow, ReceiptRow, ReconciliationRow, RecordFilter,
    Relay, ScoreRow, Store, UndeliveredRow,
};
use portcullis_tests::sim::cast::Cast;

use super::{
    side::Side,
    step::{CONTAINER, GOODS, Stage, on_the_wire, statement},
};

/// Compares the answers of two stores to every question; panics where they differ.
#[track_caller]
pub(super) fn compare(sqlite: &dyn Side, model: &dyn Side, stage: &Stage, now: Timestamp) {
    let (left, right) = (
        Everything::of(sqlite, stage, now),
        Everything::of(model, stage, now),
    );
    same("the log", &left.log, &right.log);
    same("dispatch", &left.dispatch, &right.dispatch);
    same("the ledger", &left.ledger, &right.ledger);
    same(
        "what was delivered",
        &left.received.arrivals,
        &right.received.arrivals,
    );
    assert_eq!(left.received, right.received, "what was received");
    same("what waits", &left.waiting.0, &right.waiting.0);
    same("what was given up", &left.waiting.1, &right.waiting.1);
    same("the channels", &left.channels, &right.channels);
    same("ranges of older records", &left.older, &right.older);
    same("the quarantine", &left.set_apart, &right.set_apart);
    same("records", &left.records, &right.records);
    assert_eq!(left.by_id.0, right.by_id.0, "the ids");
    same("records by their ids", &left.by_id.1, &right.by_id.1);
    assert_eq!(left.office, right.office, "the office");
}

/// Fails with the first element that differs.
#[track_caller]
fn same<T: PartialEq + Debug>(what: &str, left: &[T], right: &[T]) {
    for (number, (left, right)) in left.iter().zip(right).enumerate() {
        assert_eq!(left, right, "{what}, number {number}");
    }
    assert_eq!(left.len(), right.len(), "{what}: how many");
}

struct Everything {
    log: Vec<(Lane, bool, Kept)>,
    dispatch: Vec<Dispatched>,
    ledger: Vec<(Vec<DisclosureRow>, Option<ReceiptRow>)>,
    received: Received,
    waiting: (Vec<ExceptionRow>, Vec<UndeliveredRow>),
    channels: Vec<Channel>,
    older: Vec<Older>,
    set_apart: Vec<SetApart>,
    records: Vec<Vec<Kept>>,
    by_id: (Vec<RecordId>, Vec<Kept>),
    office: Office,
}

impl Everything {
    fn of(side: &dyn Side, stage: &Stage, now: Timestamp) -> Self {
        let store = side.store();
        Self {
            log: log(store),
            dispatch: stage
                .peers
                .iter()
                .flat_map(|peer| Lane::ALL.iter().map(move |lane| (peer, *lane)))
                .map(|(peer, lane)| dispatched(store, peer, lane, now))
                .collect(),
            ledger: ledger(store, stage),
            received: received(store),
            waiting: waiting(store, now),
            channels: stage
                .peers
                .iter()
                .flat_map(|peer| channels(store, peer))
                .collect(),
            older: older(side, now),
            set_apart: set_apart(side),
            records: records(store, stage),
            by_id: by_id(store, stage),
            office: office(store),
        }
    }
}

/// A record as it is held. Its debug output fits on a line, for the report of a difference.
#[derive(Clone, PartialEq)]
struct Kept(HeldRecord);

impl Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HeldRecord {
            sealed,
            form,
            source,
            received_at,
        } = &self.0;
        let wire = sealed.wire();
        let open: Vec<u32> = wire.sections.iter().map(|section| section.index).collect();
        let id = sealed.id();
        write!(f, "{id} {form:?} {open:?} of {source:?} at {received_at:?}")
    }
}

/// Returns a line of the log as a reader gets it, from the disk or from memory.
fn line(entry: LogEntry) -> Kept {
    Kept(match entry.logged {
        Logged::Stored(held) => held,
        Logged::AtHand { record, since } => HeldRecord {
            sealed: on_the_wire(&record),
            form: record.form(),
            source: None,
            received_at: since,
        },
    })
}

fn log(store: &dyn Store) -> Vec<(Lane, bool, Kept)> {
    let mut newest = 0;
    let mut all = Vec::new();
    for lane in Lane::ALL {
        for relay in [Relay::OwnOnly, Relay::Others] {
            let log = store.outbox(*lane, relay, 0, u32::MAX).unwrap();
            let ascends = log.is_sorted_by(|one, next| one.sequence < next.sequence);
            assert!(ascends, "the log ascends");
            newest = log.last().map_or(newest, |last| newest.max(last.sequence));
            let own_only = relay == Relay::OwnOnly;
            all.extend(log.into_iter().map(|entry| (*lane, own_only, line(entry))));
        }
    }
    assert!(store.log_end().unwrap() >= newest, "the end of the log");
    all
}

/// Position of dispatch with one peer in one lane.
#[derive(Debug, PartialEq)]
struct Dispatched {
    peer: NodeId,
    lane: Lane,
    /// Number of entries that the cursor has passed, of those listed now.
    passed: usize,
    next_sequence: u64,
    place: (Generation, Chain),
    behind: Vec<u64>,
    due: BTreeMap<RecordId, Kept>,
    next_due: Option<Timestamp>,
    newest: BTreeMap<RecordId, DisclosureRow>,
}

fn dispatched(store: &dyn Store, peer: &NodeId, lane: Lane, now: Timestamp) -> Dispatched {
    let log = store.outbox(lane, Relay::Others, 0, u32::MAX).unwrap();
    let position = store.position(peer, lane).unwrap();
    let passed = log
        .iter()
        .filter(|entry| entry.sequence <= position.cursor)
        .count();
    let page = store
        .outbox(lane, Relay::Others, position.cursor, 2)
        .unwrap();
    assert_eq!(page, log[passed..log.len().min(passed + 2)], "a page");
    let named: Vec<_> = log
        .iter()
        .map(|entry| (entry.sequence, entry.logged.id()))
        .collect();
    let behind = |relay| store.behind(lane, relay, position.cursor).unwrap();
    let due = store.due(peer, lane, now, u32::MAX).unwrap();
    let newest = store.disclosures_to(peer, &named).unwrap();
    Dispatched {
        peer: peer.clone(),
        lane,
        passed,
        next_sequence: position.next_sequence,
        place: (position.generation, position.chain),
        behind: [Relay::OwnOnly, Relay::Others].map(behind).to_vec(),
        due: due
            .into_iter()
            .map(|held| (held.sealed.id(), Kept(held)))
            .collect(),
        next_due: store.next_due(peer, lane, now).unwrap(),
        newest: newest.into_iter().map(|row| (row.record, row)).collect(),
    }
}

fn ledger(store: &dyn Store, stage: &Stage) -> Vec<(Vec<DisclosureRow>, Option<ReceiptRow>)> {
    let mut found = Vec::new();
    let mut newest = Vec::new();
    for record in &stage.records {
        let id = record.id();
        let mut of_record = Vec::new();
        for peer in &stage.peers {
            let history = store.disclosure_history(&id, peer).unwrap();
            let last = store.disclosure(&id, peer).unwrap();
            assert_eq!(last.as_ref(), history.last());
            of_record.extend(last);
            found.push((history, store.receipt(&id, peer).unwrap()));
        }
        let told = store.disclosures(Some(&id)).unwrap();
        assert_eq!(by_key(told), by_key(of_record.clone()));
        newest.extend(of_record);
    }
    assert_eq!(by_key(store.disclosures(None).unwrap()), by_key(newest));
    found
}

fn by_key(mut rows: Vec<DisclosureRow>) -> Vec<DisclosureRow> {
    rows.sort_by_key(|row| (row.record, row.peer.clone()));
    rows
}

#[derive(Debug, PartialEq)]
struct Received {
    arrivals: Vec<ArrivalRow>,
    held: Vec<HeldItem>,
    next_end: Option<Timestamp>,
    held_count: u64,
    forks: Vec<ForkRow>,
}

fn received(store: &dyn Store) -> Received {
    let key = |row: &ArrivalRow| (row.answer.record, row.peer.clone(), row.answer.form);
    let mut arrivals = store.arrivals(None).unwrap();
    arrivals.sort_by_key(key);
    for of_record in arrivals.chunk_by(|one, next| one.answer.record == next.answer.record) {
        let id = of_record[0].answer.record;
        let mut alone = store.arrivals(Some(&id)).unwrap();
        alone.sort_by_key(key);
        assert_eq!(alone, of_record);
    }
    Received {
        arrivals,
        held: held_items(store),
        next_end: store.next_held_end().unwrap(),
        held_count: store.aside().unwrap().held,
        forks: store.forks().unwrap(),
    }
}

/// Opens everything that waits for a person, page by page.
pub(super) fn held_items(store: &dyn Store) -> Vec<HeldItem> {
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let page = store.held_keys(after, 2).unwrap();
        let Some(last) = page.last() else {
            return items;
        };
        after = Some(last.n);
        for key in &page {
            let again = store.held_key(&key.record, &key.peer, key.form).unwrap();
            assert_eq!(again.as_ref(), Some(key));
            items.push(store.held_item(key).unwrap().expect("it waits"));
        }
    }
}

fn waiting(store: &dyn Store, now: Timestamp) -> (Vec<ExceptionRow>, Vec<UndeliveredRow>) {
    let mut exceptions = store.exceptions(now).unwrap();
    exceptions.sort_by_key(|row| (row.peer.clone(), row.lane, row.state.clone()));
    let mut undelivered = store.undelivered(now).unwrap();
    undelivered.sort_by_key(|row| (row.peer.clone(), row.lane, row.record, row.ended_at));
    (exceptions, undelivered)
}

/// Contents of the channels to and from a peer.
#[derive(Debug, PartialEq)]
struct Channel {
    peer: NodeId,
    sent: Vec<Entry>,
    received: Vec<Entry>,
    owed: u64,
    reconciled: Vec<ReconciliationRow>,
}

fn channels(store: &dyn Store, peer: &NodeId) -> Option<Channel> {
    let whole = |side| {
        let page = |of, after, most| store.channel(peer, side, &ChannelPage { of, after, most });
        let whole = page(Buckets::ALL, None, usize::MAX).unwrap();
        let half = Buckets::new(0, Buckets::ALL.last() / 2).unwrap();
        let within: Vec<Entry> = whole
            .iter()
            .copied()
            .filter(|one| half.contains(&one.id))
            .collect();
        assert_eq!(page(half, None, usize::MAX).unwrap(), within);
        // Page by page.
        let mut paged: Vec<Entry> = Vec::new();
        loop {
            let after = paged.last().map(|last| last.id);
            let next = page(Buckets::ALL, after, 3).unwrap();
            if next.is_empty() {
                break;
            }
            paged.extend(next);
        }
        assert_eq!(paged, whole);
        whole
    };
    Some(Channel {
        peer: peer.clone(),
        sent: whole(ChannelSide::Sent),
        received: whole(ChannelSide::Received),
        owed: store.owed(peer).unwrap(),
        reconciled: store.reconciliations().unwrap(),
    })
}

/// A range of older records, measured in lines of the log as it is listed now.
#[derive(Debug, PartialEq)]
struct Older {
    peer: NodeId,
    log: Lane,
    times: (Timestamp, Timestamp, Timestamp, Option<Timestamp>),
    counts: (u64, u64),
    lines: (usize, usize),
    is_next: bool,
}

fn older(side: &dyn Side, now: Timestamp) -> Vec<Older> {
    let hour_ago = now.plus_millis(-3_600_000);
    let up_to = |lane: Lane, place: u64| {
        let log = side.store().outbox(lane, Relay::Others, 0, u32::MAX);
        log.unwrap()
            .partition_point(|entry| entry.sequence <= place)
    };
    for lane in Lane::ALL {
        // Lines outside of the span did not arrive in that time.
        let span = side.span(*lane, hour_ago, now);
        assert!(span.after <= span.last);
    }
    let rows = side.backfills().into_iter();
    rows.map(|row| Older {
        is_next: side
            .next_backfill(&row.peer)
            .is_some_and(|next| next.n == row.n),
        times: (row.since, row.until, row.started_at, row.ended_at),
        counts: (row.looked_at, row.sent),
        lines: (up_to(row.log, row.next), up_to(row.log, row.last)),
        peer: row.peer,
        log: row.log,
    })
    .collect()
}

/// An item of the quarantine without its number.
#[derive(Debug, PartialEq)]
struct SetApart {
    peer: NodeId,
    said: (RecordId, String, String, Timestamp),
    sealed: Option<SealedRecord>,
    of: u64,
}

fn set_apart(side: &dyn Side) -> Vec<SetApart> {
    let rows = side.bad_items().into_iter();
    rows.map(|row| SetApart {
        sealed: side.bad_item(row.n),
        peer: row.peer,
        said: (row.record, row.rule, row.detail, row.at),
        of: side.quarantined(),
    })
    .collect()
}

/// Lists records by filter; records of the same time are in the order of their ids.
fn records(store: &dyn Store, stage: &Stage) -> Vec<Vec<Kept>> {
    let ordered = |mut records: Vec<HeldRecord>| {
        let newest_first = records.is_sorted_by(|one, next| one.received_at >= next.received_at);
        assert!(newest_first, "the newest first");
        records.sort_by_key(|held| (held.received_at, held.sealed.id()));
        records.into_iter().map(Kept).collect::<Vec<_>>()
    };
    let about = |text| store.records_about(SelectorKind::Container, text).unwrap();
    assert!(about("MSKU0000080").is_empty());
    let mut lists = vec![ordered(about(CONTAINER))];
    for kind in [None, Some(Kind::Alert), Some(Kind::Indicator)] {
        for origin in [None, Some(Cast::get().authority(1).clone())] {
            let filter = |limit| RecordFilter {
                kind,
                origin: origin.clone(),
                limit,
            };
            let all = store.records(&filter(None)).unwrap();
            let first = store.records(&filter(Some(3))).unwrap();
            assert_eq!(first, all[..all.len().min(3)]);
            lists.push(ordered(all));
        }
    }
    let arriving = store.consignments(Consigned::Arriving).unwrap();
    let ids: Vec<_> = stage.records.iter().map(|record| record.id()).collect();
    let touching = store.touching(&ids).unwrap();
    let named = lists[0].iter().map(|Kept(held)| held.sealed.id());
    if !arriving.is_empty() {
        // Every record about the container is about a consignment that arrives.
        named.for_each(|id| assert!(touching.contains(&id), "{id} touches a consignment"));
    }
    for id in touching {
        assert!(store.record(&id).unwrap().is_some(), "{id} is held");
    }
    lists
}

fn by_id(store: &dyn Store, stage: &Stage) -> (Vec<RecordId>, Vec<Kept>) {
    let ids = store.ids_with_prefix("", u32::MAX).unwrap();
    assert!(ids.is_sorted_by(|one, next| one < next), "ids ascend");
    let mut found = Vec::new();
    for record in &stage.records {
        let id = record.id();
        let held = store.record(&id).unwrap();
        assert!(held.is_none() || ids.contains(&id), "{id} is listed");
        let beginning: String = id.to_string().chars().take(9).collect();
        let named = store.ids_with_prefix(&beginning, 2).unwrap();
        assert_eq!(
            named.contains(&id),
            ids.contains(&id),
            "{id} by its beginning"
        );
        found.extend(held.map(Kept));
    }
    (ids, found)
}

#[derive(Debug, PartialEq)]
struct Office {
    persons: Vec<PersonRow>,
    seen: Vec<bool>,
    answers: Vec<Option<Vec<u8>>>,
    facts: Vec<FactRow>,
    registers: Vec<Digest>,
    consignments: Vec<ConsignmentRow>,
    about: Vec<ConsignmentRow>,
    scores: Vec<ScoreRow>,
    rankings: Vec<ConsignmentRanking>,
    events: Vec<(Timestamp, String, Option<NodeId>)>,
}

fn office(store: &dyn Store) -> Office {
    let consignments: Vec<_> = [Consigned::Arriving, Consigned::History]
        .into_iter()
        .flat_map(|stage| store.consignments(stage).unwrap())
        .collect();
    for row in &consignments {
        let alone = store.consignment(&row.reference).unwrap();
        assert_eq!(alone.as_ref(), Some(row));
    }
    let mut facts = store.facts().unwrap();
    facts.sort_by_key(|row| (row.kind, row.subject.clone()));
    let scores = store.scores(u32::MAX).unwrap();
    for row in &scores {
        assert_eq!(store.score(&row.reference).unwrap().as_ref(), Some(row));
    }
    let about = |kind, text| store.consignments_with(kind, text).unwrap();
    Office {
        persons: store.persons().unwrap(),
        seen: (0..30)
            .map(|number| store.act_seen(&statement(number)).unwrap())
            .collect(),
        answers: (0..30)
            .map(|number| store.act_answer(&statement(number)).unwrap())
            .collect(),
        facts,
        registers: store
            .registers()
            .unwrap()
            .iter()
            .map(|register| register.digest())
            .collect(),
        about: [
            about(SelectorKind::HsCode, GOODS),
            about(SelectorKind::Container, CONTAINER),
        ]
        .concat(),
        consignments,
        scores,
        rankings: [Consigned::Arriving, Consigned::History]
            .into_iter()
            .map(|stage| {
                let of = ConsignmentsOf::stage(stage);
                store.consignment_ranking(&of, 5).unwrap()
            })
            .collect(),
        events: store
            .events(u32::MAX)
            .unwrap()
            .into_iter()
            .map(|event| (event.at, event.kind, event.peer))
            .collect(),
    }
}
