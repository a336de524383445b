//! Replays the fuzz corpus of the node's own decoders through the functions that the fuzz targets
//! call, as the protocol's tests do with the protocol's.

use std::path::Path;

#[expect(unreachable_pub, reason = "a module of the fuzz workspace")]
#[path = "../../../fuzz/src/node.rs"]
mod targets;

/// Function that takes the bytes of a file.
type Target = fn(&[u8]);

/// Every target of the node, by the name of its corpus folder.
const TARGETS: [(&str, Target); 6] = [
    ("act", targets::act),
    ("certificate", targets::certificate),
    ("configuration", targets::configuration),
    ("consignments", targets::consignments),
    ("drafts", targets::drafts),
    ("revocation", targets::revocation),
];

/// Reads the files of a target, in order.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus-node");
    let mut files: Vec<_> = std::fs::read_dir(folder.join(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{name}");
    // The name is printed with a failure, to tell which file it was.
    let read = |file: &std::path::PathBuf| {
        println!("{}", file.display());
        std::fs::read(file).unwrap()
    };
    files.iter().map(read).collect()
}

#[test]
fn the_fuzz_corpus_of_the_node_settles() {
    for (name, target) in TARGETS {
        for data in corpus(name) {
            target(&data);
        }
    }
}

/// Tries every prefix, and every byte changed in two ways, as a fuzzer does first. Of long files it
/// takes about 200 places.
#[test]
fn cut_and_changed_files_of_the_corpus_settle() {
    for (name, target) in TARGETS {
        for data in corpus(name) {
            for at in (0..data.len()).step_by(data.len() / 200 + 1) {
                target(&data[..at]);
                for bits in [0x01, 0x80] {
                    let mut changed = data.clone();
                    changed[at] ^= bits;
                    target(&changed);
                }
            }
        }
    }
}
