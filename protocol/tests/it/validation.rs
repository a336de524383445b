//! Holds docs/validation.md, the rules and their tests together.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use portcullis_protocol::rules::Rule;

const TABLE: &str = include_str!("../../../docs/validation.md");

/// A line of the table.
struct Line {
    id: &'static str,
    title: &'static str,
    checked_in: &'static str,
    remedy: &'static str,
    test: &'static str,
}

fn lines() -> Vec<Line> {
    let is_id = |text: &str| text.len() == 5 && text.as_bytes()[2] == b'-';
    TABLE
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let [_, id, title, checked_in, _, _, remedy, test, _] = cells[..] else {
                return None;
            };
            is_id(id).then_some(Line {
                id,
                title,
                checked_in,
                remedy,
                test,
            })
        })
        .collect()
}

/// The rules that the protocol crate itself checks.
fn own_lines() -> impl Iterator<Item = (Line, Rule)> {
    lines()
        .into_iter()
        .filter(|line| {
            !line.checked_in.starts_with("node") && !line.checked_in.starts_with("policy")
        })
        .map(|line| {
            let rule = line.id.parse().unwrap();
            (line, rule)
        })
}

/// Every Rust file below a folder of this crate, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

/// `re_11_section_that_does_not_match_its_digest`: the id and the title, as a test is named.
fn test_name(rule: Rule) -> String {
    let mut name = String::new();
    for character in format!("{} {}", rule.id(), rule.title()).chars() {
        if character.is_ascii_alphanumeric() {
            name.extend(character.to_lowercase());
        } else if !name.ends_with('_') {
            name.push('_');
        }
    }
    name.trim_end_matches('_').to_owned()
}

#[test]
fn every_rule_stands_once_in_the_table_with_its_title_and_remedy() {
    let lines = lines();
    let ids: BTreeSet<_> = lines.iter().map(|line| line.id).collect();
    assert_eq!(ids.len(), lines.len(), "an id stands twice");
    assert_eq!(ids, Rule::ALL.iter().map(|rule| rule.id()).collect());
    for line in lines {
        let rule: Rule = line.id.parse().unwrap();
        assert_eq!(line.title, rule.title(), "{rule}");
        assert_eq!(line.remedy, rule.remedy(), "{rule}");
    }
}

#[test]
fn every_rule_of_this_crate_is_cited_where_the_table_says() {
    let sources = sources("src");
    for (line, rule) in own_lines() {
        let cited = format!("Rule::{rule:?}");
        let file = line.checked_in.split([' ', ',']).next().unwrap();
        let there = sources
            .iter()
            .any(|(path, text)| path.ends_with(file) && text.contains(&cited));
        assert!(there, "{rule}: `{file}` does not cite `{cited}`");
        for function in line.checked_in.split('`').skip(1).step_by(2) {
            let name = function.rsplit("::").next().unwrap();
            let defined = format!("fn {name}(");
            let found = sources.iter().any(|(_, text)| text.contains(&defined));
            assert!(found, "{rule}: there is no `{name}`");
        }
    }
}

#[test]
fn every_rule_of_this_crate_has_a_test_named_after_it() {
    let sources = [sources("src"), sources("tests")].concat();
    for (line, rule) in own_lines() {
        let name = test_name(rule);
        assert_eq!(line.test, format!("`{name}`"), "{rule}");
        let defined = format!("#[test]\nfn {name}()");
        let found = sources.iter().any(|(_, text)| text.contains(&defined));
        assert!(found, "{rule}: no test is named `{name}`");
    }
}

#[test]
fn every_record_register_and_signature_rule_is_this_crates() {
    let own: BTreeSet<_> = own_lines().map(|(line, _)| line.id).collect();
    let elsewhere = [
        "EX-10", "EX-15", "EX-17", "EX-18", "EX-19", "EX-20", "RG-09",
    ];
    for rule in Rule::ALL {
        let here = ["RE-", "EX-", "RG-"]
            .iter()
            .any(|kind| rule.id().starts_with(kind));
        assert_eq!(
            own.contains(rule.id()),
            here && !elsewhere.contains(&rule.id()),
            "{rule}"
        );
    }
}
