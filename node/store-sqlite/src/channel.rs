//! Entries of a channel, record by record: the disclosures that a peer confirmed, or the answers to
//! a peer's deliveries.
//!
//! There is no table for them. The ledger and the packs are read through, and a bounded number of
//! entries is kept, those that come first in the order of ids. A record that was answered and is no
//! longer held is not listed: it was lost, and its sender owes it again.

use std::collections::{BTreeMap, HashMap, HashSet};

use portcullis_protocol::{
    frame::{Generation, Outcome},
    identifiers::NodeId,
    reconcile::Entry,
    record::{Form, RecordId},
    time::Timestamp,
};

use super::{
    decode::{named, node, record_id, unreadable, unsigned},
    dispatch::state_named,
    pack::{Directory, id_at, pack_of, slot_of},
    reader::Reader,
    sent::{SentRow, sent_rows},
};
use crate::error::SqlError;
use portcullis_store::{ChannelPage, ChannelSide, DisclosureState, Found, ReconciliationRow};

/// Policy name in a ledger row for a disclosure that the peer reported.
pub(super) const LEARNED: &str = "reconciled";

/// State of a record in a channel, as far as a note holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    /// The peer lost it, and it is sent again.
    Owed,
    /// The peer lost it, and it is not sent again.
    Gone,
    /// The peer says that it withdrew it.
    Withdrawn,
}

impl Difference {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Owed => "owed",
            Self::Gone => "gone",
            Self::Withdrawn => "withdrawn",
        }
    }

    pub(super) fn named(name: &str) -> Result<Self, SqlError> {
        [Self::Owed, Self::Gone, Self::Withdrawn]
            .into_iter()
            .find(|note| note.name() == name)
            .ok_or_else(|| unreadable("a note on a record"))
    }
}

/// Entries being collected: those that come first in the order of ids.
struct Gathering<'p> {
    page: &'p ChannelPage,
    found: BTreeMap<RecordId, Form>,
    /// Entries from this record on are left out.
    ceiling: Option<RecordId>,
    withdrawn: HashSet<i64>,
    notes: HashMap<i64, Difference>,
}

impl Gathering<'_> {
    fn is_wanted(&self, id: &RecordId) -> bool {
        self.page.of.contains(id)
            && self.page.after.is_none_or(|after| *id > after)
            && self.ceiling.is_none_or(|ceiling| *id < ceiling)
    }

    /// Adds a form of a record. A record that was withdrawn has an empty form.
    fn add(&mut self, number: i64, id: RecordId, form: Form) {
        if !self.is_wanted(&id) {
            return;
        }
        let withdrawn = self.withdrawn.contains(&number)
            || self.notes.get(&number) == Some(&Difference::Withdrawn);
        let form = if withdrawn { Form::EMPTY } else { form };
        self.found
            .entry(id)
            .and_modify(|held| *held = held.union(form))
            .or_insert(form);
        if self.found.len() > self.page.most
            && let Some((last, _)) = self.found.pop_last()
        {
            self.ceiling = Some(last);
        }
    }

    fn entries(self) -> Vec<Entry> {
        let entries = self.found.into_iter();
        entries.map(|(id, form)| Entry { id, form }).collect()
    }
}

/// Ids of the pack that was looked at last.
#[derive(Default)]
struct Ids {
    pack: i64,
    ids: Option<Vec<u8>>,
}

impl Reader<'_> {
    pub(super) fn channel(
        &self,
        peer: &NodeId,
        side: ChannelSide,
        page: &ChannelPage,
    ) -> Result<Vec<Entry>, SqlError> {
        let withdrawn = self.rows("SELECT record FROM tombstone", [], |row| row.get(0))?;
        let mut gathering = Gathering {
            page,
            found: BTreeMap::new(),
            ceiling: None,
            withdrawn: withdrawn.into_iter().collect(),
            notes: self.channel_notes(peer)?,
        };
        match side {
            ChannelSide::Sent => self.sent_entries(peer, &mut gathering)?,
            ChannelSide::Received => {
                self.admitted_entries(peer, &mut gathering)?;
                self.answered_entries(peer, &mut gathering)?;
            }
        }
        self.noted_entries(&mut gathering)?;
        Ok(gathering.entries())
    }

    fn channel_notes(&self, peer: &NodeId) -> Result<HashMap<i64, Difference>, SqlError> {
        let rows: Vec<(i64, String)> = self.rows(
            "SELECT record, what FROM channel_note WHERE peer = ?1",
            [peer.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        rows.into_iter()
            .map(|(record, what)| Ok((record, Difference::named(&what)?)))
            .collect()
    }

    /// Adds the records that the peer says it withdrew, whether or not anything else is known of
    /// them.
    fn noted_entries(&self, gathering: &mut Gathering<'_>) -> Result<(), SqlError> {
        let noted: Vec<i64> = gathering
            .notes
            .iter()
            .filter(|(_, note)| **note == Difference::Withdrawn)
            .map(|(number, _)| *number)
            .collect();
        for number in noted {
            if let Some(id) = self.id(number)? {
                gathering.add(number, id, Form::EMPTY);
            }
        }
        Ok(())
    }

    /// Adds the disclosures that the peer has confirmed.
    fn sent_entries(&self, peer: &NodeId, gathering: &mut Gathering<'_>) -> Result<(), SqlError> {
        let mut ids = Ids::default();
        let mut select = self.connection.prepare_cached(sent_rows!(
            "WHERE peer = ?1 AND answered_at IS NOT NULL ORDER BY n"
        ))?;
        let mut rows = select.query([peer.as_str()])?;
        while let Some(row) = rows.next()? {
            let row = SentRow::with_items(SentRow::read(row)?)?;
            let single = self.single_rows(peer, &row)?;
            for item in row.items.iter().filter(|item| !item.form.is_empty()) {
                if !single.contains(&(item.number, item.form.bits().cast_signed())) {
                    self.add_confirmed(item.number, item.form, &mut ids, gathering)?;
                }
            }
        }
        let mut select = self
            .connection
            .prepare_cached("SELECT record, form, state FROM disclosure WHERE peer = ?1")?;
        let mut rows = select.query([peer.as_str()])?;
        while let Some(row) = rows.next()? {
            let (number, form) = (row.get(0)?, row.get::<_, i64>(1)?);
            if let DisclosureState::Answered(outcome) = state_named(&row.get::<_, String>(2)?)?
                && outcome.is_admitted()
            {
                let form = Form::from_bits(form.cast_unsigned());
                self.add_confirmed(number, form, &mut ids, gathering)?;
            }
        }
        Ok(())
    }

    /// Returns those of a frame's records that have rows of their own, each with its form. Such a
    /// row takes precedence over the frame's.
    fn single_rows(&self, peer: &NodeId, row: &SentRow) -> Result<HashSet<(i64, i64)>, SqlError> {
        let numbers = || row.items.iter().map(|item| item.number);
        let Some((first, last)) = numbers().min().zip(numbers().max()) else {
            return Ok(HashSet::new());
        };
        let rows: Vec<(i64, i64)> = self.rows(
            "SELECT record, form FROM disclosure WHERE peer = ?1 AND record BETWEEN ?2 AND ?3",
            (peer.as_str(), first, last),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(rows.into_iter().collect())
    }

    fn add_confirmed(
        &self,
        number: i64,
        form: Form,
        ids: &mut Ids,
        gathering: &mut Gathering<'_>,
    ) -> Result<(), SqlError> {
        match gathering.notes.get(&number) {
            // The peer is already known to have lost it.
            Some(Difference::Owed | Difference::Gone) => Ok(()),
            Some(Difference::Withdrawn) | None => {
                if let Some(id) = self.id_among(number, ids)? {
                    gathering.add(number, id, form);
                }
                Ok(())
            }
        }
    }

    /// Adds the peer's deliveries that added to the record log.
    fn admitted_entries(
        &self,
        peer: &NodeId,
        gathering: &mut Gathering<'_>,
    ) -> Result<(), SqlError> {
        let mut select = self
            .connection
            .prepare_cached("SELECT n, ids, directory FROM pack WHERE source = ?1")?;
        let mut rows = select.query([peer.as_str()])?;
        while let Some(row) = rows.next()? {
            let (n, ids) = (row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?);
            let directory = Directory::read(&row.get::<_, Vec<u8>>(2)?)?;
            for slot in 0..directory.forms.len() {
                let delivered = directory.delivered(slot).zip(id_at(&ids, slot));
                let ((form, _), id) = delivered.ok_or_else(|| unreadable("a directory"))?;
                gathering.add(directory.number(n, slot), id, form);
            }
        }
        Ok(())
    }

    /// Adds the deliveries that were answered without adding to the log: records held already, and
    /// withdrawn ones.
    fn answered_entries(
        &self,
        peer: &NodeId,
        gathering: &mut Gathering<'_>,
    ) -> Result<(), SqlError> {
        let mut ids = Ids::default();
        let mut select = self
            .connection
            .prepare_cached("SELECT record, form, outcome FROM arrival WHERE peer = ?1")?;
        let mut rows = select.query([peer.as_str()])?;
        while let Some(row) = rows.next()? {
            let (number, form) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
            let outcome: Outcome = named(&row.get::<_, String>(2)?)?;
            let withdrawn = gathering.withdrawn.contains(&number);
            let held = outcome.is_admitted() && self.is_held(number, &mut ids)?;
            if !(held || withdrawn && outcome.is_final()) {
                continue;
            }
            if let Some(id) = self.id_among(number, &mut ids)? {
                gathering.add(number, id, Form::from_bits(form.cast_unsigned()));
            }
        }
        Ok(())
    }

    /// Returns true if the record with this number stands in the log.
    fn is_held(&self, number: i64, ids: &mut Ids) -> Result<bool, SqlError> {
        let place = self.places(number)?.first().copied();
        match place {
            Some(place) => Ok(self.id_at_place(place, ids)?.is_some()),
            None => Ok(false),
        }
    }

    /// Returns the id of a record. It is fast when many ids of one pack are asked for in a row.
    fn id_among(&self, number: i64, ids: &mut Ids) -> Result<Option<RecordId>, SqlError> {
        if number >= 0 {
            return self.id_at_place(number, ids);
        }
        let id: Option<Vec<u8>> =
            self.first("SELECT id FROM known WHERE n = ?1", [number], |row| {
                row.get(0)
            })?;
        id.map(|id| record_id(&id)).transpose()
    }

    fn id_at_place(&self, place: i64, ids: &mut Ids) -> Result<Option<RecordId>, SqlError> {
        let pack = pack_of(place);
        if ids.ids.is_none() || ids.pack != pack {
            let found = self.first("SELECT ids FROM pack WHERE n = ?1", [pack], |row| {
                row.get(0)
            })?;
            *ids = Ids { pack, ids: found };
        }
        let found = ids.ids.as_ref();
        Ok(found.and_then(|ids| id_at(ids, slot_of(place))))
    }

    /// Counts the records that a peer lost and that are being sent again.
    pub(super) fn owed(&self, peer: &NodeId) -> Result<u64, SqlError> {
        let count = self.first(
            "SELECT count(*) FROM channel_note WHERE peer = ?1 AND what = 'owed'",
            [peer.as_str()],
            |row| row.get(0),
        )?;
        unsigned(count.unwrap_or(0))
    }

    /// Counts the rows of the ledger that were learned from this peer. Such rows never stand in
    /// `sent`.
    pub(super) fn learned(&self, peer: &NodeId) -> Result<u64, SqlError> {
        let count = self.first(
            "SELECT count(*) FROM disclosure WHERE peer = ?1 AND decision IN
                 (SELECT n FROM decision WHERE policies = ?2)",
            (
                peer.as_str(),
                serde_json::Value::from([LEARNED]).to_string(),
            ),
            |row| row.get(0),
        )?;
        unsigned(count.unwrap_or(0))
    }

    pub(super) fn reconciliations(&self) -> Result<Vec<ReconciliationRow>, SqlError> {
        let rows = self.rows(
            "SELECT peer, own, theirs, at, owed, learned, withdrawn, recovered FROM reconciled
             ORDER BY peer",
            [],
            |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    (row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?),
                    row.get::<_, i64>(3)?,
                    (row.get::<_, i64>(4)?, row.get::<_, i64>(5)?),
                    (row.get::<_, i64>(6)?, row.get::<_, i64>(7)?),
                ))
            },
        )?;
        rows.into_iter()
            .map(
                |(peer, (own, theirs), at, (owed, learned), (withdrawn, recovered))| {
                    Ok(ReconciliationRow {
                        peer: node(&peer)?,
                        own: generation(&own)?,
                        theirs: generation(&theirs)?,
                        at: Timestamp::from_millis(at),
                        found: Found {
                            owed: unsigned(owed)?,
                            learned: unsigned(learned)?,
                            withdrawn: unsigned(withdrawn)?,
                            recovered: unsigned(recovered)?,
                        },
                    })
                },
            )
            .collect()
    }

    /// Returns the time of the backup from which this store was restored, if it ever was.
    pub(super) fn reconciling_since(&self) -> Result<Option<Timestamp>, SqlError> {
        self.time_in_meta("reconciling")
    }
}

fn generation(bytes: &[u8]) -> Result<Generation, SqlError> {
    bytes
        .try_into()
        .map(Generation::from_bytes)
        .map_err(|_| unreadable("a generation"))
}
