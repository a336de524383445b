//! Tests of excerpts: what is opened, what is kept, and how pages end.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::{
    body::SelectorKind,
    record::{Kind, RecordId, SectionTag},
    verify::VerifiedRecord,
};

use super::{fixture::*, key, sealing::scrubbed};
use crate::SqliteStore;
use portcullis_store::{
    Came, Damaged, ExcerptPage, ExcerptsOf, HeldExcerpt, PAGE_BYTES, Store, Write, weight,
};

const SAID: [SectionTag; 2] = [SectionTag::Subject, SectionTag::Assessment];

fn pages(store: &SqliteStore, of: ExcerptsOf<'_>) -> Vec<Vec<HeldExcerpt>> {
    let (mut pages, mut from) = (Vec::new(), None);
    loop {
        let page = store.excerpts(of, &SAID, from).unwrap();
        from = page.next;
        pages.push(page.excerpts);
        if from.is_none() {
            return pages;
        }
    }
}

fn ids(pages: &[Vec<HeldExcerpt>]) -> Vec<RecordId> {
    let all = pages.iter().flatten();
    all.map(|held| held.opened.id()).collect()
}

/// Attack H3: an excerpt has what was asked for and no file, and names the whole form.
#[test]
fn an_excerpt_opens_what_is_asked_for_and_names_all_that_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let record = with_file(&mut police, Kind::Indicator, 3 << 20);
    publish(&store, std::slice::from_ref(&record));
    let whole = store.record(&record.id()).unwrap().unwrap();
    let excerpt = store.excerpt(&record.id(), &SAID).unwrap().unwrap();
    assert_eq!(excerpt, HeldExcerpt::of(&whole, &SAID));
    assert_eq!(excerpt.opened.claimed_form(), form(&[0, 1]));
    assert_eq!(excerpt.form, record.form());
    assert!(weight(&excerpt.opened) < 4096);
    let unknown = RecordId::of_header(b"none");
    assert!(store.excerpt(&unknown, &SAID).unwrap().is_none());
}

/// Attack H3: records with 36 MB of files are one page of a few kilobytes.
#[test]
fn files_do_not_fill_a_page_and_every_record_is_on_one_page() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let mut expected = Vec::new();
    for _ in 0..12 {
        let record = with_file(&mut police, Kind::Indicator, 3 << 20);
        publish(&store, std::slice::from_ref(&record));
        expected.insert(0, record.id());
    }
    for of in [
        ExcerptsOf::Any,
        ExcerptsOf::Kind(Kind::Indicator),
        ExcerptsOf::Selector(SelectorKind::Container, CONTAINER),
        ExcerptsOf::Selector(SelectorKind::HsCode, GOODS),
    ] {
        let pages = pages(&store, of);
        assert_eq!((pages.len(), ids(&pages)), (1, expected.clone()), "{of:?}");
    }
    let none = [
        ExcerptsOf::Kind(Kind::Alert),
        ExcerptsOf::Selector(SelectorKind::Container, "MSKU0000080"),
    ];
    for of in none {
        assert_eq!(ids(&pages(&store, of)), [], "{of:?}");
    }
}

#[test]
fn a_page_ends_when_it_is_full_and_the_next_goes_on_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let drafts = vec![draft(Kind::Indicator); 600];
    let records: Vec<_> = (0..4).flat_map(|_| police.batch(drafts.clone())).collect();
    for records in records.chunks(100) {
        publish(&store, records);
    }
    let mut expected: Vec<_> = records.iter().map(VerifiedRecord::id).collect();
    expected.sort_unstable();
    for of in [
        ExcerptsOf::Kind(Kind::Indicator),
        ExcerptsOf::Selector(SelectorKind::Container, CONTAINER),
    ] {
        let pages = pages(&store, of);
        assert!(pages.len() > 1, "{of:?}");
        for page in &pages {
            let bytes: usize = page.iter().map(|held| weight(&held.opened)).sum();
            assert!(page.len() < 1024 + 32 && bytes < PAGE_BYTES + (1 << 20));
        }
        let mut found = ids(&pages);
        found.sort_unstable();
        assert_eq!(found, expected, "{of:?}");
    }
}

#[test]
fn sections_that_extend_a_record_are_in_its_excerpt() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let record = police.record(Kind::Indicator);
    accept(&store, "hub", &record.withhold(form(&[0, 1])).unwrap());
    accept(&store, "port", &record);
    let asked = [SectionTag::Subject, SectionTag::Narrative];
    let excerpt = store.excerpt(&record.id(), &asked).unwrap().unwrap();
    assert_eq!(excerpt.opened.claimed_form(), form(&[0, 2]));
    assert_eq!(excerpt.form, record.form());
}

/// Hostile HP-197: the records of an origin that had filled its share were opened all the same. Here
/// none of theirs can be opened: whoever tries it meets damage.
#[test]
fn nothing_is_opened_of_an_origin_that_is_left_out_and_all_of_the_others_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let (mut flood, mut police) = (Originator::new(1), Originator::new(2));
    let mut others = Vec::new();
    let mut flooded = 0;
    for _ in 0..3 {
        let record = police.record(Kind::Indicator);
        accept(&store, "hub", &record);
        others.insert(0, record.id());
        let many = flood.batch(vec![draft(Kind::Indicator); 70]);
        let items = many.iter().map(|one| (one.id(), one.form(), admit(one)));
        deliver(&store, "hub", items.collect());
        flooded += many.len();
    }
    // One pack of both: a delivery of a hub.
    let both = [
        police.record(Kind::Indicator),
        flood.record(Kind::Indicator),
    ];
    let items = both.iter().map(|one| (one.id(), one.form(), admit(one)));
    deliver(&store, "hub", items.collect());
    others.insert(0, both[0].id());
    flooded += 1;
    let left_out = BTreeSet::from([flood.origin().clone()]);
    let selections = [
        ExcerptsOf::Kind(Kind::Indicator),
        ExcerptsOf::Any,
        ExcerptsOf::Selector(SelectorKind::Imo, SHIP),
    ];
    let paged = |store: &SqliteStore, left_out: &BTreeSet<_>, of| {
        let (mut pages, mut counted, mut from) = (Vec::new(), BTreeMap::new(), None);
        loop {
            let page = store.excerpts_but(left_out, of, &SAID, from).unwrap();
            let ExcerptPage {
                excerpts,
                next,
                left_out,
                ..
            } = page;
            pages.push(excerpts);
            for (origin, count) in left_out {
                *counted.entry(origin).or_insert(0) += count;
            }
            from = next;
            if from.is_none() {
                return (ids(&pages), counted);
            }
        }
    };
    for of in selections {
        let (found, counted) = paged(&store, &left_out, of);
        assert_eq!(found, others, "{of:?}");
        assert_eq!(counted, BTreeMap::from([(flood.origin().clone(), flooded)]));
        let (found, counted) = paged(&store, &BTreeSet::new(), of);
        assert_eq!((found.len(), counted.len()), (flooded + others.len(), 0));
    }
    // Every pack that holds records of the flood alone loses its keys.
    let main = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    let packs: Vec<(i64, Vec<u8>)> = main
        .prepare("SELECT n, ids FROM pack")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let keys = rusqlite::Connection::open(folder.path().join("keys.db")).unwrap();
    for (n, held) in packs {
        let is_of_others = |id: &[u8]| others.iter().any(|other| other.as_bytes() == id);
        if !held.chunks(32).any(is_of_others) {
            keys.execute("DELETE FROM pack_key WHERE n = ?1", [n])
                .unwrap();
        }
    }
    for of in selections {
        assert_eq!(paged(&store, &left_out, of).0, others, "{of:?}");
    }
    assert_eq!(store.damaged(), []);
    // The damage would have been met.
    paged(&store, &BTreeSet::new(), ExcerptsOf::Any);
    assert_eq!(store.damaged().len(), 9);
}

/// Newcomer B4: a list says how many there are, also after a withdrawal and of what was known before it came.
#[test]
fn records_are_found_and_counted_by_the_time_at_which_they_came() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let mut police = Originator::new(1);
    let mut came = Vec::new();
    for millis in [10, 20, 20, 30] {
        let record = police.record(Kind::Indicator);
        let publish = Write::Publish {
            records: vec![record.clone()],
            now: at(millis),
        };
        store.commit(vec![publish]).unwrap();
        came.push(record.id());
    }
    let alert = police.record(Kind::Alert);
    // Withdrawn before it comes, and so known by another number than its place.
    let withdraw = |id| Write::Withdraw {
        records: vec![id],
        outcome: "recalled".to_owned(),
        at: at(40),
    };
    store.commit(vec![withdraw(alert.id())]).unwrap();
    let span = |since, before| Came {
        since: at(since),
        before: at(before),
    };
    let found = |kind, span| {
        let found = ids(&pages(&store, ExcerptsOf::Came(kind, span)));
        assert_eq!(store.count(kind, span).unwrap(), found.len() as u64);
        found
    };
    let indicators = Some(Kind::Indicator);
    let newest_first = |ids: &[RecordId]| ids.iter().rev().copied().collect::<Vec<_>>();
    assert_eq!(found(None, Came::EVER), newest_first(&came));
    assert_eq!(found(indicators, span(10, 21)), newest_first(&came[..3]));
    assert_eq!(found(indicators, span(20, 30)), newest_first(&came[1..3]));
    assert_eq!(found(Some(Kind::Alert), Came::EVER), []);
    assert_eq!(found(None, span(31, 100)), []);
    store.commit(vec![withdraw(came[1])]).unwrap();
    assert_eq!(found(None, span(20, 30)), [came[2]]);
}

/// Returns the place in a body at which its first entry names its statement (pack.rs).
fn statement_at(body: &[u8]) -> usize {
    assert_eq!(body[0], 0x0a);
    let (mut at, mut length, mut shift) = (1, 0_usize, 0);
    loop {
        length |= usize::from(body[at] & 0x7f) << shift;
        shift += 7;
        at += 1;
        if body[at - 1] & 0x80 == 0 {
            break;
        }
    }
    at += length;
    assert_eq!(body[at], 0x10);
    at + 1
}

/// Attack S10: whoever wrote to the disk put a record under the statement of an origin that had filled
/// its share, and it was left out of scoring without a word.
#[test]
fn a_record_under_the_statement_of_another_origin_is_not_left_out_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &key()).unwrap();
    let (mut flood, mut police) = (Originator::new(1), Originator::new(2));
    let (of_flood, of_police) = (
        flood.record(Kind::Indicator),
        police.record(Kind::Indicator),
    );
    accept(&store, "hub", &of_flood);
    accept(&store, "port", &of_police);
    let main = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    let body = |id: &[u8]| -> Vec<u8> {
        let sql = "SELECT body FROM pack WHERE ids = ?1";
        main.query_row(sql, [id], |row| row.get(0)).unwrap()
    };
    let other = body(of_flood.id().as_bytes());
    let mut changed = body(of_police.id().as_bytes());
    let at = statement_at(&changed);
    assert_ne!(changed[at], other[statement_at(&other)]);
    changed[at] = other[statement_at(&other)];
    main.execute(
        "UPDATE pack SET body = ?1 WHERE ids = ?2",
        (&changed, of_police.id().as_bytes()),
    )
    .unwrap();
    let left_out = BTreeSet::from([flood.origin().clone()]);
    for of in [
        ExcerptsOf::Kind(Kind::Indicator),
        ExcerptsOf::Any,
        ExcerptsOf::Selector(SelectorKind::Imo, SHIP),
    ] {
        let page = store.excerpts_but(&left_out, of, &SAID, None).unwrap();
        assert_eq!(ids(&[page.excerpts]), [of_police.id()], "{of:?}");
        let counted = BTreeMap::from([(flood.origin().clone(), 1)]);
        assert_eq!(page.left_out, counted, "{of:?}");
    }
    let found = scrubbed(&store).unwrap();
    let named: Vec<_> = store.damaged().into_iter().map(|row| row.thing).collect();
    assert_eq!(named, [Damaged::Record(of_police.id())], "{found:?}");
}
