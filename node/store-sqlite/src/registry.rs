//! The register's epochs, the persons, their acts, and events.

use portcullis_protocol::{
    digest::Digest, register::SignedRegister, statement::SignedStatement, time::Timestamp,
};

use super::{
    decode::{unreadable, unsigned},
    group::Group,
    reader::Reader,
};
use crate::error::SqlError;
use portcullis_store::{Act, Event, PersonRow, StoreError};

/// Most events kept; the newest ones.
const MAX_EVENTS: i64 = 100_000;

impl Group<'_> {
    /// Keeps an epoch, which must follow the newest one. The same epoch again changes nothing.
    pub(super) fn register(&self, register: &SignedRegister) -> Result<(), SqlError> {
        let found = register
            .unverified()
            .map_err(|_| StoreError::Fault("the epoch of a register cannot be read"))?
            .epoch;
        let same = self
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
            .first("SELECT coalesce(max(epoch), 0) FROM register", [], |row| {
                row.get::<_, i64>(0)
            })?
            .unwrap_or(0);
        let newest = unsigned(newest)?;
        if found.checked_sub(1) != Some(newest) {
            return Err(StoreError::Epoch { found, newest }.into());
        }
        self.run(
            "INSERT INTO register (epoch, register) VALUES (?1, ?2)",
            (found.cast_signed(), register.encode()),
        )?;
        Ok(())
    }

    /// Keeps a person's act, only once, and the enrolment that it makes.
    pub(super) fn act(&self, act: &Act) -> Result<(), SqlError> {
        let Act {
            action,
            person,
            uid,
            at,
            statement,
            concerns,
            enrols,
        } = act;
        let digest = statement.as_ref().map(act_digest);
        if let Some(digest) = digest {
            let seen = self.first(SEEN, [digest.as_bytes()], |row| row.get::<_, i64>(0))?;
            if seen.is_some() {
                return Err(StoreError::Replayed.into());
            }
        }
        self.run(
            "INSERT INTO act (at, action, person, uid, concerns, digest, payload, key_id, signature)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
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
            ),
        )?;
        enrols.as_ref().map_or(Ok(()), |person| self.enrol(person))
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
        let added = self.run(
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

    /// Keeps an event, and forgets the oldest ones beyond the limit.
    pub(super) fn event(&self, event: &Event) -> Result<(), SqlError> {
        let Event {
            at,
            kind,
            peer,
            detail,
        } = event;
        let number = self.insert(
            "INSERT INTO event (at, kind, peer, detail) VALUES (?1, ?2, ?3, ?4)",
            (
                at.as_millis(),
                kind,
                peer.as_ref().map(|peer| peer.as_str()),
                detail,
            ),
        )?;
        self.run("DELETE FROM event WHERE n <= ?1", [number - MAX_EVENTS])?;
        Ok(())
    }
}

const SEEN: &str = "SELECT n FROM act WHERE digest = ?1";

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

impl Reader<'_> {
    pub(super) fn registers(&self) -> Result<Vec<SignedRegister>, SqlError> {
        let rows: Vec<Vec<u8>> =
            self.rows("SELECT register FROM register ORDER BY epoch", [], |row| {
                row.get(0)
            })?;
        rows.iter()
            .map(|bytes| SignedRegister::decode(bytes).map_err(|_| unreadable("a register")))
            .collect()
    }

    pub(super) fn persons(&self) -> Result<Vec<PersonRow>, SqlError> {
        self.rows(
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

    pub(super) fn act_seen(&self, statement: &SignedStatement) -> Result<bool, SqlError> {
        let digest = act_digest(statement);
        let seen = self.first(SEEN, [digest.as_bytes()], |row| row.get::<_, i64>(0))?;
        Ok(seen.is_some())
    }

    pub(super) fn events(&self, limit: u32) -> Result<Vec<Event>, SqlError> {
        let rows = self.rows(
            "SELECT at, kind, peer, detail FROM event ORDER BY n DESC LIMIT ?1",
            [limit],
            |row| {
                Ok((
                    Timestamp::from_millis(row.get(0)?),
                    row.get(1)?,
                    row.get::<_, Option<String>>(2)?,
                    row.get(3)?,
                ))
            },
        )?;
        rows.into_iter()
            .map(|(at, kind, peer, detail)| {
                let peer = peer.map(|peer| peer.parse()).transpose();
                Ok(Event {
                    at,
                    kind,
                    peer: peer.map_err(|_| unreadable("the peer of an event"))?,
                    detail,
                })
            })
            .collect()
    }
}
