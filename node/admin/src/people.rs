//! The persons of a running node, built from their signed acts at the start and changed by acts
//! since.
//!
//! An act about persons is decided, logged and taken up before the next one is decided, so that of
//! two first enrolments one counts. A recovery counts when the clock that the node believes says so,
//! and that is noted; what this machine's clock shows alone makes none count. The time for which it
//! waited while the node ran is counted by a clock that cannot be set, and is noted every hour.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use portcullis_admin_api::{
    act::{self, ActVerifier, VerifiedAct},
    persons::{
        Change, Effect, First, PersonError, Persons, Proposal, RecoveryEnd, Replayed, Signed,
        replay,
    },
    v1::act::EnrolView,
};
use portcullis_kernel::{
    Kernel,
    health::{Problem, ProblemKind},
    moment::Moment,
};
use portcullis_protocol::{keys::PublicKey, time::Timestamp};
use tokio_util::sync::CancellationToken;

use portcullis_store::{NodeEvent, PersonRow, StoreError, Write, writer::Priority};

use crate::recoveries::{self, Recoveries, Untold};

/// Time between two looks at the recoveries that wait.
const LOOK: Duration = Duration::from_secs(60);

/// Time between two notes of how long the recoveries have waited, in milliseconds. A node that is
/// killed forgets at most so much of it, and they wait that much longer.
const NOTE_MS: i64 = 3_600_000;

/// Reason for which a change of persons is not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The rules forbid it.
    #[error(transparent)]
    Person(#[from] PersonError),
    /// It could not be logged.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The persons of a running node.
#[derive(Debug)]
pub struct People {
    /// Locked only while the persons are copied or replaced.
    known: Mutex<Arc<Persons>>,
    /// Guards the order of changes, and is held while the time of the recoveries is counted.
    turn: tokio::sync::Mutex<Turn>,
    /// True if the store lists persons and no act accounts for any.
    orphaned: bool,
}

/// Moments up to which the time of the recoveries is accounted for.
#[derive(Debug)]
struct Turn {
    /// Moment up to which it is counted.
    counted: Moment,
    /// Moment up to which it is noted in the store.
    noted: Moment,
}

impl People {
    /// Builds the persons from the acts in the store, and reports to the kernel's health what no
    /// act accounts for. `first` is the one with whom the chain may begin.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the acts cannot be read.
    pub fn load(kernel: &Kernel, first: Option<First>) -> Result<Self, StoreError> {
        let me = kernel.me();
        let verifier = ActVerifier {
            federation: &me.federation,
            node: &me.node,
            now: kernel.wall(),
        };
        let log = kernel.store().acts_about_persons()?;
        let rows: Vec<EnrolView> = kernel.store().persons()?.iter().map(content).collect();
        let now = kernel.now();
        let facts = kernel.store().facts()?;
        let recoveries = Recoveries::read(&kernel.keyring().facts().recoveries, &facts, now);
        for number in &recoveries.unreadable {
            tracing::error!(number, "a recovery in the keys cannot be read");
        }
        let Replayed {
            mut persons,
            unproven,
            idle,
        } = replay(&verifier, (first, &recoveries.told), &log, &rows);
        for what in &idle {
            tracing::warn!(%what, "a recovery counts for nobody");
        }
        let writes = recoveries.untold.iter();
        let writes: Vec<Write> = writes
            .flat_map(|untold| tell(kernel, &mut persons, untold))
            .collect();
        if !writes.is_empty() {
            kernel.store().commit(writes)?;
        }
        for (_, waiting) in persons.recoveries() {
            let problem = waits(waiting);
            tracing::warn!(what = problem.what, "an administrator is being recovered");
            kernel.report_passing(problem);
        }
        for what in &unproven {
            tracing::error!(%what, "somebody in the store is not believed");
        }
        let orphaned = persons.is_empty() && !rows.is_empty();
        kernel.report(unproven.into_iter().map(|what| Problem {
            kind: ProblemKind::Persons,
            what: format!("not believed: {what}"),
            remedy: "somebody may have written to the store; compare `portcullis person list` with whom you enrolled, and restore a backup if it is wrong",
        }));
        Ok(Self {
            known: Mutex::new(Arc::new(persons)),
            turn: tokio::sync::Mutex::new(Turn {
                counted: kernel.moment(),
                noted: kernel.moment(),
            }),
            orphaned,
        })
    }

    /// Returns the persons.
    #[must_use]
    pub fn known(&self) -> Arc<Persons> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns true if the store lists persons and no act accounts for any. Nobody is enrolled then,
    /// and nobody begins anew.
    #[must_use]
    pub const fn is_orphaned(&self) -> bool {
        self.orphaned
    }

    /// Counts the time for which the node ran and the recoveries waited. Carries out those whose time
    /// has come, by the clock that the node believes, and notes it.
    async fn settle(&self, kernel: &Kernel, turn: &mut Turn) -> Result<(), StoreError> {
        self.count(turn, kernel.moment());
        let now = kernel.now();
        let ripe = self.known().ripe(now);
        if ripe.is_empty() {
            return Ok(());
        }
        let mut persons = Persons::clone(&self.known());
        let mut writes = Vec::new();
        for (id, waiting) in &ripe {
            let (end, told) = match persons.settle(id, now) {
                Ok(()) => (
                    RecoveryEnd::Counts,
                    "counts from now on, by a recovery that nobody withdrew".to_owned(),
                ),
                Err(error) => (RecoveryEnd::Void, format!("counts for nobody: {error}")),
            };
            writes.extend(settling(
                kernel,
                waiting,
                (end, &told),
                (now, persons.acts()),
            ));
        }
        kernel.commit(Priority::Urgent, writes).await?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(persons);
        for (_, waiting) in &ripe {
            kernel.withdraw_report(&waits(waiting));
        }
        Ok(())
    }

    /// Counts the time up to `moment`, in which the recoveries waited.
    fn count(&self, turn: &mut Turn, moment: Moment) {
        let passed = moment.millis_since(turn.counted);
        turn.counted = moment;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.recoveries().next().is_some() {
            Arc::make_mut(&mut known).run_for(passed);
        }
    }

    /// Notes in the store how long each recovery has waited, as it is counted.
    async fn note(&self, kernel: &Kernel, turn: &mut Turn) -> Result<(), StoreError> {
        let known = self.known();
        let waiting = known.recoveries().map(|(_, waiting)| waiting);
        let facts = waiting.filter_map(recoveries::waited);
        let writes: Vec<Write> = facts.map(Write::Fact).collect();
        if !writes.is_empty() {
            kernel.commit(Priority::Urgent, writes).await?;
        }
        turn.noted = turn.counted;
        Ok(())
    }

    /// Settles what is ripe, and notes how long the rest has waited if an hour has passed since that
    /// was noted.
    async fn look(&self, kernel: &Kernel) -> Result<(), StoreError> {
        let mut turn = self.turn.lock().await;
        self.settle(kernel, &mut turn).await?;
        if turn.counted.millis_since(turn.noted) >= NOTE_MS {
            self.note(kernel, &mut turn).await?;
        }
        Ok(())
    }

    /// Notes how long the recoveries have waited when the node ends.
    async fn end(&self, kernel: &Kernel) -> Result<(), StoreError> {
        let mut turn = self.turn.lock().await;
        self.count(&mut turn, kernel.moment());
        self.note(kernel, &mut turn).await
    }

    /// Decides a change, logs it, and takes it up. Returns the effect, and the change that was made
    /// or proposed. `log` makes the log of the act, with the answer that is kept of it.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing is changed then.
    pub(crate) async fn change(
        &self,
        kernel: &Kernel,
        change: &Change,
        act: &VerifiedAct,
        log: impl FnOnce(&Persons, &Change, Effect, Option<PersonRow>) -> Write + Send,
    ) -> Result<(Effect, Change), ChangeError> {
        let mut turn = self.turn.lock().await;
        self.settle(kernel, &mut turn).await?;
        let mut persons = Persons::clone(&self.known());
        let signed = Signed {
            by: &act.person.id,
            key: act.statement.key_id(),
            act: act::id(&act.statement),
            at: act.at,
        };
        let withdrawn = match change {
            Change::Withdraw { act } => {
                let waiting = persons.waiting(act).filter(|one| one.is_recovery());
                waiting.cloned()
            }
            Change::Second { .. }
            | Change::Enrol { .. }
            | Change::End { .. }
            | Change::Rekey { .. }
            | Change::Role { .. } => None,
        };
        let meant = match change {
            Change::Second { act } | Change::Withdraw { act } => {
                persons.proposed(act).unwrap_or(change).clone()
            }
            Change::Enrol { .. }
            | Change::End { .. }
            | Change::Rekey { .. }
            | Change::Role { .. } => change.clone(),
        };
        persons.check_new(change, signed, kernel.now())?;
        let effect = persons.apply(change, signed)?;
        let enrols = match effect {
            Effect::Done => row(&persons, &meant),
            Effect::Proposed(_) | Effect::Withdrawn => None,
        };
        let log = log(&persons, &meant, effect, enrols);
        let mut writes = vec![log];
        if let Some(waiting) = &withdrawn {
            let end = (RecoveryEnd::Void, "was withdrawn");
            let place = (kernel.now(), persons.acts());
            writes.extend(settling(kernel, waiting, end, place));
        }
        kernel.commit(Priority::Urgent, writes).await?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(persons);
        if let Some(waiting) = &withdrawn {
            kernel.withdraw_report(&waits(waiting));
        }
        Ok((effect, meant))
    }
}

/// Returns the writes that tell of a recovery, which the persons take up if it is of one of them. One
/// that is of nobody is told of once.
fn tell(kernel: &Kernel, persons: &mut Persons, untold: &Untold) -> Vec<Write> {
    let recovery = untold.told(kernel.now(), persons.acts());
    let (key, id) = (named(&untold.key), untold.id.escape_debug());
    let made = format!(
        "another key {key} for `{id}` was made at this machine with the passphrase of the node's keys"
    );
    let mut writes: Vec<Write> = Vec::from(recoveries::telling(&recovery).map(Write::Fact));
    match persons.recover(&recovery) {
        Ok(_) => {
            let until = recovery.until();
            let told = format!(
                "{made}; it counts once the node has run for 72 hours, from {until} at the earliest, unless it is withdrawn"
            );
            writes.push(event(kernel, told));
        }
        Err(error) => {
            tracing::warn!(%error, "a recovery counts for nobody");
            writes.push(Write::Fact(recoveries::voiding(&recovery)));
            let told = format!("{made}; it counts for nobody: {error}");
            writes.push(event(kernel, told));
        }
    }
    writes
}

/// Returns the writes by which a recovery has its end, with the event that tells of it.
fn settling(
    kernel: &Kernel,
    waiting: &Proposal,
    (end, told): (RecoveryEnd, &str),
    place: (Timestamp, u64),
) -> Vec<Write> {
    let Change::Rekey { id, key } = &waiting.change else {
        return Vec::new();
    };
    let fact = recoveries::settling(waiting, end, place);
    let told = format!("the key {} for `{}` {told}", named(key), id.escape_debug());
    let fact = fact.into_iter().map(Write::Fact);
    fact.chain([event(kernel, told)]).collect()
}

/// Returns a key as events name it.
fn named(key: &PublicKey) -> String {
    format!("`{:.12}`", key.id().to_string())
}

fn event(kernel: &Kernel, detail: String) -> Write {
    Write::Event(NodeEvent {
        at: kernel.now(),
        kind: "administrator-recovery".to_owned(),
        peer: None,
        detail,
    })
}

/// Settles every recovery whose time has come, until `shutdown`, and notes then how long the others
/// have waited.
pub async fn keep_recoveries(
    people: Arc<People>,
    kernel: Arc<Kernel>,
    shutdown: CancellationToken,
) {
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {}
        }
        if let Err(error) = people.look(&kernel).await {
            tracing::error!(%error, "what became of a recovery was not noted");
        }
    }
    if let Err(error) = people.end(&kernel).await {
        tracing::error!(%error, "the time for which recoveries waited was not noted; they wait longer");
    }
}

/// Returns what health says while a recovery waits.
fn waits(recovery: &Proposal) -> Problem {
    Problem {
        kind: ProblemKind::Recovery,
        what: format!(
            "at this machine, with the passphrase of the node's keys: {}; it counts once the node has run for 72 hours, from {} at the earliest",
            recovery.change.describe(),
            recovery.until()
        ),
        remedy: "if that administrator did not lose their key, withdraw it: `portcullis person proposals` shows how",
    }
}

/// Returns an enrolment as its row lists it.
fn content(row: &PersonRow) -> EnrolView {
    EnrolView {
        id: row.id.clone(),
        name: row.name.clone(),
        role: row.role.clone(),
        public_key: data_encoding::HEXLOWER.encode(&row.public_key),
    }
}

/// Returns the row of a person who was enrolled just now.
fn row(persons: &Persons, made: &Change) -> Option<PersonRow> {
    let Change::Enrol { id, .. } = made else {
        return None;
    };
    let person = persons.all().find(|person| person.id == *id)?;
    Some(PersonRow {
        id: person.id.clone(),
        name: person.name.clone(),
        role: person.role.name().to_owned(),
        public_key: person.key.to_bytes().to_vec(),
        enrolled_at: person.enrolled_at,
        enrolled_by: person.enrolled_by.clone(),
    })
}
