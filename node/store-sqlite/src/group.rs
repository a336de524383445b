//! A group of jobs on its way into both files, as one transaction in each.

use std::{collections::HashMap, sync::Arc};

use portcullis_protocol::{record::RecordId, statement::SignedStatement};
use rusqlite::{Connection, OptionalExtension as _, ToSql, Transaction, TransactionBehavior};

use super::{
    frames::PackIds,
    index::{Additions, Entry, Index, Slice, place_of},
    pack::place,
    recent::Placed,
    records::Log,
};
use crate::crypt::{Sealed, SealedAs, Vault};
use crate::error::SqlError;
use portcullis_store::{DecisionNote, StoreError, Write, Written};

/// The two connections that write, and the work that the last commit left to do.
pub(super) struct WriteSide {
    main: Connection,
    keys: Connection,
    /// Numbers of keys under which nothing is sealed any more. They are destroyed with the next
    /// group.
    pub(super) retired: Vec<i64>,
    /// Places whose section keys are destroyed with the next group.
    pub(super) erasing: Vec<i64>,
    /// The newest ordinal of the disclosure ledger.
    pub(super) ordinal: i64,
}

impl WriteSide {
    pub(super) fn new(main: Connection, keys: Connection) -> Result<Self, SqlError> {
        let retired = main
            .prepare("SELECT key FROM retired_key")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let erasing = main
            .prepare("SELECT place FROM erasure")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let ordinal = main.query_row(
            "SELECT max((SELECT coalesce(max(n), 0) FROM sent),
                 (SELECT coalesce(max(ordinal), 0) FROM disclosure))",
            [],
            |row| row.get(0),
        )?;
        Ok(Self {
            main,
            keys,
            retired,
            erasing,
            ordinal,
        })
    }
}

/// A sealed thing whose key is in the key table.
pub(super) struct Kept {
    /// The key's number.
    pub(super) key: i64,
    /// The ciphertext.
    pub(super) sealed: Vec<u8>,
}

/// A transaction to which jobs are added one by one.
pub(super) struct Group<'a> {
    pub(super) main: Transaction<'a>,
    /// The transaction in the key table. It begins when the first key is needed.
    keys: Option<Transaction<'a>>,
    side: &'a WriteSide,
    vault: &'a Vault,
    index: &'a Index,
    retiring: Vec<i64>,
    /// Places of the records that the group withdraws.
    pub(super) erasing: Vec<i64>,
    numbers: Numbers,
    /// Additions to the record log.
    pub(super) log: Log,
    /// Used to check that answers are about the records they name.
    pub(super) log_ids: PackIds,
    /// The newest ordinal of the disclosure ledger.
    ordinal: i64,
}

/// Work that is left once a group is durable.
pub(super) struct Committed {
    /// Numbers of keys that are of no use from now on.
    pub(super) retired: Vec<i64>,
    /// Places whose section keys are of no use from now on.
    pub(super) erasing: Vec<i64>,
    /// The newest ordinal of the disclosure ledger.
    pub(super) ordinal: i64,
    /// Own records that are in the log now.
    pub(super) published: Vec<Placed>,
    additions: Additions,
    slice: Slice,
    /// Index entries of withdrawn records, to be removed from memory.
    unindexed: Vec<Entry>,
    /// True if something of a withdrawn record was erased that the write-ahead logs still hold.
    pub(super) has_erased: bool,
}

impl Committed {
    /// Brings the index up to date with the log.
    pub(super) fn tell(&self, index: &Index) {
        index.add(&self.additions);
        index.written(&self.slice);
        index.forget(&self.unindexed);
    }
}

/// Row numbers known within the group. They are forgotten when a job is rolled back.
#[derive(Default)]
struct Numbers {
    decisions: HashMap<DecisionNote, i64>,
    statements: HashMap<[u8; 64], i64>,
}

impl<'a> Group<'a> {
    pub(super) fn begin(
        side: &'a WriteSide,
        vault: &'a Vault,
        index: &'a Index,
    ) -> Result<Self, SqlError> {
        let main = Transaction::new_unchecked(&side.main, TransactionBehavior::Immediate)?;
        Ok(Self {
            main,
            keys: None,
            side,
            vault,
            index,
            retiring: Vec::new(),
            erasing: Vec::new(),
            numbers: Numbers::default(),
            log: Log::default(),
            log_ids: PackIds::default(),
            ordinal: side.ordinal,
        })
    }

    /// Adds a job. If it fails, nothing of it stays.
    pub(super) fn job(&mut self, writes: Vec<Write>) -> Result<Vec<Written>, SqlError> {
        self.main.execute_batch("SAVEPOINT job")?;
        let (retiring, erasing) = (self.retiring.len(), self.erasing.len());
        let mark = self.log.mark();
        let result: Result<_, _> = writes.into_iter().map(|write| self.write(write)).collect();
        if result.is_err() {
            self.retiring.truncate(retiring);
            self.erasing.truncate(erasing);
            self.log.rewind(&mark);
            self.log_ids = PackIds::default();
            self.numbers = Numbers::default();
            self.main.execute_batch("ROLLBACK TO job")?;
        }
        self.main.execute_batch("RELEASE job")?;
        result
    }

    /// Makes the group durable, the keys first.
    pub(super) fn commit(mut self) -> Result<Committed, SqlError> {
        if !self.side.retired.is_empty() {
            self.destroy_retired()?;
        }
        for key in &self.retiring {
            self.main
                .prepare_cached("INSERT INTO retired_key (key) VALUES (?1)")?
                .execute([key])?;
        }
        let records = self.log.additions.ids.len();
        let slice = self.index.write_slice(&self.main, records)?;
        // This comes after the slice, which may have written entries that are to be erased.
        let side = self.side;
        let unindexed = self.erase(&side.erasing)?;
        if let Some(keys) = self.keys {
            keys.commit().map_err(SqlError::Keys)?;
        }
        self.main.commit()?;
        Ok(Committed {
            retired: self.retiring,
            erasing: self.erasing,
            ordinal: self.ordinal,
            published: self.log.published,
            additions: self.log.additions,
            slice,
            unindexed,
            has_erased: !side.erasing.is_empty(),
        })
    }

    fn destroy_retired(&mut self) -> Result<(), SqlError> {
        let side = self.side;
        let keys = self.keys()?;
        for key in &side.retired {
            keys.prepare_cached("DELETE FROM wrapped_key WHERE n = ?1")
                .and_then(|mut delete| delete.execute([key]))
                .map_err(SqlError::Keys)?;
        }
        for key in &side.retired {
            self.run("DELETE FROM retired_key WHERE key = ?1", [key])?;
        }
        Ok(())
    }

    fn write(&mut self, write: Write) -> Result<Written, SqlError> {
        match write {
            Write::Publish { records, now } => {
                self.publish(records, now)?;
                self.close_pack()?;
            }
            Write::Intake(intake) => {
                let written = self.arrive(intake)?;
                self.close_pack()?;
                return Ok(written);
            }
            Write::Intend(intend) => self.intend(&intend)?,
            Write::Settle(settle) => self.settle(&settle)?,
            Write::Register(register) => self.register(&register)?,
            Write::Fact(fact) => self.fact(&fact)?,
            Write::Act(act) => self.act(&act)?,
            Write::Consignments(rows) => self.consignments(rows)?,
            Write::Scores(rows) => self.scores(rows)?,
            Write::Event(event) => self.event(&event)?,
            Write::StartGeneration(new) => self.start_generation(&new)?,
            Write::Quarantine(items) => self.quarantine(&items)?,
            Write::DropBad(numbers) => {
                if self.drop_bad(&numbers)? == 0 {
                    return Err(StoreError::NotThere.into());
                }
            }
            Write::Meet(peers) => self.meet(&peers)?,
            Write::Backfill(backfill) => self.backfill(&backfill)?,
            Write::CancelBackfills(cancel) => self.cancel_backfills(&cancel)?,
            Write::Retry(retry) => self.retry_now(&retry)?,
            Write::Decide(decision) => {
                let answers = self.decide_held(decision)?;
                self.close_pack()?;
                return Ok(Written::Answers(answers));
            }
            Write::AskAgain { peer, now } => self.ask_again(&peer, now)?,
            Write::Repair(repair) => self.repair(&repair)?,
            Write::GiveBack(back) => self.give_back(&back)?,
            Write::Reconciled(row) => self.reconciled(&row)?,
            Write::Withdraw {
                records,
                outcome,
                at,
            } => {
                for id in &records {
                    self.withdraw(id, &outcome, at)?;
                }
            }
            Write::Recover { records, now } => self.recover(&records, now)?,
        }
        Ok(Written::Done)
    }

    /// Returns the newest place of the log.
    pub(super) fn log_end(&self) -> Result<i64, SqlError> {
        log_end(&self.main)
    }

    pub(super) fn keys(&mut self) -> Result<&Transaction<'a>, SqlError> {
        if self.keys.is_none() {
            let keys = Transaction::new_unchecked(&self.side.keys, TransactionBehavior::Immediate)
                .map_err(SqlError::Keys)?;
            self.keys = Some(keys);
        }
        Ok(self.keys.as_ref().ok_or(StoreError::Stopped)?)
    }

    /// Seals something under a key of its own.
    pub(super) fn seal(
        &mut self,
        sealed_as: SealedAs<'_>,
        plain: Vec<u8>,
    ) -> Result<Kept, SqlError> {
        let Sealed { wrapped, bytes } = self.vault.seal(sealed_as, plain)?;
        let keys = self.keys()?;
        keys.prepare_cached("INSERT INTO wrapped_key (wrapped) VALUES (?1)")
            .and_then(|mut insert| insert.execute([wrapped]))
            .map_err(SqlError::Keys)?;
        Ok(Kept {
            key: keys.last_insert_rowid(),
            sealed: bytes,
        })
    }

    /// Notes that nothing is sealed under this key any more.
    pub(super) fn retire(&mut self, key: i64) {
        self.retiring.push(key);
    }

    pub(super) fn vault(&self) -> &'a Vault {
        self.vault
    }

    /// Runs a statement and returns the number of rows it changed.
    pub(super) fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, SqlError> {
        Ok(self.main.prepare_cached(sql)?.execute(params)?)
    }

    /// Runs an insertion and returns the number of the new row.
    pub(super) fn insert(&self, sql: &str, params: impl rusqlite::Params) -> Result<i64, SqlError> {
        Ok(self.main.prepare_cached(sql)?.insert(params)?)
    }

    /// Returns the first row of a query.
    pub(super) fn first<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, SqlError> {
        let mut statement = self.main.prepare_cached(sql)?;
        Ok(statement.query_row(params, read).optional()?)
    }

    /// Returns all rows of a query.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, SqlError> {
        let mut statement = self.main.prepare_cached(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the first column of all rows.
    pub(super) fn column(&self, sql: &str, params: &[&dyn ToSql]) -> Result<Vec<i64>, SqlError> {
        let mut statement = self.main.prepare_cached(sql)?;
        let rows = statement.query_map(params, |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the number of a record id, if the id was met before.
    pub(super) fn number(&self, id: &RecordId) -> Result<Option<i64>, SqlError> {
        if let Some(number) = self.log.number(id) {
            return Ok(Some(number));
        }
        let known = self.first(
            "SELECT n FROM known WHERE id = ?1",
            [id.as_bytes()],
            |row| row.get(0),
        )?;
        match known {
            Some(number) => Ok(Some(number)),
            None => place_of(&self.main, self.index, id),
        }
    }

    /// Returns the number of a record id, and assigns one if the id is new.
    pub(super) fn known(&self, id: &RecordId) -> Result<i64, SqlError> {
        match self.number(id)? {
            Some(number) => Ok(number),
            None => self.insert(
                "INSERT INTO known (n, id)
                 VALUES ((SELECT min(coalesce(min(n), 0), 0) - 1 FROM known), ?1)",
                [id.as_bytes()],
            ),
        }
    }

    /// Returns the next ordinal of the disclosure ledger.
    pub(super) fn next_ordinal(&mut self) -> i64 {
        self.ordinal += 1;
        self.ordinal
    }

    /// Returns the number of a decision. Each decision is kept once.
    pub(super) fn decision(&mut self, note: &DecisionNote) -> Result<i64, SqlError> {
        if let Some(number) = self.numbers.decisions.get(note) {
            return Ok(*number);
        }
        let policies = serde_json::Value::from(note.policies.clone()).to_string();
        let bundle = note
            .bundle
            .map_or(Vec::new(), |digest| digest.as_bytes().to_vec());
        let found = self.first(
            "SELECT n FROM decision WHERE policies = ?1 AND bundle = ?2",
            (&policies, &bundle),
            |row| row.get(0),
        )?;
        let number = match found {
            Some(number) => number,
            None => self.insert(
                "INSERT INTO decision (policies, bundle) VALUES (?1, ?2)",
                (&policies, &bundle),
            )?,
        };
        self.numbers.decisions.insert(note.clone(), number);
        Ok(number)
    }

    /// Returns the number of an originator's statement. Each statement is kept once.
    pub(super) fn statement(&mut self, statement: &Arc<SignedStatement>) -> Result<i64, SqlError> {
        if let Some(number) = self.numbers.statements.get(statement.signature()) {
            return Ok(*number);
        }
        let (payload, key_id) = (statement.unverified_payload(), statement.key_id());
        let tag = tag_of(statement.signature());
        let found = self.first(
            "SELECT n FROM statement
             WHERE tag = ?1 AND signature = ?2 AND payload = ?3 AND key_id = ?4",
            (
                tag,
                statement.signature(),
                payload.as_ref(),
                key_id.as_bytes(),
            ),
            |row| row.get(0),
        )?;
        let number = match found {
            Some(number) => number,
            None => self.insert(
                "INSERT INTO statement (tag, payload, key_id, signature) VALUES (?1, ?2, ?3, ?4)",
                (
                    tag,
                    payload.as_ref(),
                    key_id.as_bytes(),
                    statement.signature(),
                ),
            )?,
        };
        self.numbers
            .statements
            .insert(*statement.signature(), number);
        Ok(number)
    }
}

/// Returns the newest number of the log; 0 if it is empty.
pub(super) fn log_end(connection: &Connection) -> Result<i64, SqlError> {
    let mut newest =
        connection.prepare_cached("SELECT n, count FROM pack ORDER BY n DESC LIMIT 1")?;
    let end = newest
        .query_row([], |row| Ok(place(row.get(0)?, row.get::<_, i64>(1)? - 1)))
        .optional()?;
    Ok(end.unwrap_or(0))
}

/// Returns the first 8 bytes of a signature, by which the statement index finds it.
fn tag_of(signature: &[u8; 64]) -> i64 {
    signature
        .first_chunk()
        .map_or(0, |bytes| i64::from_be_bytes(*bytes))
}
