//! Questions about a channel and their answers, on the wire and as types.

use std::sync::Arc;

use bytes::Bytes;

use super::{Buckets, Entry, RangeDigest};
use crate::{
    digest::Digest,
    frame::{Generation, check_count},
    identifiers::FederationId,
    record::{Form, RecordId},
    rules::Rule,
    seal::SealedRecord,
    statement::SignedStatement,
    verify::Refusal,
    wire,
};

/// The most bytes of a question.
pub const MAX_ASK_BYTES: usize = 64 << 10;
/// The most bytes of an answer.
pub const MAX_ANSWER_BYTES: usize = 8 << 20;
/// The most ranges in a question.
pub const MAX_RANGES: usize = 64;
/// The most entries in an answer; a sender that lacks more asks again.
pub const MAX_ENTRIES: usize = 4096;
/// The most withdrawn records that a question lists.
pub const MAX_WITHDRAWN: usize = 1024;
/// The most records that one question asks to have back.
pub const MAX_WANTED: usize = 64;
/// Approximate bytes of records in an answer; the rest is reserved for the other fields.
const FULL_BYTES: usize = 4 << 20;

const ID: usize = 32;

/// Numbers of repeated fields in reconcile.proto.
const ASK_RANGES: u64 = 3;
const ANSWER_RANGES: u64 = 2;
const ANSWER_BATCHES: u64 = 6;
const ANSWER_RECORDS: u64 = 7;

/// Checks that an encoded question is not larger than questions are.
///
/// # Errors
///
/// A [`Refusal`] under EX-12, or RC-01 if it is no protobuf message.
pub fn check_ask_size(encoded: &[u8]) -> Result<(), Refusal> {
    check_bytes(encoded, MAX_ASK_BYTES)?;
    count(encoded, ASK_RANGES, MAX_RANGES)
}

/// Checks that an encoded answer is not larger than answers are.
///
/// # Errors
///
/// A [`Refusal`] under EX-12, or RC-01 if it is no protobuf message.
pub fn check_answer_size(encoded: &[u8]) -> Result<(), Refusal> {
    check_bytes(encoded, MAX_ANSWER_BYTES)?;
    count(encoded, ANSWER_RANGES, MAX_RANGES)?;
    count(encoded, ANSWER_BATCHES, MAX_WANTED)?;
    count(encoded, ANSWER_RECORDS, MAX_WANTED)
}

fn check_bytes(encoded: &[u8], most: usize) -> Result<(), Refusal> {
    if encoded.len() <= most {
        return Ok(());
    }
    let detail = format!("{} bytes, {most} are allowed", encoded.len());
    Err(Refusal::new(Rule::Oversized, detail))
}

fn count(encoded: &[u8], number: u64, most: usize) -> Result<(), Refusal> {
    check_count(encoded, number, most).map_err(|refusal| {
        if refusal.rule == Rule::Oversized {
            refusal
        } else {
            unreadable("it is no protobuf message")
        }
    })
}

fn unreadable(detail: &str) -> Refusal {
    Refusal::new(Rule::ReconcileUnreadable, detail)
}

/// A question of a channel's sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The asking node's generation.
    pub generation: Generation,
    /// The question.
    pub question: Question,
}

/// One question, or one message sent in place of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The counts and digests of these ranges; at most [`MAX_RANGES`].
    Digests(Vec<Buckets>),
    /// The entries of a range.
    Page(Page),
    /// No question: the asking node has withdrawn these records; at most [`MAX_WITHDRAWN`].
    Withdrawn(Vec<RecordId>),
    /// These records are asked back: the asking authority made them and lost them; at most
    /// [`MAX_WANTED`].
    Wanted(Vec<RecordId>),
}

/// Request for entries of a range, from some place on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The range.
    pub of: Buckets,
    /// Only entries after this one; `None`: from the beginning.
    pub after: Option<RecordId>,
}

impl Ask {
    /// The message that carries it.
    #[must_use]
    pub fn to_wire(&self, federation: &FederationId) -> wire::ReconcileAsk {
        let mut ask = wire::ReconcileAsk {
            federation: federation.to_string(),
            generation: Bytes::copy_from_slice(self.generation.as_bytes()),
            ..wire::ReconcileAsk::default()
        };
        match &self.question {
            Question::Digests(ranges) => {
                ask.ranges = ranges.iter().copied().map(wire::Buckets::from).collect();
            }
            Question::Page(Page { of, after }) => {
                ask.page = Some(wire::PageAsk {
                    of: Some((*of).into()),
                    after: after.map(|id| id_bytes(&[id])).unwrap_or_default(),
                });
            }
            Question::Withdrawn(ids) => ask.withdrawn = id_bytes(ids),
            Question::Wanted(ids) => ask.wanted = id_bytes(ids),
        }
        ask
    }

    /// Reads a question.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under RC-01, or RC-02 if it is asked in another federation.
    pub fn read(ask: wire::ReconcileAsk, federation: &FederationId) -> Result<Self, Refusal> {
        let wire::ReconcileAsk {
            federation: named,
            generation,
            ranges,
            page,
            withdrawn,
            wanted,
        } = ask;
        if named != federation.as_str() {
            let detail = "it names another federation";
            return Err(Refusal::new(Rule::ReconcileFederation, detail));
        }
        let kinds = [
            !ranges.is_empty(),
            page.is_some(),
            !withdrawn.is_empty(),
            !wanted.is_empty(),
        ];
        if kinds.into_iter().filter(|is| *is).count() != 1 {
            return Err(unreadable("it does not ask one thing"));
        }
        let question = if let Some(page) = page {
            Question::Page(Page::try_from(page)?)
        } else if !withdrawn.is_empty() {
            Question::Withdrawn(ids(&withdrawn, MAX_WITHDRAWN)?)
        } else if !wanted.is_empty() {
            Question::Wanted(ids(&wanted, MAX_WANTED)?)
        } else if ranges.len() <= MAX_RANGES {
            let ranges = ranges.into_iter().map(Buckets::try_from);
            Question::Digests(ranges.collect::<Result<_, _>>()?)
        } else {
            return Err(unreadable("it asks for too many ranges"));
        };
        Ok(Self {
            generation: generation_of(&generation)?,
            question,
        })
    }
}

/// The answer of a channel's receiver.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The answering node's generation.
    pub generation: Generation,
    /// The counts and digests that were asked for, in that order.
    pub ranges: Vec<RangeDigest>,
    /// The entries, ascending.
    pub entries: Vec<Entry>,
    /// True if more entries follow the last one.
    pub more: bool,
    /// Records given back, not verified yet; their `batch` fields are 0.
    pub records: Vec<SealedRecord>,
}

impl Answer {
    /// An answer with nothing in it.
    #[must_use]
    pub const fn empty(generation: Generation) -> Self {
        Self {
            generation,
            ranges: Vec::new(),
            entries: Vec::new(),
            more: false,
            records: Vec::new(),
        }
    }

    /// Returns the message that carries it. Records that do not fit are left out: a node that wants
    /// them asks again.
    #[must_use]
    pub fn to_wire(&self) -> wire::ReconcileAnswer {
        let ids: Vec<RecordId> = self.entries.iter().map(|entry| entry.id).collect();
        let (batches, records) = self.records();
        wire::ReconcileAnswer {
            generation: Bytes::copy_from_slice(self.generation.as_bytes()),
            ranges: self
                .ranges
                .iter()
                .map(|range| wire::RangeDigest {
                    count: range.count,
                    digest: Bytes::copy_from_slice(range.digest.as_bytes()),
                })
                .collect(),
            ids: id_bytes(&ids),
            forms: self.entries.iter().map(|entry| entry.form.bits()).collect(),
            more: self.more,
            batches,
            records,
        }
    }

    /// Returns how many of these records, from the first on, one answer carries.
    #[must_use]
    pub fn carries(records: &[SealedRecord]) -> usize {
        let (mut count, mut bytes) = (0, 0);
        for sealed in records.iter().take(MAX_WANTED) {
            let wire = sealed.wire();
            bytes += wire.header.len();
            bytes += wire
                .sections
                .iter()
                .map(|one| one.body.len())
                .sum::<usize>();
            if bytes > FULL_BYTES && count > 0 {
                break;
            }
            count += 1;
        }
        count
    }

    fn records(&self) -> (Vec<wire::SignedStatement>, Vec<wire::Record>) {
        let (mut batches, mut records) = (Vec::new(), Vec::new());
        let carried = Self::carries(&self.records);
        for (number, sealed) in (0_u32..).zip(self.records.iter().take(carried)) {
            batches.push(sealed.statement().as_ref().into());
            records.push(wire::Record {
                batch: number,
                ..sealed.wire().clone()
            });
        }
        (batches, records)
    }

    /// Reads an answer.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under RC-01.
    pub fn read(answer: wire::ReconcileAnswer) -> Result<Self, Refusal> {
        let wire::ReconcileAnswer {
            generation,
            ranges,
            ids: id_bytes,
            forms,
            more,
            batches,
            records,
        } = answer;
        let found = ids(&id_bytes, MAX_ENTRIES)?;
        if found.len() != forms.len() || !found.is_sorted_by(|one, next| one < next) {
            return Err(unreadable("its entries are in no order"));
        }
        let entries = found.into_iter().zip(forms);
        let entries = entries.map(|(id, form)| Entry {
            id,
            form: Form::from_bits(form),
        });
        Ok(Self {
            generation: generation_of(&generation)?,
            ranges: ranges
                .into_iter()
                .map(RangeDigest::try_from)
                .collect::<Result<_, _>>()?,
            entries: entries.collect(),
            more,
            records: sealed(batches, records)?,
        })
    }
}

/// Joins records with the statements they refer to.
fn sealed(
    batches: Vec<wire::SignedStatement>,
    records: Vec<wire::Record>,
) -> Result<Vec<SealedRecord>, Refusal> {
    let statements = batches
        .into_iter()
        .map(|statement| SignedStatement::try_from(statement).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| unreadable("a statement cannot be read"))?;
    records
        .into_iter()
        .map(|record| {
            let at = usize::try_from(record.batch).unwrap_or(usize::MAX);
            let statement = statements
                .get(at)
                .ok_or_else(|| unreadable("a record names no statement"))?;
            let record = wire::Record { batch: 0, ..record };
            Ok(SealedRecord::new(record, Arc::clone(statement)))
        })
        .collect()
}

impl From<Buckets> for wire::Buckets {
    fn from(buckets: Buckets) -> Self {
        Self {
            first: buckets.first().into(),
            last: buckets.last().into(),
        }
    }
}

impl TryFrom<wire::Buckets> for Buckets {
    type Error = Refusal;

    fn try_from(wire: wire::Buckets) -> Result<Self, Refusal> {
        let wire::Buckets { first, last } = wire;
        let both = u16::try_from(first).ok().zip(u16::try_from(last).ok());
        both.and_then(|(first, last)| Self::new(first, last))
            .ok_or_else(|| unreadable("a range is none"))
    }
}

impl TryFrom<wire::PageAsk> for Page {
    type Error = Refusal;

    fn try_from(wire: wire::PageAsk) -> Result<Self, Refusal> {
        let wire::PageAsk { of, after } = wire;
        let of = of.ok_or_else(|| unreadable("it names no range"))?;
        Ok(Self {
            of: of.try_into()?,
            after: ids(&after, 1)?.first().copied(),
        })
    }
}

impl TryFrom<wire::RangeDigest> for RangeDigest {
    type Error = Refusal;

    fn try_from(wire: wire::RangeDigest) -> Result<Self, Refusal> {
        let wire::RangeDigest { count, digest } = wire;
        Ok(Self {
            count,
            digest: Digest::from_slice(&digest)
                .ok_or_else(|| unreadable("a digest has not 32 bytes"))?,
        })
    }
}

fn generation_of(bytes: &Bytes) -> Result<Generation, Refusal> {
    <[u8; 16]>::try_from(bytes.as_ref())
        .map(Generation::from_bytes)
        .map_err(|_| unreadable("its generation has not 16 bytes"))
}

fn id_bytes(ids: &[RecordId]) -> Bytes {
    let bytes = ids.iter().flat_map(|id| id.as_bytes().iter().copied());
    bytes.collect()
}

/// Reads record ids; more than `most` are refused.
fn ids(bytes: &Bytes, most: usize) -> Result<Vec<RecordId>, Refusal> {
    if !bytes.len().is_multiple_of(ID) || bytes.len() > most * ID {
        return Err(unreadable("its record ids are too many, or none"));
    }
    Ok(bytes
        .chunks_exact(ID)
        .filter_map(RecordId::from_slice)
        .collect())
}
