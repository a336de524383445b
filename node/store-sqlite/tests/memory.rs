//! Memory that reading takes, measured as the kernel reports it. This process does nothing else.

#![cfg(test)]

use portcullis_protocol::{
    body::{Attachment, Body},
    record::{Kind, SectionTag},
    seal::DraftSection,
    verify::{Occasion, VerifiedRecord, Verifier},
};
use portcullis_store::{ExcerptsOf, RecordFilter, Store, Write};
use portcullis_store_sqlite::SqliteStore;
use portcullis_testbed as testbed;
use portcullis_testbed::NOW;

const RECORDS: usize = 40;
const FILE: usize = 4_000_000;
/// Most memory that reading may take at a time, in KiB: a pack with its largest record, and SQLite.
const MOST_KIB: u64 = 40 << 10;

fn with_file(n: usize) -> VerifiedRecord {
    let mut draft = testbed::indicator();
    draft.sections.push(DraftSection {
        body: Body::Attachments(vec![Attachment {
            name: format!("scan {n}"),
            media_type: "image/png".to_owned(),
            content: vec![7; FILE].into(),
        }]),
        stricter: None,
    });
    let register = testbed::register();
    let verifier = Verifier {
        federation: &"test".parse().unwrap(),
        keys: register.register(),
        now: NOW,
        occasion: Occasion::Arriving,
    };
    let sealed = testbed::seal(1, vec![draft], 1).remove(0);
    verifier.verify(&sealed).unwrap()
}

fn status_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Returns the memory that `work` takes at its peak beyond that at its beginning, in KiB.
fn taken_kib(work: impl FnOnce()) -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status_kib("VmRSS:");
    work();
    status_kib("VmHWM:").saturating_sub(before)
}

/// Attack H3: a new model read 80 records whole, with 320 MB of files, and took 637 MB.
#[test]
fn reading_excerpts_takes_little_memory_whatever_files_the_records_bring() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path(), &[3; 32]).unwrap();
    for n in 0..RECORDS {
        let records = vec![with_file(n)];
        let publish = Write::Publish { records, now: NOW };
        store.commit(vec![publish]).unwrap();
    }
    let mut seen = 0;
    let excerpts = taken_kib(|| {
        let tags = [SectionTag::Subject, SectionTag::Assessment];
        let mut from = None;
        loop {
            let page = store
                .excerpts(ExcerptsOf::Kind(Kind::Indicator), &tags, from)
                .unwrap();
            seen += page.excerpts.len();
            from = page.next;
            if from.is_none() {
                break;
            }
        }
    });
    let whole = taken_kib(|| {
        let all = store.records(&RecordFilter::default()).unwrap();
        assert_eq!(all.len(), RECORDS);
    });
    println!("excerpts: {excerpts} KiB, whole: {whole} KiB");
    assert_eq!(seen, RECORDS);
    assert!(excerpts < MOST_KIB, "{excerpts} KiB");
    // The measure is worth something: whole records do not fit below it.
    assert!(whole > 2 * MOST_KIB, "{whole} KiB");
}
