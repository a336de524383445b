//! Tests of the chain: a home takes the next epoch of its own federation and nothing else.

use std::fs;

use super::chain::*;
use crate::{Home, files};
use portcullis_protocol::{digest::Digest, rules::Rule};
use portcullis_testbed::governance::Governance;

fn names(home: &Home) -> Vec<String> {
    files::list(&home.register(), "register")
        .unwrap()
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn epochs_are_installed_in_their_order_whatever_the_order_of_files() {
    let governance = Governance::new();
    let (paths, pin) = governance.three();
    let home = Home::new(governance.home());
    let [first, second, third] = paths;
    let newest = install(&home, &pin, &[third.clone(), first, second]).unwrap();
    assert_eq!(newest.register().epoch, 3);
    assert_eq!(
        names(&home),
        [
            "00000001.register",
            "00000002.register",
            "00000003.register"
        ]
    );
    assert_eq!(load_chain(&home, &pin).unwrap(), newest);
    // A second installation is no error and changes nothing.
    assert_eq!(install(&home, &pin, &[third]).unwrap(), newest);
}

#[track_caller]
fn refused(home: &Home, pin: &Digest, path: std::path::PathBuf, rule: Rule) {
    let before = names(home);
    let error = install(home, pin, &[path]).unwrap_err();
    assert_eq!(error.rule(), Some(rule), "{error}");
    assert!(error.to_string().contains(rule.id()), "{error}");
    assert_eq!(names(home), before);
}

#[test]
fn another_first_epoch_than_the_pinned_is_refused_by_rg_06() {
    let governance = Governance::new();
    let first = governance.next(None);
    let path = governance.file("1", &first);
    let pin = Digest::labelled("another", &[]);
    refused(&Home::new(governance.home()), &pin, path, Rule::RegisterPin);
}

#[test]
fn a_skipped_epoch_is_refused_by_rg_04() {
    let governance = Governance::new();
    let ([first, _, third], pin) = governance.three();
    let home = Home::new(governance.home());
    install(&home, &pin, &[first]).unwrap();
    refused(&home, &pin, third, Rule::RegisterEpoch);
}

#[test]
fn an_older_epoch_of_other_content_is_refused_by_rg_04() {
    let governance = Governance::new();
    let (paths, pin) = governance.three();
    let home = Home::new(governance.home());
    install(&home, &pin, &paths).unwrap();
    let first = governance.next(None);
    let other = governance.signed(&governance.epoch(Some(&first), 2_000), &[0, 1]);
    let path = governance.file("other-2", &other);
    refused(&home, &pin, path, Rule::RegisterEpoch);
}

#[test]
fn a_fork_is_refused_by_rg_05() {
    let governance = Governance::new();
    let ([first, second, _], pin) = governance.three();
    let home = Home::new(governance.home());
    install(&home, &pin, &[first, second]).unwrap();
    let root = governance.next(None);
    let fork = governance.signed(&governance.epoch(Some(&root), 2_000), &[0, 1]);
    let third = governance.next(Some(&fork));
    let path = governance.file("forked-3", &third);
    refused(&home, &pin, path, Rule::RegisterChain);
}

#[test]
fn too_few_signatures_are_refused_by_rg_03() {
    let governance = Governance::new();
    let first = governance.next(None);
    let home = Home::new(governance.home());
    install(&home, &first.digest(), &[governance.file("1", &first)]).unwrap();
    let second = governance.signed(&governance.epoch(Some(&first), 1_000), &[2]);
    let path = governance.file("2", &second);
    refused(&home, &first.digest(), path, Rule::RegisterSignatures);
}

#[test]
fn a_file_that_is_no_register_is_refused_by_rg_01() {
    let governance = Governance::new();
    let path = governance.folder.path().join("junk");
    fs::write(&path, b"not a register").unwrap();
    let pin = Digest::labelled("x", &[]);
    refused(
        &Home::new(governance.home()),
        &pin,
        path,
        Rule::RegisterUnreadable,
    );
}

#[test]
fn a_good_epoch_before_a_bad_one_is_not_installed() {
    let governance = Governance::new();
    let ([first, second, _], pin) = governance.three();
    let home = Home::new(governance.home());
    let bad = governance.folder.path().join("bad");
    let mut bytes = fs::read(second).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&bad, bytes).unwrap();
    assert!(install(&home, &pin, &[first, bad]).is_err());
    assert!(names(&home).is_empty());
}

#[test]
fn any_flipped_bit_in_the_home_is_found_at_the_start() {
    let governance = Governance::new();
    let (paths, pin) = governance.three();
    let home = Home::new(governance.home());
    install(&home, &pin, &paths).unwrap();
    let path = epoch_path(&home, 2);
    let good = fs::read(&path).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, bytes).unwrap();
        assert!(load_chain(&home, &pin).is_err(), "bit {bit}");
    }
}

#[test]
fn a_home_without_a_register_says_to_apply_one() {
    let governance = Governance::new();
    let pin = Digest::labelled("x", &[]);
    let error = load_chain(&Home::new(governance.home()), &pin).unwrap_err();
    assert!(error.to_string().contains("federation apply"), "{error}");
}
