//! The chain: persons built from the signed acts of a log, each verified by whom those before it made.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_protocol::statement::SignedStatement;

use super::{
    change::{Change, LONGEST_ID},
    rules::{First, Persons, Recovery, Signed},
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
    /// Recoveries that are of no present administrator, in words.
    pub idle: Vec<String>,
}

/// Builds the persons from the acts about persons, in the order in which they were carried out.
/// `recoveries` come with the node's keys, in the order in which the node told of them. `rows` are the
/// enrolments that the store lists: an earlier version signed only their digest.
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
    let mut recoveries: Vec<&Recovery> = recoveries.iter().collect();
    for statement in log {
        let id = act::id(statement);
        // The same statement again undoes nothing that came between.
        if !seen.insert(id) {
            continue;
        }
        // The time is believed once the statement holds. A recovery that is taken up early counts no
        // earlier, for its own time is what counts.
        let signed_at = act::unverified_time(statement);
        let told = |one: &&Recovery| signed_at.is_some_and(|at| one.since <= at);
        for recovery in recoveries.iter().copied().filter(told) {
            take_up(&mut persons, recovery, &mut idle);
        }
        recoveries.retain(|one| !told(one));
        if let Err(reason) = again(&mut persons, verifier, statement, &contents) {
            persons.close(statement);
            unproven.push(format!(
                "the act `{:.12}` in the log: {reason}",
                id.to_string()
            ));
        }
    }
    for recovery in recoveries {
        take_up(&mut persons, recovery, &mut idle);
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

fn take_up(persons: &mut Persons, recovery: &Recovery, idle: &mut Vec<String>) {
    if let Err(reason) = persons.recover(recovery) {
        let id = &recovery.id;
        idle.push(format!("the recovery of `{id}`: {reason}"));
    }
}

/// Carries a statement of the log out again, by the persons as they were when it was signed.
fn again(
    persons: &mut Persons,
    verifier: &ActVerifier<'_>,
    statement: &SignedStatement,
    contents: &BTreeMap<String, &EnrolView>,
) -> Result<(), String> {
    let mut then = persons.clone();
    if let Some(at) = act::unverified_time(statement) {
        then.ripen(at);
    }
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
