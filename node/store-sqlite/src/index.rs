//! Index of records by id and by selector: the newest entries in memory, all others in two tables.
//!
//! Ids and tokens are random, so that a row for each would touch a page of its own in every commit.
//! They are therefore gathered in order and written to the tables by the ten thousand, a slice with
//! each commit that brings records. Neighbours share pages then, and no commit waits for all of it.
//! The packs themselves hold everything that the tables lack, so that nothing is lost with the
//! memory. The row `indexed` of `meta` names the last pack that the tables cover.
//!
//! ```text
//! commit ─▶ fresh ──(full: sorted)──▶ older ──slices──▶ id_index, token_index
//! ```
//!
//! Entries that were written stay in `older` until it is filled again. A reader whose snapshot of
//! the tables is older than the slice finds them there.

use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use portcullis_protocol::record::RecordId;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use super::{
    error::{SqlError, is_torn},
    pack::{Directory, id_at, pack_of, place, slot_of},
};

/// Entries that are gathered in memory before they are written to the tables.
pub(super) const FULL: usize = 1 << 16;
/// Entries written to each table with a commit, for each record that the commit brings.
const PER_RECORD: usize = 4;

/// A key (of an id, or a token) and a place.
pub(super) type IndexEntry = (i64, i64);

/// Returns the first 8 bytes of an id as a number that sorts in the order of ids.
pub(super) fn id_key(id: &RecordId) -> i64 {
    let first = id.as_bytes().first_chunk().copied().unwrap_or_default();
    (u64::from_be_bytes(first) ^ (1 << 63)).cast_signed()
}

/// Index entries that a commit adds.
#[derive(Default)]
pub(super) struct Additions {
    pub(super) ids: Vec<IndexEntry>,
    pub(super) tokens: Vec<IndexEntry>,
    /// The newest pack of the commit.
    pub(super) pack: i64,
}

/// The part of the index that the tables lack.
pub(super) struct Index {
    /// Guards the gathered entries; held for the moment of a lookup or an addition.
    gathered: RwLock<Gathered>,
    /// Number of gathered entries at which writing to the tables begins.
    full: usize,
}

#[derive(Default)]
struct Gathered {
    fresh_ids: BTreeSet<IndexEntry>,
    fresh_tokens: BTreeSet<IndexEntry>,
    /// The newest pack whose entries were gathered.
    newest: i64,
    older: Older,
    /// Tokens of withdrawn records among the entries in `older`.
    gone: BTreeSet<IndexEntry>,
}

/// Entries that are being written to the tables, or have been.
#[derive(Default)]
struct Older {
    ids: Vec<IndexEntry>,
    tokens: Vec<IndexEntry>,
    /// Numbers of entries of each kind that are written.
    ids_done: usize,
    tokens_done: usize,
    /// The newest pack among the entries.
    newest: i64,
}

impl Older {
    const fn is_written(&self) -> bool {
        self.ids_done >= self.ids.len() && self.tokens_done >= self.tokens.len()
    }
}

/// Sizes of a slice of entries that was taken into a transaction.
#[derive(Default)]
pub(super) struct Slice {
    ids: usize,
    tokens: usize,
}

impl Index {
    /// Reads from the packs the entries that the tables lack.
    pub(super) fn load(main: &Connection, full: usize) -> Result<Self, SqlError> {
        let indexed = indexed(main)?;
        let mut gathered = Gathered {
            newest: indexed,
            ..Gathered::default()
        };
        let mut packs =
            main.prepare("SELECT n, extends, ids, directory FROM pack WHERE n > ?1 ORDER BY n")?;
        let mut rows = packs.query([indexed])?;
        while let Some(row) = rows.next()? {
            let (n, extends): (i64, bool) = (row.get(0)?, row.get(1)?);
            let (ids, directory): (Vec<u8>, Vec<u8>) = (row.get(2)?, row.get(3)?);
            // A damaged pack is reported by whoever reads it. The other packs must still be found.
            let directory = Directory::read(&directory).unwrap_or_default();
            let ids: &[u8] = if extends { &[] } else { &ids };
            gathered.add(&entries(n, ids, &directory));
        }
        Ok(Self {
            gathered: RwLock::new(gathered),
            full,
        })
    }

    /// Adds the entries of a commit that is durable.
    pub(super) fn add(&self, additions: &Additions) {
        self.write().add(additions);
    }

    /// Forgets tokens of withdrawn records. The tables no longer hold them.
    pub(super) fn forget(&self, tokens: &[IndexEntry]) {
        if tokens.is_empty() {
            return;
        }
        let mut gathered = self.write();
        for entry in tokens {
            gathered.fresh_tokens.remove(entry);
            if gathered.older.tokens.binary_search(entry).is_ok() {
                gathered.gone.insert(*entry);
            }
        }
    }

    /// Returns the places of the ids that begin with these 8 bytes.
    pub(super) fn ids(&self, main: &Connection, key: i64) -> Result<Vec<i64>, SqlError> {
        let mut places = {
            let gathered = self.read();
            found(&gathered.fresh_ids, &gathered.older.ids, key, key)
        };
        let mut select = main.prepare_cached("SELECT place FROM id_index WHERE id = ?1")?;
        merge(&mut places, select.query_map([key], |row| row.get(0))?)
    }

    /// Returns the places of at least `limit` ids from `first` to `last`, or of all if there are
    /// fewer, in the order of ids.
    pub(super) fn ids_between(
        &self,
        main: &Connection,
        (first, last): (i64, i64),
        limit: u32,
    ) -> Result<Vec<i64>, SqlError> {
        let mut entries = {
            let gathered = self.read();
            let mut entries: Vec<IndexEntry> = range(&gathered.fresh_ids, first, last).collect();
            entries.extend(between(&gathered.older.ids, first, last));
            entries
        };
        let mut select = main.prepare_cached(
            "SELECT id, place FROM id_index WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3",
        )?;
        let rows = select.query_map((first, last, limit), |row| Ok((row.get(0)?, row.get(1)?)))?;
        for row in rows {
            entries.push(row?);
        }
        entries.sort_unstable();
        entries.dedup();
        Ok(entries.into_iter().map(|(_, place)| place).collect())
    }

    /// Returns the places with this token.
    pub(super) fn tokens(&self, main: &Connection, token: i64) -> Result<Vec<i64>, SqlError> {
        let mut places = {
            let gathered = self.read();
            let mut places = found(&gathered.fresh_tokens, &gathered.older.tokens, token, token);
            places.retain(|place| !gathered.gone.contains(&(token, *place)));
            places
        };
        let mut select = main.prepare_cached("SELECT place FROM token_index WHERE token = ?1")?;
        merge(&mut places, select.query_map([token], |row| row.get(0))?)
    }

    /// Writes the next slice to the tables, in a transaction that brings this many records.
    pub(super) fn write_slice(&self, main: &Connection, records: usize) -> Result<Slice, SqlError> {
        self.begin_writing();
        let gathered = self.read();
        let older = &gathered.older;
        let most = records.saturating_mul(PER_RECORD);
        let ids = slice(&older.ids, older.ids_done, most);
        let tokens = slice(&older.tokens, older.tokens_done, most);
        if ids.is_empty() && tokens.is_empty() {
            return Ok(Slice::default());
        }
        let mut insert =
            main.prepare_cached("INSERT OR IGNORE INTO id_index (id, place) VALUES (?1, ?2)")?;
        for entry in ids {
            insert.execute(*entry)?;
        }
        let mut insert = main
            .prepare_cached("INSERT OR IGNORE INTO token_index (token, place) VALUES (?1, ?2)")?;
        for entry in tokens.iter().filter(|one| !gathered.gone.contains(one)) {
            insert.execute(*entry)?;
        }
        let taken = Slice {
            ids: ids.len(),
            tokens: tokens.len(),
        };
        let all = older.ids_done + taken.ids == older.ids.len()
            && older.tokens_done + taken.tokens == older.tokens.len();
        if all {
            main.prepare_cached(
                "INSERT OR REPLACE INTO meta (name, value) VALUES ('indexed', ?1)",
            )?
            .execute([older.newest.to_be_bytes().as_slice()])?;
        }
        Ok(taken)
    }

    /// Notes that a slice is durable.
    pub(super) fn written(&self, slice: &Slice) {
        if slice.ids + slice.tokens > 0 {
            let older = &mut self.write().older;
            older.ids_done += slice.ids;
            older.tokens_done += slice.tokens;
        }
    }

    /// Begins to write the gathered entries, if there are enough and no others are being written.
    fn begin_writing(&self) {
        {
            let gathered = self.read();
            let enough = gathered.fresh_ids.len().max(gathered.fresh_tokens.len()) >= self.full;
            if !enough || !gathered.older.is_written() {
                return;
            }
        }
        let mut gathered = self.write();
        let ids = std::mem::take(&mut gathered.fresh_ids);
        let tokens = std::mem::take(&mut gathered.fresh_tokens);
        gathered.gone.clear();
        gathered.older = Older {
            ids: ids.into_iter().collect(),
            tokens: tokens.into_iter().collect(),
            ids_done: 0,
            tokens_done: 0,
            newest: gathered.newest,
        };
    }

    fn read(&self) -> RwLockReadGuard<'_, Gathered> {
        self.gathered.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Gathered> {
        self.gathered
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    fn add(&mut self, additions: &Additions) {
        self.fresh_ids.extend(additions.ids.iter().copied());
        self.fresh_tokens.extend(additions.tokens.iter().copied());
        self.newest = self.newest.max(additions.pack);
    }
}

/// Returns the index entries of a pack.
pub(super) fn entries(n: i64, ids: &[u8], directory: &Directory) -> Additions {
    let slots = 0..directory.forms.len();
    let at = |slot: usize| place(n, i64::try_from(slot).unwrap_or_default());
    let ids = slots.filter_map(|slot| Some((id_key(&id_at(ids, slot)?), at(slot))));
    let tokens = directory.tokens.iter().zip(&directory.token_slots);
    Additions {
        ids: ids.collect(),
        tokens: tokens
            .map(|(token, slot)| (*token, place(n, i64::from(*slot))))
            .collect(),
        pack: n,
    }
}

/// Makes one of the two tables anew from the packs. Returns false if it is another table, or if the
/// packs cannot be read either; everything is as it was then.
///
/// SQLite can neither empty nor drop a tree with a torn page. The new one gets a tree of its own, and
/// the pages of the torn one are left unused.
pub(super) fn build_anew(main: &Connection, table: &str) -> Result<bool, SqlError> {
    let (column, of): (_, fn(Additions) -> Vec<IndexEntry>) = match table {
        "id_index" => ("id", |entries| entries.ids),
        "token_index" => ("token", |entries| entries.tokens),
        _ => return Ok(false),
    };
    let transaction = Transaction::new_unchecked(main, TransactionBehavior::Immediate)?;
    let built = build(&transaction, (table, column), of);
    // SQLite reads the schema again, as it is after the transaction.
    let ended = match built {
        Ok(()) => transaction.commit().map(|()| true),
        Err(error) if is_torn(&error) => transaction.rollback().map(|()| false),
        Err(error) => transaction.rollback().and(Err(error)),
    };
    main.execute_batch("PRAGMA writable_schema = RESET")?;
    Ok(ended?)
}

fn build(
    main: &Connection,
    (table, column): (&str, &str),
    of: fn(Additions) -> Vec<IndexEntry>,
) -> rusqlite::Result<()> {
    main.execute_batch(&format!(
        "CREATE TABLE built_anew ({column} INTEGER NOT NULL, place INTEGER NOT NULL,
             PRIMARY KEY ({column}, place)) STRICT, WITHOUT ROWID"
    ))?;
    let mut insert = main.prepare("INSERT OR IGNORE INTO built_anew VALUES (?1, ?2)")?;
    let mut packs = main.prepare("SELECT n, extends, ids, directory FROM pack ORDER BY n")?;
    let mut rows = packs.query([])?;
    while let Some(row) = rows.next()? {
        let (n, extends): (i64, bool) = (row.get(0)?, row.get(1)?);
        let (ids, directory): (Vec<u8>, Vec<u8>) = (row.get(2)?, row.get(3)?);
        // A damaged pack is reported by whoever reads it.
        let directory = Directory::read(&directory).unwrap_or_default();
        let ids: &[u8] = if extends { &[] } else { &ids };
        for entry in of(entries(n, ids, &directory)) {
            insert.execute(entry)?;
        }
    }
    main.execute_batch("PRAGMA writable_schema = ON")?;
    main.execute(
        "UPDATE sqlite_schema SET rootpage =
             (SELECT rootpage FROM sqlite_schema WHERE name = 'built_anew') WHERE name = ?1",
        [table],
    )?;
    main.execute("DELETE FROM sqlite_schema WHERE name = 'built_anew'", [])?;
    Ok(())
}

/// Returns the place of the record with this id, among those found by its first 8 bytes.
pub(super) fn place_of(
    main: &Connection,
    index: &Index,
    id: &RecordId,
) -> Result<Option<i64>, SqlError> {
    for place in index.ids(main, id_key(id))? {
        if id_of(main, place)?.is_some_and(|found| found == *id) {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// Returns the id of the record at this place.
pub(super) fn id_of(main: &Connection, place: i64) -> Result<Option<RecordId>, SqlError> {
    let mut select = main.prepare_cached("SELECT ids FROM pack WHERE n = ?1")?;
    let ids: Option<Vec<u8>> = select
        .query_row([pack_of(place)], |row| row.get(0))
        .optional()?;
    Ok(ids.and_then(|ids| id_at(&ids, slot_of(place))))
}

pub(super) fn indexed(main: &Connection) -> Result<i64, SqlError> {
    let value: Option<Vec<u8>> = main
        .query_row("SELECT value FROM meta WHERE name = 'indexed'", [], |row| {
            row.get(0)
        })
        .optional()?;
    let number = value.and_then(|value| value.try_into().ok());
    Ok(number.map_or(-1, i64::from_be_bytes))
}

fn range(set: &BTreeSet<IndexEntry>, first: i64, last: i64) -> impl Iterator<Item = IndexEntry> {
    set.range((first, i64::MIN)..=(last, i64::MAX)).copied()
}

fn between(sorted: &[IndexEntry], first: i64, last: i64) -> impl Iterator<Item = IndexEntry> {
    let begin = sorted.partition_point(|(key, _)| *key < first);
    let rest = sorted.get(begin..).unwrap_or_default().iter().copied();
    rest.take_while(move |(key, _)| *key <= last)
}

fn found(set: &BTreeSet<IndexEntry>, sorted: &[IndexEntry], first: i64, last: i64) -> Vec<i64> {
    range(set, first, last)
        .chain(between(sorted, first, last))
        .map(|(_, place)| place)
        .collect()
}

/// Adds the places from the table that memory did not have. There may be a hundred thousand with one
/// token.
fn merge(
    places: &mut Vec<i64>,
    rows: impl Iterator<Item = rusqlite::Result<i64>>,
) -> Result<Vec<i64>, SqlError> {
    for place in rows {
        places.push(place?);
    }
    places.sort_unstable();
    places.dedup();
    Ok(std::mem::take(places))
}

fn slice(entries: &[IndexEntry], done: usize, most: usize) -> &[IndexEntry] {
    let rest = entries.get(done..).unwrap_or_default();
    rest.get(..most).unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = include_str!("main_1.sql");

    /// Adds a pack with these keys, each used as an id and a token, in the way of a commit.
    fn commit(main: &Connection, index: &Index, n: i64, keys: &[i64]) {
        let directory = Directory {
            forms: vec![1; keys.len()],
            tokens: keys.iter().map(|key| key.wrapping_mul(7)).collect(),
            token_slots: (0..).take(keys.len()).collect(),
            ..Directory::default()
        };
        let ids: Vec<u8> = keys.iter().flat_map(|key| id(*key)).collect();
        let transaction = main.unchecked_transaction().unwrap();
        transaction
            .execute(
                "INSERT INTO pack VALUES (?1, 'bulk', 1, 0, 'indicator', NULL, 0, ?2, ?3, ?4, x'')",
                (n, 1, &ids, prost::Message::encode_to_vec(&directory)),
            )
            .unwrap();
        let slice = index.write_slice(&transaction, keys.len()).unwrap();
        transaction.commit().unwrap();
        index.add(&entries(n, &ids, &directory));
        index.written(&slice);
    }

    fn id(key: i64) -> [u8; 32] {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(key.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        id
    }

    /// Returns keys in no order, each only once.
    fn key(number: i64) -> i64 {
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed())
    }

    #[track_caller]
    fn check_all(main: &Connection, index: &Index, packs: i64) {
        for n in 1..=packs {
            for slot in 0..4 {
                let (key, at) = (key(n * 4 + slot), place(n, slot));
                assert_eq!(index.ids(main, key).unwrap(), [at], "pack {n}");
                assert_eq!(index.tokens(main, key.wrapping_mul(7)).unwrap(), [at]);
                let record = RecordId::from_slice(&id(key)).unwrap();
                assert_eq!(place_of(main, index, &record).unwrap(), Some(at));
            }
        }
        let all = index.ids_between(main, (i64::MIN, i64::MAX), u32::MAX);
        assert_eq!(all.unwrap().len(), usize::try_from(packs * 4).unwrap());
        assert!(index.ids(main, 1).unwrap().is_empty());
    }

    #[test]
    fn everything_is_found_while_it_is_gathered_written_and_read_again() {
        let main = Connection::open_in_memory().unwrap();
        main.execute_batch(SCHEMA).unwrap();
        let index = Index::load(&main, 40).unwrap();
        for n in 1..=60 {
            let keys: Vec<i64> = (0..4).map(|slot| key(n * 4 + slot)).collect();
            commit(&main, &index, n, &keys);
            if n % 7 == 0 {
                check_all(&main, &index, n);
                // This is the state after a crash: the entries that the tables lack are read from
                // the packs.
                check_all(&main, &Index::load(&main, 40).unwrap(), n);
            }
        }
        check_all(&main, &index, 60);
        assert!(indexed(&main).unwrap() > 40, "{:?}", indexed(&main));
    }

    #[test]
    fn ids_that_begin_alike_are_told_apart() {
        let main = Connection::open_in_memory().unwrap();
        main.execute_batch(SCHEMA).unwrap();
        let index = Index::load(&main, 40).unwrap();
        commit(&main, &index, 1, &[5, 5, 6]);
        assert_eq!(index.ids(&main, 5).unwrap(), [place(1, 0), place(1, 1)]);
        let mut other = id(5);
        other[31] = 1;
        let other = RecordId::from_slice(&other).unwrap();
        assert_eq!(place_of(&main, &index, &other).unwrap(), None);
    }
}
