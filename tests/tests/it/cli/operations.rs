//! An operator's commands, as far as they need no node: help, wrong usage, wrong values, and a node
//! that is not there.

use super::User;

#[test]
fn the_help_of_what_an_operator_asks_prints_as_before() {
    insta::assert_snapshot!(User::new().session(&[
        &["peer", "--help"],
        &["peer", "list", "--help"],
        &["peer", "block", "--help"],
        &["peer", "unblock", "--help"],
        &["release", "--help"],
        &["release", "stop", "--help"],
        &["release", "resume", "--help"],
        &["hold", "--help"],
        &["hold", "list", "--help"],
        &["hold", "show", "--help"],
        &["hold", "release", "--help"],
        &["hold", "drop", "--help"],
        &["quarantine", "--help"],
        &["quarantine", "list", "--help"],
        &["quarantine", "show", "--help"],
        &["quarantine", "drop", "--help"],
    ]));
}

#[test]
fn the_help_of_dispatch_backups_clock_and_keys_prints_as_before() {
    insta::assert_snapshot!(User::new().session(&[
        &["dispatch", "--help"],
        &["dispatch", "status", "--help"],
        &["dispatch", "undelivered", "--help"],
        &["dispatch", "retry", "--help"],
        &["dispatch", "backfill", "--help"],
        &["dispatch", "forks", "--help"],
        &["backup", "--help"],
        &["backup", "verify", "--help"],
        &["restore", "--help"],
        &["clock", "confirm", "--help"],
        &["keys", "rotate", "--help"],
    ]));
}

#[test]
fn what_an_operator_writes_wrong_ends_with_64_or_3() {
    insta::assert_snapshot!(User::new().session(&[
        &["peer"],
        &["peer", "block"],
        &["peer", "block", "no node"],
        &["peer", "list", "antwerp"],
        &["release", "stop"],
        &["hold", "show"],
        &["hold", "release", "--rule", "XX-99"],
        &["quarantine", "show", "seven"],
        &["quarantine", "drop"],
        &["quarantine", "list", "--rule", "rumour"],
        &["dispatch", "retry", "3f9a"],
        &["dispatch", "backfill", "antwerp"],
        &["dispatch", "backfill", "antwerp", "--since", "yesterday"],
        &[
            "dispatch",
            "backfill",
            "antwerp",
            "--cancel",
            "--since",
            "2021-03-01"
        ],
        &[
            "dispatch",
            "backfill",
            "antwerp",
            "--since",
            "2021-03-01",
            "--yes",
            "--dry-run"
        ],
        &["backup"],
        &["backup", "--to", "data"],
        &["backup", "verify"],
        &["backup", "verify", "nowhere"],
        &["backup", "verify", "nowhere", "--pin", "ab"],
        &["restore", "--from", "nowhere"],
        &["restore", "--from", "nowhere", "--keys", "nowhere"],
        &["clock"],
        &["keys", "rotate", "--use", "governance", "--out", "x"],
        &["keys", "rotate", "--use", "hop"],
    ]));
}

#[test]
fn what_needs_a_running_node_says_that_there_is_none() {
    insta::assert_snapshot!(User::new().session(&[
        &["peer", "list"],
        &["peer", "list", "--json"],
        &["hold", "list"],
        &["quarantine", "list"],
        &["dispatch", "status"],
        &["dispatch", "undelivered"],
        &["dispatch", "forks"],
        &["clock", "confirm"],
        &["release", "stop", "all"],
    ]));
}
