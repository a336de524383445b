//! Tests of the diagnosis: each fault is found, and a node without faults has only good findings.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;
use crate::setup::{self, NewNode};
use portcullis_home::{
    Home,
    files::{self, Access},
    secret::KeySource,
};

const NOW: Timestamp = Timestamp::from_millis(1_772_366_400_000);
const DAY: i64 = 86_400_000;

fn sound() -> NodeFacts {
    NodeFacts {
        key_place: Some(KeyPlace::Elsewhere),
        keys: KeysFact::Open,
        store: Ok(()),
        register: RegisterFact::Held {
            epoch: 4,
            issued_at: NOW.plus_millis(-DAY),
            listed: Listed::Yes,
        },
        certificate: CertificateFact::Fit {
            term: term(365, 60),
        },
        revocation: Revocation {
            authorities: vec![RevocationFact {
                authority: "be-customs".parse().unwrap(),
                term: Some(term(30, 20)),
            }],
            ..Revocation::default()
        },
        policy: Ok(()),
        settings: SettingsFact::Accepted,
        socket: SocketFact::Answers,
        freshness: Stage::Unused,
        dependencies: Vec::new(),
        space: Some(Space {
            free: 2 << 30,
            reserve: 1 << 30,
        }),
        unread: Vec::new(),
        schema: Ok(()),
        too_long_by: None,
        hindered: Vec::new(),
        keys_waiting: Vec::new(),
        last_backup: None,
        checked: None,
        reported: Vec::new(),
    }
}

/// Returns a term of `lasts` days with `left` days left.
fn term(lasts: i64, left: i64) -> Term {
    let until = NOW.plus_millis(left * DAY);
    let since = until.plus_millis(-lasts * DAY);
    Term { since, until }
}

fn of(node: NodeFacts) -> Vec<Finding> {
    diagnose(&Facts {
        now: NOW,
        exposed: Vec::new(),
        node: Ok(node),
    })
}

/// Checks that this node has exactly one fault, with this severity, subject and description.
#[track_caller]
fn finds(node: NodeFacts, severity: Severity, about: &str, says: &str) {
    let bad: Vec<_> = of(node)
        .into_iter()
        .filter(|finding| finding.severity != Severity::Good)
        .collect();
    let [found] = bad.as_slice() else {
        panic!("{bad:?}");
    };
    assert_eq!((found.severity, found.about), (severity, about));
    assert!(found.what.contains(says), "{}", found.what);
    assert!(!found.advice.is_empty(), "{found:?}");
}

#[test]
fn a_node_as_it_should_be_is_good_throughout() {
    let findings = of(sound());
    assert!(findings.len() >= 8);
    assert!(
        findings
            .iter()
            .all(|found| found.severity == Severity::Good)
    );
}

#[test]
fn a_passphrase_beside_the_store_is_warned_of() {
    let node = |place| NodeFacts {
        key_place: Some(place),
        ..sound()
    };
    finds(
        node(KeyPlace::Beside),
        Severity::Warning,
        "key",
        "in the node's home",
    );
    finds(
        node(KeyPlace::SameDisk),
        Severity::Warning,
        "key",
        "on the disk",
    );
}

#[test]
fn keys_that_do_not_open_are_an_error_with_its_own_advice() {
    let node = NodeFacts {
        keys: KeysFact::Closed("the passphrase does not open the node keys; give another".into()),
        ..sound()
    };
    finds(node, Severity::Error, "keys", "does not open");
}

#[test]
fn a_credential_of_the_service_is_no_error_outside_of_it() {
    let node = NodeFacts {
        key_place: None,
        keys: KeysFact::OutOfReach,
        ..sound()
    };
    finds(node, Severity::Warning, "keys", "systemd");
}

#[test]
fn a_register_that_is_not_there_or_does_not_list_the_node_is_an_error() {
    let with = |register| NodeFacts {
        register,
        ..sound()
    };
    let held = |listed| RegisterFact::Held {
        epoch: 4,
        issued_at: NOW,
        listed,
    };
    finds(
        with(RegisterFact::Missing),
        Severity::Error,
        "register",
        "none",
    );
    finds(
        with(held(Listed::No)),
        Severity::Error,
        "register",
        "does not list",
    );
    finds(
        with(held(Listed::Otherwise)),
        Severity::Error,
        "register",
        "other keys",
    );
}

#[test]
fn a_clock_behind_the_register_is_an_error() {
    let node = |ahead| NodeFacts {
        register: RegisterFact::Held {
            epoch: 4,
            issued_at: NOW.plus_millis(ahead),
            listed: Listed::Yes,
        },
        ..sound()
    };
    finds(node(DAY), Severity::Error, "clock", "issued at");
    assert!(
        of(node(60_000))
            .iter()
            .all(|found| found.severity == Severity::Good)
    );
}

#[test]
fn a_certificate_that_is_missing_worthless_or_ends_soon_is_found() {
    let with = |certificate| NodeFacts {
        certificate,
        ..sound()
    };
    let ends = |days: i64| CertificateFact::Fit {
        term: term(365, days),
    };
    finds(
        with(CertificateFact::Missing),
        Severity::Error,
        "certificate",
        "none",
    );
    finds(
        with(CertificateFact::Development),
        Severity::Error,
        "certificate",
        "RG-09",
    );
    finds(
        with(ends(29)),
        Severity::Warning,
        "certificate",
        "ends at 2026-03-30",
    );
    assert!(
        of(with(ends(31)))
            .iter()
            .all(|found| found.severity == Severity::Good)
    );
}

#[test]
fn revocation_lists_that_are_missing_or_ended_are_found() {
    let with = |term| NodeFacts {
        revocation: Revocation {
            authorities: vec![RevocationFact {
                authority: "be-customs".parse().unwrap(),
                term,
            }],
            ..Revocation::default()
        },
        ..sound()
    };
    let due = |days: i64| Some(term(8, days));
    finds(
        with(None),
        Severity::Warning,
        "revocation",
        "no revocation list of `be-customs`",
    );
    finds(with(due(-1)), Severity::Error, "revocation", "refused");
    finds(with(due(2)), Severity::Warning, "revocation", "ends at");
}

#[test]
fn a_list_that_does_not_hold_is_an_error_and_one_that_is_not_needed_a_warning() {
    let with = |revocation| NodeFacts {
        revocation,
        ..sound()
    };
    let what = || vec!["`crl/a.crl` is odd; remove it".to_owned()];
    let faulty = Revocation {
        faults: what(),
        ..Revocation::default()
    };
    finds(with(faulty), Severity::Error, "revocation", "a.crl");
    let idle = Revocation {
        idle: what(),
        ..Revocation::default()
    };
    finds(with(idle), Severity::Warning, "revocation", "a.crl");
}

#[test]
fn what_the_running_node_reports_is_found() {
    let reported = vec![("somebody is not believed".to_owned(), "look".to_owned())];
    let node = NodeFacts {
        reported,
        ..sound()
    };
    finds(node, Severity::Error, "node", "not believed");
}

#[test]
fn a_socket_without_a_node_behind_it_is_told_from_none() {
    let with = |socket| NodeFacts { socket, ..sound() };
    finds(
        with(SocketFact::Absent),
        Severity::Warning,
        "socket",
        "does not run",
    );
    finds(
        with(SocketFact::Dead),
        Severity::Warning,
        "socket",
        "nobody answers",
    );
}

#[test]
fn errors_stand_first() {
    let findings = diagnose(&Facts {
        now: NOW,
        exposed: vec![Exposed {
            path: "/srv/node/keys/node.keys".into(),
            mode: 0o644,
            should: 0o600,
        }],
        node: Ok(NodeFacts {
            socket: SocketFact::Absent,
            ..sound()
        }),
    });
    assert_eq!(
        findings[0].advice,
        "run `chmod 600 /srv/node/keys/node.keys`"
    );
    assert_eq!(findings[1].severity, Severity::Warning);
    assert_eq!(findings[2].severity, Severity::Good);
}

#[test]
fn a_home_fresh_from_init_lacks_register_and_certificate_only() {
    let folder = tempfile::tempdir().unwrap();
    let passphrase = folder.path().join("passphrase");
    files::create(&passphrase, b"four words in a row", Access::Owner).unwrap();
    let home = Home::new(folder.path().join("home"));
    setup::init(
        &home,
        &NewNode {
            federation: "ports".parse().unwrap(),
            authority: "be-customs".parse().unwrap(),
            node: "antwerp".parse().unwrap(),
            dns_name: "antwerp.example".parse().unwrap(),
            listen: "127.0.0.1:7443".parse().unwrap(),
            register_pin: portcullis_protocol::digest::Digest::labelled("pin", &[]),
            key: KeySource::PassphraseFile(passphrase),
            metrics: None,
            first_administrator: None,
            schema: None,
        },
    )
    .unwrap();
    let errors = |home: &Home| -> Vec<&'static str> {
        diagnose(&inspect(home, NOW))
            .into_iter()
            .filter(|found| found.severity == Severity::Error)
            .map(|found| found.about)
            .collect()
    };
    assert_eq!(errors(&home), ["register", "certificate"]);
    let facts = inspect(&home, NOW).node.unwrap();
    assert_eq!(facts.key_place, Some(KeyPlace::SameDisk));
    assert_eq!(facts.socket, SocketFact::Absent);

    fs::set_permissions(home.keys(), fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(home.data().join("store.db")).unwrap();
    fs::write(home.policy().join("a.cedar"), "permit everything").unwrap();
    let found = errors(&home);
    for about in ["permissions", "keys", "store", "policy"] {
        assert!(found.contains(&about), "{about}: {found:?}");
    }
}

#[test]
fn a_folder_that_is_no_home_says_to_run_init() {
    let folder = tempfile::tempdir().unwrap();
    let findings = diagnose(&inspect(&Home::new(folder.path()), NOW));
    assert_eq!(findings.len(), 1);
    assert!(
        findings[0].advice.contains("portcullis init"),
        "{findings:?}"
    );
}

#[test]
fn a_register_that_is_not_fresh_is_warned_of_and_at_last_an_error() {
    let with = |stage| NodeFacts {
        freshness: stage,
        ..sound()
    };
    for (stage, severity, says) in [
        (Stage::Ending(NOW), Severity::Warning, "last day"),
        (Stage::Stale(NOW), Severity::Warning, "nobody has said"),
        (Stage::BulkStopped(NOW), Severity::Error, "bulk"),
    ] {
        finds(with(stage), severity, "freshness", says);
    }
    let fresh = of(with(Stage::Fresh(NOW)));
    assert!(fresh.iter().all(|found| found.severity == Severity::Good));
}

#[test]
fn what_a_running_node_does_not_do_is_found() {
    let node = NodeFacts {
        hindered: vec![("blocked here: `hub`".to_owned(), "unblock it".to_owned())],
        ..sound()
    };
    finds(node, Severity::Warning, "node", "blocked here");
}

#[test]
fn what_vouches_for_a_peer_is_warned_of_before_it_ends() {
    let anchor = || Subject::Anchor("hub".parse().unwrap());
    let node = |left| NodeFacts {
        dependencies: vec![Dependency::lasting(anchor(), term(3650, left))],
        ..sound()
    };
    finds(node(29), Severity::Warning, "peer", "anchor of `hub`");
    assert!(
        of(node(31))
            .iter()
            .all(|found| found.severity == Severity::Good)
    );
}

/// Attack H4, M9: too little space, and what the running node tells of, are errors.
#[test]
fn a_short_disk_and_the_problems_of_the_running_node_are_found() {
    let short = NodeFacts {
        space: Some(Space {
            free: 1 << 20,
            reserve: 1 << 30,
        }),
        ..sound()
    };
    finds(short, Severity::Error, "disk", "1 MiB are free");
    let damaged = NodeFacts {
        reported: vec![(
            "1 held record is damaged".to_owned(),
            "restore it".to_owned(),
        )],
        ..sound()
    };
    finds(damaged, Severity::Error, "node", "damaged");
}

/// Attack H1: neither changed settings nor keys that seal none were told of.
#[test]
fn settings_that_nobody_accepted_are_an_error_and_unsealed_ones_a_warning() {
    let changed = SettingsFact::Changed(vec!["exercises: default -> true".to_owned()]);
    for (settings, severity, says) in [
        (changed, Severity::Error, "exercises"),
        (SettingsFact::Unsealed, Severity::Warning, "not sealed"),
    ] {
        let node = NodeFacts {
            settings,
            ..sound()
        };
        finds(node, severity, "settings", says);
    }
}

/// Newcomer B16: keys that wait for the register were in no command.
#[test]
fn keys_that_wait_for_the_register_are_found() {
    let node = NodeFacts {
        keys_waiting: vec![KeyUse::Sealing, KeyUse::Hop],
        ..sound()
    };
    finds(node, Severity::Warning, "keys", "sealing, hop");
}

#[test]
fn an_old_backup_or_none_is_warned_of_and_a_new_one_is_good() {
    const DAY: i64 = 24 * 3_600_000;
    let with = |taken: Option<i64>| NodeFacts {
        last_backup: Some(taken.map(|days| NOW.plus_millis(-days * DAY))),
        ..sound()
    };
    finds(with(None), Severity::Warning, "backup", "knows of none");
    finds(with(Some(8)), Severity::Warning, "backup", "the latest");
    let findings = of(with(Some(7)));
    assert!(findings.iter().all(|one| one.severity == Severity::Good));
}

/// Newcomer A14, A19, bug 18: doctor called a node good whose restriction was in no policy, whose
/// schema did not parse, or whose home was too long for its socket.
#[test]
fn a_policy_that_is_not_read_a_wrong_schema_and_a_long_home_are_found() {
    let node = NodeFacts {
        unread: vec!["own.ceder".to_owned()],
        ..sound()
    };
    finds(node, Severity::Warning, "policy", "`own.ceder` is not read");
    let node = NodeFacts {
        schema: Err("`schema.toml`: line 3".to_owned()),
        ..sound()
    };
    finds(node, Severity::Error, "schema", "line 3");
    let node = NodeFacts {
        too_long_by: Some(9),
        ..sound()
    };
    finds(node, Severity::Error, "socket", "9 bytes too long");
}

/// Newcomer A15: a home that everybody could enter was not found.
#[test]
fn a_home_that_is_open_to_others_is_found_with_the_mode_that_it_should_have() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path().join("home"));
    fs::create_dir(home.folder()).unwrap();
    // A folder without one is no home.
    fs::write(home.config(), "").unwrap();
    for (mode, should) in [
        (0o700, None),
        (0o750, None),
        (0o755, Some(0o750)),
        (0o711, Some(0o710)),
        (0o777, Some(0o750)),
        (0o770, Some(0o750)),
    ] {
        fs::set_permissions(home.folder(), fs::Permissions::from_mode(mode)).unwrap();
        let exposed = inspect(&home, NOW).exposed;
        let found: Vec<u32> = exposed.iter().map(|one| one.should).collect();
        assert_eq!(found, Vec::from_iter(should), "{mode:o}");
    }
}
