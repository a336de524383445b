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

use portcullis_protocol::{record::RecordId, time::Timestamp};
use portcullis_store::StoreError;
use prost::Message as _;
use rusqlite::OptionalExtension as _;

use super::{
    error::SqlError,
    exceptions::ExceptionWriter,
    held::HeldWriter,
    index::IndexEntry,
    pack::{Directory, bound, open_keys, pack_of, place, slot_of},
    transaction::WriteTransaction,
};

/// Writer of withdrawals, and of the erasure that follows.
pub(super) struct WithdrawalWriter<'t, 'a> {
    tx: &'t mut WriteTransaction<'a>,
}

impl<'t, 'a> WithdrawalWriter<'t, 'a> {
    pub(super) const fn of(tx: &'t mut WriteTransaction<'a>) -> Self {
        Self { tx }
    }

    /// Withdraws records, held or not. A record that is withdrawn already stays as it was.
    pub(super) fn withdraw(
        &mut self,
        records: &[RecordId],
        outcome: &str,
        at: Timestamp,
    ) -> Result<(), SqlError> {
        let mut records = records.iter();
        records.try_for_each(|id| self.withdraw_one(id, outcome, at))
    }

    fn withdraw_one(
        &mut self,
        id: &RecordId,
        outcome: &str,
        at: Timestamp,
    ) -> Result<(), SqlError> {
        let number = self.tx.known(id)?;
        if self.tx.is_withdrawn(number)? {
            return Ok(());
        }
        self.tx.run(
            "INSERT INTO tombstone (record, outcome, at) VALUES (?1, ?2, ?3)",
            (number, outcome, at.as_millis()),
        )?;
        for place in self.tx.places(number)? {
            self.tx
                .run("INSERT OR IGNORE INTO erasure (place) VALUES (?1)", [place])?;
            self.tx.erasing.push(place);
        }
        HeldWriter::of(self.tx).forget(number)?;
        ExceptionWriter::of(self.tx).forget(number)
    }

    /// Destroys the keys and tokens of what the commit before withdrew. Returns the entries that
    /// are gone from the index.
    pub(super) fn erase(&mut self, places: &[i64]) -> Result<Vec<IndexEntry>, SqlError> {
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
            self.tx.run(
                "DELETE FROM token_index WHERE token = ?1 AND place = ?2",
                *entry,
            )?;
        }
        let erased = places.iter().filter(|at| !damaged.contains(&pack_of(**at)));
        for place in erased {
            self.tx
                .run("DELETE FROM erasure WHERE place = ?1", [place])?;
        }
        Ok(gone)
    }

    /// Erases slots of one pack, and returns the index entries that are gone. `None` if the pack
    /// does not open: it stays as it is, and is tried again after a start.
    fn erase_in(&mut self, n: i64, slots: &[usize]) -> Result<Option<Vec<IndexEntry>>, SqlError> {
        let row = self
            .tx
            .first("SELECT ids, directory FROM pack WHERE n = ?1", [n], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
            })?;
        let Some((ids, bytes)) = row else {
            return Ok(Some(Vec::new()));
        };
        let mut directory = match Directory::read(&bytes) {
            Ok(directory) => directory,
            // It must not fail the commits of others, of which each would try it again.
            Err(SqlError::Store(StoreError::Damaged(why))) => {
                tracing::error!(pack = n, why, "a damaged pack of records is not erased");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
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
        self.tx.run(
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
            .tx
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
        let Some(mut keys) = open_keys(self.tx.vault(), n, said, (&wrapped, sealed)) else {
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
            .tx
            .vault()
            .seal_keys(n, &bound, &keys, directory.section_count())?;
        self.tx
            .keys()?
            .execute(
                "INSERT OR REPLACE INTO pack_key (n, wrapped, sealed) VALUES (?1, ?2, ?3)",
                (n, again.wrapped, again.bytes),
            )
            .map_err(SqlError::Keys)?;
        Ok(true)
    }
}
