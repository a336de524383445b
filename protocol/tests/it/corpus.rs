//! Replays the fuzz corpus through the very functions that the fuzz targets call.

use std::{collections::BTreeSet, path::Path};

#[expect(unreachable_pub, reason = "the fuzz workspace's library")]
#[path = "../../../fuzz/src/lib.rs"]
mod targets;

/// A function that takes the bytes of a file.
type Target = fn(&[u8]);

/// Every target, by the name of its corpus folder.
const TARGETS: [(&str, Target); 10] = [
    ("body", targets::body),
    ("frame", targets::frame),
    ("identifiers", targets::identifiers),
    ("receipt", targets::receipt),
    ("reconcile", targets::reconcile),
    ("record", targets::record),
    ("register", targets::register),
    ("request", targets::request),
    ("selector", targets::selector),
    ("statement", targets::statement),
];

fn corpus() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus"))
}

#[test]
fn every_corpus_folder_has_a_target_and_every_target_a_corpus() {
    let folders: BTreeSet<_> = std::fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let named = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(folders, named);
}

#[test]
fn the_fuzz_corpus_settles() {
    for (name, target) in TARGETS {
        let mut files: Vec<_> = std::fs::read_dir(corpus().join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{name}");
        for file in files {
            let data = std::fs::read(&file).unwrap();
            // Printed with a failure, to name the file.
            println!("{}", file.display());
            target(&data);
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2048))]

    /// Changes corpus files at a few places, without a fuzzer.
    #[test]
    fn changed_files_of_the_corpus_settle(
        target in 0..TARGETS.len(),
        file in proptest::prelude::any::<proptest::sample::Index>(),
        edits in proptest::collection::vec(
            (proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>(), 0..4_u8), 1..6),
    ) {
        let (name, target) = TARGETS[target];
        let mut files: Vec<_> = std::fs::read_dir(corpus().join(name)).unwrap()
            .map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let mut data = std::fs::read(file.get(&files)).unwrap();
        for (at, byte, how) in edits {
            let at = at.index(data.len() + 1);
            match how {
                0 if at < data.len() => data[at] = byte,
                1 if at < data.len() => drop(data.remove(at)),
                2 => data.extend_from_within(at..),
                _ => data.insert(at, byte),
            }
        }
        target(&data);
    }
}
