//! Searches for records: by id, by kind and origin, and by a selector of their subject.

use portcullis_protocol::{
    body::{Body, SelectorKind},
    digest::Digest,
    identifiers::AuthorityId,
    record::{Kind, RecordId, SectionTag},
    seal::SealedRecord,
    wire,
};
use portcullis_store::{Damaged, HeldRecord, RecordFilter};
use prost::Message as _;

use super::{
    error::SqlError,
    index::{id_key, id_of},
    pack::{Directory, Pack, PackRow, header_of, pack_of, pack_rows, slot_of},
    packs::PackReader,
    view::DatabaseView,
};

/// Search for records that are held.
pub(super) struct RecordSearch<'a> {
    view: DatabaseView<'a>,
}

impl<'a> RecordSearch<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    pub(super) fn record(&self, id: &RecordId) -> Result<Option<HeldRecord>, SqlError> {
        match self.view.number(id)? {
            Some(number) => PackReader::of(self.view).held_record(number),
            None => Ok(None),
        }
    }

    pub(super) fn ids_with_prefix(
        &self,
        prefix: &str,
        limit: u32,
    ) -> Result<Vec<RecordId>, SqlError> {
        let end = |fill: &str| -> Option<RecordId> {
            let rest = 64_usize.checked_sub(prefix.len())?;
            let digest: Digest = format!("{prefix}{}", fill.repeat(rest)).parse().ok()?;
            RecordId::from_slice(digest.as_bytes())
        };
        let (Some(first), Some(last)) = (end("0"), end("f")) else {
            return Ok(Vec::new());
        };
        self.ids_between((first, last), None, limit)
    }

    /// Returns the ids after this one, ascending.
    pub(super) fn ids_after(
        &self,
        after: Option<&RecordId>,
        limit: u32,
    ) -> Result<Vec<RecordId>, SqlError> {
        let (least, last) = ([0; 32], [0xff; 32]);
        let ends = |bytes: &[u8; 32]| RecordId::from_slice(bytes);
        let first = after.copied().or_else(|| ends(&least));
        match first.zip(ends(&last)) {
            Some(ends) => self.ids_between(ends, after, limit),
            None => Ok(Vec::new()),
        }
    }

    /// Returns the ids from `first` to `last` and after `after`, ascending.
    fn ids_between(
        &self,
        (first, last): (RecordId, RecordId),
        after: Option<&RecordId>,
        limit: u32,
    ) -> Result<Vec<RecordId>, SqlError> {
        // One more than asked, in place of the id that is left out.
        let most = limit.saturating_add(u32::from(after.is_some()));
        let keys = (id_key(&first), id_key(&last));
        let mut ids = Vec::new();
        for place in self
            .view
            .index
            .ids_between(self.view.connection, keys, most)?
        {
            let id = id_of(self.view.connection, place)?;
            let chosen = |id: &RecordId| (first..=last).contains(id) && after != Some(id);
            ids.extend(id.filter(chosen));
        }
        ids.sort_unstable();
        ids.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(ids)
    }

    pub(super) fn records(&self, filter: &RecordFilter) -> Result<Vec<HeldRecord>, SqlError> {
        let RecordFilter {
            kind,
            origin,
            limit,
        } = filter;
        let sql = match kind {
            Some(_) => pack_rows!("WHERE extends = 0 AND kind = ?1 ORDER BY p.n DESC"),
            None => pack_rows!("WHERE extends = 0 AND ?1 IS NULL ORDER BY p.n DESC"),
        };
        let limit = limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        let mut packs = PackReader::of(self.view);
        let mut records = Vec::new();
        let mut select = self.view.connection.prepare_cached(sql)?;
        let mut rows = select.query([kind.map(Kind::name)])?;
        while records.len() < limit {
            let Some(row) = rows.next()? else {
                break;
            };
            let row = PackRow::read(row)?;
            let n = row.n;
            let opened = Pack::open(row, self.view.vault, self.view.sealer);
            let Some(pack) = self.view.unless_damaged(|| Damaged::Pack(n), opened)? else {
                continue;
            };
            let extensions = packs.extensions(&pack)?;
            let withdrawn = packs.withdrawn_in(&pack)?;
            for slot in (0..pack.len()).rev() {
                if records.len() >= limit {
                    break;
                }
                let number = pack.directory.number(pack.n, slot);
                if withdrawn.contains(&number) {
                    continue;
                }
                let extensions = extensions.get(&number).map(Vec::as_slice);
                let extensions = extensions.unwrap_or_default();
                let read = packs.assembled(&pack, slot, extensions);
                let thing = || pack.id(slot).map_or(Damaged::Pack(n), Damaged::Record);
                let Some(held) = self.view.unless_damaged(thing, read)? else {
                    continue;
                };
                let chosen = |origin: &AuthorityId| is_of(&held.sealed, origin.as_str());
                if origin.as_ref().is_none_or(chosen) {
                    records.push(held);
                }
            }
        }
        Ok(records)
    }

    pub(super) fn records_about(
        &self,
        kind: SelectorKind,
        value: &str,
    ) -> Result<Vec<HeldRecord>, SqlError> {
        let mut records = match self.view.vault.token(kind, value) {
            Some(token) => self.with_token(token)?,
            None => self.records(&RecordFilter::default())?,
        };
        records.retain(|held| names(&held.sealed, kind, value));
        Ok(records)
    }

    fn with_token(&self, token: i64) -> Result<Vec<HeldRecord>, SqlError> {
        let mut numbers = Vec::new();
        for place in self.view.index.tokens(self.view.connection, token)? {
            let directory: Option<Vec<u8>> = self.view.first(
                "SELECT directory FROM pack WHERE n = ?1",
                [pack_of(place)],
                |row| row.get(0),
            )?;
            if let Some(directory) = directory {
                let (n, read) = (pack_of(place), Directory::read(&directory));
                let directory = self.view.unless_damaged(|| Damaged::Pack(n), read)?;
                numbers.extend(directory.map(|all| all.number(n, slot_of(place))));
            }
        }
        let mut found: Vec<(i64, i64)> = Vec::new();
        for number in numbers {
            let first = self.view.places(number)?.first().copied();
            found.extend(first.map(|place| (place, number)));
        }
        // The newest come first. A record found twice is listed once.
        found.sort_unstable_by(|one, other| other.cmp(one));
        found.dedup();
        let mut packs = PackReader::of(self.view);
        let mut records = Vec::new();
        for (_, number) in found {
            let read = packs.held_record(number);
            records.extend(
                self.view
                    .unless_damaged(|| self.named(number), read)?
                    .flatten(),
            );
        }
        Ok(records)
    }
}

impl RecordSearch<'_> {
    /// Returns the name of a damaged record.
    pub(super) fn named(&self, number: i64) -> Damaged {
        match self.view.id(number) {
            Ok(Some(id)) => Damaged::Record(id),
            Ok(None) | Err(_) => Damaged::Pack(pack_of(number)),
        }
    }
}

/// Returns true if the header of a record that was read names this origin.
fn is_of(sealed: &SealedRecord, origin: &str) -> bool {
    wire::Header::decode(sealed.wire().header.clone()).is_ok_and(|header| header.origin == origin)
}

/// Returns what the header of a record claims; nothing of it is verified.
/// Returns true if the subject of a record that was read names this selector. A subject that cannot
/// be decoded names nothing; verification reports why.
pub(super) fn names(sealed: &SealedRecord, kind: SelectorKind, value: &str) -> bool {
    let (wire, header) = (sealed.wire(), header_of(sealed.wire().header.clone()));
    let tag = |index: u32| {
        let index = u8::try_from(index).ok()?;
        header.as_ref()?.entry(index).map(|entry| entry.tag)
    };
    let mut subjects = wire
        .sections
        .iter()
        .filter(|section| tag(section.index) == Some(SectionTag::Subject))
        .filter_map(|section| Body::decode(SectionTag::Subject, &section.body).ok());
    subjects.any(|body| match body {
        Body::Subject(subject) => subject
            .selectors
            .iter()
            .any(|selector| selector.kind() == kind && selector.value() == value),
        Body::Assessment(_)
        | Body::Narrative(_)
        | Body::Source(_)
        | Body::Persons(_)
        | Body::Attachments(_)
        | Body::Cells(_) => false,
    })
}
