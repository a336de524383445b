//! Excerpts of records, page by page: headers, and the sections that a reader asks for.
//!
//! A page ends with the pack in which it is full. Files that a record brings are read from the disk
//! with their pack, and neither opened nor kept. Records of origins that the reader leaves out are
//! counted by their statements and headers: no section of theirs is opened, so that a flood costs the
//! look at its packs and no more.

use std::collections::{BTreeSet, HashSet};

use portcullis_protocol::{
    body::SelectorKind,
    identifiers::AuthorityId,
    record::{Kind, RecordId, SectionTag},
};
use portcullis_store::{Came, Damaged, ExcerptPage, ExcerptsOf, HeldExcerpt};

use super::{
    decode::unsigned,
    error::SqlError,
    origins::OriginReader,
    pack::{Directory, Pack, PackRow, pack_of, pack_rows, place, slot_of},
    packs::PackReader,
    search::{RecordSearch, names},
    view::DatabaseView,
};

/// Bytes of packs after which a page ends, so that no snapshot is held for long.
const LOOKED_AT: usize = 64 << 20;

/// Search for excerpts with the sections of some tags.
pub(super) struct ExcerptSearch<'a> {
    view: DatabaseView<'a>,
    tags: &'a [SectionTag],
    /// Origins whose records are counted, and neither opened nor returned.
    left_out: &'a BTreeSet<AuthorityId>,
}

impl<'a> ExcerptSearch<'a> {
    pub(super) const fn of(
        view: DatabaseView<'a>,
        tags: &'a [SectionTag],
        left_out: &'a BTreeSet<AuthorityId>,
    ) -> Self {
        Self {
            view,
            tags,
            left_out,
        }
    }

    pub(super) fn excerpt(&self, id: &RecordId) -> Result<Option<HeldExcerpt>, SqlError> {
        match self.view.number(id)? {
            Some(number) => PackReader::of(self.view).held_excerpt(number, self.tags),
            None => Ok(None),
        }
    }

    pub(super) fn page(
        &self,
        of: ExcerptsOf<'_>,
        from: Option<i64>,
    ) -> Result<ExcerptPage, SqlError> {
        match of {
            ExcerptsOf::Any => self.in_packs(None, Came::EVER, from),
            ExcerptsOf::Kind(kind) => self.in_packs(Some(kind), Came::EVER, from),
            ExcerptsOf::Came(kind, came) => self.in_packs(kind, came, from),
            ExcerptsOf::Selector(kind, value) => match self.view.vault.token(kind, value) {
                Some(token) => self.with_token((kind, value), token, from),
                None => {
                    let mut page = self.in_packs(None, Came::EVER, from)?;
                    page.excerpts
                        .retain(|held| names(&held.opened, kind, value));
                    Ok(page)
                }
            },
        }
    }

    /// Counts the records in the packs of a kind, or of any, that came in this time.
    pub(super) fn count(&self, kind: Option<Kind>, came: Came) -> Result<u64, SqlError> {
        let asked = (
            kind.map(Kind::name),
            came.since.as_millis(),
            came.before.as_millis(),
        );
        let logged = self.view.first(
            "SELECT coalesce(sum(count), 0) FROM pack
             WHERE extends = 0 AND (?1 IS NULL OR kind = ?1)
                 AND received_at >= ?2 AND received_at < ?3",
            asked,
            |row| row.get(0),
        )?;
        // A record that was known before it came has a number below 0, and its place beside it.
        let withdrawn = self.view.first(
            "SELECT count(*) FROM tombstone AS t
                 LEFT JOIN known AS k ON k.n = t.record
                 JOIN pack AS p ON p.n = coalesce(k.place, t.record) / 32
             WHERE coalesce(k.place, t.record) >= 0 AND extends = 0 AND (?1 IS NULL OR kind = ?1)
                 AND received_at >= ?2 AND received_at < ?3",
            asked,
            |row| row.get(0),
        )?;
        let held = |logged: i64, withdrawn: i64| logged.saturating_sub(withdrawn).max(0);
        unsigned(held(logged.unwrap_or(0), withdrawn.unwrap_or(0)))
    }

    /// Returns a page of excerpts from the packs before this one, by number, that came in this time.
    fn in_packs(
        &self,
        kind: Option<Kind>,
        came: Came,
        from: Option<i64>,
    ) -> Result<ExcerptPage, SqlError> {
        let sql = match kind {
            Some(_) => {
                pack_rows!(
                    "WHERE extends = 0 AND kind = ?1 AND p.n < ?2 AND received_at >= ?3 \
                     AND received_at < ?4 ORDER BY p.n DESC"
                )
            }
            None => {
                pack_rows!(
                    "WHERE extends = 0 AND ?1 IS NULL AND p.n < ?2 AND received_at >= ?3 \
                     AND received_at < ?4 ORDER BY p.n DESC"
                )
            }
        };
        let mut packs = PackReader::of(self.view);
        let mut origins = OriginReader::of(self.view, self.left_out);
        let mut page = ExcerptPage::default();
        let mut looked_at = 0_usize;
        let mut select = self.view.connection.prepare_cached(sql)?;
        let mut rows = select.query((
            kind.map(Kind::name),
            from.unwrap_or(i64::MAX),
            came.since.as_millis(),
            came.before.as_millis(),
        ))?;
        while let Some(row) = rows.next()? {
            let row = PackRow::read(row)?;
            let n = row.n;
            looked_at = looked_at.saturating_add(row.body.len());
            if let Some(left_out) = origins.all_left_out(&row)? {
                left_out
                    .into_iter()
                    .for_each(|origin| page.leave_out(origin));
            } else {
                let opened = Pack::open(row, self.view.vault, self.view.sealer);
                let opened = self.view.unless_damaged(|| Damaged::Pack(n), opened)?;
                if let Some(pack) = opened {
                    self.add(&pack, (&mut packs, &mut origins), &mut page)?;
                }
            }
            if page.is_full() || looked_at >= LOOKED_AT {
                page.next = Some(n);
                break;
            }
        }
        Ok(page)
    }

    /// Adds excerpts of all records of a pack.
    fn add(
        &self,
        pack: &Pack,
        (packs, origins): (&mut PackReader<'_>, &mut OriginReader<'_>),
        page: &mut ExcerptPage,
    ) -> Result<(), SqlError> {
        let extensions = packs.extensions(pack)?;
        let withdrawn = packs.withdrawn_in(pack)?;
        for slot in (0..pack.len()).rev() {
            let number = pack.directory.number(pack.n, slot);
            if withdrawn.contains(&number) {
                continue;
            }
            let at = place(pack.n, i64::try_from(slot).unwrap_or_default());
            if let Some(origin) = origins.left_out(at)? {
                page.leave_out(origin);
                continue;
            }
            let extensions = extensions.get(&number).map(Vec::as_slice);
            let read = packs.excerpt(pack, slot, extensions.unwrap_or_default(), self.tags);
            let thing = || pack.id(slot).map_or(Damaged::Pack(pack.n), Damaged::Record);
            if let Some(held) = self.view.unless_part_damaged(thing, read)? {
                page.add(held);
            }
        }
        Ok(())
    }

    /// Returns a page of excerpts of the records with this token, from the places before this one. A
    /// record that names the selector twice may be on two pages.
    fn with_token(
        &self,
        (kind, value): (SelectorKind, &str),
        token: i64,
        from: Option<i64>,
    ) -> Result<ExcerptPage, SqlError> {
        let search = RecordSearch::of(self.view);
        let mut packs = PackReader::of(self.view);
        let mut origins = OriginReader::of(self.view, self.left_out);
        let mut page = ExcerptPage::default();
        let mut met = HashSet::new();
        let before = from.unwrap_or(i64::MAX);
        let mut places = self.view.index.tokens(self.view.connection, token)?;
        places.retain(|place| *place < before);
        places.sort_unstable_by(|one, other| other.cmp(one));
        for place in places {
            if let Some(origin) = origins.left_out(place)? {
                page.leave_out(origin);
                if origins.looked_at >= LOOKED_AT {
                    page.next = Some(place);
                    break;
                }
                continue;
            }
            let Some(number) = self.number_at(place)?.filter(|number| met.insert(*number)) else {
                continue;
            };
            let read = packs.held_excerpt(number, self.tags);
            let read = self
                .view
                .unless_part_damaged(|| search.named(number), read)?;
            // Different selectors may share a token.
            let named = read
                .flatten()
                .filter(|held| names(&held.opened, kind, value));
            if let Some(held) = named {
                page.add(held);
            }
            if page.is_full() {
                page.next = Some(place);
                break;
            }
        }
        Ok(page)
    }

    /// Returns the number of the record whose entry stands at this place; `None` if its pack is gone
    /// or damaged.
    fn number_at(&self, place: i64) -> Result<Option<i64>, SqlError> {
        let n = pack_of(place);
        let directory: Option<Vec<u8>> =
            self.view
                .first("SELECT directory FROM pack WHERE n = ?1", [n], |row| {
                    row.get(0)
                })?;
        let Some(directory) = directory else {
            return Ok(None);
        };
        let read = Directory::read(&directory);
        let directory = self.view.unless_damaged(|| Damaged::Pack(n), read)?;
        Ok(directory.map(|all| all.number(n, slot_of(place))))
    }
}
