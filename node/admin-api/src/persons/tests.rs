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

/// A node's persons with the log that made them.
struct Node {
    persons: Persons,
    log: Vec<SignedStatement>,
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
        Ok(effect)
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
        replayed(None, &self.log, &[])
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

fn recovery(node: &Node, id: &str, seed: u8) -> Recovery {
    Recovery {
        id: id.to_owned(),
        key: key(seed).public(),
        since: node.now,
    }
}

/// An administrator who lost their key, with nobody left who could second another one.
#[test]
fn a_recovery_counts_after_72_hours_and_so_it_does_after_a_replay() {
    let mut node = Node::of_two();
    node.now = node.now.plus_millis(HOUR);
    let lost = recovery(&node, "ada", 11);
    node.persons.recover(&lost).unwrap();
    let signs_with = |node: &Node, seed: u8| {
        let hex = key(seed).public().to_bytes().to_vec();
        let signers = node.persons.signers(node.now);
        signers.iter().any(|signer| signer.public_key == hex)
    };
    // Until then nothing has changed: it is shown, and the key of before counts.
    node.now = lost.since.plus_millis(RECOVERY_MS - 2);
    assert!(signs_with(&node, 1) && !signs_with(&node, 11));
    let waiting: Vec<_> = node.persons.proposals(node.now).collect();
    assert_eq!(waiting.len(), 1);
    assert!(waiting[0].1.is_recovery());
    assert_eq!(waiting[0].1.until(), lost.since.plus_millis(RECOVERY_MS));
    let second = Change::Second { act: lost.digest() };
    node.refuses(3, &second, "needs no second");
    node.now = lost.since.plus_millis(RECOVERY_MS);
    assert!(!signs_with(&node, 1) && signs_with(&node, 11));
    assert_eq!(
        node.persons.proposals(node.now).count(),
        1,
        "nobody has signed since"
    );
    let of_ada = node.proposes(11, &enrol("cy", Role::Analyst, 4));
    assert_eq!(node.does(3, &of_ada), Ok(Effect::Done));
    node.refuses(1, &enrol("eve", Role::Analyst, 5), "");
    let ada = person(&node, "ada");
    assert_eq!(ada.key, key(11).public());
    assert_eq!(ada.former[0].until, lost.since.plus_millis(RECOVERY_MS));
    // What was signed before and after holds after a restart.
    let again = with_verifier(node.now, |verifier| {
        replay(
            verifier,
            (None, std::slice::from_ref(&lost)),
            &node.log,
            &[],
        )
    });
    assert_eq!((again.unproven, again.idle), (vec![], vec![]));
    assert!(again.persons.all().eq(node.persons.all()));
    // Without the recovery, nothing that rests on it does.
    assert!(!node.replayed().unproven.is_empty());
}

/// The machine and the passphrase alone take no node over unseen.
#[test]
fn whoever_may_second_withdraws_a_recovery_and_nobody_else() {
    for seed in [2, 3] {
        let mut node = Node::of_two();
        let taken = recovery(&node, "ada", 11);
        node.persons.recover(&taken).unwrap();
        let withdraw = Change::Withdraw {
            act: taken.digest(),
        };
        node.refuses(11, &withdraw, "");
        assert_eq!(node.does(seed, &withdraw), Ok(Effect::Withdrawn));
        node.now = node.now.plus_millis(RECOVERY_MS);
        assert_eq!(node.persons.proposals(node.now).count(), 0);
        assert_eq!(person(&node, "ada").key, key(1).public());
        assert!(node.signs("ada"));
        let again = with_verifier(node.now, |verifier| {
            replay(
                verifier,
                (None, std::slice::from_ref(&taken)),
                &node.log,
                &[],
            )
        });
        assert_eq!(again.unproven, Vec::<String>::new());
        let later = std::sync::Arc::new(again.persons).at(node.now);
        assert!(later.all().eq(node.persons.all()));
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
        let refused = node
            .persons
            .recover(&recovery(&node, id, seed))
            .unwrap_err();
        assert!(refused.to_string().contains(says), "{refused}");
    }
    // Ended meanwhile, they stay ended.
    let lost = recovery(&node, "ada", 11);
    node.persons.recover(&lost).unwrap();
    let of_bea = node.proposes(2, &end("ada"));
    assert_eq!(node.does(3, &of_bea), Ok(Effect::Done));
    node.now = node.now.plus_millis(RECOVERY_MS);
    assert!(!node.signs("ada"));
    let _ = node.proposes(2, &enrol("cy", Role::Analyst, 4));
    assert_eq!(person(&node, "ada").key, key(1).public());
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
    assert_eq!(
        node.persons.check_new(&end("ada"), "ada"),
        Err(PersonError::Oneself)
    );
    assert_eq!(node.persons.check_new(&end("ada"), "bea"), Ok(()));
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
    let taken = recovery(&node, "bea", 11);
    node.persons.recover(&taken).unwrap();
    node.now = node.now.plus_millis(RECOVERY_MS);
    let of_ada = node.proposes(1, &enrol("eve", Role::Administrator, 5));
    node.refuses(11, &of_ada, "less than seven days");
    assert_eq!(node.does(3, &of_ada), Ok(Effect::Done));
    let again = with_verifier(node.now, |verifier| {
        let told = std::slice::from_ref(&taken);
        replay(verifier, (None, told), &node.log, &[])
    });
    assert!(again.unproven.is_empty() && again.persons.all().eq(node.persons.all()));
}

/// Attack on the replay: a withdrawal of before the recovery held until the next start.
#[test]
fn a_withdrawal_that_is_signed_before_the_recovery_was_told_is_refused() {
    let mut node = Node::of_two();
    let mut taken = recovery(&node, "ada", 11);
    taken.since = node.now.plus_millis(HOUR);
    node.persons.recover(&taken).unwrap();
    let withdraw = Change::Withdraw {
        act: taken.digest(),
    };
    node.refuses(3, &withdraw, "lies ahead");
    node.now = taken.since;
    assert_eq!(node.does(3, &withdraw), Ok(Effect::Withdrawn));
    // A later recovery is not held up by one that is told later still.
    let other = recovery(&node, "bea", 12);
    let mut far = recovery(&node, "ada", 13);
    far.since = node.now.plus_millis(WEEK_MS);
    node.persons.recover(&other).unwrap();
    node.now = node.now.plus_millis(RECOVERY_MS);
    let _ = node.proposes(12, &enrol("cy", Role::Analyst, 4));
    let again = with_verifier(node.now, |verifier| {
        replay(verifier, (None, &[taken, far, other]), &node.log, &[])
    });
    assert_eq!(again.unproven, Vec::<String>::new());
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
