//! The persons of a running node, built from their signed acts at the start and changed by acts
//! since.
//!
//! An act about persons is decided, logged and taken up before the next one is decided, so that of
//! two first enrolments one counts.

use std::sync::{Arc, Mutex, PoisonError};

use portcullis_admin_api::{
    act::{self, ActVerifier, VerifiedAct},
    persons::{Change, Effect, First, PersonError, Persons, Replayed, Signed, replay},
    v1::act::EnrolView,
};
use portcullis_kernel::{Kernel, health::Problem};
use portcullis_store::{PersonRow, StoreError, Write, writer::Priority};

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
        let Replayed { persons, unproven } = replay(&verifier, first, &log, &rows);
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

    /// Returns true if the store lists persons and no act accounts for any. Nobody is enrolled then,
    /// and nobody begins anew.
    #[must_use]
    pub const fn is_orphaned(&self) -> bool {
        self.orphaned
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
        let mut persons = Persons::clone(&self.known());
        let signed = Signed {
            by: &act.person.id,
            key: act.statement.key_id(),
            act: act::id(&act.statement),
            at: act.at,
        };
        let meant = match change {
            Change::Second { act } => persons.proposed(act).unwrap_or(change).clone(),
            Change::Enrol { .. }
            | Change::End { .. }
            | Change::Rekey { .. }
            | Change::Role { .. } => change.clone(),
        };
        let effect = persons.apply(change, signed)?;
        let enrols = match effect {
            Effect::Done => row(&persons, &meant),
            Effect::Proposed(_) => None,
        };
        let log = log(&persons, &meant, effect, enrols);
        kernel.commit(Priority::Urgent, vec![log]).await?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(persons);
        Ok((effect, meant))
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
