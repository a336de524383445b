//! Reconciliation: compares the records that a sender has as confirmed with those that the receiver
//! answered. Where the two agree, digests suffice; where they differ, records are compared one by
//! one.
//!
//! ```text
//! channel     all records that one node delivered to another and that were admitted there
//! entry       (record id, form): the union of the forms; no section: withdrawn
//! bucket      entries whose ids begin with the same 12 bits; its digest is over them in order
//! range       neighbouring buckets; its digest is over their counts and digests
//! ```
//!
//! The sender asks and compares. The receiver answers from what it holds and keeps nothing of the
//! question. A divergence that neither side noticed (a lost file, a restored backup) is found with
//! a few questions; if there is none, one question suffices.
//!
//! A question or answer with more ranges, entries or bytes than allowed is refused before it is
//! decoded.

mod message;

pub use message::{
    Answer, Ask, MAX_ANSWER_BYTES, MAX_ASK_BYTES, MAX_ENTRIES, MAX_RANGES, MAX_WANTED,
    MAX_WITHDRAWN, Page, Question, check_answer_size, check_ask_size,
};

use crate::{
    digest::Digest,
    record::{Form, RecordId},
};

/// Number of buckets: one for each value of the first 12 bits of an id.
pub const BUCKETS: u16 = 4096;

/// State of one record in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The record.
    pub id: RecordId,
    /// The sections that arrived; empty if the record was withdrawn.
    pub form: Form,
}

impl Entry {
    /// Returns whether the record was withdrawn.
    #[must_use]
    pub const fn is_withdrawn(&self) -> bool {
        self.form.is_empty()
    }
}

/// Returns the bucket of a record.
#[must_use]
pub const fn bucket_of(id: &RecordId) -> u16 {
    let [first, second, ..] = *id.as_bytes();
    u16::from_be_bytes([first, second]) >> 4
}

/// A range of neighbouring buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buckets {
    first: u16,
    last: u16,
}

impl Buckets {
    /// All buckets.
    pub const ALL: Self = Self {
        first: 0,
        last: BUCKETS - 1,
    };

    /// Makes the range from `first` to `last`, both included; `None` if there is no such range.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first <= last && last < BUCKETS {
            Some(Self { first, last })
        } else {
            None
        }
    }

    /// The first bucket.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The last bucket.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Returns the number of buckets.
    #[must_use]
    pub const fn width(self) -> u16 {
        self.last - self.first + 1
    }

    /// Returns whether a record is in one of these buckets.
    #[must_use]
    pub const fn contains(self, id: &RecordId) -> bool {
        let bucket = bucket_of(id);
        self.first <= bucket && bucket <= self.last
    }

    /// Splits the range into at most `count` parts of about the same width.
    #[must_use]
    pub fn parts(self, count: u16) -> Vec<Self> {
        let step = self.width().div_ceil(count.max(1)).max(1);
        (self.first..=self.last)
            .step_by(usize::from(step))
            .map(|first| Self {
                first,
                last: first.saturating_add(step - 1).min(self.last),
            })
            .collect()
    }
}

/// Number of entries of a range, and their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeDigest {
    /// Number of entries.
    pub count: u64,
    /// Digest over all of them.
    pub digest: Digest,
}

/// The counts and digests of a channel, bucket by bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary(Vec<RangeDigest>);

impl Summary {
    /// Returns the count and digest of a range.
    #[must_use]
    pub fn of(&self, range: Buckets) -> RangeDigest {
        let (first, last) = (usize::from(range.first), usize::from(range.last));
        let buckets = self.0.get(first..=last).unwrap_or_default();
        if let [one] = buckets {
            return *one;
        }
        let mut bytes = Vec::with_capacity(buckets.len() * 40);
        for bucket in buckets {
            bytes.extend(bucket.count.to_be_bytes());
            bytes.extend(bucket.digest.as_bytes());
        }
        RangeDigest {
            count: buckets.iter().map(|bucket| bucket.count).sum(),
            digest: Digest::labelled("portcullis channel range v1", &[&bytes]),
        }
    }
}

/// Builds a [`Summary`] from entries in the order of their ids.
#[derive(Debug, Default)]
pub struct Summarizing {
    done: Vec<RangeDigest>,
    count: u64,
    bytes: Vec<u8>,
}

impl Summarizing {
    /// Takes the next entry; its id must be greater than the one before.
    pub fn add(&mut self, entry: &Entry) {
        while self.done.len() < usize::from(bucket_of(&entry.id)) {
            self.close();
        }
        self.count += 1;
        self.bytes.extend(entry.id.as_bytes());
        self.bytes.extend(entry.form.bits().to_be_bytes());
    }

    fn close(&mut self) {
        let digest = Digest::labelled("portcullis channel bucket v1", &[&self.bytes]);
        self.done.push(RangeDigest {
            count: self.count,
            digest,
        });
        self.count = 0;
        self.bytes.clear();
    }

    /// Returns the summary after all entries are taken.
    #[must_use]
    pub fn finish(mut self) -> Summary {
        while self.done.len() < usize::from(BUCKETS) {
            self.close();
        }
        Summary(self.done)
    }
}

impl<'a> FromIterator<&'a Entry> for Summary {
    /// Summarizes entries in the order of their ids.
    fn from_iter<I: IntoIterator<Item = &'a Entry>>(entries: I) -> Self {
        let mut summarizing = Summarizing::default();
        for entry in entries {
            summarizing.add(entry);
        }
        summarizing.finish()
    }
}
