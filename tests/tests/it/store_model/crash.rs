//! Ends of the process: the store is closed in order, the process is killed, or it is killed before
//! the last commit was durable.
//!
//! A killed process leaves its files as they are at that moment. They are copied while the store is
//! open. The write-ahead log is copied first, because anything written back to a file meanwhile is
//! still in it. The store may empty the log while it is copied. Such a copy would hold the beginning
//! of the log beside a newer file, as no killed process leaves them, so that it is made again. Data
//! of a commit that was not synced can be lost: the log of the main database is
//! cut within the last commit, while the key table, which is committed first, has all of it.

use std::{fs, path::Path};

use portcullis_store_sqlite::{KEYS_FILE, MAIN_FILE};

/// End of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The store is closed in order.
    Closed,
    /// The process is killed.
    Killed,
    /// The process is killed while its last group is committed: the keys are durable, the rest is
    /// not.
    Torn,
}

/// Main database and its log before the group that may be torn.
pub(super) struct Before {
    main: Vec<u8>,
    log: Vec<u8>,
}

impl Before {
    /// Reads the files of a store between two commits.
    pub(super) fn of(folder: &Path) -> Self {
        let (log, main) = at_one_moment(folder, MAIN_FILE);
        Self { main, log }
    }
}

/// Returns the log of a file and the file, as they are at one moment between two commits.
fn at_one_moment(folder: &Path, file: &str) -> (Vec<u8>, Vec<u8>) {
    let log_of_file = || fs::read(folder.join(log_of(file))).unwrap();
    let mut log = log_of_file();
    loop {
        let main = fs::read(folder.join(file)).unwrap();
        let after = log_of_file();
        if log == after {
            return (log, main);
        }
        log = after;
    }
}

/// Copies the files of an open store to another folder, as if the process were killed.
pub(super) fn copy_killed(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in [KEYS_FILE, MAIN_FILE] {
        let (log, main) = at_one_moment(from, file);
        fs::write(to.join(log_of(file)), log).unwrap();
        fs::write(to.join(file), main).unwrap();
    }
}

/// Copies them as [`copy_killed`] does, with the last commit of the main database cut at a place
/// that `part` selects. Returns `false` if the log was started anew meanwhile, so that there is
/// nothing to cut.
pub(super) fn copy_torn(from: &Path, before: &Before, part: u64, to: &Path) -> bool {
    copy_killed(from, to);
    let log = fs::read(to.join(log_of(MAIN_FILE))).unwrap();
    let grown = log.len().saturating_sub(before.log.len());
    // The header holds the salts, which change when the log is started anew.
    let same_log = log.get(..32) == before.log.get(..32);
    if !same_log || grown == 0 {
        return false;
    }
    let kept = before.log.len() + usize::try_from(part).unwrap() % grown;
    fs::write(to.join(log_of(MAIN_FILE)), &log[..kept]).unwrap();
    // Nothing of the last commit was written back.
    fs::write(to.join(MAIN_FILE), &before.main).unwrap();
    true
}

fn log_of(file: &str) -> String {
    format!("{file}-wal")
}
