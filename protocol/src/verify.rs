//! Verification: the only way from a [`SealedRecord`] to a [`VerifiedRecord`].
//!
//! The originator's key comes from the register, the statement's signature is checked once per
//! batch, and every opened byte must hash to the digest that the header lists. A refusal names a
//! [`Rule`]; its details never repeat a body, a salt or a selector.

mod excerpt;
mod record;

use std::sync::Arc;

use bytes::Bytes;

pub use crate::refusal::Refusal;
use crate::{
    body::Body,
    digest::Digest,
    identifiers::{AuthorityId, FederationId},
    keys::{KeyId, PublicKey},
    merkle::{KnownNodes, MAX_LEAVES},
    record::{Form, Header, RecordId, Section},
    rules::Rule,
    sealed::{Batch, MAX_RECORD_BYTES, SealedRecord, batch_leaf, check_sections},
    shape::{self, Misshapen},
    statement::SignedStatement,
    time::Timestamp,
    version, wire,
};

pub use excerpt::Excerpt;
pub use record::{FormError, OpenSection, VerifiedRecord};

/// The most bytes of an encoded header.
pub const MAX_HEADER_BYTES: usize = 64 << 10;

/// The most bytes of a batch statement: it holds only names and digests, without padding.
const MAX_BATCH_BYTES: usize = 1 << 10;

/// Longest time by which a record's sealing may be ahead of the receiver's clock, in milliseconds.
pub const MAX_CLOCK_AHEAD_MS: i64 = 10 * 60 * 1000;

/// State of a sealing key in the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStanding {
    /// The key seals.
    InForce,
    /// The key is retired at this time. If the time lies ahead, the key signs as before until then,
    /// so that records on their way arrive.
    RetiredSince(Timestamp),
    /// Somebody else may have used the key since this time.
    CompromisedSince(Timestamp),
}

/// Source of the sealing keys that count.
pub trait SealingKeys {
    /// Returns the sealing key of `origin` with this id, and its state.
    fn sealing_key(&self, origin: &AuthorityId, key: &KeyId) -> Option<(&PublicKey, KeyStanding)>;
}

/// Occasion of a check. A signature counts from the time at which it was first seen: a record
/// already held stays valid when its key ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The record arrives: its key must be in force and its time must not lie ahead.
    Arriving,
    /// The record is held; it was admitted on arrival.
    Held {
        /// Time at which it was first seen here.
        first_seen: Timestamp,
    },
}

/// Checks batches and records against one federation's keys.
#[derive(Clone, Copy)]
pub struct Verifier<'a> {
    /// The federation in which batches and records must be valid.
    pub federation: &'a FederationId,
    /// The keys that count.
    pub keys: &'a dyn SealingKeys,
    /// The present time.
    pub now: Timestamp,
    /// The occasion: arrival, or a check of something held.
    pub occasion: Occasion,
}

/// A batch statement whose signature was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedBatch {
    statement: Arc<SignedStatement>,
    origin: AuthorityId,
    key_id: KeyId,
    sealed_at: Timestamp,
    tree_size: usize,
    root: Digest,
}

impl VerifiedBatch {
    /// Returns the known nodes of the tree over the batch's records; only its root is known yet.
    #[must_use]
    pub const fn nodes(&self) -> KnownNodes {
        KnownNodes::new(self.root, self.tree_size)
    }
}

impl Verifier<'_> {
    /// Checks the signature of a batch statement.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under the rule the statement breaks.
    pub fn batch(&self, statement: &Arc<SignedStatement>) -> Result<VerifiedBatch, Refusal> {
        let batch = read_batch(statement, self.federation)?;
        let (key, standing) = self.sealing_key(&batch)?;
        statement
            .verify::<Batch>(key)
            .map_err(|error| Refusal::new(Rule::BatchSignature, error.to_string()))?;
        self.check_occasion(&batch, standing)?;
        Ok(batch)
    }

    /// Checks all but the signature of a batch that was verified before under the same keys. On
    /// arrival its key must be in force; later the key must not have been compromised at the time
    /// when the batch was first seen.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if the batch may not be taken now.
    pub fn check_again(&self, batch: &VerifiedBatch) -> Result<(), Refusal> {
        let (_, standing) = self.sealing_key(batch)?;
        self.check_occasion(batch, standing)
    }

    fn sealing_key(&self, batch: &VerifiedBatch) -> Result<(&PublicKey, KeyStanding), Refusal> {
        self.keys
            .sealing_key(&batch.origin, &batch.key_id)
            .ok_or_else(|| {
                let detail = format!("`{}` has no key `{}`", batch.origin, batch.key_id);
                Refusal::new(Rule::SealingKey, detail)
            })
    }

    fn check_occasion(&self, batch: &VerifiedBatch, standing: KeyStanding) -> Result<(), Refusal> {
        match self.occasion {
            Occasion::Arriving => self.check_arrival(batch, standing),
            Occasion::Held { first_seen } => check_held(batch, standing, first_seen),
        }
    }

    fn check_arrival(&self, batch: &VerifiedBatch, standing: KeyStanding) -> Result<(), Refusal> {
        match standing {
            KeyStanding::RetiredSince(time) if time <= self.now => {
                let detail = format!("key `{}` was retired at {time}", batch.key_id);
                return Err(Refusal::new(Rule::KeyEnded, detail));
            }
            KeyStanding::InForce | KeyStanding::RetiredSince(_) => {}
            KeyStanding::CompromisedSince(time) => return Err(compromised(batch, time)),
        }
        if batch.sealed_at.millis_since(self.now) > MAX_CLOCK_AHEAD_MS {
            let detail = format!("sealed at {}, it is {}", batch.sealed_at, self.now);
            return Err(Refusal::new(Rule::FutureSeal, detail));
        }
        Ok(())
    }

    /// Checks a record of a batch that is already checked.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under the first rule the record breaks.
    pub fn record(
        &self,
        sealed: &SealedRecord,
        batch: &VerifiedBatch,
    ) -> Result<VerifiedRecord, Refusal> {
        self.record_among(sealed, batch, &mut batch.nodes())
    }

    /// Checks one of several records of a batch that is already checked. `nodes` come from
    /// [`VerifiedBatch::nodes`]; each record adds to them the nodes of its path.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under the first rule the record breaks.
    pub fn record_among(
        &self,
        sealed: &SealedRecord,
        batch: &VerifiedBatch,
        nodes: &mut KnownNodes,
    ) -> Result<VerifiedRecord, Refusal> {
        let (id, header) = self.signed_header(sealed, batch, nodes)?;
        if sealed.record.sections.is_empty() {
            return Err(Refusal::new(Rule::NothingOpened, "it has no section"));
        }
        let sections = open_sections(&sealed.record.sections, &header)?;
        let form: Form = sections.iter().map(|open| open.section.index).collect();
        check_groups(&header, form)?;
        Ok(VerifiedRecord {
            id,
            header,
            sections,
            form,
            sealed: sealed.clone(),
        })
    }

    /// Checks a held record of a batch that is already checked, of which only some sections were
    /// opened. `held` are the sections that are held; those that were not opened stay unread.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under the first rule the record breaks, as far as it was opened.
    pub fn excerpt_among(
        &self,
        opened: &SealedRecord,
        held: Form,
        batch: &VerifiedBatch,
        nodes: &mut KnownNodes,
    ) -> Result<Excerpt, Refusal> {
        let (id, header) = self.signed_header(opened, batch, nodes)?;
        if held.is_empty() {
            return Err(Refusal::new(Rule::NothingOpened, "it has no section"));
        }
        let sections = open_sections(&opened.record.sections, &header)?;
        let stranger = sections
            .iter()
            .find(|open| !held.contains(open.section.index));
        if let Some(open) = stranger {
            let detail = format!("section {}", open.section.index);
            return Err(Refusal::new(Rule::SectionNotListed, detail));
        }
        check_groups(&header, held)?;
        Ok(Excerpt {
            id,
            header,
            form: held,
            sections,
        })
    }

    /// Checks all of a record but its sections.
    fn signed_header(
        &self,
        sealed: &SealedRecord,
        batch: &VerifiedBatch,
        nodes: &mut KnownNodes,
    ) -> Result<(RecordId, Arc<Header>), Refusal> {
        check_size(sealed)?;
        let header = match &sealed.header {
            Some(read) => Arc::clone(read),
            None => Arc::new(read_header(&sealed.record.header)?),
        };
        self.check_header(&header, sealed, batch)?;
        let id = RecordId::of_header(&sealed.record.header);
        check_path(id, &sealed.record, batch, nodes)?;
        Ok((id, header))
    }

    /// Checks a record and the statement that it came with.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under the first rule that either breaks.
    pub fn verify(&self, sealed: &SealedRecord) -> Result<VerifiedRecord, Refusal> {
        let batch = self.batch(&sealed.statement)?;
        self.record(sealed, &batch)
    }

    fn check_header(
        &self,
        header: &Header,
        sealed: &SealedRecord,
        batch: &VerifiedBatch,
    ) -> Result<(), Refusal> {
        if header.federation != *self.federation {
            let detail = format!("made for `{}`", header.federation);
            return Err(Refusal::new(Rule::RecordFederation, detail));
        }
        let same_statement = sealed.statement == batch.statement;
        let agrees = header.origin == batch.origin
            && header.key_id == batch.key_id
            && header.sealed_at == batch.sealed_at;
        if !same_statement || !agrees {
            return Err(Refusal::new(
                Rule::BatchMismatch,
                format!("the header names origin `{}`", header.origin),
            ));
        }
        Ok(())
    }
}

/// Refuses a batch that was first seen after its key was compromised: anybody may have made it.
fn check_held(
    batch: &VerifiedBatch,
    standing: KeyStanding,
    first_seen: Timestamp,
) -> Result<(), Refusal> {
    match standing {
        KeyStanding::CompromisedSince(time) if first_seen >= time => Err(compromised(batch, time)),
        KeyStanding::InForce | KeyStanding::RetiredSince(_) | KeyStanding::CompromisedSince(_) => {
            Ok(())
        }
    }
}

fn compromised(batch: &VerifiedBatch, time: Timestamp) -> Refusal {
    let detail = format!(
        "key `{}` of `{}` is compromised since {time}",
        batch.key_id, batch.origin
    );
    Refusal::new(Rule::KeyCompromised, detail)
}

fn read_batch(
    statement: &Arc<SignedStatement>,
    federation: &FederationId,
) -> Result<VerifiedBatch, Refusal> {
    let unreadable = |what: &str| Refusal::new(Rule::BatchStatement, what.to_owned());
    if statement.unverified_payload().len() > MAX_BATCH_BYTES {
        return Err(unreadable("it is larger than allowed"));
    }
    let wire::BatchStatement {
        federation: named,
        origin,
        key_id,
        sealed_at_ms,
        tree_size,
        root,
    } = shape::read(statement.unverified_payload())
        .map_err(|error| error.refused(Rule::LaterVersion, unreadable("it cannot be decoded")))?;
    if named != federation.as_str() {
        return Err(Refusal::new(
            Rule::RecordFederation,
            "the batch statement names another federation",
        ));
    }
    let tree_size = usize::try_from(tree_size)
        .ok()
        .filter(|size| size.is_power_of_two() && *size <= MAX_LEAVES)
        .ok_or_else(|| unreadable("its tree size is not allowed"))?;
    let key_id =
        KeyId::from_slice(&key_id).ok_or_else(|| unreadable("its key id is not 32 bytes"))?;
    if key_id != statement.key_id() {
        return Err(unreadable("it names one key and is signed with another"));
    }
    Ok(VerifiedBatch {
        statement: Arc::clone(statement),
        origin: origin
            .parse()
            .map_err(|_| unreadable("its origin is no authority id"))?,
        key_id,
        sealed_at: Timestamp::from_millis(sealed_at_ms),
        tree_size,
        root: Digest::from_slice(&root).ok_or_else(|| unreadable("its root is not 32 bytes"))?,
    })
}

/// Reads a header and makes all checks that need nothing else of the record.
pub(crate) fn read_header(bytes: &Bytes) -> Result<Header, Refusal> {
    if bytes.len() > MAX_HEADER_BYTES {
        let detail = format!("{} bytes, {MAX_HEADER_BYTES} are allowed", bytes.len());
        return Err(Refusal::new(Rule::RecordHeader, detail));
    }
    let wire = shape::read::<wire::Header>(bytes).map_err(header_misshapen)?;
    if !(version::FIRST..=version::OWN).contains(&wire.version) {
        let is_later = wire.version > version::OWN;
        let rule = if is_later {
            Rule::LaterVersion
        } else {
            Rule::RecordHeader
        };
        let detail = format!("version {} is not known", wire.version);
        return Err(Refusal::new(rule, detail));
    }
    let header = Header::try_from(wire).map_err(Refusal::from)?;
    header
        .marking
        .check()
        .map_err(|error| Refusal::new(Rule::ContradictoryMarking, error.to_string()))?;
    let tags = header.sections.iter().map(|entry| entry.tag);
    check_sections(header.kind, tags)
        .map_err(|error| Refusal::new(Rule::KindSections, error.to_string()))?;
    let looser = header.sections.iter().find(|entry| {
        let stricter = entry.stricter.as_ref();
        stricter.is_some_and(|stricter| stricter.is_looser_than(&header.marking))
    });
    if let Some(entry) = looser {
        let detail = format!("section {} `{}`", entry.index, entry.tag);
        return Err(Refusal::new(Rule::LooserSection, detail));
    }
    Ok(header)
}

fn header_misshapen(error: Misshapen) -> Refusal {
    let rule = match error {
        Misshapen::Unreadable => Rule::RecordHeader,
        Misshapen::LaterValue { field: "kind", .. } => Rule::RecordKind,
        Misshapen::LaterField(_) | Misshapen::LaterValue { .. } => Rule::LaterVersion,
        Misshapen::TooMany { .. } => Rule::TooManyElements,
    };
    Refusal::new(rule, error.to_string())
}

fn check_groups(header: &Header, form: Form) -> Result<(), Refusal> {
    if header.cuts_a_group(form) {
        let detail = "part of a group of sections is missing";
        return Err(Refusal::new(Rule::GroupCut, detail));
    }
    Ok(())
}

/// Refuses a record that fits no frame: it would block any node that has to pass it on.
fn check_size(sealed: &SealedRecord) -> Result<(), Refusal> {
    let bodies = sealed
        .record
        .sections
        .iter()
        .map(|section| section.body.len());
    let bytes = bodies.fold(sealed.record.header.len(), usize::saturating_add);
    if bytes > MAX_RECORD_BYTES {
        let detail = format!("{bytes} bytes, {MAX_RECORD_BYTES} are allowed");
        return Err(Refusal::new(Rule::Oversized, detail));
    }
    Ok(())
}

fn check_path(
    id: RecordId,
    record: &wire::Record,
    batch: &VerifiedBatch,
    nodes: &mut KnownNodes,
) -> Result<(), Refusal> {
    let shape = || Refusal::new(Rule::PathShape, format!("tree of {}", batch.tree_size));
    let blind: &[u8; 16] = record.blind.as_ref().try_into().map_err(|_| shape())?;
    let leaf = usize::try_from(record.leaf).map_err(|_| shape())?;
    let height = batch.tree_size.trailing_zeros() as usize;
    if leaf >= batch.tree_size || record.path.len() != height * 32 {
        return Err(shape());
    }
    let path: Vec<Digest> = record
        .path
        .chunks_exact(32)
        .filter_map(Digest::from_slice)
        .collect();
    if nodes.leads(batch_leaf(blind, id), leaf, &path) {
        Ok(())
    } else {
        Err(Refusal::new(Rule::PathRoot, format!("leaf {leaf}")))
    }
}

fn open_sections(sections: &[wire::Section], header: &Header) -> Result<Vec<OpenSection>, Refusal> {
    let mut open: Vec<OpenSection> = Vec::with_capacity(sections.len().min(64));
    for section in sections {
        let opened = open_section(section, header)?;
        if open
            .last()
            .is_some_and(|before| before.section.index >= opened.section.index)
        {
            let detail = format!("section {}", opened.section.index);
            return Err(Refusal::new(Rule::SectionOrder, detail));
        }
        open.push(opened);
    }
    Ok(open)
}

fn open_section(wire: &wire::Section, header: &Header) -> Result<OpenSection, Refusal> {
    let name = || format!("section {}", wire.index);
    let entry = u8::try_from(wire.index)
        .ok()
        .and_then(|index| header.entry(index))
        .ok_or_else(|| Refusal::new(Rule::SectionNotListed, name()))?;
    let section = Section {
        index: entry.index,
        salt: wire
            .salt
            .as_ref()
            .try_into()
            .map_err(|_| Refusal::new(Rule::SaltLength, name()))?,
        body: wire.body.clone(),
    };
    if section.digest(entry.tag) != entry.digest {
        return Err(Refusal::new(Rule::SectionDigest, name()));
    }
    let body = Body::decode(entry.tag, &section.body)
        .and_then(|body| body.check_kind(header.kind).map(|()| body))
        .map_err(|error| {
            let detail = format!("{}: {}", name(), error.without_values());
            Refusal::new(error.rule(), detail)
        })?;
    if body.needs() > header.version {
        let detail = format!(
            "{}: it needs version {}, the header says {}",
            name(),
            body.needs(),
            header.version
        );
        return Err(Refusal::new(Rule::SectionBody, detail));
    }
    if body.least_count() != entry.least_count {
        return Err(Refusal::new(
            Rule::SectionBody,
            format!("{}: the header names another least count", name()),
        ));
    }
    Ok(OpenSection { section, body })
}
