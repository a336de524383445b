//! What any engine behind [`Store`](super::Store) has to hold, and what SQLite's files have to.

mod announced;
mod backfill;
mod channel;
mod conformance;
mod decisions;
mod dispatching;
mod durability;
pub(super) mod fixture;
mod frames;
mod office;
mod position;
mod quarantine;
mod recent;
mod retries;
mod tampering;
mod withdraw;

use std::cell::RefCell;

use super::{SqliteStore, StoreKey};

pub(super) fn key() -> StoreKey {
    StoreKey::from_bytes([3; 32])
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
