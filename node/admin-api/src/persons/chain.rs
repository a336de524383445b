//! The chain: persons built from the signed acts of a log, each verified by whom those before it made.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::{statement::SignedStatement, time::Timestamp};

use super::{
    change::{Change, LONGEST_ID},
    rules::{First, Persons, Recovery, RecoveryEnd, Settled, Signed},
};
use crate::{
    act::{self, ActVerifier},
    v1::act::EnrolView,
};

/// The persons that a log of acts makes, and what in the store no act accounts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The persons.
    pub persons: Persons,
    /// Rows and acts that do not count, in words.
    pub unproven: Vec<String>,
    /// Recoveries that wait and are of no present administrator, in words.
    pub idle: Vec<String>,
}

/// Place in the log of acts about persons, before one of them.
#[derive(Clone, Copy)]
struct Place {
    /// Number of acts before it.
    acts: u64,
    /// Time at which the next one says that it was signed. It is believed once the statement holds.
    signed_at: Option<Timestamp>,
}

impl Place {
    /// Returns true if this is behind `after` acts, or, where that is not known, if the next act was
    /// signed at `time` or later.
    fn is_behind(self, after: Option<u64>, time: Timestamp) -> bool {
        match after {
            Some(after) => after <= self.acts,
            None => self.signed_at.is_some_and(|at| time <= at),
        }
    }

    fn is_told(self, one: &Recovery) -> bool {
        self.is_behind(one.told_after, one.since) || self.is_settled(one)
    }

    fn is_settled(self, one: &Recovery) -> bool {
        let is_behind = |settled: Settled| self.is_behind(settled.after, one.until());
        one.settled.is_some_and(is_behind)
    }
}

/// Builds the persons from the acts about persons, in the order in which they were carried out.
/// `recoveries` come with the node's keys, each with what the node noted of it: one counts from the
/// place in the log at which the node settled it. `rows` are the enrolments that the store lists: an
/// earlier version signed only their digest.
#[must_use]
pub fn replay(
    verifier: &ActVerifier<'_>,
    (first, recoveries): (Option<First>, &[Recovery]),
    log: &[SignedStatement],
    rows: &[EnrolView],
) -> Replayed {
    let contents: BTreeMap<String, &EnrolView> = rows
        .iter()
        .filter_map(|row| {
            Some((
                act::body_digest(&serde_json::to_vec(row).ok()?).to_string(),
                row,
            ))
        })
        .collect();
    let mut persons = Persons::before(first);
    let (mut unproven, mut idle) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    let mut untold: Vec<&Recovery> = recoveries.iter().collect();
    let ends = in_order(recoveries);
    let mut acts = 0;
    for statement in log {
        let id = act::id(statement);
        // The same statement again undoes nothing that came between.
        if !seen.insert(id) {
            continue;
        }
        let signed_at = act::unverified_time(statement);
        let place = Place { acts, signed_at };
        let told = |one: &&Recovery| place.is_told(one);
        for recovery in untold.iter().copied().filter(told) {
            take_up(&mut persons, recovery, &mut idle);
        }
        untold.retain(|one| !told(one));
        let settled = ends.iter().copied().filter(|one| place.is_settled(one));
        if let Err(reason) = again(&mut persons, settled, verifier, statement, &contents) {
            persons.close(statement);
            unproven.push(format!(
                "the act `{:.12}` in the log: {reason}",
                id.to_string()
            ));
        }
        acts += 1;
        persons.note_acts(acts);
    }
    for recovery in untold {
        take_up(&mut persons, recovery, &mut idle);
    }
    for recovery in ends {
        settle(&mut persons, recovery);
    }
    for row in rows {
        let proven = persons
            .all()
            .find(|person| person.id == row.id)
            .is_some_and(|person| {
                let key = person
                    .former
                    .first()
                    .map_or(&person.key, |first| &first.key);
                key.to_bytes().as_slice() == row.key_bytes().unwrap_or_default()
            });
        if !proven {
            let id: String = row
                .id
                .chars()
                .take(LONGEST_ID)
                .flat_map(char::escape_default)
                .collect();
            unproven.push(format!(
                "the person `{id}` in the table: no act enrolled them"
            ));
        }
    }
    Replayed {
        persons,
        unproven,
        idle,
    }
}

/// Lists the recoveries in the order in which the node settled them: those of one time by number.
fn in_order(recoveries: &[Recovery]) -> Vec<&Recovery> {
    let mut ends: Vec<&Recovery> = recoveries.iter().collect();
    ends.sort_by_key(|one| {
        let settled = one.settled.as_ref();
        (settled.map(|settled| since(one, settled)), one.number)
    });
    ends
}

/// Returns the time from which a settled recovery counts.
fn since(recovery: &Recovery, settled: &Settled) -> Timestamp {
    settled.after.map_or(recovery.until(), |_| settled.at)
}

fn take_up(persons: &mut Persons, recovery: &Recovery, idle: &mut Vec<String>) {
    if let Err(reason) = persons.take_up(recovery)
        && recovery.settled.is_none()
    {
        let id = &recovery.id;
        idle.push(format!("the recovery of `{id}`: {reason}"));
    }
}

/// Settles a recovery as the node did. One that no longer waits was withdrawn, or settled before.
fn settle(persons: &mut Persons, recovery: &Recovery) {
    let Some(settled) = &recovery.settled else {
        return;
    };
    let id = recovery.digest();
    match settled.end {
        RecoveryEnd::Counts => {
            let at = since(recovery, settled);
            // One that counts for nobody waits no more either.
            drop(persons.settled(&id, at));
        }
        RecoveryEnd::Void => drop(persons.void(&id)),
    }
}

/// Carries a statement of the log out again, by the persons as they were when it was signed.
fn again<'r>(
    persons: &mut Persons,
    settled: impl Iterator<Item = &'r Recovery>,
    verifier: &ActVerifier<'_>,
    statement: &SignedStatement,
    contents: &BTreeMap<String, &EnrolView>,
) -> Result<(), String> {
    let mut then = persons.clone();
    settled.for_each(|recovery| settle(&mut then, recovery));
    carried_out(&mut then, verifier, statement, contents)?;
    *persons = then;
    Ok(())
}

fn carried_out(
    persons: &mut Persons,
    verifier: &ActVerifier<'_>,
    statement: &SignedStatement,
    contents: &BTreeMap<String, &EnrolView>,
) -> Result<(), String> {
    let key = statement.key_id();
    let signer = match persons.of_key(key) {
        Some(person) if person.key.id() == key => person.key.clone(),
        Some(person) => return Err(format!("the key was no longer that of `{}`", person.id)),
        None if persons.is_empty() => {
            // The first enrolment is signed by the key that it enrols.
            act::unverified_enrolment(statement, contents).ok_or("nobody signed it")?
        }
        None => return Err("nobody's key signed it".to_owned()),
    };
    let told = |error: &dyn std::error::Error| error.to_string();
    let logged = verifier
        .logged(statement, &signer)
        .map_err(|error| told(&error))?;
    let content = contents.get(&logged.body).copied();
    let change = Change::read(logged.action, &logged.parameters, content)
        .map_err(|error| told(&error))?
        .ok_or("it is about no person")?;
    let by = match persons.of_key(key) {
        Some(person) if person.is_active(logged.at) => {
            if !logged.action.roles().contains(&person.role) {
                return Err(format!(
                    "`{}` had the role `{}`",
                    person.id,
                    person.role.name()
                ));
            }
            person.id.clone()
        }
        Some(person) => return Err(format!("`{}` was ended", person.id)),
        None => String::new(),
    };
    let signed = Signed {
        by: &by,
        key,
        act: act::id(statement),
        at: logged.at,
    };
    persons
        .apply(&change, signed)
        .map(drop)
        .map_err(|error| told(&error))
}
