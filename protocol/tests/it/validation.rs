//! Keeps docs/validation.md, the rules and their tests in agreement.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use portcullis_protocol::rules::Rule;

const TABLE: &str = include_str!("../../../docs/validation.md");

/// One row of the table.
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

impl Line {
    fn rule(&self) -> Rule {
        self.id.parse().unwrap()
    }

    /// Returns whether this crate checks the rule, rather than another one.
    fn is_own(&self) -> bool {
        let elsewhere = ["node/", "policy/"];
        !elsewhere
            .iter()
            .any(|place| self.checked_in.starts_with(place))
    }
}

/// The rules that the protocol crate itself checks.
fn own_lines() -> impl Iterator<Item = Line> {
    lines().into_iter().filter(Line::is_own)
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

/// Returns the name of a rule's test, made of the id and the title:
/// `re_11_section_that_does_not_match_its_digest`.
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
        let rule = line.rule();
        assert_eq!(line.title, rule.title(), "{rule}");
        assert_eq!(line.remedy, rule.remedy(), "{rule}");
    }
}

#[test]
fn every_rule_of_this_crate_is_cited_where_the_table_says() {
    let sources = sources("src");
    for line in own_lines() {
        let rule = line.rule();
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
    for line in own_lines() {
        let rule = line.rule();
        let name = test_name(rule);
        assert_eq!(line.test, format!("`{name}`"), "{rule}");
        let defined = format!("#[test]\nfn {name}()");
        let found = sources.iter().any(|(_, text)| text.contains(&defined));
        assert!(found, "{rule}: no test is named `{name}`");
    }
}

#[test]
fn every_rule_of_another_crate_is_cited_and_tested_there() {
    let workspace = ["../node", "../policy/src"].map(sources).concat();
    for line in lines().iter().filter(|line| !line.is_own()) {
        let rule = line.rule();
        let cited = [format!("Rule::{rule:?}"), rule.id().to_owned()];
        for file in line.checked_in.split(", ") {
            let file = file.split_once('/').unwrap().1;
            let there = workspace.iter().any(|(path, text)| {
                path.ends_with(file) && cited.iter().any(|name| text.contains(name))
            });
            assert!(there, "{rule}: `{file}` does not cite it");
        }
        let name = line.test.trim_matches('`');
        let prefix = format!("{}_", rule.id().to_lowercase().replace('-', "_"));
        assert!(name.starts_with(&prefix), "{rule}: `{name}`");
        let defined = format!("fn {name}()");
        let found = workspace.iter().any(|(_, text)| text.contains(&defined));
        assert!(found, "{rule}: no test is named `{name}`");
    }
}
