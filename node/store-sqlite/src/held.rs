//! Items that wait for a person, kept sealed until they are decided on or their time is over.
//!
//! A held item is not a record: nothing of it is indexed, scored or passed on.

use bytes::Bytes;
use portcullis_protocol::{
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

/// Most items of one peer that wait for a person.
const MAX_HELD: i64 = 4096;

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
    /// the limit of waiting items of this peer is reached.
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
        let held = self.tx.count(
            "SELECT count(*) FROM held WHERE peer = ?1",
            [item.peer.as_str()],
        )?;
        if held >= MAX_HELD {
            return Ok(false);
        }
        let statement = self.tx.statement(record.statement())?;
        let sealed_as = SealedAs::Held(&item.id, item.form, item.peer);
        let KeyedCiphertext { key, sealed } =
            self.tx.seal(sealed_as, record.to_wire(0).encode_to_vec())?;
        let ends = end(item.now, record.header().marking.delete_at);
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
        let key = self.tx.first(
            "DELETE FROM held WHERE record = ?1 AND peer = ?2 AND form = ?3 RETURNING key",
            item.key(number),
            |row| row.get(0),
        )?;
        if let Some(key) = key {
            self.tx.retire(key);
        }
        Ok(())
    }

    /// Destroys the items of a record that was withdrawn.
    pub(super) fn forget(&mut self, number: i64) -> Result<(), SqlError> {
        for key in self.tx.rows(
            "DELETE FROM held WHERE record = ?1 RETURNING key",
            [number],
            |row| row.get(0),
        )? {
            self.tx.retire(key);
        }
        Ok(())
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

    pub(super) fn held_items(&self) -> Result<Vec<HeldItem>, SqlError> {
        let rows = self.view.rows(
            "SELECT record, peer, form, rule, at, statement, wrapped, held.sealed, ends_at
             FROM held LEFT JOIN keys.wrapped_key AS k ON k.n = held.key ORDER BY held.n",
            [],
            HeldRow::read,
        )?;
        let mut statements = StatementReader::of(self.view);
        let mut items = Vec::with_capacity(rows.len());
        let mut named = BTreeSet::new();
        for row in rows {
            let HeldKey { record, peer, .. } = self.held_key(row.place())?;
            let thing = Damaged::Held { record, peer };
            let read = self.held_item(row, &mut statements);
            items.extend(self.view.unless_damaged(|| thing.clone(), read)?);
            named.insert(thing);
        }
        if let Some(damages) = self.view.on_damage.damages() {
            let is_held = |thing: &Damaged| matches!(thing, Damaged::Held { .. });
            damages.retain(|thing| !is_held(thing) || named.contains(thing));
        }
        Ok(items)
    }

    /// Returns the keys of all items. Nothing is opened.
    pub(super) fn held_keys(&self) -> Result<Vec<HeldKey>, SqlError> {
        let rows = self.view.rows(
            "SELECT record, peer, form, at, ends_at FROM held ORDER BY n",
            [],
            |row| {
                Ok(HeldPlace {
                    record: row.get(0)?,
                    peer: row.get(1)?,
                    form: row.get(2)?,
                    at: row.get(3)?,
                    ends_at: row.get(4)?,
                })
            },
        )?;
        rows.into_iter().map(|row| self.held_key(row)).collect()
    }

    fn held_key(&self, row: HeldPlace) -> Result<HeldKey, SqlError> {
        let id = self.view.id(row.record)?;
        Ok(HeldKey {
            record: id.ok_or_else(|| unreadable("the id of a held item"))?,
            peer: node(&row.peer)?,
            form: Form::from_bits(row.form.cast_unsigned()),
            at: Timestamp::from_millis(row.at),
            ends_at: Timestamp::from_millis(row.ends_at),
        })
    }

    fn held_item(
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
    fn place(&self) -> HeldPlace {
        HeldPlace {
            record: self.record,
            peer: self.peer.clone(),
            form: self.form,
            at: self.at,
            ends_at: self.ends_at,
        }
    }

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
