//! Quarantine: items that failed verification, kept exactly as they arrived for whoever
//! investigates them.
//!
//! They are not records: nothing of them is indexed, scored or passed on, and no other table refers
//! to them. Both their number and their bytes are bounded, for each peer and in total, and the
//! oldest goes first. No peer can therefore fill the disk, nor push out another's items unless all
//! of them together send too much.

use bytes::Bytes;
use portcullis_protocol::{seal::SealedRecord, statement::SignedStatement, time::Timestamp, wire};
use portcullis_store::{Aside, BadItem, BadItemRow};
use prost::Message as _;

use super::{
    crypt::SealedAs,
    decode::{node, record_id, unreadable, unsigned},
    error::SqlError,
    transaction::{KeyedCiphertext, WriteTransaction},
    view::DatabaseView,
};

/// Most items of one peer, and most bytes of them.
const OF_PEER: (i64, i64) = (256, 4 << 20);
/// Most items of all peers together, and most bytes of them.
const IN_TOTAL: (i64, i64) = (4_096, 32 << 20);

/// Writer of the quarantine.
pub(super) struct QuarantineWriter<'t, 'a> {
    tx: &'t mut WriteTransaction<'a>,
}

impl<'t, 'a> QuarantineWriter<'t, 'a> {
    pub(super) const fn of(tx: &'t mut WriteTransaction<'a>) -> Self {
        Self { tx }
    }

    /// Sets items apart. The oldest ones are dropped if there are too many.
    pub(super) fn quarantine(&mut self, items: &[BadItem]) -> Result<(), SqlError> {
        for item in items {
            self.set_apart(item)?;
        }
        let mut peers: Vec<&str> = items.iter().map(|item| item.peer.as_str()).collect();
        peers.sort_unstable();
        peers.dedup();
        for peer in peers {
            self.give_way(
                "SELECT n FROM (SELECT n, row_number() OVER newest AS place,
                     sum(bytes) OVER newest AS total
                 FROM bad_item WHERE peer = ?1 WINDOW newest AS (ORDER BY n DESC))
                 WHERE place > ?2 OR total > ?3",
                peer,
                OF_PEER,
            )?;
        }
        self.give_way(
            "SELECT n FROM (SELECT n, row_number() OVER newest AS place,
                 sum(bytes) OVER newest AS total
             FROM bad_item WHERE ?1 = '' WINDOW newest AS (ORDER BY n DESC))
             WHERE place > ?2 OR total > ?3",
            "",
            IN_TOTAL,
        )
    }

    fn set_apart(&mut self, item: &BadItem) -> Result<(), SqlError> {
        let BadItem {
            peer,
            sealed,
            rule,
            detail,
            at,
        } = item;
        let id = sealed.id();
        let plain = wire::Frame {
            payload: None,
            batches: vec![sealed.statement().as_ref().into()],
            records: vec![sealed.wire().clone()],
        }
        .encode_to_vec();
        let bytes = i64::try_from(plain.len()).unwrap_or(i64::MAX);
        let KeyedCiphertext { key, sealed } = self.tx.seal(SealedAs::BadItem(&id, peer), plain)?;
        self.tx.run(
            "INSERT INTO bad_item (peer, id, rule, detail, at, bytes, key, sealed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                peer.as_str(),
                id.as_bytes(),
                rule.id(),
                detail,
                at.as_millis(),
                bytes,
                key,
                sealed,
            ),
        )?;
        Ok(())
    }

    fn give_way(
        &mut self,
        sql: &str,
        peer: &str,
        (count, bytes): (i64, i64),
    ) -> Result<(), SqlError> {
        let over = self.tx.column(sql, &[&peer, &count, &bytes])?;
        self.drop_bad(&over).map(|_| ())
    }

    /// Destroys items and their keys, and returns the number of items destroyed.
    pub(super) fn drop_bad(&mut self, numbers: &[i64]) -> Result<usize, SqlError> {
        let mut dropped = 0;
        for n in numbers {
            let key = self.tx.first(
                "DELETE FROM bad_item WHERE n = ?1 RETURNING key",
                [n],
                |row| row.get(0),
            )?;
            if let Some(key) = key {
                self.tx.retire(key);
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}

/// Reader of the quarantine.
pub(super) struct QuarantineReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> QuarantineReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    /// Returns the items set apart, the newest first, without their content.
    pub(super) fn bad_items(&self) -> Result<Vec<BadItemRow>, SqlError> {
        let rows = self.view.rows(
            "SELECT n, peer, id, rule, detail, at, bytes FROM bad_item ORDER BY n DESC",
            [],
            |row| {
                Ok((
                    (row.get::<_, i64>(0)?, row.get::<_, String>(1)?),
                    row.get::<_, Vec<u8>>(2)?,
                    (row.get::<_, String>(3)?, row.get::<_, String>(4)?),
                    (row.get(5)?, row.get::<_, i64>(6)?),
                ))
            },
        )?;
        rows.into_iter()
            .map(|((n, peer), id, (rule, detail), (at, bytes))| {
                Ok(BadItemRow {
                    n,
                    peer: node(&peer)?,
                    record: record_id(&id)?,
                    rule,
                    detail,
                    at: Timestamp::from_millis(at),
                    bytes: unsigned(bytes)?,
                })
            })
            .collect()
    }

    /// Returns an item exactly as it arrived. Nothing of it is verified.
    pub(super) fn bad_item(&self, n: i64) -> Result<Option<SealedRecord>, SqlError> {
        let found = self.view.first(
            "SELECT id, peer, wrapped, b.sealed
             FROM bad_item AS b LEFT JOIN keys.wrapped_key AS k ON k.n = b.key WHERE b.n = ?1",
            [n],
            |row| {
                Ok((
                    row.get::<_, Vec<u8>>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, Option<Vec<u8>>>(2)?,
                    row.get::<_, Vec<u8>>(3)?,
                ))
            },
        )?;
        let Some((id, peer, wrapped, sealed)) = found else {
            return Ok(None);
        };
        let (id, peer) = (record_id(&id)?, node(&peer)?);
        let what = || format!("the item {n} of the quarantine");
        let plain = self.view.open(
            SealedAs::BadItem(&id, &peer),
            wrapped.as_deref(),
            sealed,
            what,
        )?;
        let frame = wire::Frame::decode(Bytes::from(plain)).map_err(|_| unreadable(&what()))?;
        let parts = frame
            .records
            .into_iter()
            .next()
            .zip(frame.batches.into_iter().next());
        let (record, statement) = parts.ok_or_else(|| unreadable(&what()))?;
        let statement = SignedStatement::try_from(statement).map_err(|_| unreadable(&what()))?;
        Ok(Some(SealedRecord::new(record, statement.into())))
    }

    pub(super) fn aside(&self) -> Result<Aside, SqlError> {
        let counts = self.view.first(
            "SELECT (SELECT count(*) FROM held), (SELECT count(*) FROM bad_item)",
            [],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )?;
        let (held, quarantined) = counts.unwrap_or_default();
        Ok(Aside {
            held: unsigned(held)?,
            quarantined: unsigned(quarantined)?,
        })
    }
}
