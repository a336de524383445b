//! Claims that any engine behind [`Store`](portcullis_store::Store) has to hold, and claims about SQLite's files.

mod acts_cut;
mod announced;
mod apart;
mod backfill;
mod binding;
mod bounds;
mod channel;
mod conformance;
mod decisions;
mod dispatching;
mod durability;
mod excerpts;
pub(super) mod fixture;
mod frames;
mod indexes;
mod office;
mod position;
mod quarantine;
mod recent;
mod retries;
mod sealing;
mod tampering;
mod torn;
mod withdraw;
mod writing;

use std::cell::RefCell;

use super::SqliteStore;

pub(super) fn key() -> [u8; 32] {
    [3; 32]
}

#[test]
fn sqlite_conforms() {
    let folders = RefCell::new(Vec::new());
    conformance::conformance(|| {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::create(folder.path(), &key()).unwrap();
        folders.borrow_mut().push(folder);
        Box::new(store)
    });
}
