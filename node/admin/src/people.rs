//! The persons of a running node, built from their signed acts at the start and changed by acts
//! since.
//!
//! An act about persons is decided, logged and taken up before the next one is decided, so that of
//! two first enrolments one counts.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use portcullis_admin_api::{
    act::{self, ActVerifier, VerifiedAct},
    persons::{
        Change, Effect, First, PersonError, Persons, Proposal, RECOVERY_MS, Recovery, Replayed,
        Signed, replay,
    },
    v1::act::EnrolView,
};
use portcullis_home::keyring::SealedRecovery;
use portcullis_kernel::{Kernel, health::Problem};
use portcullis_protocol::{
    digest::Digest,
    keys::{KeyUse, PublicKey},
    time::Timestamp,
};
use tokio_util::sync::CancellationToken;

use portcullis_store::{
    Fact, FactKind, FactRow, NodeEvent, PersonRow, StoreError, Write, writer::Priority,
};

/// Time between two looks at the recoveries that wait.
const LOOK: Duration = Duration::from_secs(60);

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
    /// Guards only the order of changes.
    turn: tokio::sync::Mutex<()>,
    /// True if the store lists persons and no act accounts for any.
    orphaned: bool,
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
        let recoveries = recoveries(kernel)?;
        let Replayed {
            persons,
            unproven,
            idle,
        } = replay(&verifier, (first, &recoveries), &log, &rows);
        for what in &idle {
            tracing::warn!(%what, "a recovery counts for nobody");
        }
        for (_, waiting) in persons
            .proposals(verifier.now)
            .filter(|(_, one)| one.is_recovery())
        {
            let problem = waits(waiting);
            tracing::warn!(what = problem.what, "an administrator is being recovered");
            kernel.report_until(problem, waiting.until());
        }
        for what in &unproven {
            tracing::error!(%what, "somebody in the store is not believed");
        }
        let orphaned = persons.is_empty() && !rows.is_empty();
        kernel.report(unproven.into_iter().map(|what| Problem {
            what: format!("not believed: {what}"),
            remedy: "somebody may have written to the store; compare `portcullis person list` with whom you enrolled, and restore a backup if it is wrong",
        }));
        Ok(Self {
            known: Mutex::new(Arc::new(persons)),
            turn: tokio::sync::Mutex::default(),
            orphaned,
        })
    }

    /// Returns the persons.
    #[must_use]
    pub fn known(&self) -> Arc<Persons> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the persons as they are at `now`.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Arc<Persons> {
        self.known().at(now)
    }

    /// Returns true if the store lists persons and no act accounts for any. Nobody is enrolled then,
    /// and nobody begins anew.
    #[must_use]
    pub const fn is_orphaned(&self) -> bool {
        self.orphaned
    }

    /// Notes the recoveries whose time has come while the node ran. The caller has the turn.
    async fn settle(&self, kernel: &Kernel) -> Result<(), StoreError> {
        let known = self.known();
        let now = kernel.now();
        let ripe = known.counting(now);
        if ripe.is_empty() {
            return Ok(());
        }
        let counts = "counts from now on, by a recovery that nobody withdrew";
        let writes = ripe
            .iter()
            .flat_map(|change| settling(kernel, change, counts));
        let writes = writes.collect();
        kernel.commit(Priority::Urgent, writes).await?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known.at(now);
        Ok(())
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
        let _turn = self.turn.lock().await;
        self.settle(kernel).await?;
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
                waiting.map(waits)
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
        persons.check_new(change, signed.by)?;
        let effect = persons.apply(change, signed)?;
        let enrols = match effect {
            Effect::Done => row(&persons, &meant),
            Effect::Proposed(_) | Effect::Withdrawn => None,
        };
        let log = log(&persons, &meant, effect, enrols);
        let mut writes = vec![log];
        if withdrawn.is_some() {
            writes.extend(settling(kernel, &meant, "was withdrawn"));
        }
        kernel.commit(Priority::Urgent, writes).await?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(persons);
        if let Some(problem) = withdrawn {
            kernel.withdraw_report(&problem);
        }
        Ok((effect, meant))
    }
}

/// Returns the recoveries that lie sealed with the keys, each with the time at which this node told of
/// it, in a fact that is sealed. It tells of one now that it has told of to nobody; so it does of one
/// whose time has passed while the node did not run, for nobody could withdraw it then. One that was
/// withdrawn or counts is settled, and told of no more.
fn recoveries(kernel: &Kernel) -> Result<Vec<Recovery>, StoreError> {
    let keyring = kernel.keyring();
    let facts = kernel.store().facts()?;
    let fact = |subject: &str| {
        let is_it = |fact: &&FactRow| fact.kind == FactKind::Recovery && fact.subject == subject;
        facts.iter().find(is_it)
    };
    let mut recoveries = Vec::new();
    for (sealed, number) in keyring.facts().recoveries.iter().zip(1_u64..) {
        let SealedRecovery { id, public_key } = sealed;
        let bytes = data_encoding::HEXLOWER.decode(public_key.as_bytes());
        let key = bytes
            .ok()
            .and_then(|bytes| PublicKey::from_slice(KeyUse::Person, &bytes).ok());
        let Some(key) = key else {
            tracing::error!(number, "a recovery in the keys cannot be read");
            continue;
        };
        let subject = subject_of(number, id, &key);
        let now = kernel.now();
        let has_passed = |at: Timestamp| at.plus_millis(RECOVERY_MS) <= now;
        let since = match fact(&subject) {
            Some(told) if fact(&settled(&subject)).is_some() || !has_passed(told.at) => told.at,
            Some(_) | None => tell(kernel, (subject, id), &key)?,
        };
        recoveries.push(Recovery {
            id: id.clone(),
            key,
            since,
        });
    }
    Ok(recoveries)
}

/// Returns the subject of the fact that a recovery was told: no other key takes its place.
fn subject_of(number: u64, id: &str, key: &PublicKey) -> String {
    let number = number.to_be_bytes();
    let key = key.to_bytes();
    Digest::labelled(
        "portcullis told recovery v1",
        &[&number, id.as_bytes(), &key],
    )
    .to_string()
}

/// Returns the subject of the fact that a recovery was withdrawn or counts.
fn settled(subject: &str) -> String {
    format!("{subject} settled")
}

/// Returns the writes by which a recovery is settled, with the event that tells of it.
fn settling(kernel: &Kernel, change: &Change, told: &str) -> Vec<Write> {
    let Change::Rekey { id, key } = change else {
        return Vec::new();
    };
    let keyring = kernel.keyring();
    let hex = data_encoding::HEXLOWER.encode(&key.to_bytes());
    let mut writes = Vec::new();
    for (sealed, number) in keyring.facts().recoveries.iter().zip(1_u64..) {
        if sealed.id == *id && sealed.public_key == hex {
            writes.push(Write::Fact(Fact {
                kind: FactKind::Recovery,
                subject: settled(&subject_of(number, id, key)),
                content: Some(Vec::new()),
                at: kernel.now(),
            }));
        }
    }
    let key = key.id().to_string();
    writes.push(event(
        kernel,
        format!("the key `{key:.12}` for `{}` {told}", id.escape_debug()),
    ));
    writes
}

fn event(kernel: &Kernel, detail: String) -> Write {
    Write::Event(NodeEvent {
        at: kernel.now(),
        kind: "administrator-recovery".to_owned(),
        peer: None,
        detail,
    })
}

/// Tells of a recovery, and returns the time.
fn tell(
    kernel: &Kernel,
    (subject, id): (String, &str),
    key: &PublicKey,
) -> Result<Timestamp, StoreError> {
    let at = kernel.now();
    let fact = Fact {
        kind: FactKind::Recovery,
        subject,
        content: Some(Vec::new()),
        at,
    };
    let (key, id) = (key.id().to_string(), id.escape_debug());
    let until = at.plus_millis(RECOVERY_MS);
    let detail = format!(
        "another key `{key:.12}` for `{id}` was made at this machine with the passphrase of the node's keys; it counts from {until} unless it is withdrawn"
    );
    let writes = vec![Write::Fact(fact), event(kernel, detail)];
    kernel.store().commit(writes)?;
    Ok(at)
}

/// Settles every recovery whose time has come, until `shutdown`. A node that ends before it is settled
/// tells of it anew.
pub async fn keep_recoveries(
    people: Arc<People>,
    kernel: Arc<Kernel>,
    shutdown: CancellationToken,
) {
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let _turn = people.turn.lock().await;
        if let Err(error) = people.settle(&kernel).await {
            tracing::error!(%error, "a recovery that counts was not noted");
        }
    }
}

/// Returns what health says while a recovery waits.
fn waits(recovery: &Proposal) -> Problem {
    Problem {
        what: format!(
            "at this machine, with the passphrase of the node's keys: {}; it counts from {}",
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
