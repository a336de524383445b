//! Entries of a channel, record by record: the disclosures that a peer confirmed, or the answers to
//! a peer's deliveries.
//!
//! There is no table for them. The ledger and the packs are read through, and a bounded number of
//! entries is kept, those that come first in the order of ids. A record that was answered and is no
//! longer held is not listed: it was lost, and its sender owes it again.

use std::collections::{BTreeMap, HashMap, HashSet};

use portcullis_protocol::{
    frame::Outcome,
    identifiers::NodeId,
    reconcile::Entry,
    record::{Form, RecordId},
};
use portcullis_store::{ChannelPage, ChannelSide, Damaged, DisclosureState};

use super::{
    decode::{named, unreadable},
    differences::{Difference, DifferenceReader},
    disclosure::state_named,
    error::SqlError,
    pack::{Directory, id_at},
    pack_ids::PackIds,
    sent::{SentRow, sent_rows},
    view::DatabaseView,
};

/// Entries being collected: those that come first in the order of ids.
struct Gathering<'p> {
    page: &'p ChannelPage,
    found: BTreeMap<RecordId, Form>,
    /// Entries from this record on are left out.
    ceiling: Option<RecordId>,
    withdrawn: HashSet<i64>,
    differences: HashMap<i64, Difference>,
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
            || self.differences.get(&number) == Some(&Difference::Withdrawn);
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

/// Reader of the entries of a channel.
pub(super) struct ChannelReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> ChannelReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    pub(super) fn channel(
        &self,
        peer: &NodeId,
        side: ChannelSide,
        page: &ChannelPage,
    ) -> Result<Vec<Entry>, SqlError> {
        let withdrawn = self
            .view
            .rows("SELECT record FROM tombstone", [], |row| row.get(0))?;
        let mut gathering = Gathering {
            page,
            found: BTreeMap::new(),
            ceiling: None,
            withdrawn: withdrawn.into_iter().collect(),
            differences: DifferenceReader::of(self.view).of_peer(peer)?,
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

    /// Adds the records that the peer says it withdrew, whether or not anything else is known of
    /// them.
    fn noted_entries(&self, gathering: &mut Gathering<'_>) -> Result<(), SqlError> {
        let noted: Vec<i64> = gathering
            .differences
            .iter()
            .filter(|(_, difference)| **difference == Difference::Withdrawn)
            .map(|(number, _)| *number)
            .collect();
        for number in noted {
            if let Some(id) = self.view.id(number)? {
                gathering.add(number, id, Form::EMPTY);
            }
        }
        Ok(())
    }

    /// Adds the disclosures that the peer has confirmed.
    fn sent_entries(&self, peer: &NodeId, gathering: &mut Gathering<'_>) -> Result<(), SqlError> {
        let mut ids = PackIds::default();
        let mut select = self.view.connection.prepare_cached(sent_rows!(
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
            .view
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
        let rows: Vec<(i64, i64)> = self.view.rows(
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
        ids: &mut PackIds,
        gathering: &mut Gathering<'_>,
    ) -> Result<(), SqlError> {
        match gathering.differences.get(&number) {
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
            .view
            .connection
            .prepare_cached("SELECT n, ids, directory FROM pack WHERE source = ?1")?;
        let mut rows = select.query([peer.as_str()])?;
        while let Some(row) = rows.next()? {
            let (n, ids) = (row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?);
            let read = Directory::read(&row.get::<_, Vec<u8>>(2)?);
            let Some(directory) = self.view.unless_damaged(|| Damaged::Pack(n), read)? else {
                continue;
            };
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
        let mut ids = PackIds::default();
        let mut select = self
            .view
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
    fn is_held(&self, number: i64, ids: &mut PackIds) -> Result<bool, SqlError> {
        let place = self.view.places(number)?.first().copied();
        match place {
            Some(place) => Ok(ids.id_at(self.view.connection, place)?.is_some()),
            None => Ok(false),
        }
    }

    /// Returns the id of a record. It is fast when many ids of one pack are asked for in a row.
    fn id_among(&self, number: i64, ids: &mut PackIds) -> Result<Option<RecordId>, SqlError> {
        if number >= 0 {
            return ids.id_at(self.view.connection, number);
        }
        self.view.noted_id(number)
    }
}
