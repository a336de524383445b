//! Additions to the record log in one transaction, which the index does not know yet.

use std::collections::HashMap;

use portcullis_protocol::record::RecordId;

use super::{
    index::Additions,
    pack::{Directory, OpenPack, Run},
    recent::Placed,
};

/// Additions of a group to the record log.
#[derive(Default)]
pub(super) struct Log {
    /// The pack that still takes entries.
    pub(super) open: Option<OpenPack>,
    /// The number of the next pack, once it is known.
    pub(super) next: Option<i64>,
    /// The numbers of the added records, which the index does not know yet.
    numbers: HashMap<RecordId, i64>,
    /// The records that the present job added.
    job: Vec<RecordId>,
    /// Own records that were added.
    pub(super) published: Vec<Placed>,
    /// Entries for the index, added to it once the group is durable.
    pub(super) additions: Additions,
}

/// Lengths of a log's lists before a job.
pub(super) struct LogMark {
    ids: usize,
    tokens: usize,
    pack: i64,
    published: usize,
}

impl Log {
    /// Begins a job.
    pub(super) fn mark(&mut self) -> LogMark {
        self.job.clear();
        LogMark {
            ids: self.additions.ids.len(),
            tokens: self.additions.tokens.len(),
            pack: self.additions.pack,
            published: self.published.len(),
        }
    }

    /// Forgets everything that a job added since this mark.
    pub(super) fn rewind(&mut self, mark: &LogMark) {
        self.open = None;
        self.next = None;
        self.additions.ids.truncate(mark.ids);
        self.additions.tokens.truncate(mark.tokens);
        // The number is given again, and the index must not take that pack for one it has.
        self.additions.pack = mark.pack;
        self.published.truncate(mark.published);
        for id in self.job.drain(..) {
            self.numbers.remove(&id);
        }
    }

    /// Notes the number of a record that the present job added.
    pub(super) fn added(&mut self, id: RecordId, number: i64) {
        self.numbers.insert(id, number);
        self.job.push(id);
    }

    /// Returns the number of a record that the group added.
    pub(super) fn number(&self, id: &RecordId) -> Option<i64> {
        self.numbers.get(id).copied()
    }

    /// Returns the directory of a pack that still takes entries.
    pub(super) fn directory(&self, pack: i64) -> Option<&Directory> {
        Some(&self.taking(pack)?.directory)
    }

    /// Returns the properties that the entries share of a pack that still takes some.
    pub(super) fn run(&self, pack: i64) -> Option<&Run> {
        Some(&self.taking(pack)?.run)
    }

    fn taking(&self, pack: i64) -> Option<&OpenPack> {
        self.open.as_ref().filter(|open| open.n == pack)
    }
}
