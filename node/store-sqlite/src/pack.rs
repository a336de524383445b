//! The format of a pack: up to 32 records that came together, in one row.
//!
//! ```text
//! ids        32 bytes each
//! directory  for each entry: the sections it brings, the form delivered and the decision on it,
//!            where its bytes end, how many sections came before, its tokens
//! body       the entries' bytes, one after the other: sealed header, place in its batch, sealed
//!            sections
//! keys.db    the key of each section, in order, sealed together and bound to ids and directory,
//!            but for the tokens: they go when a record is withdrawn, and the other keys stay
//! ```
//!
//! A row costs about as much as ten records' worth of bytes, whatever its content; work done once
//! for 32 records costs next to nothing for each. Each entry is decoded alone, so that damage to
//! one touches no other.

use bytes::Bytes;
use portcullis_protocol::{
    body::Body,
    frame::Lane,
    identifiers::NodeId,
    record::{Form, Header, Kind, RecordId},
    time::Timestamp,
    verify::{OpenSection, VerifiedRecord},
    wire,
};
use portcullis_store::StoreError;
use prost::Message;
use rusqlite::types::ValueRef;
use sha2::{Digest as _, Sha256};

use super::{
    crypt::{Sealed, SealedAs, SectionKeys, Vault, open_under, seal_under},
    decode::{node, unreadable},
    error::SqlError,
    seals::Sealer,
    tables::PACK,
};

/// Entries in a full pack.
pub(super) const SLOTS: i64 = 32;
/// A pack with this many bytes takes no further entry.
const FULL_BYTES: usize = 128 << 10;
/// Bytes in a record id.
const ID_LEN: usize = 32;
/// Bytes in a salt.
const SALT_LEN: usize = 16;

/// Returns the place of an entry in the log.
pub(super) const fn place(pack: i64, slot: i64) -> i64 {
    pack * SLOTS + slot
}

/// Returns the number of the pack that holds a place.
pub(super) const fn pack_of(place: i64) -> i64 {
    place.div_euclid(SLOTS)
}

/// Returns the slot of a place in its pack.
pub(super) fn slot_of(place: i64) -> usize {
    usize::try_from(place.rem_euclid(SLOTS)).unwrap_or_default()
}

/// The directory of a pack: properties of its entries, without their bytes.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Directory {
    /// The sections that each entry brings.
    #[prost(fixed64, repeated, tag = "1")]
    pub(super) forms: Vec<u64>,
    /// The form in which each record was delivered, and the number of the decision to admit it.
    /// Both are empty for own records.
    #[prost(fixed64, repeated, tag = "2")]
    pub(super) delivered: Vec<u64>,
    #[prost(int64, repeated, tag = "3")]
    pub(super) decisions: Vec<i64>,
    /// The offset in the body at which each entry ends.
    #[prost(uint32, repeated, tag = "4")]
    pub(super) ends: Vec<u32>,
    /// The number of sections in the pack up to the end of each entry.
    #[prost(uint32, repeated, tag = "5")]
    pub(super) sections: Vec<u32>,
    /// The number of each entry's record. The list is empty if every number is the entry's place.
    #[prost(sint64, repeated, tag = "6")]
    pub(super) numbers: Vec<i64>,
    /// The tokens of selectors, and the slot of each token.
    #[prost(sfixed64, repeated, tag = "7")]
    pub(super) tokens: Vec<i64>,
    #[prost(uint32, repeated, tag = "8")]
    pub(super) token_slots: Vec<u32>,
    /// The slots of entries that name a selector without a token.
    #[prost(uint32, repeated, tag = "9")]
    pub(super) common_slots: Vec<u32>,
}

impl Directory {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, SqlError> {
        Self::decode(bytes).map_err(|_| unreadable("a pack's directory"))
    }

    /// Returns the sections that the entry in this slot brings.
    pub(super) fn form(&self, slot: usize) -> Option<Form> {
        self.forms.get(slot).copied().map(Form::from_bits)
    }

    /// Returns the form in which the entry was delivered and the decision on it, if a peer brought
    /// it.
    pub(super) fn delivered(&self, slot: usize) -> Option<(Form, i64)> {
        let form = self.delivered.get(slot).copied().map(Form::from_bits)?;
        Some((form, self.decisions.get(slot).copied()?))
    }

    /// Returns the number of sections in the pack.
    pub(super) fn section_count(&self) -> usize {
        self.sections_before(self.sections.len())
    }

    /// Returns the numbers of the sections of the entry in this slot.
    pub(super) fn section_numbers(&self, slot: usize) -> std::ops::Range<usize> {
        self.sections_before(slot)..self.sections_before(slot.saturating_add(1))
    }

    fn sections_before(&self, slot: usize) -> usize {
        let before = slot.checked_sub(1).and_then(|slot| self.sections.get(slot));
        before.map_or(0, |count| usize::try_from(*count).unwrap_or(usize::MAX))
    }

    /// Returns the tokens of the entry in this slot.
    pub(super) fn tokens_of(&self, slot: usize) -> impl Iterator<Item = i64> {
        let at = self.tokens.iter().zip(&self.token_slots);
        at.filter(move |(_, of)| usize::try_from(**of) == Ok(slot))
            .map(|(token, _)| *token)
    }

    /// Returns true if the entry in this slot names a selector without a token.
    pub(super) fn is_common(&self, slot: usize) -> bool {
        let is = |of: &u32| usize::try_from(*of) == Ok(slot);
        self.common_slots.iter().any(is)
    }

    /// Removes the tokens and marks by which the entry in this slot is found, and returns the
    /// tokens.
    pub(super) fn forget_selectors(&mut self, slot: usize) -> Vec<i64> {
        let gone = self.tokens_of(slot).collect();
        let stays = |of: &u32| usize::try_from(*of) != Ok(slot);
        let tokens = self.tokens.iter().zip(&self.token_slots);
        let (tokens, token_slots) = tokens.filter(|(_, of)| stays(of)).unzip();
        (self.tokens, self.token_slots) = (tokens, token_slots);
        self.common_slots.retain(stays);
        gone
    }

    /// Returns the directory without its tokens and the marks of entries that have none.
    fn without_selectors(&self) -> Self {
        Self {
            forms: self.forms.clone(),
            delivered: self.delivered.clone(),
            decisions: self.decisions.clone(),
            ends: self.ends.clone(),
            sections: self.sections.clone(),
            numbers: self.numbers.clone(),
            ..Self::default()
        }
    }

    /// Returns the number of the record in this slot of this pack.
    pub(super) fn number(&self, pack: i64, slot: usize) -> i64 {
        let own = || place(pack, i64::try_from(slot).unwrap_or_default());
        self.numbers.get(slot).copied().unwrap_or_else(own)
    }
}

/// The bytes of an entry. One that extends a record has no header.
#[derive(Clone, PartialEq, Message)]
struct PackEntry {
    /// The header, sealed. In a former format it stands in clear: it is then the one whose digest is
    /// the record's id.
    #[prost(bytes = "bytes", tag = "1")]
    header: Bytes,
    #[prost(int64, tag = "2")]
    statement: i64,
    #[prost(uint32, tag = "3")]
    leaf: u32,
    #[prost(bytes = "bytes", tag = "4")]
    blind: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    path: Bytes,
    #[prost(message, repeated, tag = "6")]
    sections: Vec<SealedSection>,
}

/// An entry without its sections. None of its bytes is checked yet.
pub(super) struct Head {
    id: RecordId,
    header: Bytes,
    /// The number of its statement; 0 if it extends a record. Nothing binds it to the id.
    pub(super) statement: i64,
}

impl Head {
    /// Returns the header, which is checked against the id.
    pub(super) fn header(&self, vault: &Vault) -> Result<Bytes, SqlError> {
        opened_header(&self.id, self.header.clone(), vault)
    }
}

/// Returns the head of each entry of a pack; `None` for one that does not decode.
pub(super) fn heads(ids: &[u8], directory: &Directory, body: &[u8]) -> Vec<Option<Head>> {
    let mut begin = 0;
    let ends = directory.ends.iter().enumerate();
    ends.map(|(slot, end)| {
        let end = usize::try_from(*end).ok()?;
        let bytes = body.get(begin..end);
        begin = end;
        let EntryHead { header, statement } = EntryHead::decode(bytes?).ok()?;
        Some(Head {
            id: id_at(ids, slot)?,
            header,
            statement,
        })
    })
    .collect()
}

/// The part of a [`PackEntry`] before its place in the batch.
#[derive(Clone, PartialEq, Message)]
struct EntryHead {
    #[prost(bytes = "bytes", tag = "1")]
    header: Bytes,
    #[prost(int64, tag = "2")]
    statement: i64,
}

/// Opens the header of the record with this id, if it is sealed, and checks it against the id.
fn opened_header(id: &RecordId, header: Bytes, vault: &Vault) -> Result<Bytes, SqlError> {
    if RecordId::of_header(&header) == *id {
        return Ok(header);
    }
    let other = || StoreError::Damaged(format!("record `{id}` has another header"));
    let opened = vault.open_header(id, header.to_vec());
    let opened = opened.filter(|opened| RecordId::of_header(opened) == *id);
    Ok(opened.ok_or_else(other)?.into())
}

/// Returns a header that was read; `None` if it does not decode.
pub(super) fn header_of(bytes: Bytes) -> Option<Header> {
    Header::try_from(wire::Header::decode(bytes).ok()?).ok()
}

#[derive(Clone, PartialEq, Message)]
struct SealedSection {
    #[prost(uint32, tag = "1")]
    index: u32,
    #[prost(bytes = "bytes", tag = "2")]
    bytes: Bytes,
}

/// Properties that the entries of a pack share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) kind: Kind,
    /// The peer that delivered them.
    pub(super) source: Option<NodeId>,
    /// True if this authority made the records.
    pub(super) own: bool,
    pub(super) extends: bool,
    pub(super) received_at: Timestamp,
}

impl Run {
    pub(super) const fn lane(&self) -> Lane {
        Lane::of(self.kind)
    }
}

/// A record to be packed.
pub(super) struct Packing<'a> {
    pub(super) record: &'a VerifiedRecord,
    /// The sections to keep.
    pub(super) form: Form,
    /// The number of its statement; not used for an entry that extends a record.
    pub(super) statement: i64,
    /// Its number, if that is not the entry's place.
    pub(super) number: Option<i64>,
    /// The form delivered and the number of the decision, if a peer brought it.
    pub(super) delivered: Option<(Form, i64)>,
}

/// A pack that still takes entries.
pub(super) struct OpenPack {
    pub(super) n: i64,
    pub(super) run: Run,
    pub(super) ids: Vec<u8>,
    pub(super) directory: Directory,
    pub(super) body: Vec<u8>,
    keys: SectionKeys,
}

impl OpenPack {
    pub(super) fn new(n: i64, run: Run) -> Self {
        Self {
            n,
            run,
            ids: Vec::new(),
            directory: Directory::default(),
            body: Vec::new(),
            keys: SectionKeys::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.directory.forms.len()
    }

    /// Returns true if the pack takes another entry.
    pub(super) fn has_room(&self) -> bool {
        i64::try_from(self.len()).is_ok_and(|len| len < SLOTS) && self.body.len() < FULL_BYTES
    }

    /// Adds an entry and returns its place.
    pub(super) fn add(&mut self, packing: &Packing<'_>, vault: &Vault) -> Result<i64, SqlError> {
        let slot = self.len();
        let at = place(self.n, i64::try_from(slot).unwrap_or_default());
        let sections = self.sealed(packing, vault, slot)?;
        self.entry(packing, vault, sections)?;
        self.ids.extend_from_slice(packing.record.id().as_bytes());
        let directory = &mut self.directory;
        directory.forms.push(packing.form.bits());
        if let Some((form, decision)) = packing.delivered {
            directory.delivered.push(form.bits());
            directory.decisions.push(decision);
        }
        let number = packing.number.unwrap_or(at);
        if number != at && directory.numbers.is_empty() {
            let first = place(self.n, 0);
            directory.numbers.extend(first..at);
        }
        if number != at || !directory.numbers.is_empty() {
            directory.numbers.push(number);
        }
        Ok(at)
    }

    fn sealed(
        &mut self,
        packing: &Packing<'_>,
        vault: &Vault,
        slot: usize,
    ) -> Result<Vec<SealedSection>, SqlError> {
        let id = packing.record.id();
        let mut count = self.directory.section_count();
        let mut sealed = Vec::with_capacity(packing.record.sections().len());
        let kept = |open: &&OpenSection| packing.form.contains(open.section.index);
        for open in packing.record.sections().iter().filter(kept) {
            let section = &open.section;
            let mut plain = Vec::with_capacity(SALT_LEN + section.body.len() + SALT_LEN);
            plain.extend_from_slice(&section.salt);
            plain.extend_from_slice(&section.body);
            let key = self.keys.draw(count)?;
            sealed.push(SealedSection {
                index: section.index.into(),
                bytes: seal_under(key, SealedAs::Section(&id, section.index), plain)?.into(),
            });
            count += 1;
            self.index(open, vault, slot);
        }
        let count = u32::try_from(count).map_err(|_| StoreError::Fault("a pack is too large"))?;
        self.directory.sections.push(count);
        Ok(sealed)
    }

    fn index(&mut self, open: &OpenSection, vault: &Vault, slot: usize) {
        let Body::Subject(subject) = &open.body else {
            return;
        };
        for selector in &subject.selectors {
            let slot = u32::try_from(slot).unwrap_or_default();
            match vault.token(selector.kind(), selector.value()) {
                Some(token) => {
                    self.directory.tokens.push(token);
                    self.directory.token_slots.push(slot);
                }
                None => self.directory.common_slots.push(slot),
            }
        }
    }

    fn entry(
        &mut self,
        packing: &Packing<'_>,
        vault: &Vault,
        sections: Vec<SealedSection>,
    ) -> Result<(), SqlError> {
        let wire = packing.record.sealed().wire();
        let entry = if self.run.extends {
            PackEntry {
                sections,
                ..PackEntry::default()
            }
        } else {
            PackEntry {
                header: vault
                    .seal_header(&packing.record.id(), &wire.header)?
                    .into(),
                statement: packing.statement,
                leaf: wire.leaf,
                blind: wire.blind.clone(),
                path: wire.path.clone(),
                sections,
            }
        };
        entry
            .encode(&mut self.body)
            .map_err(|_| StoreError::Fault("an entry cannot be encoded"))?;
        let end = u32::try_from(self.body.len());
        let end = end.map_err(|_| StoreError::Fault("a pack is too large"))?;
        self.directory.ends.push(end);
        Ok(())
    }

    /// Returns the directory's bytes and the sealed keys.
    pub(super) fn closed(&self, vault: &Vault) -> Result<Closed, SqlError> {
        let directory = self.directory.encode_to_vec();
        let bound = bound(&self.ids, &self.directory);
        let keys = vault.seal_keys(self.n, &bound, &self.keys, self.directory.section_count())?;
        Ok(Closed {
            directory,
            wrapped: keys.wrapped.to_vec(),
            keys: keys.bytes,
        })
    }
}

/// A pack's directory and keys as they are stored.
pub(super) struct Closed {
    pub(super) directory: Vec<u8>,
    pub(super) wrapped: Vec<u8>,
    pub(super) keys: Vec<u8>,
}

/// Returns the digest of ids and directory to which a pack's keys are bound. The tokens are left
/// out.
pub(super) fn bound(ids: &[u8], directory: &Directory) -> [u8; 32] {
    let directory = directory.without_selectors().encode_to_vec();
    hashed(b"portcullis store directory v2\0", ids, &directory)
}

/// Returns the digest to which a pack's keys were bound before format 6, with the tokens.
fn formerly_bound(ids: &[u8], directory: &[u8]) -> [u8; 32] {
    hashed(b"portcullis store directory v1\0", ids, directory)
}

fn hashed(label: &[u8], ids: &[u8], directory: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(label);
    hash.update(u64::try_from(ids.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(ids);
    hash.update(directory);
    hash.finalize().into()
}

/// Returns the digest to which the keys of a pack are bound while its entries are rewritten: without
/// the places where they end. Each entry is authenticated by itself.
fn bound_without_ends(ids: &[u8], directory: &Directory) -> [u8; 32] {
    let directory = Directory {
        ends: Vec::new(),
        ..directory.without_selectors()
    };
    hashed(
        b"portcullis store directory v3\0",
        ids,
        &directory.encode_to_vec(),
    )
}

/// Returns true if the header of the entry in this slot stands in clear.
fn is_clear(ids: &[u8], slot: usize, header: &[u8]) -> bool {
    id_at(ids, slot).is_some_and(|id| RecordId::of_header(header) == id)
}

/// A pack with a header in clear that says more than names and dates.
pub(super) struct Telling {
    ids: Vec<u8>,
    bytes: Vec<u8>,
    directory: Directory,
    entries: Vec<PackEntry>,
}

impl Telling {
    /// Reads a pack of a former format. `None` if no header in it is for `tells`, or if it is damaged.
    pub(super) fn read(
        ids: Vec<u8>,
        directory: Vec<u8>,
        body: Vec<u8>,
        tells: impl Fn(&[u8]) -> bool,
    ) -> Option<Self> {
        let bytes = directory;
        let directory = Directory::read(&bytes).ok()?;
        let body = Bytes::from(body);
        let mut begin = 0;
        let mut entries = Vec::with_capacity(directory.ends.len());
        for end in &directory.ends {
            let end = usize::try_from(*end).ok()?;
            let in_body = begin <= end && end <= body.len();
            let range = in_body.then_some(begin..end)?;
            entries.push(PackEntry::decode(body.slice(range)).ok()?);
            begin = end;
        }
        let told = entries
            .iter()
            .enumerate()
            .any(|(slot, entry)| is_clear(&ids, slot, &entry.header) && tells(&entry.header));
        told.then_some(Self {
            ids,
            bytes,
            directory,
            entries,
        })
    }

    /// Seals the keys of the pack so that they open before and after it is rewritten. `None` if they
    /// do not open.
    pub(super) fn bind_anew(
        &self,
        n: i64,
        vault: &Vault,
        (wrapped, sealed): (&[u8], Vec<u8>),
    ) -> Result<Option<Sealed>, SqlError> {
        let said = (self.ids.as_slice(), self.bytes.as_slice(), &self.directory);
        let Some(keys) = open_keys(vault, n, said, (wrapped, sealed)) else {
            return Ok(None);
        };
        let bound = bound_without_ends(&self.ids, &self.directory);
        let count = self.directory.section_count();
        vault.seal_keys(n, &bound, &keys, count).map(Some)
    }

    /// Returns the directory and the body with every header sealed.
    pub(super) fn rewritten(mut self, vault: &Vault) -> Result<(Vec<u8>, Vec<u8>), SqlError> {
        let too_large = |_| StoreError::Fault("a pack is too large");
        let mut body = Vec::new();
        self.directory.ends.clear();
        for (slot, mut entry) in self.entries.into_iter().enumerate() {
            if is_clear(&self.ids, slot, &entry.header) {
                let id = id_at(&self.ids, slot).ok_or_else(|| unreadable("a record id"))?;
                entry.header = vault.seal_header(&id, &entry.header)?.into();
            }
            entry
                .encode(&mut body)
                .map_err(|_| StoreError::Fault("an entry cannot be encoded"))?;
            let end = u32::try_from(body.len()).map_err(too_large)?;
            self.directory.ends.push(end);
        }
        Ok((self.directory.encode_to_vec(), body))
    }
}

/// Opens the keys of a pack. `None` if they, its ids or its directory were changed.
pub(super) fn open_keys(
    vault: &Vault,
    n: i64,
    (ids, bytes, directory): (&[u8], &[u8], &Directory),
    (wrapped, sealed): (&[u8], Vec<u8>),
) -> Option<SectionKeys> {
    vault
        .open_keys(n, &bound(ids, directory), wrapped, sealed.clone())
        .or_else(|| vault.open_keys(n, &formerly_bound(ids, bytes), wrapped, sealed.clone()))
        .or_else(|| vault.open_keys(n, &bound_without_ends(ids, directory), wrapped, sealed))
}

/// The row of a pack, and the row of its keys.
pub(super) struct PackRow {
    pub(super) n: i64,
    pub(super) extends: bool,
    pub(super) source: Option<String>,
    pub(super) received_at: i64,
    pub(super) ids: Vec<u8>,
    pub(super) directory: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) wrapped: Option<Vec<u8>>,
    pub(super) keys: Option<Vec<u8>>,
    lane: String,
    own: i64,
    kind: String,
    count: i64,
    /// Version and MAC of the row.
    seal: Option<(i64, Vec<u8>)>,
}

/// The columns of a [`PackRow`], up to the clauses that choose the rows.
macro_rules! pack_rows {
    ($rest:literal) => {
        concat!(
            "SELECT p.n, extends, source, received_at, ids, directory, body, wrapped, sealed, ",
            "lane, own, kind, count, version, mac ",
            "FROM pack AS p LEFT JOIN keys.pack_key AS k ON k.n = p.n ",
            "LEFT JOIN row_seal AS s ON s.tbl = 2 AND s.row = +p.n ",
            $rest
        )
    };
}
pub(super) use pack_rows;

impl PackRow {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            n: row.get(0)?,
            extends: row.get(1)?,
            source: row.get(2)?,
            received_at: row.get(3)?,
            ids: row.get(4)?,
            directory: row.get(5)?,
            body: row.get(6)?,
            wrapped: row.get(7)?,
            keys: row.get(8)?,
            lane: row.get(9)?,
            own: row.get(10)?,
            kind: row.get(11)?,
            count: row.get(12)?,
            seal: row.get::<_, Option<i64>>(13)?.zip(row.get(14)?),
        })
    }
}

/// A pack that was read, with its keys.
pub(super) struct Pack {
    pub(super) n: i64,
    pub(super) extends: bool,
    pub(super) source: Option<NodeId>,
    pub(super) received_at: Timestamp,
    ids: Vec<u8>,
    pub(super) directory: Directory,
    body: Bytes,
    keys: SectionKeys,
}

/// A record without its sections, as an entry holds it.
pub(super) struct Bare {
    pub(super) header: Bytes,
    pub(super) statement: i64,
    pub(super) leaf: u32,
    pub(super) blind: Bytes,
    pub(super) path: Bytes,
}

/// An opened section: its index, salt and body.
pub(super) struct Opened {
    pub(super) index: u8,
    pub(super) salt: Bytes,
    pub(super) body: Bytes,
}

impl PackRow {
    /// Returns true if its columns are those that were written.
    fn is_as_written(&self, sealer: &Sealer) -> Result<bool, SqlError> {
        let source = self.source.as_deref();
        let columns = [
            ValueRef::Integer(self.n),
            ValueRef::Text(self.lane.as_bytes()),
            ValueRef::Integer(self.own),
            ValueRef::Integer(i64::from(self.extends)),
            ValueRef::Text(self.kind.as_bytes()),
            source.map_or(ValueRef::Null, |source| ValueRef::Text(source.as_bytes())),
            ValueRef::Integer(self.received_at),
            ValueRef::Integer(self.count),
            ValueRef::Blob(&self.directory),
        ];
        let seal = self.seal.as_ref();
        sealer.holds(
            PACK,
            &columns,
            seal.map(|(version, mac)| (*version, mac.as_slice())),
        )
    }
}

impl Pack {
    /// Opens the keys of a pack that was read, if it is as it was written.
    pub(super) fn open(row: PackRow, vault: &Vault, sealer: &Sealer) -> Result<Self, SqlError> {
        let is_as_written = row.is_as_written(sealer)?;
        let damaged = |what: &str| StoreError::Damaged(format!("pack {} {what}", row.n));
        if !is_as_written {
            return Err(damaged("is not as it was written").into());
        }
        let wrapped = row.wrapped.ok_or_else(|| damaged("has no key"))?;
        let keys = row.keys.ok_or_else(|| damaged("has no key"))?;
        let directory = Directory::read(&row.directory)?;
        let said = (row.ids.as_slice(), row.directory.as_slice(), &directory);
        let keys = open_keys(vault, row.n, said, (&wrapped, keys))
            .ok_or_else(|| damaged("does not open: it or its key was changed"))?;
        Ok(Self {
            n: row.n,
            extends: row.extends,
            source: row.source.as_deref().map(node).transpose()?,
            received_at: Timestamp::from_millis(row.received_at),
            ids: row.ids,
            directory,
            body: row.body.into(),
            keys,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.directory.forms.len()
    }

    pub(super) fn id(&self, slot: usize) -> Result<RecordId, SqlError> {
        id_at(&self.ids, slot).ok_or_else(|| unreadable("a record id"))
    }

    pub(super) fn place(&self, slot: usize) -> i64 {
        place(self.n, i64::try_from(slot).unwrap_or_default())
    }

    fn entry(&self, slot: usize) -> Result<PackEntry, SqlError> {
        let end = |slot: usize| {
            let end = self.directory.ends.get(slot).copied();
            end.and_then(|end| usize::try_from(end).ok())
        };
        let begin = slot.checked_sub(1).map_or(Some(0), end);
        let range = begin.zip(end(slot)).map(|(begin, end)| begin..end);
        let bytes = range.filter(|range| range.start <= range.end && range.end <= self.body.len());
        bytes
            .and_then(|range| PackEntry::decode(self.body.slice(range)).ok())
            .ok_or_else(|| unreadable(&format!("the entry at {}", self.place(slot))))
    }

    /// Returns the record in this slot without its sections. The header is checked against the id.
    pub(super) fn bare(&self, slot: usize, vault: &Vault) -> Result<Bare, SqlError> {
        let PackEntry {
            header,
            statement,
            leaf,
            blind,
            path,
            sections: _,
        } = self.entry(slot)?;
        let id = self.id(slot)?;
        Ok(Bare {
            header: opened_header(&id, header, vault)?,
            statement,
            leaf,
            blind,
            path,
        })
    }

    /// Returns the sections in this slot, each opened with its key. If only those in `form` are
    /// asked for, the others have to stand there and stay closed.
    pub(super) fn sections(
        &self,
        slot: usize,
        form: Option<Form>,
    ) -> Result<Vec<Opened>, SqlError> {
        let id = self.id(slot)?;
        let sections = self.entry(slot)?.sections;
        let expected = self.directory.form(slot).unwrap_or(Form::EMPTY);
        let index = |sealed: &SealedSection| u8::try_from(sealed.index).ok();
        if sections.iter().filter_map(index).collect::<Form>() != expected {
            return Err(StoreError::Damaged(format!("record `{id}` lacks a section")).into());
        }
        let first = self.directory.section_numbers(slot).start;
        let is_asked = |sealed: &SealedSection| {
            form.is_none_or(|form| index(sealed).is_some_and(|index| form.contains(index)))
        };
        let numbered = (first..).zip(sections);
        numbered
            .filter(|(_, sealed)| is_asked(sealed))
            .map(|(number, sealed)| self.opened(&id, number, sealed))
            .collect()
    }

    fn opened(&self, id: &RecordId, key: usize, sealed: SealedSection) -> Result<Opened, SqlError> {
        let SealedSection { index, bytes } = sealed;
        let damaged =
            || StoreError::Damaged(format!("section {index} of record `{id}` does not open"));
        let index = u8::try_from(index).map_err(|_| damaged())?;
        let key = self.keys.get(key).ok_or_else(damaged)?;
        let plain =
            open_under(key, SealedAs::Section(id, index), bytes.into()).ok_or_else(damaged)?;
        if plain.len() < SALT_LEN {
            return Err(damaged().into());
        }
        let plain = Bytes::from(plain);
        Ok(Opened {
            index,
            salt: plain.slice(..SALT_LEN),
            body: plain.slice(SALT_LEN..),
        })
    }
}

/// Returns the id in this slot, from the ids of a pack.
pub(super) fn id_at(ids: &[u8], slot: usize) -> Option<RecordId> {
    let begin = slot.checked_mul(ID_LEN)?;
    RecordId::from_slice(ids.get(begin..begin + ID_LEN)?)
}
