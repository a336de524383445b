//! The register's epochs, the persons, and their acts.

use portcullis_protocol::{
    digest::Digest, register::SignedRegister, statement::SignedStatement, time::Timestamp, wire,
};
use portcullis_store::{
    Act, ActAnswer, ActOutcome, ActRow, Effects, PersonRow, StoreError, Written,
};

use super::{
    decode::{unreadable, unsigned},
    error::SqlError,
    transaction::WriteTransaction,
    view::DatabaseView,
};

/// Writer of the register and of persons and their acts.
pub(super) struct RegistryWriter<'t> {
    tx: &'t WriteTransaction<'t>,
}

impl<'t> RegistryWriter<'t> {
    pub(super) const fn of(tx: &'t WriteTransaction<'t>) -> Self {
        Self { tx }
    }

    /// Keeps an epoch, which must follow the newest one. The same epoch again changes nothing.
    pub(super) fn register(&self, register: &SignedRegister) -> Result<(), SqlError> {
        let found = register
            .unverified()
            .map_err(|_| StoreError::Fault("the epoch of a register cannot be read"))?
            .epoch;
        let same = self
            .tx
            .first(
                "SELECT register FROM register WHERE epoch = ?1",
                [found.cast_signed()],
                |row| row.get::<_, Vec<u8>>(0),
            )?
            .and_then(|bytes| SignedRegister::decode(&bytes).ok())
            .is_some_and(|kept| kept.digest() == register.digest());
        if same {
            return Ok(());
        }
        let newest = self
            .tx
            .first("SELECT coalesce(max(epoch), 0) FROM register", [], |row| {
                row.get::<_, i64>(0)
            })?
            .unwrap_or(0);
        let newest = unsigned(newest)?;
        if found.checked_sub(1) != Some(newest) {
            return Err(StoreError::Epoch { found, newest }.into());
        }
        self.tx.run(
            "INSERT INTO register (epoch, register) VALUES (?1, ?2)",
            (found.cast_signed(), register.encode()),
        )?;
        Ok(())
    }

    /// Keeps a person's act, only once, and the enrolment that it makes. An act that was begun and
    /// cut short, or that failed, is begun again in its row.
    pub(super) fn act(&self, act: &Act) -> Result<(), SqlError> {
        let Act {
            action,
            person,
            uid,
            at,
            statement,
            concerns,
            enrols,
            effects,
        } = act;
        let outcome = match effects {
            Effects::Nothing => None,
            Effects::InJob(_) => Some(Act::DONE),
            Effects::Following => Some(Act::BEGUN),
        };
        let digest = statement.as_ref().map(act_digest);
        if let Some(digest) = digest {
            let earlier = self.tx.first(SEEN, [digest.as_bytes()], |row| {
                row.get::<_, Option<String>>(0)
            })?;
            if let Some(earlier) = earlier {
                if !Act::is_open(earlier.as_deref()) {
                    return Err(StoreError::Replayed.into());
                }
                self.tx.run(
                    "UPDATE act SET at = ?2, uid = ?3, concerns = ?4, outcome = ?5
                     WHERE digest = ?1",
                    (digest.as_bytes(), at.as_millis(), uid, concerns, outcome),
                )?;
                return Ok(());
            }
        }
        self.tx.run(
            "INSERT INTO act (at, action, person, uid, concerns, digest, payload, key_id, signature,
                 outcome)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            (
                at.as_millis(),
                action,
                person,
                uid,
                concerns,
                digest.as_ref().map(Digest::as_bytes),
                statement.as_ref().map(|statement| statement.unverified_payload().as_ref()),
                statement.as_ref().map(|statement| *statement.key_id().as_bytes()),
                statement.as_ref().map(SignedStatement::signature),
                outcome,
            ),
        )?;
        enrols.as_ref().map_or(Ok(()), |person| self.enrol(person))
    }

    /// Notes how an act ended.
    pub(super) fn outcome(&self, ended: &ActOutcome) -> Result<(), SqlError> {
        let digest = act_digest(&ended.statement);
        self.tx.run(
            "UPDATE act SET outcome = ?2, answer = ?3 WHERE digest = ?1",
            (digest.as_bytes(), &ended.outcome, &ended.answer),
        )?;
        Ok(())
    }

    /// Keeps the answer of an act, made from the results of its job.
    pub(super) fn answer(
        &self,
        statement: &SignedStatement,
        answer: &ActAnswer,
        written: &[Written],
    ) -> Result<(), SqlError> {
        let digest = act_digest(statement);
        self.tx.run(
            "UPDATE act SET answer = ?2 WHERE digest = ?1",
            (digest.as_bytes(), answer.of(written)),
        )?;
        Ok(())
    }

    fn enrol(&self, person: &PersonRow) -> Result<(), SqlError> {
        let PersonRow {
            id,
            name,
            role,
            public_key,
            enrolled_at,
            enrolled_by,
        } = person;
        let added = self.tx.run(
            "INSERT OR IGNORE INTO person (id, name, role, public_key, enrolled_at, enrolled_by)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (
                id,
                name,
                role,
                public_key,
                enrolled_at.as_millis(),
                enrolled_by,
            ),
        )?;
        if added == 0 {
            return Err(StoreError::Enrolled(id.clone()).into());
        }
        Ok(())
    }
}

/// Finds an act by its digest: among all by the index, and among the newest thousand whatever the
/// index says, so that an act of today is not carried out twice when its entry is gone.
const SEEN: &str = "SELECT outcome FROM act WHERE digest = ?1
    UNION ALL
    SELECT outcome FROM (SELECT digest, outcome FROM act ORDER BY n DESC LIMIT 1000)
        WHERE digest = ?1
    LIMIT 1";

/// Returns the digest of a statement's payload and signing key. Signing the same payload again
/// makes no new act.
fn act_digest(statement: &SignedStatement) -> Digest {
    Digest::labelled(
        "portcullis act v1",
        &[
            statement.key_id().as_bytes(),
            statement.unverified_payload(),
        ],
    )
}

/// Reader of the register and of persons and their acts.
pub(super) struct RegistryReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> RegistryReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    pub(super) fn registers(&self) -> Result<Vec<SignedRegister>, SqlError> {
        let rows: Vec<Vec<u8>> =
            self.view
                .rows("SELECT register FROM register ORDER BY epoch", [], |row| {
                    row.get(0)
                })?;
        rows.iter()
            .map(|bytes| SignedRegister::decode(bytes).map_err(|_| unreadable("a register")))
            .collect()
    }

    pub(super) fn persons(&self) -> Result<Vec<PersonRow>, SqlError> {
        self.view.rows(
            "SELECT id, name, role, public_key, enrolled_at, enrolled_by FROM person ORDER BY id",
            [],
            |row| {
                Ok(PersonRow {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    role: row.get(2)?,
                    public_key: row.get(3)?,
                    enrolled_at: Timestamp::from_millis(row.get(4)?),
                    enrolled_by: row.get(5)?,
                })
            },
        )
    }

    /// Returns the acts before this number, the newest first. Without a number, the newest.
    pub(super) fn acts(&self, before: Option<i64>, limit: u32) -> Result<Vec<ActRow>, SqlError> {
        self.view.rows(
            "SELECT n, at, action, person, uid, concerns, outcome, digest IS NOT NULL FROM act
             WHERE n < ?1 ORDER BY n DESC LIMIT ?2",
            (before.unwrap_or(i64::MAX), limit),
            |row| {
                Ok(ActRow {
                    n: row.get(0)?,
                    at: Timestamp::from_millis(row.get(1)?),
                    action: row.get(2)?,
                    person: row.get(3)?,
                    uid: row.get(4)?,
                    concerns: row.get(5)?,
                    outcome: row.get(6)?,
                    is_signed: row.get(7)?,
                })
            },
        )
    }

    pub(super) fn acts_about_persons(&self) -> Result<Vec<SignedStatement>, SqlError> {
        self.statements(
            "SELECT payload, key_id, signature FROM act
             WHERE digest IS NOT NULL AND (action = 'enrol' OR action GLOB 'person-*')
             AND coalesce(outcome, 'done') = 'done' ORDER BY n",
            [],
        )
    }

    pub(super) fn acts_done(&self, action: &str) -> Result<Vec<SignedStatement>, SqlError> {
        self.statements(
            "SELECT payload, key_id, signature FROM act
             WHERE digest IS NOT NULL AND action = ?1 AND outcome = 'done' ORDER BY n",
            [action],
        )
    }

    fn statements(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
    ) -> Result<Vec<SignedStatement>, SqlError> {
        let rows: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> = self.view.rows(sql, params, |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        rows.into_iter()
            .map(|(payload, key, signature)| {
                let wire = wire::SignedStatement {
                    payload: payload.into(),
                    key_id: key.into(),
                    signature: signature.into(),
                };
                wire.try_into().map_err(|_| unreadable("an act"))
            })
            .collect()
    }

    pub(super) fn act_seen(&self, statement: &SignedStatement) -> Result<bool, SqlError> {
        let digest = act_digest(statement);
        let seen = self.view.first(SEEN, [digest.as_bytes()], |row| {
            row.get::<_, Option<String>>(0)
        })?;
        Ok(seen.is_some_and(|outcome| !Act::is_open(outcome.as_deref())))
    }

    pub(super) fn act_answer(
        &self,
        statement: &SignedStatement,
    ) -> Result<Option<Vec<u8>>, SqlError> {
        let digest = act_digest(statement);
        let answer = self.view.first(
            "SELECT answer FROM act WHERE digest = ?1 AND outcome = ?2",
            (digest.as_bytes(), Act::DONE),
            |row| row.get::<_, Option<Vec<u8>>>(0),
        )?;
        Ok(answer.flatten())
    }
}
