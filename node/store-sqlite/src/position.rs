//! Positions: the progress of this node's own sending, and the progress that each peer claims.
//!
//! `sent_position` is this node's own: the next sequence number and the chain for each peer and
//! lane in the present generation. It moves when a frame is answered, and is void once another
//! generation starts. `witness` is the latest claim of each peer, with the frames answered since
//! (`protocol::frame::Witness`). It moves in one transaction with the items of the frame.
//!
//! A fork is kept as evidence: the statement with the claim that was believed before, and the one
//! that does not follow from it, both signed by the peer. The number kept of each peer is bounded.

use portcullis_protocol::{
    digest::Digest,
    frame::{AnsweredFrame, Chain, Generation, Lane, Memory, Witness},
    identifiers::NodeId,
    rules::Rule,
    statement::SignedStatement,
    time::Timestamp,
    wire,
};
use portcullis_store::{
    DispatchPosition, ForkRow, Intake, NewGeneration, NodeEvent, Part, Settle, StoreError, Written,
};
use prost::Message as _;

use super::{
    decode::unsigned, error::SqlError, events::EventWriter, transaction::WriteTransaction,
    view::DatabaseView,
};

/// Most past generations of a peer and lane that are remembered; the newest ones.
const MAX_GENERATIONS: i64 = 64;
/// Most generations of this node that are remembered after their end; the newest ones.
const MAX_LEFT: usize = 256;
/// Most forks of a peer that are kept; the first ones.
const MAX_FORKS: i64 = 16;
/// Time in milliseconds after the start of a peer's generation during which a further one is not
/// recorded as an event.
const GENERATION_EVENT_MS: i64 = 60_000;
/// Start of a generation whose beginning was not seen.
const NEVER: Timestamp = Timestamp::from_millis(0);
/// Bytes of an answered frame as it is kept: two numbers and a digest.
const ANSWERED_BYTES: usize = 48;

/// State kept of a peer and lane.
struct Known {
    witness: Witness,
    memory: Memory,
    /// Time at which the peer started its generation; [`NEVER`] if that was not seen.
    since: Timestamp,
    /// The encoded statement that carried the claim.
    statement: Vec<u8>,
}

impl Known {
    /// Refuses a frame of a sender that forgot its last claim, and shows it that claim.
    fn out_of_sequence(&self) -> Result<Written, SqlError> {
        let statement = statement_of(&self.statement)?;
        Ok(Written::OutOfSequence(Box::new(statement)))
    }
}

/// Writer of positions.
pub(super) struct PositionWriter<'t> {
    tx: &'t WriteTransaction<'t>,
}

impl<'t> PositionWriter<'t> {
    pub(super) const fn of(tx: &'t WriteTransaction<'t>) -> Self {
        Self { tx }
    }

    /// Moves the position of a frame's sender, and returns its refusal if its place does not follow
    /// from what is known of the sender.
    pub(super) fn follow(&self, intake: &Intake) -> Result<Option<Written>, SqlError> {
        match intake.part {
            Part::First => self.witness(intake),
            Part::Later => Ok(self.later(intake)?.map(Written::Refused)),
        }
    }

    fn witness(&self, intake: &Intake) -> Result<Option<Written>, SqlError> {
        let (peer, lane, place) = (&intake.peer, intake.lane, &intake.place);
        let Some(known) = self.known_place(peer, lane)? else {
            let first = Witness::first(place);
            self.keep_witness(intake, &first, NEVER)?;
            return Ok(None);
        };
        if known.witness.generation != place.generation {
            return self.other_generation(intake, &known);
        }
        match known.witness.next(place, known.memory) {
            Ok(next) => {
                self.keep_witness(intake, &next, known.since)?;
                Ok(None)
            }
            Err(rule) => {
                if rule == Rule::Fork {
                    self.keep_fork(intake, &known)?;
                }
                if rule == Rule::Sequence {
                    return known.out_of_sequence().map(Some);
                }
                Ok(Some(Written::Refused(rule)))
            }
        }
    }

    /// Judges a later part of a frame. If the frame is known, its first part was taken in;
    /// otherwise the part is refused.
    fn later(&self, intake: &Intake) -> Result<Option<Rule>, SqlError> {
        let known = self.known_place(&intake.peer, intake.lane)?;
        let begun = known.is_some_and(|known| {
            let mut answered = known.witness.answered.iter();
            known.witness.generation == intake.place.generation
                && answered.any(|frame| frame.digest == intake.place.digest)
        });
        Ok((!begun).then_some(Rule::Busy))
    }

    /// Begins a new account for a new generation. A generation that the peer has left is refused.
    fn other_generation(
        &self,
        intake: &Intake,
        known: &Known,
    ) -> Result<Option<Written>, SqlError> {
        let (peer, lane) = (&intake.peer, intake.lane);
        let left = self.tx.first(
            "SELECT n FROM past_generation WHERE peer = ?1 AND lane = ?2 AND generation = ?3",
            (
                peer.as_str(),
                lane.name(),
                intake.place.generation.as_bytes(),
            ),
            |row| row.get::<_, i64>(0),
        )?;
        if left.is_some() {
            return known.out_of_sequence().map(Some);
        }
        self.tx.run(
            "INSERT INTO past_generation (peer, lane, generation) VALUES (?1, ?2, ?3)",
            (
                peer.as_str(),
                lane.name(),
                known.witness.generation.as_bytes(),
            ),
        )?;
        self.tx.run(
            "DELETE FROM past_generation WHERE peer = ?1 AND lane = ?2 AND n NOT IN
                 (SELECT n FROM past_generation WHERE peer = ?1 AND lane = ?2
                  ORDER BY n DESC LIMIT ?3)",
            (peer.as_str(), lane.name(), MAX_GENERATIONS),
        )?;
        if intake.now.millis_since(known.since) >= GENERATION_EVENT_MS {
            EventWriter::of(self.tx).event(&NodeEvent {
                at: intake.now,
                kind: "peer-generation".to_owned(),
                peer: Some(peer.clone()),
                detail: format!(
                    "it started a new generation in lane {lane}: it was restored, or found itself rolled back"
                ),
            })?;
        }
        self.keep_witness(intake, &Witness::first(&intake.place), intake.now)?;
        Ok(None)
    }

    fn known_place(&self, peer: &NodeId, lane: Lane) -> Result<Option<Known>, SqlError> {
        let row = self.tx.first(
            "SELECT generation, settled_sequence, chain, answered, whole, since, statement
             FROM witness WHERE peer = ?1 AND lane = ?2",
            (peer.as_str(), lane.name()),
            |row| {
                Ok((
                    row.get::<_, Vec<u8>>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, Vec<u8>>(2)?,
                    row.get::<_, Vec<u8>>(3)?,
                    row.get::<_, bool>(4)?,
                    row.get::<_, i64>(5)?,
                    row.get::<_, Vec<u8>>(6)?,
                ))
            },
        )?;
        row.map(
            |(generation, settled, chain, answered, whole, since, statement)| {
                Ok(Known {
                    witness: Witness {
                        generation: generation_of(&generation)?,
                        settled_sequence: unsigned(settled)?,
                        chain: chain_of(&chain)?,
                        answered: answered_of(&answered)?,
                    },
                    memory: if whole {
                        Memory::Whole
                    } else {
                        Memory::RolledBack
                    },
                    since: Timestamp::from_millis(since),
                    statement,
                })
            },
        )
        .transpose()
    }

    fn keep_witness(
        &self,
        intake: &Intake,
        witness: &Witness,
        since: Timestamp,
    ) -> Result<(), SqlError> {
        self.tx.run(
            "INSERT OR REPLACE INTO witness
                 (peer, lane, generation, settled_sequence, chain, answered, whole, since, statement)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8)",
            (
                intake.peer.as_str(),
                intake.lane.name(),
                witness.generation.as_bytes(),
                witness.settled_sequence.cast_signed(),
                witness.chain.as_bytes(),
                answered_bytes(&witness.answered),
                since.as_millis(),
                statement_bytes(&intake.statement),
            ),
        )?;
        Ok(())
    }

    fn keep_fork(&self, intake: &Intake, known: &Known) -> Result<(), SqlError> {
        let kept = self.tx.count(
            "SELECT count(*) FROM fork WHERE peer = ?1",
            [intake.peer.as_str()],
        )?;
        if kept >= MAX_FORKS {
            return Ok(());
        }
        let forked = statement_bytes(&intake.statement);
        self.tx.run(
            "INSERT INTO fork (peer, lane, at, known, forked) VALUES (?1, ?2, ?3, ?4, ?5)",
            (
                intake.peer.as_str(),
                intake.lane.name(),
                intake.now.as_millis(),
                &known.statement,
                forked,
            ),
        )?;
        EventWriter::of(self.tx).event(&NodeEvent {
            at: intake.now,
            kind: "fork".to_owned(),
            peer: Some(intake.peer.clone()),
            detail: format!(
                "{}: in lane {} it claims to have settled up to {} what was never answered here; both signed frames are kept",
                Rule::Fork,
                intake.lane,
                intake.place.settled_sequence,
            ),
        })
    }

    /// Moves this node's own position past a frame that was answered.
    pub(super) fn settle(&self, settle: &Settle) -> Result<(), SqlError> {
        let (peer, lane) = (settle.peer.as_str(), settle.lane.name());
        let own = PositionReader::of(self.tx.view()).generation()?;
        let (next_sequence, chain) = self
            .tx
            .first(
                "SELECT next_sequence, chain FROM sent_position WHERE peer = ?1 AND lane = ?2",
                (peer, lane),
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)),
            )?
            .map_or(Ok((1, Chain::START)), |(next, chain)| {
                Ok::<_, SqlError>((unsigned(next)?, chain_of(&chain)?))
            })?;
        // The receipt may be of another generation, or for a frame that was planned anew. Its
        // answers count then, but its place does not.
        if settle.generation != own || settle.first_sequence != next_sequence {
            return Ok(());
        }
        if settle.next_sequence <= next_sequence {
            return Err(StoreError::Fault("a frame without items is settled").into());
        }
        self.tx.run(
            "INSERT OR REPLACE INTO sent_position (peer, lane, next_sequence, chain)
             VALUES (?1, ?2, ?3, ?4)",
            (
                peer,
                lane,
                settle.next_sequence.cast_signed(),
                chain.then(&settle.frame).as_bytes(),
            ),
        )?;
        Ok(())
    }

    /// Starts a new generation in place of `instead_of`. If another one is in force already,
    /// nothing is done. Afterwards the known positions of all peers count as rolled back: who calls
    /// has proof that this store is an older one, or restored it, and then they are as outdated as
    /// this node's own. The word of a peer alone never comes here.
    pub(super) fn start_generation(&self, new: &NewGeneration) -> Result<(), SqlError> {
        let NewGeneration {
            instead_of,
            generation,
            shown,
            at,
            why,
        } = new;
        if PositionReader::of(self.tx.view()).generation()? != *instead_of {
            return Ok(());
        }
        self.tx.run(
            "UPDATE meta SET value = ?1 WHERE name = 'generation'",
            [generation.as_bytes()],
        )?;
        self.leave(std::iter::once(*instead_of).chain(*shown))?;
        self.tx.run(
            "UPDATE OR REPLACE meta SET name = 'reconciling' WHERE name = 'restored'",
            [],
        )?;
        self.tx.run("DELETE FROM sent_position", [])?;
        self.tx.run("UPDATE witness SET whole = 0", [])?;
        EventWriter::of(self.tx).event(&NodeEvent {
            at: *at,
            kind: "generation-started".to_owned(),
            peer: None,
            detail: why.clone(),
        })
    }
}

impl PositionWriter<'_> {
    /// Remembers generations of this node that are over.
    fn leave(&self, over: impl Iterator<Item = Generation>) -> Result<(), SqlError> {
        let mut left = PositionReader::of(self.tx.view()).left_generations()?;
        for generation in over {
            if !left.contains(&generation) {
                left.push(generation);
            }
        }
        let excess = left.len().saturating_sub(MAX_LEFT);
        let kept: Vec<u8> = left
            .iter()
            .skip(excess)
            .flat_map(|it| *it.as_bytes())
            .collect();
        self.tx.run(
            "INSERT OR REPLACE INTO meta (name, value) VALUES ('left_generations', ?1)",
            [kept],
        )?;
        Ok(())
    }
}

/// Reader of positions.
pub(super) struct PositionReader<'a> {
    view: DatabaseView<'a>,
}

impl<'a> PositionReader<'a> {
    pub(super) const fn of(view: DatabaseView<'a>) -> Self {
        Self { view }
    }

    pub(super) fn generation(&self) -> Result<Generation, SqlError> {
        let found = self.view.first(
            "SELECT value FROM meta WHERE name = 'generation'",
            [],
            |row| row.get::<_, Vec<u8>>(0),
        )?;
        generation_of(&found.unwrap_or_default())
    }

    pub(super) fn left_generations(&self) -> Result<Vec<Generation>, SqlError> {
        let found = self.view.first(
            "SELECT value FROM meta WHERE name = 'left_generations'",
            [],
            |row| row.get::<_, Vec<u8>>(0),
        )?;
        let kept = found.unwrap_or_default();
        let (whole, rest) = kept.as_chunks::<16>();
        if !rest.is_empty() {
            return Err(damaged("a generation that was left"));
        }
        Ok(whole.iter().copied().map(Generation::from_bytes).collect())
    }

    pub(super) fn position(&self, peer: &NodeId, lane: Lane) -> Result<DispatchPosition, SqlError> {
        let cursor: Option<i64> = self.view.first(
            "SELECT cursor FROM dispatch WHERE peer = ?1 AND lane = ?2",
            (peer.as_str(), lane.name()),
            |row| row.get(0),
        )?;
        let sent: Option<(i64, Vec<u8>)> = self.view.first(
            "SELECT next_sequence, chain FROM sent_position WHERE peer = ?1 AND lane = ?2",
            (peer.as_str(), lane.name()),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let (next_sequence, chain) = match sent {
            Some((next, chain)) => (unsigned(next)?, chain_of(&chain)?),
            None => (1, Chain::START),
        };
        Ok(DispatchPosition {
            generation: self.generation()?,
            cursor: unsigned(cursor.unwrap_or(0))?,
            next_sequence,
            chain,
        })
    }

    pub(super) fn forks(&self) -> Result<Vec<ForkRow>, SqlError> {
        let rows = self.view.rows(
            "SELECT peer, lane, at, known, forked FROM fork ORDER BY n",
            [],
            |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, Vec<u8>>(3)?,
                    row.get::<_, Vec<u8>>(4)?,
                ))
            },
        )?;
        rows.into_iter()
            .map(|(peer, lane, at, known, forked)| {
                Ok(ForkRow {
                    peer: peer.parse().map_err(|_| damaged("a peer"))?,
                    lane: lane.parse().map_err(|_| damaged("a lane"))?,
                    at: Timestamp::from_millis(at),
                    known: statement_of(&known)?,
                    forked: statement_of(&forked)?,
                })
            })
            .collect()
    }
}

fn damaged(what: &str) -> SqlError {
    SqlError::Store(StoreError::Damaged(format!(
        "{what} of a position cannot be read"
    )))
}

fn generation_of(bytes: &[u8]) -> Result<Generation, SqlError> {
    bytes
        .try_into()
        .map(Generation::from_bytes)
        .map_err(|_| damaged("the generation"))
}

fn chain_of(bytes: &[u8]) -> Result<Chain, SqlError> {
    Chain::from_slice(bytes).ok_or_else(|| damaged("the chain"))
}

fn statement_bytes(statement: &SignedStatement) -> Vec<u8> {
    wire::SignedStatement::from(statement).encode_to_vec()
}

fn statement_of(bytes: &[u8]) -> Result<SignedStatement, SqlError> {
    wire::SignedStatement::decode(bytes)
        .ok()
        .and_then(|wire| SignedStatement::try_from(wire).ok())
        .ok_or_else(|| damaged("a statement"))
}

fn answered_bytes(frames: &[AnsweredFrame]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(frames.len() * ANSWERED_BYTES);
    for frame in frames {
        bytes.extend(frame.first_sequence.to_be_bytes());
        bytes.extend(frame.next_sequence.to_be_bytes());
        bytes.extend(frame.digest.as_bytes());
    }
    bytes
}

fn answered_of(bytes: &[u8]) -> Result<Vec<AnsweredFrame>, SqlError> {
    if !bytes.len().is_multiple_of(ANSWERED_BYTES) {
        return Err(damaged("an answered frame"));
    }
    bytes
        .chunks_exact(ANSWERED_BYTES)
        .map(|frame| {
            let (first, rest) = frame.split_first_chunk::<8>()?;
            let (next, digest) = rest.split_first_chunk::<8>()?;
            Some(AnsweredFrame {
                first_sequence: u64::from_be_bytes(*first),
                next_sequence: u64::from_be_bytes(*next),
                digest: Digest::from_slice(digest)?,
            })
        })
        .collect::<Option<_>>()
        .ok_or_else(|| damaged("an answered frame"))
}
