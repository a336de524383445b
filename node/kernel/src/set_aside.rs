//! Held things that are set aside: records that do not verify any more, and consignments that do not
//! fit the schema in use. The rest goes on without them, and health tells of them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use portcullis_protocol::{identifiers::AuthorityId, record::RecordId, rules::Rule};
use portcullis_store::{DamageRow, Damaged};

use crate::health::{Problem, ProblemKind};

/// Most records, and most consignments, that are named.
const MOST: usize = 1_000;

/// Held things that do not count, as the parts of the node meet them.
#[derive(Debug, Default)]
pub struct SetAside {
    /// Guards both lists; locked for a moment only.
    met: Mutex<Met>,
}

#[derive(Debug, Default)]
struct Met {
    records: BTreeMap<RecordId, Rule>,
    consignments: Vec<String>,
    /// Number of consignments, named or not.
    misfits: usize,
    /// Records of each authority that the newest model leaves out, because they do not fit into its
    /// memory.
    left_out: BTreeMap<AuthorityId, usize>,
    /// Most records of each authority that did not fit into the evidence on one identifier, since
    /// that model was built.
    crowded: BTreeMap<AuthorityId, usize>,
}

impl SetAside {
    /// Notes that a held record was verified again and refused. Rules that tell of the register or
    /// of time, and not of the bytes that are kept, are no damage.
    pub fn refused(&self, record: RecordId, rule: Rule) {
        if !is_damage(rule) {
            return;
        }
        let mut met = self.lock();
        if met.records.len() < MOST && met.records.insert(record, rule).is_none() {
            tracing::error!(%record, %rule, "a held record is not what was taken in; it is set aside");
        }
    }

    /// Notes the references of all stored consignments that do not fit the schema in use.
    pub fn misfits(&self, mut references: Vec<String>) {
        let mut met = self.lock();
        if met.misfits != references.len() {
            let count = references.len();
            tracing::warn!(
                count,
                "stored consignments that do not fit the schema in use are set aside"
            );
        }
        met.misfits = references.len();
        references.truncate(MOST);
        met.consignments = references;
    }

    /// Notes the records of each authority that a new model leaves out, as its parts count them.
    pub fn left_out(&self, parts: impl IntoIterator<Item = BTreeMap<AuthorityId, usize>>) {
        let mut all = BTreeMap::new();
        for (origin, count) in parts.into_iter().flatten() {
            *all.entry(origin).or_default() += count;
        }
        let mut met = self.lock();
        if met.left_out != all {
            for (origin, count) in &all {
                tracing::error!(%origin, count, "records do not fit into the memory of the desk; the newest ones count");
            }
        }
        met.left_out = all;
        met.crowded = BTreeMap::new();
    }

    /// Notes the records of each authority that do not fit into the evidence on one identifier.
    pub fn crowded(&self, left_out: &BTreeMap<AuthorityId, usize>) {
        if left_out.is_empty() {
            return;
        }
        let mut met = self.lock();
        for (origin, count) in left_out {
            let most = met.crowded.entry(origin.clone()).or_default();
            *most = (*most).max(*count);
        }
    }

    /// Returns what is set aside in words, with the names, for whoever may see the node's own data.
    #[must_use]
    pub fn names(&self, damaged: &[DamageRow]) -> Vec<String> {
        let met = self.lock();
        let stored = damaged
            .iter()
            .map(|row| format!("{}: {}", row.thing, row.why));
        let records = met.records.iter();
        let records = records.map(|(id, rule)| format!("record `{id}`: {rule}"));
        let consignments = met.consignments.iter();
        let consignments = consignments
            .map(|reference| format!("consignment `{reference}`: does not fit the schema in use"));
        let unfit = met.unfit().into_iter();
        let unfit = unfit.map(|(origin, count)| {
            format!("{count} records of `{origin}`: do not fit into the memory of the desk")
        });
        stored
            .chain(records)
            .chain(unfit)
            .chain(consignments)
            .take(MOST)
            .collect()
    }

    /// Returns the problems that follow. They name records, and count what is the authority's own.
    #[must_use]
    pub fn problems(&self, damaged: &[DamageRow]) -> Vec<Problem> {
        let met = self.lock();
        let mut problems = damage_problems(damaged);
        if let Some((first, rule)) = met.records.first_key_value() {
            problems.push(Problem {
                kind: ProblemKind::Damaged,
                what: format!(
                    "{} held records are not what was taken in and are set aside, `{first}` first: {rule}",
                    met.records.len()
                ),
                remedy: RESTORE,
            });
        }
        if let Some((origin, count)) = met.unfit().into_iter().max_by_key(|(_, count)| *count) {
            problems.push(Problem {
                kind: ProblemKind::LeftOut,
                what: format!(
                    "records do not fit into the memory of the desk, {count} of `{origin}` most of all; only the newest count in scores"
                ),
                remedy: "ask that authority why it sends so many; `portcullis peer block` stops it, and `portcullis status` names all of them",
            });
        }
        if met.misfits > 0 {
            problems.push(Problem {
                kind: ProblemKind::LeftOut,
                what: format!(
                    "{} stored consignments do not fit the schema in use and are not scored",
                    met.misfits
                ),
                remedy: "import their file again, or put the schema back and restart; `portcullis status` names them",
            });
        }
        problems
    }

    /// Counts what does not count: records that do not verify any more, consignments that do not fit
    /// the schema in use, and records that do not fit into the memory of the desk.
    #[must_use]
    pub fn count(&self) -> usize {
        let met = self.lock();
        let unfit: usize = met.unfit().values().sum();
        met.records
            .len()
            .saturating_add(met.misfits)
            .saturating_add(unfit)
    }

    fn lock(&self) -> MutexGuard<'_, Met> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Met {
    /// Returns the number of records of each authority that do not fit into the desk's memory.
    fn unfit(&self) -> BTreeMap<&AuthorityId, usize> {
        let mut all = BTreeMap::new();
        for (origin, count) in self.left_out.iter().chain(&self.crowded) {
            *all.entry(origin).or_default() += count;
        }
        all
    }
}

const RESTORE: &str =
    "look at the disk, and restore the store from a backup; `portcullis status` names all of them";

const REBUILT: &str = "find out who can write to the disk; they are built anew at once, and if this stays, restore the store from a backup";

/// Returns true for rules that a record can break only if its bytes are not those that were taken
/// in.
const fn is_damage(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::RecordHeader
            | Rule::SectionTable
            | Rule::SectionNotListed
            | Rule::SectionOrder
            | Rule::SaltLength
            | Rule::NothingOpened
            | Rule::SectionDigest
            | Rule::PathShape
            | Rule::PathRoot
            | Rule::BatchStatement
            | Rule::BatchMismatch
            | Rule::BatchSignature
    )
}

fn damage_problems(damaged: &[DamageRow]) -> Vec<Problem> {
    let is_own = |row: &&DamageRow| match row.thing {
        Damaged::Record(_)
        | Damaged::Pack(_)
        | Damaged::Held { .. }
        | Damaged::Table(_)
        | Damaged::Indexes(_) => false,
        Damaged::Consignment(_) | Damaged::Score(_) => true,
    };
    let is_index = |row: &&DamageRow| matches!(row.thing, Damaged::Indexes(_));
    let own = damaged.iter().filter(is_own).count();
    let mut others = damaged.iter().filter(|row| !is_own(row) && !is_index(row));
    let mut indexes = damaged.iter().filter(is_index);
    let mut problems = Vec::new();
    if let Some(first) = indexes.next() {
        problems.push(Problem {
            kind: ProblemKind::Damaged,
            what: format!(
                "the indexes of {} tables do not say what the tables say, {} first: not all that is kept is found",
                indexes.count() + 1,
                first.thing
            ),
            remedy: REBUILT,
        });
    }
    if let Some(first) = others.next() {
        problems.push(Problem {
            kind: ProblemKind::Damaged,
            what: format!(
                "{} things in the store are damaged and set aside, {} first",
                others.count() + 1,
                first.thing
            ),
            remedy: RESTORE,
        });
    }
    if own > 0 {
        problems.push(Problem {
            kind: ProblemKind::Damaged,
            what: format!("{own} stored consignments or scores are damaged and set aside"),
            remedy: "look at the disk, and import their file again; `portcullis status` names them",
        });
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> RecordId {
        RecordId::of_header(&[n])
    }

    /// Attack #9: health counts consignments, and names and shows none of them.
    #[test]
    fn consignments_are_counted_in_health_and_named_to_their_authority_alone() {
        let aside = SetAside::default();
        assert_eq!((aside.problems(&[]), aside.names(&[])), (vec![], vec![]));
        let damaged = [DamageRow {
            thing: Damaged::Consignment("23BE-1".to_owned()),
            why: "it does not open".to_owned(),
        }];
        aside.misfits(vec!["23BE-2".to_owned(), "23BE-3".to_owned()]);
        let problems = aside.problems(&damaged);
        let what: Vec<&str> = problems.iter().map(|one| one.what.as_str()).collect();
        assert!(
            what.len() == 2 && what[0].starts_with("1 ") && what[1].starts_with("2 "),
            "{what:?}"
        );
        assert!(what.iter().all(|what| !what.contains("23BE")));
        assert_eq!(aside.names(&damaged).len(), 3);
        // Imported again, they fit.
        aside.misfits(Vec::new());
        assert_eq!(aside.problems(&[]), []);
    }

    /// Hostile HP-193: what an index hides is a problem of its own, and names the table.
    #[test]
    fn indexes_that_do_not_say_what_their_tables_say_are_a_problem_that_names_them() {
        let row = |thing| DamageRow {
            thing,
            why: "row 1 missing from index i".to_owned(),
        };
        let damaged = [
            row(Damaged::Table("act")),
            row(Damaged::Indexes("act")),
            row(Damaged::Indexes("sent")),
        ];
        let problems = SetAside::default().problems(&damaged);
        let [indexes, table] = &problems[..] else {
            panic!("{problems:?}");
        };
        assert!(
            indexes.what.contains("2 tables") && indexes.what.contains("`act`"),
            "{indexes:?}"
        );
        assert!(indexes.remedy != table.remedy && table.what.starts_with("1 "));
    }

    /// Attack HM4, M9: a record that does not verify any more is named.
    #[test]
    fn a_record_is_set_aside_for_its_bytes_and_not_for_what_the_register_says_now() {
        let aside = SetAside::default();
        for rule in [
            Rule::SealingKey,
            Rule::KeyCompromised,
            Rule::KeyEnded,
            Rule::Expired,
        ] {
            aside.refused(id(1), rule);
        }
        assert_eq!(aside.problems(&[]), []);
        aside.refused(id(1), Rule::SectionDigest);
        aside.refused(id(1), Rule::SectionDigest);
        let problems = aside.problems(&[]);
        assert!(
            problems.len() == 1 && problems[0].what.contains(&id(1).to_string()),
            "{problems:?}"
        );
    }

    /// Attack H3: what the desk cannot hold is a problem that names its authority, until it fits.
    #[test]
    fn records_that_do_not_fit_into_the_desk_are_a_problem_that_names_their_authority() {
        let aside = SetAside::default();
        let of = |count| BTreeMap::from([("terminal".parse().unwrap(), count)]);
        aside.left_out([of(3), of(4), BTreeMap::new()]);
        aside.crowded(&of(2));
        let problems = aside.problems(&[]);
        assert!(
            problems.len() == 1 && problems[0].what.contains("9 of `terminal`"),
            "{problems:?}"
        );
        assert_eq!(aside.names(&[]).len(), 1);
        aside.left_out([]);
        assert_eq!((aside.problems(&[]), aside.names(&[])), (vec![], vec![]));
    }

    #[test]
    fn what_is_named_is_bounded_and_what_is_counted_is_not() {
        let aside = SetAside::default();
        aside.misfits((0..5_000).map(|n| n.to_string()).collect());
        assert_eq!(aside.names(&[]).len(), MOST);
        assert!(aside.problems(&[])[0].what.starts_with("5000 "));
    }
}
