//! Claims about the chain of persons and the rule of two.

use std::collections::BTreeMap;

use portcullis_protocol::{
    digest::Digest,
    keys::{KeyUse, SigningKey},
    statement::SignedStatement,
    time::Timestamp,
};

use super::*;
use crate::{
    act::{self, ActVerifier, Action, Enrolled, Request, Role},
    v1::act::EnrolView,
};

const START: Timestamp = Timestamp::from_millis(1_772_366_400_000);
const HOUR: i64 = 3_600_000;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(KeyUse::Person, [seed; 32])
}

/// A node's persons with the log and the recoveries that made them.
struct Node {
    persons: Persons,
    log: Vec<SignedStatement>,
    /// Notes of the node on each recovery.
    recoveries: Vec<Recovery>,
    now: Timestamp,
}

fn enrol(id: &str, role: Role, seed: u8) -> Change {
    Change::Enrol {
        id: id.to_owned(),
        name: id.to_owned(),
        role,
        key: key(seed).public(),
    }
}

fn person<'a>(node: &'a Node, id: &str) -> &'a Person {
    node.persons.all().find(|person| person.id == id).unwrap()
}

fn end(id: &str) -> Change {
    Change::End { id: id.to_owned() }
}

impl Node {
    /// Makes a node with administrator `ada` (key 1).
    fn new() -> Self {
        let mut node = Self {
            persons: Persons::before(None),
            log: Vec::new(),
            recoveries: Vec::new(),
            now: START,
        };
        node.does(1, &enrol("ada", Role::Administrator, 1)).unwrap();
        node
    }

    /// Makes a node with administrators `ada` and `bea` (keys 1 and 2) and supervisor `sue` (3),
    /// all enrolled more than a week ago.
    fn of_two() -> Self {
        let mut node = Self::new();
        node.does(1, &enrol("sue", Role::Supervisor, 3)).unwrap();
        node.does(1, &enrol("bea", Role::Administrator, 2)).unwrap();
        node.now = node.now.plus_millis(WEEK_MS);
        node
    }

    /// Has the owner of a key sign a change, as the node does it: verified, applied, logged.
    fn does(&mut self, seed: u8, change: &Change) -> Result<Effect, String> {
        self.now = self.now.plus_millis(1);
        let text = statement(change.action(), change.parameters(), self.now, seed);
        let signers = if self.persons.is_empty() {
            vec![Enrolled {
                id: "ada".to_owned(),
                role: Role::Administrator.name().to_owned(),
                public_key: key(seed).public().to_bytes().to_vec(),
            }]
        } else {
            self.persons.signers(self.now)
        };
        let verified = with_verifier(self.now, |verifier| verifier.verify(&text, b"", &signers));
        let act = verified.map_err(|error| error.to_string())?;
        let signed = Signed {
            by: &act.person.id,
            key: act.statement.key_id(),
            act: act::id(&act.statement),
            at: act.at,
        };
        let effect = self.persons.apply(change, signed);
        let effect = effect.map_err(|error| error.to_string())?;
        self.log.push(act.statement);
        if let Change::Withdraw { act } = change {
            self.notes(*act, RecoveryEnd::Void);
        }
        Ok(effect)
    }

    /// Tells of a recovery, and returns it.
    fn tells(&mut self, id: &str, seed: u8) -> Result<Recovery, PersonError> {
        let recovery = Recovery {
            number: self.recoveries.len() as u64 + 1,
            id: id.to_owned(),
            key: key(seed).public(),
            since: self.now,
            told_after: Some(self.persons.acts()),
            settled: None,
        };
        self.persons.recover(&recovery)?;
        self.recoveries.push(recovery.clone());
        Ok(recovery)
    }

    /// Settles what is ripe by the node's clock.
    fn settles(&mut self) {
        for (id, _) in self.persons.ripe(self.now) {
            let end = match self.persons.settle(&id, self.now) {
                Ok(()) => RecoveryEnd::Counts,
                Err(_) => RecoveryEnd::Void,
            };
            self.notes(id, end);
        }
    }

    fn notes(&mut self, recovery: Digest, end: RecoveryEnd) {
        let (at, after) = (self.now, Some(self.persons.acts()));
        let noted = self.recoveries.iter_mut();
        for one in noted.filter(|one| one.digest() == recovery) {
            one.settled = Some(Settled { end, at, after });
        }
    }

    fn check_new(
        &self,
        seed: u8,
        by: &str,
        change: &Change,
        believed: Timestamp,
    ) -> Result<(), PersonError> {
        let signed = Signed {
            by,
            key: key(seed).id(),
            act: Digest::labelled("an act", &[]),
            at: self.now,
        };
        self.persons.check_new(change, signed, believed)
    }

    fn signs_with(&self, seed: u8) -> bool {
        let hex = key(seed).public().to_bytes().to_vec();
        let signers = self.persons.signers(self.now);
        signers.iter().any(|signer| signer.public_key == hex)
    }

    /// Checks that a node which starts again has the same persons, and nothing that is unproven.
    #[track_caller]
    fn is_so_after_a_replay(&self) {
        let again = self.replayed();
        assert_eq!((again.unproven, again.idle), (vec![], vec![]));
        assert_eq!(again.persons, self.persons);
    }

    fn proposes(&mut self, seed: u8, change: &Change) -> Change {
        match self.does(seed, change).unwrap() {
            Effect::Proposed(act) => Change::Second { act },
            Effect::Done | Effect::Withdrawn => panic!("{} was done", change.describe()),
        }
    }

    #[track_caller]
    fn refuses(&mut self, seed: u8, change: &Change, says: &str) {
        let (before, lines) = (self.persons.clone(), self.log.len());
        let refused = self.does(seed, change).unwrap_err();
        assert!(refused.contains(says), "{refused}");
        assert!(self.persons.all().eq(before.all()));
        assert_eq!(self.log.len(), lines);
    }

    fn signs(&self, id: &str) -> bool {
        let signers = self.persons.signers(self.now);
        signers.iter().any(|signer| signer.id == id)
    }

    fn replayed(&self) -> Replayed {
        with_verifier(START, |verifier| {
            replay(verifier, (None, &self.recoveries), &self.log, &[])
        })
    }
}

fn statement(
    action: Action,
    parameters: BTreeMap<String, String>,
    at: Timestamp,
    seed: u8,
) -> String {
    of_body(action, parameters, b"", at, seed)
}

fn of_body(
    action: Action,
    parameters: BTreeMap<String, String>,
    body: &[u8],
    at: Timestamp,
    seed: u8,
) -> String {
    let request = Request {
        federation: "ports",
        node: "antwerp-1",
        action,
        parameters,
        body,
        at,
        nonce: [0; 16],
    };
    act::sign(&request, &key(seed)).unwrap()
}

fn with_verifier<T>(now: Timestamp, of: impl FnOnce(&ActVerifier<'_>) -> T) -> T {
    let (federation, node) = ("ports".parse().unwrap(), "antwerp-1".parse().unwrap());
    of(&ActVerifier {
        federation: &federation,
        node: &node,
        now,
    })
}

fn replayed(first: Option<First>, log: &[SignedStatement], rows: &[EnrolView]) -> Replayed {
    with_verifier(START, |verifier| replay(verifier, (first, &[]), log, rows))
}

fn row(id: &str, role: Role, seed: u8) -> EnrolView {
    EnrolView {
        id: id.to_owned(),
        name: id.to_owned(),
        role: role.name().to_owned(),
        public_key: data_encoding::HEXLOWER.encode(&key(seed).public().to_bytes()),
    }
}

/// Newcomer A4: one key was enrolled under several ids.
#[test]
fn one_key_is_one_persons_even_after_it_was_replaced_or_ended() {
    let mut node = Node::new();
    node.refuses(1, &enrol("eve", Role::Supervisor, 1), "key of `ada`");
    node.does(1, &enrol("bob", Role::Analyst, 5)).unwrap();
    node.refuses(1, &enrol("bob", Role::Analyst, 6), "`bob` is enrolled");
    let rekey = Change::Rekey {
        id: "bob".to_owned(),
        key: key(6).public(),
    };
    node.does(1, &rekey).unwrap();
    node.refuses(1, &enrol("eve", Role::Analyst, 5), "key of `bob`");
    node.does(1, &end("bob")).unwrap();
    node.refuses(1, &enrol("eve", Role::Analyst, 6), "key of `bob`");
    node.refuses(1, &enrol("bob", Role::Analyst, 7), "`bob` is enrolled");
}

/// Attack M7: a stolen key counted for ever.
#[test]
fn who_is_ended_rekeyed_or_given_a_role_is_so_at_once_and_after_a_replay() {
    let mut node = Node::new();
    node.does(1, &enrol("sue", Role::Supervisor, 3)).unwrap();
    node.does(1, &enrol("bob", Role::Administrator, 5)).unwrap();
    node.now = node.now.plus_millis(WEEK_MS);
    let enrolled = person(&node, "bob").enrolled_at;
    assert!(enrolled > person(&node, "ada").enrolled_at);
    let role = Change::Role {
        id: "bob".to_owned(),
        role: Role::Analyst,
    };
    let second = node.proposes(1, &role);
    node.does(5, &second).unwrap();
    let rekey = Change::Rekey {
        id: "bob".to_owned(),
        key: key(6).public(),
    };
    let second = node.proposes(1, &rekey);
    node.does(3, &second).unwrap();
    node.refuses(5, &end("ada"), "no enrolled person");
    let bob = person(&node, "bob").clone();
    assert_eq!(bob.former[0].until, node.now.plus_millis(-1));
    let second = node.proposes(1, &end("bob"));
    node.does(3, &second).unwrap();
    assert!(!node.signs("bob"));
    node.refuses(6, &end("ada"), "no enrolled person");
    let again = node.replayed();
    assert_eq!(again.unproven, [""; 0]);
    assert!(again.persons.all().eq(node.persons.all()));
}

#[test]
fn the_last_administrator_stays() {
    let mut node = Node::new();
    let last = "`ada` is the last administrator";
    node.refuses(1, &end("ada"), last);
    let role = Change::Role {
        id: "ada".to_owned(),
        role: Role::Analyst,
    };
    node.refuses(1, &role, last);
    let mut two = Node::of_two();
    two.proposes(1, &end("bea"));
    two.refuses(1, &end("ada"), last);
}

/// Attack M7: an administrator enrolled a second key of their own as supervisor.
#[test]
fn once_there_are_two_administrators_nobody_changes_persons_alone() {
    let mut node = Node::of_two();
    let eve = enrol("eve", Role::Supervisor, 9);
    let second = node.proposes(1, &eve);
    assert!(node.persons.all().all(|person| person.id != "eve"));
    node.refuses(1, &second, "`ada` proposed it");
    let Change::Second { act } = second else {
        panic!();
    };
    node.refuses(
        3,
        &Change::Second {
            act: Digest::labelled("x", &[]),
        },
        "no such proposal",
    );
    node.does(3, &Change::Second { act }).unwrap();
    assert!(node.signs("eve"));
    node.refuses(2, &Change::Second { act }, "no such proposal");
    assert_eq!(node.replayed().persons, node.persons);
}

/// Attack M7: whoever was left alone after an end changed persons alone again.
#[test]
fn two_is_for_ever_even_if_one_administrator_alone_is_left() {
    let mut node = Node::of_two();
    let second = node.proposes(1, &end("bea"));
    assert_eq!(node.does(3, &second), Ok(Effect::Done));
    assert!(node.persons.takes_two());
    let second = node.proposes(1, &enrol("eve", Role::Analyst, 5));
    assert!(!node.signs("eve"));
    node.refuses(1, &second, "another person has to second it");
    // Who alone may second stays, so that nobody is locked out.
    node.refuses(1, &end("sue"), "`sue` is the last who may second");
    let analyst = Change::Role {
        id: "sue".to_owned(),
        role: Role::Analyst,
    };
    node.refuses(1, &analyst, "`sue` is the last who may second");
    assert_eq!(node.does(3, &second), Ok(Effect::Done));
    assert!(node.signs("eve"));
    let Replayed {
        persons, unproven, ..
    } = node.replayed();
    assert_eq!((&persons, unproven), (&node.persons, vec![]));
}

#[test]
fn nobody_seconds_for_who_placed_them_within_a_week() {
    let mut node = Node::of_two();
    let second = node.proposes(1, &enrol("eve", Role::Supervisor, 9));
    node.does(2, &second).unwrap();
    for proposer in [1, 2] {
        let mallory = enrol("mallory", Role::Supervisor, 10 + proposer);
        let second = node.proposes(proposer, &mallory);
        node.refuses(9, &second, "less than seven days");
    }
    node.now = node.now.plus_millis(WEEK_MS);
    let second = node.proposes(1, &enrol("tom", Role::Analyst, 13));
    node.does(9, &second).unwrap();
    // A new key is as good as a new person.
    let rekey = Change::Rekey {
        id: "eve".to_owned(),
        key: key(14).public(),
    };
    let second = node.proposes(1, &rekey);
    node.does(2, &second).unwrap();
    let second = node.proposes(1, &enrol("una", Role::Analyst, 15));
    node.refuses(14, &second, "less than seven days");
}

#[test]
fn an_end_that_one_signs_suspends_for_a_week_and_no_longer() {
    let mut node = Node::of_two();
    let second = node.proposes(1, &end("bea"));
    assert!(!node.signs("bea"));
    node.refuses(2, &second, "no enrolled person");
    // Suspending the other administrator does not make one alone.
    node.proposes(1, &enrol("eve", Role::Administrator, 9));
    node.now = node.now.plus_millis(WEEK_MS);
    assert!(node.signs("bea"));
    node.refuses(3, &second, "no such proposal");
    let second = node.proposes(1, &end("bea"));
    let since = node.now;
    node.now = node.now.plus_millis(HOUR);
    node.does(3, &second).unwrap();
    node.now = node.now.plus_millis(2 * WEEK_MS);
    let standing = person(&node, "bea").standing(node.now);
    assert_eq!(standing, Standing::Ended { at: since });
    assert!(node.replayed().persons.all().eq(node.persons.all()));
}

#[test]
fn what_somebody_proposed_who_is_no_administrator_any_more_is_not_seconded() {
    let mut node = Node::of_two();
    let second = node.proposes(2, &enrol("eve", Role::Supervisor, 9));
    node.proposes(1, &end("bea"));
    node.refuses(3, &second, "no administrator any more");
}

/// Attack H1, M6: a row in the table acted with full rights.
#[test]
fn a_row_without_an_act_is_nobody_and_is_named() {
    let node = Node::of_two();
    let rows = [
        row("ada", Role::Administrator, 1),
        row("bea", Role::Administrator, 2),
        row("eve", Role::Administrator, 9),
        row("sue", Role::Administrator, 9),
    ];
    let Replayed {
        persons, unproven, ..
    } = replayed(None, &node.log, &rows);
    assert_eq!(persons, node.persons);
    assert_eq!(unproven.len(), 2);
    assert!(unproven[0].contains("`eve`") && unproven[1].contains("`sue`"));
    let none = replayed(None, &[], &rows);
    assert!(none.persons.is_empty());
    assert_eq!(none.unproven.len(), 4);
}

#[test]
fn an_act_that_is_moved_repeated_changed_or_of_another_node_makes_nobody() {
    let mut node = Node::of_two();
    let second = node.proposes(1, &end("sue"));
    node.does(2, &second).unwrap();
    // The same acts again bring nobody back.
    let twice = [node.log.clone(), node.log.clone()].concat();
    assert_eq!(replayed(None, &twice, &[]).persons, node.persons);
    // Without the first enrolment nobody is anybody.
    let without = replayed(None, &node.log[1..], &[]);
    assert!(without.persons.is_empty());
    assert_eq!(without.unproven.len(), node.log.len() - 1);
    // A stranger cannot begin the chain of a node that names its first administrator.
    let first = First {
        id: "ada".to_owned(),
        key: key(1).public().id().to_string(),
    };
    let mut stranger = Node {
        persons: Persons::before(None),
        log: Vec::new(),
        recoveries: Vec::new(),
        now: START,
    };
    stranger
        .does(8, &enrol("ada", Role::Administrator, 8))
        .unwrap();
    let log = [stranger.log, node.log.clone()].concat();
    let Replayed {
        persons, unproven, ..
    } = replayed(Some(first), &log, &[]);
    assert!(persons.all().eq(node.persons.all()));
    assert_eq!(unproven.len(), 1);
    assert!(unproven[0].contains("another key as its first administrator"));
}

#[test]
fn enrolments_of_earlier_versions_are_proven_by_the_digest_that_was_signed() {
    let rows = [
        row("Ada B.", Role::Administrator, 1),
        row("bob", Role::Analyst, 5),
    ];
    let sign = |row: &EnrolView, seed| {
        let body = serde_json::to_vec(row).unwrap();
        let text = of_body(Action::Enrol, BTreeMap::new(), &body, START, seed);
        let signer = Enrolled {
            id: String::new(),
            role: Role::Administrator.name().to_owned(),
            public_key: key(seed).public().to_bytes().to_vec(),
        };
        let act = with_verifier(START, |verifier| verifier.verify(&text, &body, &[signer]));
        act.unwrap().statement
    };
    let log = [sign(&rows[0], 1), sign(&rows[1], 1)];
    let Replayed {
        persons, unproven, ..
    } = replayed(None, &log, &rows);
    assert_eq!(unproven, [""; 0]);
    assert_eq!(persons.all().count(), 2);
    // A raised role, another name or another key is another content.
    let mut raised = rows.clone();
    raised[1].role = Role::Administrator.name().to_owned();
    let Replayed {
        persons, unproven, ..
    } = replayed(None, &log, &raised);
    assert_eq!(persons.all().count(), 1);
    assert_eq!(unproven.len(), 2);
    // A row of somebody whom only themselves enrolled, after the first.
    let eve = [
        row("Ada B.", Role::Administrator, 1),
        row("eve", Role::Administrator, 9),
    ];
    let own = [log[0].clone(), sign(&eve[1], 9)];
    assert_eq!(replayed(None, &own, &eve).persons.all().count(), 1);
}

/// Attack HM5: what closes stays closed when it is damaged.
#[test]
fn a_damaged_end_ends_and_a_damaged_enrolment_enrols_nobody() {
    let mut node = Node::new();
    node.does(1, &enrol("bob", Role::Analyst, 5)).unwrap();
    node.does(1, &end("bob")).unwrap();
    let damaged = |statement: &SignedStatement| {
        let mut signature = *statement.signature();
        signature[3] ^= 1;
        let wire = portcullis_protocol::wire::SignedStatement {
            signature: signature.to_vec().into(),
            ..statement.into()
        };
        SignedStatement::try_from(wire).unwrap()
    };
    let [ada, bob, gone] = &node.log[..] else {
        panic!();
    };
    let ends = replayed(None, &[ada.clone(), bob.clone(), damaged(gone)], &[]);
    assert_eq!(ends.unproven.len(), 1);
    assert_eq!(ends.persons.signers(node.now).len(), 1);
    let enrols = replayed(None, &[ada.clone(), damaged(bob)], &[]);
    assert_eq!(enrols.persons.all().count(), 1);
}

/// Attack M7: ids that are empty, huge, or turn what stands beside them.
#[test]
fn an_id_is_a_short_plain_word_and_a_name_is_one_line() {
    let checks = |id: &str, name: &str| {
        let change = Change::Enrol {
            id: id.to_owned(),
            name: name.to_owned(),
            role: Role::Analyst,
            key: key(1).public(),
        };
        change.check_names()
    };
    for id in ["a", "anna.claes", "b-2_x", "9", &"x".repeat(64)] {
        assert_eq!(checks(id, "Anna Claës"), Ok(()), "{id}");
    }
    let long = "x".repeat(65);
    for id in [
        "",
        " ",
        "Anna",
        "a b",
        "a\n",
        "\u{1b}[2J",
        "é",
        "-a",
        ".",
        "a\u{202e}",
        &long,
    ] {
        assert!(
            matches!(checks(id, "Anna"), Err(PersonError::Id(_))),
            "{id:?}"
        );
    }
    let long = "x".repeat(201);
    for name in ["", "  ", "a\nb", "a\u{202e}b", "a\u{200b}", "\u{7}", &long] {
        assert_eq!(checks("anna", name), Err(PersonError::Name), "{name:?}");
    }
}

/// An administrator who lost their key, with nobody left who could second another one.
#[test]
fn a_recovery_counts_once_it_is_settled_after_72_hours_and_so_it_does_after_a_replay() {
    let mut node = Node::of_two();
    node.now = node.now.plus_millis(HOUR);
    let lost = node.tells("ada", 11).unwrap();
    // Until then nothing has changed: it is shown, and the key of before counts.
    node.now = lost.since.plus_millis(RECOVERY_MS - 2);
    node.settles();
    assert!(node.signs_with(1) && !node.signs_with(11));
    let waiting: Vec<_> = node.persons.proposals(node.now).collect();
    assert_eq!(waiting.len(), 1);
    assert!(waiting[0].1.is_recovery());
    assert_eq!(waiting[0].1.until(), lost.until());
    let second = Change::Second { act: lost.digest() };
    node.refuses(3, &second, "needs no second");
    node.now = lost.until();
    node.settles();
    assert!(!node.signs_with(1) && node.signs_with(11));
    assert_eq!(node.persons.proposals(node.now).count(), 0);
    let of_ada = node.proposes(11, &enrol("cy", Role::Analyst, 4));
    assert_eq!(node.does(3, &of_ada), Ok(Effect::Done));
    node.refuses(1, &enrol("eve", Role::Analyst, 5), "");
    let ada = person(&node, "ada");
    assert_eq!(ada.key, key(11).public());
    assert_eq!(ada.former[0].until, lost.until());
    // What was signed before and after holds after a restart.
    node.is_so_after_a_replay();
    // Without the recovery, nothing that rests on it does.
    assert!(!replayed(None, &node.log, &[]).unproven.is_empty());
}

/// HP-199: the time of an act, which is that of the machine's clock, made a recovery count.
#[test]
fn no_act_makes_a_recovery_count_however_late_it_says_that_it_was_signed() {
    let mut node = Node::of_two();
    let taken = node.tells("ada", 11).unwrap();
    let told = node.now;
    // The machine's clock is set ahead; the node goes by the time it had.
    node.now = taken.until().plus_millis(HOUR);
    let of_bea = node.proposes(2, &enrol("cy", Role::Analyst, 4));
    assert_eq!(node.does(3, &of_bea), Ok(Effect::Done));
    assert!(node.signs_with(1) && !node.signs_with(11));
    node.refuses(11, &enrol("eve", Role::Analyst, 5), "no enrolled person");
    node.is_so_after_a_replay();
    // It still waits, and is withdrawn by an act of any time.
    node.now = told;
    let withdraw = Change::Withdraw {
        act: taken.digest(),
    };
    assert_eq!(node.does(3, &withdraw), Ok(Effect::Withdrawn));
    node.now = taken.until();
    node.settles();
    assert!(node.signs_with(1));
    node.is_so_after_a_replay();
}

/// An act of the log has its place, not its time: clocks of persons differ.
#[test]
fn what_was_signed_by_a_slow_or_fast_clock_holds_after_a_replay() {
    let mut node = Node::of_two();
    let lost = node.tells("ada", 11).unwrap();
    // Signed ahead, before it is settled, by the key of before.
    node.now = lost.until().plus_millis(5 * 60_000);
    let of_ada = node.proposes(1, &enrol("cy", Role::Analyst, 4));
    node.now = lost.until();
    node.settles();
    // Signed behind, after it was settled.
    node.now = lost.until().plus_millis(-5 * 60_000);
    assert_eq!(node.does(3, &of_ada), Ok(Effect::Done));
    let _ = node.proposes(11, &enrol("dan", Role::Analyst, 5));
    node.is_so_after_a_replay();
}

/// HP-199: the withdrawal of one counted as that of both.
#[test]
fn of_two_recoveries_with_one_key_each_is_withdrawn_and_settled_by_itself() {
    let mut node = Node::of_two();
    let one = node.tells("ada", 11).unwrap();
    let other = node.tells("ada", 11).unwrap();
    assert_eq!(one.since, other.since);
    assert_eq!(node.persons.proposals(node.now).count(), 2);
    let withdraw = Change::Withdraw { act: one.digest() };
    assert_eq!(node.does(3, &withdraw), Ok(Effect::Withdrawn));
    node.is_so_after_a_replay();
    assert_eq!(node.persons.proposals(node.now).count(), 1);
    node.now = other.until();
    node.settles();
    assert!(node.signs_with(11) && !node.signs_with(1));
    node.is_so_after_a_replay();
    // A third with the same key is of nobody any more.
    let third = node.tells("ada", 11).unwrap_err();
    assert_eq!(third, PersonError::KeyTaken("ada".to_owned()));
}

/// The machine and the passphrase alone take no node over unseen.
#[test]
fn whoever_may_second_withdraws_a_recovery_and_nobody_else() {
    for seed in [2, 3] {
        let mut node = Node::of_two();
        let taken = node.tells("ada", 11).unwrap();
        let withdraw = Change::Withdraw {
            act: taken.digest(),
        };
        node.refuses(11, &withdraw, "");
        assert_eq!(node.does(seed, &withdraw), Ok(Effect::Withdrawn));
        node.now = taken.until();
        node.settles();
        assert_eq!(node.persons.proposals(node.now).count(), 0);
        assert_eq!(person(&node, "ada").key, key(1).public());
        assert!(node.signs("ada"));
        node.is_so_after_a_replay();
        node.refuses(seed, &withdraw, "no such proposal");
    }
}

#[test]
fn only_a_present_administrator_is_recovered_with_a_key_of_nobody() {
    let mut node = Node::of_two();
    for (id, seed, says) in [
        ("sue", 11, "no administrator"),
        ("eve", 11, "no person"),
        ("ada", 1, "key of `ada`"),
        ("ada", 2, "key of `bea`"),
    ] {
        let refused = node.tells(id, seed).unwrap_err();
        assert!(refused.to_string().contains(says), "{refused}");
    }
    // Ended meanwhile, they stay ended.
    let lost = node.tells("ada", 11).unwrap();
    let of_bea = node.proposes(2, &end("ada"));
    assert_eq!(node.does(3, &of_bea), Ok(Effect::Done));
    node.now = lost.until();
    node.settles();
    assert!(!node.signs("ada"));
    let _ = node.proposes(2, &enrol("cy", Role::Analyst, 4));
    assert_eq!(person(&node, "ada").key, key(1).public());
    node.is_so_after_a_replay();
}

/// Newcomer: nobody could take back what they had proposed, and who proposed their own end could
/// never be seconded.
#[test]
fn who_proposed_withdraws_and_nobody_proposes_their_own_end() {
    let mut node = Node::of_two();
    let withdrawn = |proposal: &Change| {
        let Change::Second { act } = proposal else {
            panic!("{proposal:?}");
        };
        Change::Withdraw { act: *act }
    };
    let of_ada = withdrawn(&node.proposes(1, &end("bea")));
    assert!(!node.signs("bea"));
    // Nobody else lifts the suspension, least of all who is suspended.
    node.refuses(3, &of_ada, "`ada` proposed it");
    node.refuses(2, &of_ada, "");
    assert_eq!(node.does(1, &of_ada), Ok(Effect::Withdrawn));
    assert!(node.signs("bea"));
    assert!(node.replayed().persons.all().eq(node.persons.all()));
    // Of two ends, the withdrawal of the older lifts nothing.
    let older = withdrawn(&node.proposes(1, &end("bea")));
    let _ = node.proposes(1, &end("bea"));
    assert_eq!(node.does(1, &older), Ok(Effect::Withdrawn));
    assert!(!node.signs("bea"));
    let by_bea = node.check_new(2, "bea", &end("bea"), node.now);
    assert_eq!(by_bea, Err(PersonError::SignerGone), "she is suspended");
    node.now = node.now.plus_millis(WEEK_MS);
    for (whom, expected) in [("bea", Err(PersonError::Oneself)), ("ada", Ok(()))] {
        assert_eq!(node.check_new(2, "bea", &end(whom), node.now), expected);
    }
}

/// Attack on the withdrawal: an accomplice proposes the same end, and takes back their own.
#[test]
fn a_suspension_lasts_as_long_as_anybodys_end_waits() {
    let mut node = Node::of_two();
    let third = node.proposes(1, &enrol("cy", Role::Administrator, 4));
    assert_eq!(node.does(3, &third), Ok(Effect::Done));
    node.now = node.now.plus_millis(WEEK_MS);
    let of_bea = node.proposes(2, &end("ada"));
    let Change::Second { act } = node.proposes(4, &end("ada")) else {
        panic!("it was done");
    };
    assert_eq!(
        node.does(4, &Change::Withdraw { act }),
        Ok(Effect::Withdrawn)
    );
    assert!(!node.signs("ada"));
    assert!(node.replayed().persons.all().eq(node.persons.all()));
    assert_eq!(node.does(3, &of_bea), Ok(Effect::Done));
}

/// Attack on the recovery: whoever had the passphrase would have made their own second.
#[test]
fn a_recovered_key_seconds_nothing_for_a_week() {
    let mut node = Node::of_two();
    let taken = node.tells("bea", 11).unwrap();
    node.now = taken.until();
    node.settles();
    let of_ada = node.proposes(1, &enrol("eve", Role::Administrator, 5));
    node.refuses(11, &of_ada, "less than seven days");
    // A machine's clock that was set ahead shortens no week.
    let believed = node.now;
    node.now = believed.plus_millis(WEEK_MS);
    let refused = node.check_new(11, "bea", &of_ada, believed);
    assert!(matches!(refused, Err(PersonError::Dependent { .. })));
    node.now = believed;
    assert_eq!(node.does(3, &of_ada), Ok(Effect::Done));
    node.is_so_after_a_replay();
}

/// Sibling of HP-199: a clock that was set ahead lifted suspensions.
#[test]
fn who_is_suspended_signs_nothing_by_a_clock_that_was_set_ahead() {
    let mut node = Node::of_two();
    node.proposes(1, &end("bea"));
    let believed = node.now;
    node.now = believed.plus_millis(WEEK_MS);
    let change = enrol("eve", Role::Analyst, 5);
    let refused = node.check_new(2, "bea", &change, believed);
    assert_eq!(refused, Err(PersonError::SignerGone));
    assert_eq!(node.check_new(2, "bea", &change, node.now), Ok(()));
}

/// Notes that the last version, which settled by the time of an act, left behind.
mod of_an_earlier_version {
    use super::*;

    fn told(node: &mut Node, id: &str, seed: u8) -> Recovery {
        let recovery = Recovery {
            told_after: None,
            ..node.tells(id, seed).unwrap()
        };
        // The earlier version gave it another id.
        node.persons.void(&node.recoveries.pop().unwrap().digest());
        node.persons.recover(&recovery).unwrap();
        node.recoveries.push(recovery.clone());
        recovery
    }

    fn settle_by_time(node: &mut Node, end: RecoveryEnd) {
        let at = node.now;
        let after = None;
        for one in &mut node.recoveries {
            one.settled = Some(Settled { end, at, after });
        }
    }

    /// The last landed version's log and facts are believed as they were.
    #[test]
    fn a_recovery_that_counted_counts_for_every_act_signed_since() {
        let mut node = Node::of_two();
        let lost = told(&mut node, "ada", 11);
        node.now = lost.until().plus_millis(HOUR);
        node.persons.settle(&lost.digest(), lost.until()).unwrap();
        settle_by_time(&mut node, RecoveryEnd::Counts);
        node.is_so_after_a_replay();
        let of_ada = node.proposes(11, &enrol("cy", Role::Analyst, 4));
        assert_eq!(node.does(3, &of_ada), Ok(Effect::Done));
        node.is_so_after_a_replay();
        // A later key in place of the recovered one stays.
        let rekey = Change::Rekey {
            id: "ada".to_owned(),
            key: key(12).public(),
        };
        let second = node.proposes(2, &rekey);
        assert_eq!(node.does(3, &second), Ok(Effect::Done));
        node.is_so_after_a_replay();
        assert!(node.signs_with(12) && !node.signs_with(11));
    }

    /// Attack on the replay: a withdrawal of before the recovery held until the next start.
    #[test]
    fn a_recovery_that_waits_is_withdrawn_by_its_id_of_then_and_not_ahead_of_it() {
        let mut node = Node::of_two();
        node.now = node.now.plus_millis(HOUR);
        let taken = told(&mut node, "ada", 11);
        let withdraw = Change::Withdraw {
            act: taken.digest(),
        };
        node.now = node.now.plus_millis(-HOUR);
        node.refuses(3, &withdraw, "lies ahead");
        node.now = taken.since;
        node.is_so_after_a_replay();
        assert_eq!(node.does(3, &withdraw), Ok(Effect::Withdrawn));
        node.is_so_after_a_replay();
        // So it is with what the earlier version noted of the withdrawal.
        settle_by_time(&mut node, RecoveryEnd::Void);
        node.is_so_after_a_replay();
        let other = told(&mut node, "bea", 12);
        node.now = other.until();
        node.settles();
        let _ = node.proposes(12, &enrol("cy", Role::Analyst, 4));
        node.is_so_after_a_replay();
    }
}

/// Attack on the order of checks: the role was that of when the act was announced.
#[test]
fn whose_role_was_taken_meanwhile_seconds_nothing() {
    let mut node = Node::of_two();
    let of_ada = node.proposes(1, &enrol("cy", Role::Analyst, 4));
    let role = Change::Role {
        id: "sue".to_owned(),
        role: Role::Analyst,
    };
    let demotes = node.proposes(1, &role);
    assert_eq!(node.does(2, &demotes), Ok(Effect::Done));
    let late = Signed {
        by: "sue",
        key: key(3).id(),
        act: Digest::labelled("an act", &[]),
        at: node.now,
    };
    let refused = node.persons.apply(&of_ada, late);
    assert_eq!(refused, Err(PersonError::SignerGone));
}
