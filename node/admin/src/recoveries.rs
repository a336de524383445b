//! Notes of a node on the recoveries that lie sealed with its keys: that it told of one, and its end.
//!
//! ```text
//! untold ─told─▶ waits 72 hours ─settled─▶ counts, or is void
//!    ▲              │
//!    └── the time passed while the node did not run
//! ```
//!
//! Each is a fact of the store, under a subject that binds the number of the recovery, the person and
//! the key. A fact holds its place in the log of acts about persons; those of earlier versions hold
//! nothing but their time.
//!
//! Pure: the facts and the time are arguments.

use portcullis_admin_api::persons::{Change, Proposal, Recovery, RecoveryEnd, Settled};
use portcullis_home::keyring::SealedRecovery;
use portcullis_protocol::{
    digest::Digest,
    keys::{KeyUse, PublicKey},
    time::Timestamp,
};
use portcullis_store::{Fact, FactKind, FactRow};

/// A recovery that everybody is yet to be told of, or to be told of anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Untold {
    number: u64,
    pub(crate) id: String,
    pub(crate) key: PublicKey,
    /// True if everybody was told of it once, and its time passed while the node did not run.
    pub(crate) is_again: bool,
}

impl Untold {
    /// Returns the recovery as it is told at `now`, after so many acts about persons.
    pub(crate) fn told(&self, now: Timestamp, acts: u64) -> Recovery {
        Recovery {
            number: self.number,
            id: self.id.clone(),
            key: self.key.clone(),
            since: now,
            told_after: Some(acts),
            settled: None,
        }
    }
}

/// The recoveries of a node that starts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recoveries {
    /// Those that wait or are settled.
    pub(crate) told: Vec<Recovery>,
    /// Those that are to be told.
    pub(crate) untold: Vec<Untold>,
    /// Numbers of those that cannot be read.
    pub(crate) unreadable: Vec<u64>,
}

impl Recoveries {
    /// Compares the recoveries of the keys with what was noted of them. One whose time has passed is
    /// to be told anew unless it was settled, for nobody could withdraw it while the node did not run.
    pub(crate) fn read(sealed: &[SealedRecovery], facts: &[FactRow], now: Timestamp) -> Self {
        let mut read = Self::default();
        for (sealed, number) in sealed.iter().zip(1_u64..) {
            let SealedRecovery { id, public_key } = sealed;
            let bytes = data_encoding::HEXLOWER.decode(public_key.as_bytes());
            let key = bytes
                .ok()
                .and_then(|bytes| PublicKey::from_slice(KeyUse::Person, &bytes).ok());
            let Some(key) = key else {
                read.unreadable.push(number);
                continue;
            };
            let id = id.clone();
            let untold = Untold {
                number,
                id,
                key,
                is_again: false,
            };
            match noted(&untold, facts, now) {
                Some(one) if one.settled.is_some() || one.until() > now => read.told.push(one),
                earlier => read.untold.push(Untold {
                    is_again: earlier.is_some(),
                    ..untold
                }),
            }
        }
        read
    }
}

/// Returns a recovery as everybody was told of it; `None` if nobody was.
fn noted(sealed: &Untold, facts: &[FactRow], now: Timestamp) -> Option<Recovery> {
    let subject = subject(sealed.number, &sealed.id, &sealed.key);
    let fact = |subject: &str| {
        let is_it = |fact: &&FactRow| fact.kind == FactKind::Recovery && fact.subject == subject;
        facts.iter().find(is_it)
    };
    let told = fact(&subject)?;
    let recovery = Recovery {
        told_after: place(&told.content).map(|(acts, _)| acts),
        ..sealed.told(told.at, 0)
    };
    let settled = fact(&settled_subject(&subject)).and_then(|fact| {
        let (at, until) = (fact.at, recovery.until());
        let (end, after) = match place(&fact.content) {
            Some((acts, [1])) => (RecoveryEnd::Counts, Some(acts)),
            Some((acts, _)) => (RecoveryEnd::Void, Some(acts)),
            // An earlier version noted it thus when the time had come, and before that when one with
            // the same key was withdrawn: which one, the log of acts tells.
            None if at >= until => (RecoveryEnd::Counts, None),
            None if now >= until => (RecoveryEnd::Void, None),
            None => return None,
        };
        Some(Settled { end, at, after })
    });
    Some(Recovery {
        settled,
        ..recovery
    })
}

/// Returns the number of acts at the head of a fact, and the rest; `None` if an earlier version kept
/// the fact.
fn place(content: &[u8]) -> Option<(u64, &[u8])> {
    let (acts, rest) = content.split_first_chunk()?;
    Some((u64::from_be_bytes(*acts), rest))
}

/// Returns the facts that a recovery was told, and that nothing settled it.
pub(crate) fn telling(recovery: &Recovery) -> [Fact; 2] {
    let Recovery {
        number,
        id,
        key,
        since,
        told_after,
        settled: _,
    } = recovery;
    let subject = subject(*number, id, key);
    let told = Fact {
        kind: FactKind::Recovery,
        content: Some(told_after.unwrap_or(0).to_be_bytes().to_vec()),
        subject: subject.clone(),
        at: *since,
    };
    let unsettled = Fact {
        subject: settled_subject(&subject),
        content: None,
        ..told.clone()
    };
    [told, unsettled]
}

/// Returns the fact that a recovery that waits has its end at `at`, after so many acts about persons.
pub(crate) fn settling(
    waiting: &Proposal,
    end: RecoveryEnd,
    (at, acts): (Timestamp, u64),
) -> Option<Fact> {
    let (Some(number), Change::Rekey { id, key }) = (waiting.recovery, &waiting.change) else {
        return None;
    };
    let settled = Settled {
        end,
        at,
        after: Some(acts),
    };
    Some(settled_fact(&subject(number, id, key), settled))
}

/// Returns the fact that a recovery which was just told is of nobody.
pub(crate) fn voiding(recovery: &Recovery) -> Fact {
    let settled = Settled {
        end: RecoveryEnd::Void,
        at: recovery.since,
        after: recovery.told_after,
    };
    settled_fact(
        &subject(recovery.number, &recovery.id, &recovery.key),
        settled,
    )
}

fn settled_fact(subject: &str, settled: Settled) -> Fact {
    let Settled { end, at, after } = settled;
    let mut content = after.unwrap_or(0).to_be_bytes().to_vec();
    content.push(match end {
        RecoveryEnd::Counts => 1,
        RecoveryEnd::Void => 0,
    });
    Fact {
        kind: FactKind::Recovery,
        subject: settled_subject(subject),
        content: Some(content),
        at,
    }
}

/// Returns the subject of the fact that a recovery was told: no other key takes its place.
fn subject(number: u64, id: &str, key: &PublicKey) -> String {
    let number = number.to_be_bytes();
    let key = key.to_bytes();
    Digest::labelled(
        "portcullis told recovery v1",
        &[&number, id.as_bytes(), &key],
    )
    .to_string()
}

/// Returns the subject of the fact that tells the end of a recovery.
fn settled_subject(subject: &str) -> String {
    format!("{subject} settled")
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_admin_api::act::Role;
    use portcullis_admin_api::persons::{Effect, Persons, RECOVERY_MS, Signed};
    use portcullis_protocol::keys::SigningKey;

    const START: Timestamp = portcullis_testbed::NOW;

    fn key(seed: u8) -> PublicKey {
        SigningKey::from_seed(KeyUse::Person, [seed; 32]).public()
    }

    fn sealed(ids: &[&str]) -> Vec<SealedRecovery> {
        let seal = |id: &&str| SealedRecovery {
            id: (*id).to_owned(),
            public_key: data_encoding::HEXLOWER.encode(&key(9).to_bytes()),
        };
        ids.iter().map(seal).collect()
    }

    /// Keeps facts as the store does.
    fn keep(facts: &mut Vec<FactRow>, fact: Fact) {
        let Fact {
            kind,
            subject,
            content,
            at,
        } = fact;
        facts.retain(|kept| kept.subject != subject);
        facts.extend(content.map(|content| FactRow {
            kind,
            subject,
            content,
            at,
        }));
    }

    #[test]
    fn a_recovery_is_told_anew_if_its_time_passed_unsettled_and_else_once() {
        let sealed = sealed(&["ada"]);
        let mut facts = Vec::new();
        let read = |facts: &[FactRow], ms| Recoveries::read(&sealed, facts, START.plus_millis(ms));
        let first = read(&facts, 0);
        assert!(!first.untold[0].is_again && first.told.is_empty());
        let told = first.untold[0].told(START, 3);
        telling(&told)
            .into_iter()
            .for_each(|fact| keep(&mut facts, fact));
        let waits = read(&facts, RECOVERY_MS - 1);
        assert_eq!((waits.told, waits.untold), (vec![told], vec![]));
        let passed = read(&facts, RECOVERY_MS);
        assert!(passed.untold[0].is_again && passed.told.is_empty());
        let anew = passed.untold[0].told(START.plus_millis(RECOVERY_MS), 4);
        telling(&anew)
            .into_iter()
            .for_each(|fact| keep(&mut facts, fact));
        assert_eq!(read(&facts, RECOVERY_MS).told, std::slice::from_ref(&anew));
        // It is of nobody: it is told of no more, whenever the node starts.
        keep(&mut facts, voiding(&anew));
        for later in [RECOVERY_MS, 2 * RECOVERY_MS, 100 * RECOVERY_MS] {
            let read = read(&facts, later);
            assert_eq!(read.untold, []);
            let end = read.told[0].settled.map(|settled| settled.end);
            assert_eq!(end, Some(RecoveryEnd::Void));
        }
    }

    #[test]
    fn of_two_recoveries_with_one_key_each_has_its_own_end() {
        let sealed = sealed(&["ada", "ada"]);
        let mut facts = Vec::new();
        let mut persons = Persons::before(None);
        let enrol = Change::Enrol {
            id: "ada".to_owned(),
            name: "Ada".to_owned(),
            role: Role::Administrator,
            key: key(1),
        };
        let signed = Signed {
            by: "ada",
            key: key(1).id(),
            act: Digest::labelled("an act", &[]),
            at: START,
        };
        assert_eq!(persons.apply(&enrol, signed), Ok(Effect::Done));
        let mut ids = Vec::new();
        for untold in Recoveries::read(&sealed, &facts, START).untold {
            let told = untold.told(START, persons.acts());
            ids.push(persons.recover(&told).unwrap());
            telling(&told)
                .into_iter()
                .for_each(|fact| keep(&mut facts, fact));
        }
        let waiting = persons.waiting(&ids[0]).unwrap();
        let fact = settling(waiting, RecoveryEnd::Void, (START, 2)).unwrap();
        keep(&mut facts, fact);
        let read = Recoveries::read(&sealed, &facts, START);
        let ends = read
            .told
            .iter()
            .map(|one| one.settled.map(|settled| settled.end));
        assert_eq!(ends.collect::<Vec<_>>(), [Some(RecoveryEnd::Void), None]);
    }

    /// The last landed version kept no more than the times.
    #[test]
    fn facts_of_an_earlier_version_are_read_as_they_were_meant() {
        let sealed = sealed(&["ada"]);
        let subject = subject(1, "ada", &key(9));
        let mut facts = Vec::new();
        let mut plain = |subject: String, ms| {
            let fact = Fact {
                kind: FactKind::Recovery,
                subject,
                content: Some(Vec::new()),
                at: START.plus_millis(ms),
            };
            keep(&mut facts, fact);
            facts.clone()
        };
        let read = |facts: &[FactRow], ms| Recoveries::read(&sealed, facts, START.plus_millis(ms));
        let told = plain(subject.clone(), 0);
        let waits = read(&told, 1).told.remove(0);
        assert_eq!((waits.told_after, waits.settled), (None, None));
        let withdrawn = plain(settled_subject(&subject), 1);
        assert_eq!(
            read(&withdrawn, 2).told[0].settled,
            None,
            "the log tells it"
        );
        let later = read(&withdrawn, RECOVERY_MS);
        let end = later.told[0].settled.map(|settled| settled.end);
        assert_eq!((end, later.untold), (Some(RecoveryEnd::Void), vec![]));
        let counts = plain(settled_subject(&subject), RECOVERY_MS);
        let settled = read(&counts, RECOVERY_MS + 1)
            .told
            .remove(0)
            .settled
            .unwrap();
        assert_eq!((settled.end, settled.after), (RecoveryEnd::Counts, None));
    }
}
