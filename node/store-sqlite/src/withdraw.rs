//! Withdrawal of records: a tombstone stays, and the keys of their sections are destroyed.
//!
//! ```text
//! commit      tombstone; the places to erase; what was to be sent or decided of it is not any more
//! the next    the keys of each pack sealed again under a fresh key, zero where one is erased; the
//!             tokens of its selectors gone from the pack's directory and from the index
//! ```
//!
//! As always, keys are destroyed one commit after the one that made them useless. A crash in
//! between leaves keys without a use, and they are destroyed with the first commit after it. The
//! write-ahead logs are emptied then, because they hold what was overwritten. The rest of a pack's
//! directory and the headers in it stay, as evidence. The pack's other records open as before.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::{frame::Lane, record::RecordId, time::Timestamp};
use prost::Message as _;
use rusqlite::OptionalExtension as _;

use super::{
    group::Group,
    index::Entry,
    pack::{Directory, SLOTS, bound, open_keys, pack_of, place, slot_of},
    reader::Reader,
};
use crate::error::SqlError;
use portcullis_store::StoreError;

impl Group<'_> {
    /// Withdraws a record, held or not. A record that is withdrawn already stays as it was.
    pub(super) fn withdraw(
        &mut self,
        id: &RecordId,
        outcome: &str,
        at: Timestamp,
    ) -> Result<(), SqlError> {
        let number = self.known(id)?;
        if self.is_withdrawn(number)? {
            return Ok(());
        }
        self.run(
            "INSERT INTO tombstone (record, outcome, at) VALUES (?1, ?2, ?3)",
            (number, outcome, at.as_millis()),
        )?;
        for place in self.places(number)? {
            self.run("INSERT OR IGNORE INTO erasure (place) VALUES (?1)", [place])?;
            self.erasing.push(place);
        }
        for key in self.rows(
            "DELETE FROM held WHERE record = ?1 RETURNING key",
            [number],
            |row| row.get(0),
        )? {
            self.retire(key);
        }
        self.run("DELETE FROM exception WHERE record = ?1", [number])?;
        self.run("DELETE FROM undelivered WHERE record = ?1", [number])?;
        Ok(())
    }

    /// Destroys the keys and tokens of what the commit before withdrew. Returns the entries that
    /// are gone from the index.
    pub(super) fn erase(&mut self, places: &[i64]) -> Result<Vec<Entry>, SqlError> {
        let mut packs: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for place in places {
            let slots = packs.entry(pack_of(*place)).or_default();
            slots.push(slot_of(*place));
        }
        let mut gone = Vec::new();
        let mut damaged = BTreeSet::new();
        for (n, slots) in packs {
            match self.erase_in(n, &slots)? {
                Some(tokens) => gone.extend(tokens),
                None => {
                    damaged.insert(n);
                }
            }
        }
        for entry in &gone {
            self.run(
                "DELETE FROM token_index WHERE token = ?1 AND place = ?2",
                *entry,
            )?;
        }
        let erased = places.iter().filter(|at| !damaged.contains(&pack_of(**at)));
        for place in erased {
            self.run("DELETE FROM erasure WHERE place = ?1", [place])?;
        }
        Ok(gone)
    }

    /// Erases slots of one pack, and returns the index entries that are gone. `None` if the pack
    /// does not open: it stays as it is, and is tried again after a start.
    fn erase_in(&mut self, n: i64, slots: &[usize]) -> Result<Option<Vec<Entry>>, SqlError> {
        let row = self.first("SELECT ids, directory FROM pack WHERE n = ?1", [n], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        let Some((ids, bytes)) = row else {
            return Ok(Some(Vec::new()));
        };
        let mut directory = Directory::read(&bytes)?;
        if !self.erase_keys(n, (&ids, &bytes, &directory), slots)? {
            return Ok(None);
        }
        let mut gone = Vec::new();
        for slot in slots {
            let in_pack = i64::try_from(*slot)
                .map_err(|_| StoreError::Fault("a place to erase is in no pack"))?;
            let at = place(n, in_pack);
            let tokens = directory.forget_selectors(*slot);
            gone.extend(tokens.into_iter().map(|token| (token, at)));
        }
        self.run(
            "UPDATE pack SET directory = ?2 WHERE n = ?1",
            (n, directory.encode_to_vec()),
        )?;
        Ok(Some(gone))
    }

    /// Seals the keys of a pack again without those of these slots. Returns `false` if they do not
    /// open.
    fn erase_keys(
        &mut self,
        n: i64,
        said: (&[u8], &[u8], &Directory),
        slots: &[usize],
    ) -> Result<bool, SqlError> {
        let kept = self
            .keys()?
            .query_row(
                "SELECT wrapped, sealed FROM pack_key WHERE n = ?1",
                [n],
                |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)),
            )
            .optional()
            .map_err(SqlError::Keys)?;
        let Some((wrapped, sealed)) = kept else {
            return Ok(true);
        };
        let Some(mut keys) = open_keys(self.vault(), n, said, (&wrapped, sealed)) else {
            tracing::error!(
                pack = n,
                "a damaged pack of records is not erased; it does not open"
            );
            return Ok(false);
        };
        let (ids, _, directory) = said;
        for slot in slots {
            for number in directory.section_numbers(*slot) {
                keys.erase(number);
            }
        }
        let bound = bound(ids, directory);
        let again = self
            .vault()
            .seal_keys(n, &bound, &keys, directory.section_count())?;
        self.keys()?
            .execute(
                "INSERT OR REPLACE INTO pack_key (n, wrapped, sealed) VALUES (?1, ?2, ?3)",
                (n, again.wrapped, again.bytes),
            )
            .map_err(SqlError::Keys)?;
        Ok(true)
    }
}

impl Reader<'_> {
    /// Counts the places of the log after the cursor that hold withdrawn records, in packs of this
    /// lane whose `own` is at least `least_own`.
    pub(super) fn withdrawn_after(
        &self,
        lane: Lane,
        least_own: i64,
        cursor: i64,
    ) -> Result<i64, SqlError> {
        let count = self.first(
            "WITH gone (place) AS (
                 SELECT record FROM tombstone WHERE record > ?3
                 UNION ALL SELECT k.place FROM known AS k JOIN tombstone AS t ON t.record = k.n
                 WHERE k.place > ?3
                 UNION ALL SELECT e.place FROM extension AS e
                 JOIN tombstone AS t ON t.record = e.record WHERE e.place > ?3)
             SELECT count(*) FROM gone JOIN pack ON pack.n = gone.place / ?4
             WHERE lane = ?1 AND own >= ?2",
            (lane.name(), least_own, cursor, SLOTS),
            |row| row.get(0),
        )?;
        Ok(count.unwrap_or(0))
    }
}
