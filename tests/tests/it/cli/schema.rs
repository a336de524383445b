//! The schema of consignments at the command line: begun with, explained, checked.

use std::fs;

use serde_json::Value;

use super::User;

fn init(user: &User, more: &[&str]) {
    user.file("pass", "four words are enough\n");
    let pin = "0a".repeat(32);
    let command = [
        "init",
        "--federation",
        "eu",
        "--authority",
        "be-customs",
        "--id",
        "antwerp",
        "--dns-name",
        "a.example",
        "--pin",
        &pin,
        "--passphrase-file",
        "pass",
    ];
    user.good(&[&command[..], more].concat());
}

fn json(user: &User, command: &[&str]) -> Value {
    serde_json::from_str(&user.good(&[command, &["--json"]].concat())).unwrap()
}

/// Newcomer A19: the columns of a consignment stood in the source alone, and the shipped ones were a data
/// set's.
#[test]
fn a_node_begins_with_the_schema_of_a_port_and_explains_it() {
    let user = User::new();
    init(&user, &["--schema", "port"]);
    let shown = json(&user, &["schema", "show"]);
    assert_eq!(shown["name"], "port");
    assert!(
        shown["from"]
            .as_str()
            .unwrap()
            .ends_with("node/schema.toml")
    );
    let fields = shown["fields"].as_array().unwrap();
    assert_eq!(fields.len(), 16);
    for field in fields {
        assert!(
            field["about"].is_string() && field["example"].is_string(),
            "{field}"
        );
    }
    let container = &fields[3];
    assert_eq!(container["column"], "Container");
    assert_eq!(container["identifier"], "container");
    assert_eq!(container["optional"], true);
    assert_eq!(
        json(&user, &["schema", "check"])["notes"],
        Value::Array(vec![])
    );
    // What was begun with is accepted: nothing differs.
    let doctor = user.run(&["doctor", "--json"]);
    let doctor: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let told = doctor["findings"].as_array().unwrap().iter();
    let schema: Vec<&Value> = told.filter(|one| one["about"] == "schema").collect();
    assert_eq!(schema[0]["severity"], "good", "{doctor}");
    // The file to begin with has a column for each field, and is read as it is.
    let csv = user.good(&["schema", "show", "port", "--csv"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with("Reference,Terminal,ETA,Container,"),
        "{csv}"
    );
    assert_eq!(lines[1].split(',').count(), 16);
}

#[test]
fn a_node_without_a_schema_of_its_own_goes_on_with_that_of_the_data_set() {
    let user = User::new();
    init(&user, &[]);
    assert!(!user.folder().join("node/schema.toml").exists());
    let shown = json(&user, &["schema", "show"]);
    assert_eq!(shown["name"], "customs-kr");
    // A schema of today, without explanations, holds as well.
    let old = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../data/customs-kr/schema.toml"
    ));
    let old = old.unwrap();
    let old = old
        .lines()
        .filter(|line| !line.starts_with("about") && !line.starts_with("example"));
    user.file("node/schema.toml", &old.collect::<Vec<_>>().join("\n"));
    let checked = json(&user, &["schema", "check"]);
    assert_eq!(checked["notes"].as_array().unwrap().len(), 2, "{checked}");
}

#[test]
fn a_schema_that_does_not_hold_is_told_before_a_node_starts_with_it() {
    let user = User::new();
    let port = user.good(&["schema", "show", "port"]);
    assert!(port.contains("UN/LOCODE"), "{port}");
    let text = include_str!("../../../../data/port/schema.toml");
    for (from, to, says) in [
        (
            "date = \"eta\"",
            "date = \"arrival\"",
            "names the field `arrival`",
        ),
        ("kind = \"seal\"", "kind = \"sael\"", "`sael`"),
        (
            "example = \"2026-12-01\"",
            "example = \"1.12.2026\"",
            "column `ETA`: `1.12.2026` is not a day",
        ),
        (
            "example = \"CSQU3054383\"",
            "example = \"CSQU3054384\"",
            "column `Container`",
        ),
        ("optional = true", "colour = true", "colour"),
    ] {
        assert!(text.contains(from), "{from}");
        user.file("own.toml", &text.replacen(from, to, 1));
        let output = user.run(&["schema", "check", "own.toml"]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{errors}");
        assert!(errors.contains(says) && errors.contains("do: "), "{errors}");
    }
}
