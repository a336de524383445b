//! Items that wait for a person, kept sealed until they are decided on or their time is over.
//!
//! A held item is not a record: nothing of it is indexed, scored or passed on.

use bytes::Bytes;
use portcullis_protocol::{
    frame::Lane,
    identifiers::NodeId,
    record::{Form, RecordId},
    rules::Rule,
    seal::SealedRecord,
    time::Timestamp,
    verify::VerifiedRecord,
    wire,
};
use portcullis_store::{Damaged, HELD_LIFE_MS, HeldItem, HeldKey};
use prost::Message as _;
use rusqlite::Row;
use std::collections::BTreeSet;

use super::{
    crypt::SealedAs,
    decode::{node, unreadable},
    error::SqlError,
    interned::StatementReader,
    item::Item,
    transaction::{KeyedCiphertext, WriteTransaction},
    view::DatabaseView,
};

/// Returns the time at which an item stops waiting: the end of its life or, if that is sooner, the
/// time at which its record is to be deleted.
fn end(now: Timestamp, delete_at: Option<Timestamp>) -> Timestamp {
    let life = now.plus_millis(HELD_LIFE_MS);
    delete_at.map_or(life, |at| life.min(at))
}

/// Writer of held items.
pub(super) struct HeldWriter<'t, 'a> {
    tx: &'t mut WriteTransaction<'a>,
}

impl<'t, 'a> HeldWriter<'t, 'a> {
    pub(super) const fn of(tx: &'t mut WriteTransaction<'a>) -> Self {
        Self { tx }
    }

    /// Returns true if this item of a peer waits for a person.
    pub(super) fn waits(&self, id: &RecordId, peer: &NodeId, form: Form) -> Result<bool, SqlError> {
        let Some(number) = self.tx.number(id)? else {
            return Ok(false);
        };
        let waiting = self.tx.first(
            "SELECT n FROM held WHERE record = ?1 AND peer = ?2 AND form = ?3",
            (number, peer.as_str(), form.bits().cast_signed()),
            |row| row.get::<_, i64>(0),
        )?;
        Ok(waiting.is_some())
    }

    /// Keeps an item for a person. An item that waits already is kept as it is. Returns `false` if
    /// there is no room for it.
    pub(super) fn hold(
        &mut self,
        item: &Item<'_>,
        record: &VerifiedRecord,
        rule: Rule,
    ) -> Result<bool, SqlError> {
        item.check(record)?;
        let number = self.tx.known(&item.id)?;
        let waiting = self.tx.first(
            "SELECT n FROM held WHERE record = ?1 AND peer = ?2 AND form = ?3",
            item.key(number),
            |row| row.get::<_, i64>(0),
        )?;
        if waiting.is_some() {
            return Ok(true);
        }
        let header = record.header();
        let origin = header.origin.as_str();
        let plain = record.to_wire(0).encode_to_vec();
        let bytes = u64::try_from(plain.len()).unwrap_or(u64::MAX);
        let load = self.tx.held.load(item.peer, origin);
        if !load.has_room(Lane::of(header.kind), bytes) {
            return Ok(false);
        }
        let statement = self.tx.statement(record.statement())?;
        let sealed_as = SealedAs::Held(&item.id, item.form, item.peer);
        let KeyedCiphertext { key, sealed } = self.tx.seal(sealed_as, plain)?;
        self.tx.held.add(item.peer, origin, sealed.len());
        let ends = end(item.now, header.marking.delete_at);
        self.tx.run(
            "INSERT INTO held (record, peer, form, rule, at, ends_at, statement, key, sealed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            (
                number,
                item.peer.as_str(),
                item.form.bits().cast_signed(),
                rule.id(),
                item.now.as_millis(),
                ends.as_millis(),
                statement,
                key,
                sealed,
            ),
        )?;
        Ok(true)
    }

    /// Destroys an item that was decided on, if it was held.
    pub(super) fn release(&mut self, item: &Item<'_>, number: i64) -> Result<(), SqlError> {
        let gone = self.tx.rows(
            "DELETE FROM held WHERE record = ?1 AND peer = ?2 AND form = ?3
             RETURNING key, peer, statement, length(sealed)",
            item.key(number),
            Gone::read,
        )?;
        self.gone(gone)
    }

    /// Destroys the items of a record that was withdrawn.
    pub(super) fn forget(&mut self, number: i64) -> Result<(), SqlError> {
        let gone = self.tx.rows(
            "DELETE FROM held WHERE record = ?1 RETURNING key, peer, statement, length(sealed)",
            [number],
            Gone::read,
        )?;
        self.gone(gone)
    }

    /// Retires the keys of deleted rows, and takes them out of the tally.
    fn gone(&mut self, rows: Vec<Gone>) -> Result<(), SqlError> {
        for Gone {
            key,
            peer,
            statement,
            bytes,
        } in rows
        {
            let payload: Option<Vec<u8>> = self.tx.first(
                "SELECT payload FROM statement WHERE n = ?1",
                [statement],
                |row| row.get(0),
            )?;
            let payload = payload.unwrap_or_default();
            let bytes = usize::try_from(bytes).unwrap_or_default();
            self.tx.held.take(&peer, &payload, bytes);
            self.tx.retire(key);
        }
        Ok(())
    }
}

/// A row that was deleted.
struct Gone {
    key: i64,
    peer: String,
    statement: i64,
    bytes: i64,
}

impl Gone {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            key: row.get(0)?,
            peer: row.get(1)?,
            statement: row.get(2)?,
            bytes: row.get(3)?,
        })
    }
}

/// Reader of held items.
pub(super) struct HeldReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> HeldReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    /// Returns the keys of a page of items. Nothing is opened.
    pub(super) fn held_keys(
        &self,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<HeldKey>, SqlError> {
        let rows = self.view.rows(
            "SELECT record, peer, form, at, ends_at, n FROM held WHERE n > ?1 ORDER BY n LIMIT ?2",
            (after.unwrap_or(i64::MIN), limit),
            HeldPlace::read,
        )?;
        if after.is_none() {
            self.forget_damage()?;
        }
        rows.into_iter().map(|row| self.key_of(row)).collect()
    }

    /// Returns the keys of items that end by `now`. Nothing is opened.
    pub(super) fn held_over(&self, now: Timestamp, limit: u32) -> Result<Vec<HeldKey>, SqlError> {
        let rows = self.view.rows(
            "SELECT record, peer, form, at, ends_at, n FROM held WHERE ends_at <= ?1
             ORDER BY ends_at LIMIT ?2",
            (now.as_millis(), limit),
            HeldPlace::read,
        )?;
        rows.into_iter().map(|row| self.key_of(row)).collect()
    }

    /// Returns the key of an item, if it waits. Nothing is opened.
    pub(super) fn held_key(
        &self,
        record: &RecordId,
        peer: &NodeId,
        form: Form,
    ) -> Result<Option<HeldKey>, SqlError> {
        let Some(number) = self.view.number(record)? else {
            return Ok(None);
        };
        let row = self.view.first(
            "SELECT record, peer, form, at, ends_at, n FROM held
             WHERE record = ?1 AND peer = ?2 AND form = ?3",
            (number, peer.as_str(), form.bits().cast_signed()),
            HeldPlace::read,
        )?;
        row.map(|row| self.key_of(row)).transpose()
    }

    /// Returns an item; `None` if it does not wait any more or is damaged and left out.
    pub(super) fn held_item(&self, key: &HeldKey) -> Result<Option<HeldItem>, SqlError> {
        let row = self.view.first(
            "SELECT record, peer, form, rule, at, statement, wrapped, held.sealed, ends_at
             FROM held LEFT JOIN keys.wrapped_key AS k ON k.n = held.key WHERE held.n = ?1",
            [key.n],
            HeldRow::read,
        )?;
        let Some(row) = row else {
            return Ok(None);
        };
        let thing = || Damaged::Held {
            record: key.record,
            peer: key.peer.clone(),
        };
        let read = self.opened(row, &mut StatementReader::of(self.view));
        let item = self.view.unless_damaged(thing, read)?;
        // The number may be that of another item by now.
        Ok(item.filter(|item| {
            item.sealed.id() == key.record && item.peer == key.peer && item.form == key.form
        }))
    }

    /// Forgets the damage of items that do not wait any more.
    fn forget_damage(&self) -> Result<(), SqlError> {
        let Some(damages) = self.view.on_damage.damages() else {
            return Ok(());
        };
        let rows = damages.rows();
        let mut over = BTreeSet::new();
        for row in rows {
            if let Damaged::Held { record, peer } = &row.thing
                && !self.waits(record, peer)?
            {
                over.insert(row.thing);
            }
        }
        damages.retain(|thing| !over.contains(thing));
        Ok(())
    }

    fn waits(&self, record: &RecordId, peer: &NodeId) -> Result<bool, SqlError> {
        let Some(number) = self.view.number(record)? else {
            return Ok(false);
        };
        let found = self.view.first(
            "SELECT 1 FROM held WHERE record = ?1 AND peer = ?2",
            (number, peer.as_str()),
            |row| row.get::<_, i64>(0),
        )?;
        Ok(found.is_some())
    }

    fn key_of(&self, row: HeldPlace) -> Result<HeldKey, SqlError> {
        let id = self.view.id(row.record)?;
        Ok(HeldKey {
            n: row.n,
            record: id.ok_or_else(|| unreadable("the id of a held item"))?,
            peer: node(&row.peer)?,
            form: Form::from_bits(row.form.cast_unsigned()),
            at: Timestamp::from_millis(row.at),
            ends_at: Timestamp::from_millis(row.ends_at),
        })
    }

    fn opened(
        &self,
        row: HeldRow,
        statements: &mut StatementReader<'_>,
    ) -> Result<HeldItem, SqlError> {
        let id = self.view.id(row.record)?;
        let id = id.ok_or_else(|| unreadable("the id of a held item"))?;
        let peer = node(&row.peer)?;
        let form = Form::from_bits(row.form.cast_unsigned());
        let what = || format!("the held item `{id}`");
        let sealed_as = SealedAs::Held(&id, form, &peer);
        let plain = self
            .view
            .open(sealed_as, row.wrapped.as_deref(), row.sealed, what)?;
        let record = wire::Record::decode(Bytes::from(plain)).map_err(|_| unreadable(&what()))?;
        let statement = statements.statement(row.statement)?;
        Ok(HeldItem {
            form,
            rule: row.rule,
            at: Timestamp::from_millis(row.at),
            ends_at: Timestamp::from_millis(row.ends_at),
            sealed: SealedRecord::new(record, statement),
            peer,
        })
    }

    pub(super) fn next_held_end(&self) -> Result<Option<Timestamp>, SqlError> {
        let next = self
            .view
            .first("SELECT min(ends_at) FROM held", [], |row| {
                row.get::<_, Option<i64>>(0)
            })?;
        Ok(next.flatten().map(Timestamp::from_millis))
    }
}

/// The columns of a held item that are in clear.
struct HeldPlace {
    record: i64,
    peer: String,
    form: i64,
    at: i64,
    ends_at: i64,
    n: i64,
}

impl HeldPlace {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            record: row.get(0)?,
            peer: row.get(1)?,
            form: row.get(2)?,
            at: row.get(3)?,
            ends_at: row.get(4)?,
            n: row.get(5)?,
        })
    }
}

struct HeldRow {
    record: i64,
    peer: String,
    form: i64,
    rule: String,
    at: i64,
    statement: i64,
    wrapped: Option<Vec<u8>>,
    sealed: Vec<u8>,
    ends_at: i64,
}

impl HeldRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            record: row.get(0)?,
            peer: row.get(1)?,
            form: row.get(2)?,
            rule: row.get(3)?,
            at: row.get(4)?,
            statement: row.get(5)?,
            wrapped: row.get(6)?,
            sealed: row.get(7)?,
            ends_at: row.get(8)?,
        })
    }
}
