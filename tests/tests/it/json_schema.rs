//! The JSON Schemas of the manual are those of the program, and what does not fit them is found.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use crate::{
    cli::User,
    json_fit::{SCHEMAS, documented, faults},
};

/// Newcomer §5: nothing said what `--json` prints.
#[test]
fn the_schemas_of_the_manual_are_those_of_the_program() {
    let user = User::new();
    user.good(&["man", "--reference", "made"]);
    let read = |folder: &Path| -> BTreeMap<String, Value> {
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
        files
            .map(|file| {
                let name = file.file_name().into_string().unwrap();
                let text = fs::read_to_string(file.path()).unwrap();
                (name, serde_json::from_str(&text).unwrap())
            })
            .collect()
    };
    let made = read(&user.folder().join("made/schemas"));
    let kept = read(Path::new(SCHEMAS));
    let remedy = "run `portcullis man --reference docs`";
    let names = |files: &BTreeMap<String, Value>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&made), names(&kept), "{remedy}");
    for (name, schema) in &made {
        assert_eq!(Some(schema), kept.get(name), "{name}: {remedy}");
    }
}

/// A kind that a command prints and the manual leaves out would be found by nobody.
#[test]
fn every_kind_that_the_source_names_is_documented() {
    let kinds = documented();
    let node = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node");
    let mut looked_at = 0;
    for folder in ["cli/src", "src/commands", "cli/src/federation"] {
        for file in fs::read_dir(node.join(folder)).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for part in text.split("const SCHEMA: &'static str = \"").skip(1) {
                let kind = part.split('"').next().unwrap();
                if kind.starts_with("portcullis/") {
                    assert!(kinds.contains_key(kind), "{}: `{kind}`", path.display());
                    looked_at += 1;
                }
            }
        }
    }
    assert!(looked_at > 50, "{looked_at}");
}

#[test]
fn an_answer_that_does_not_fit_is_found() {
    let kinds = documented();
    let good = json!({
        "schema": "portcullis/error/v1", "message": "m", "causes": [], "rule": null, "do": "d", "exit": 3,
    });
    assert_eq!(faults(&kinds, &good), Vec::<String>::new());
    for (change, says) in [
        (json!({"exit": "3"}), "/exit"),
        (json!({"causes": [1]}), "/causes/0"),
        (json!({"schema": "portcullis/error/v9"}), "not documented"),
        (json!({"message": "2026-12-01T08:00:00Z"}), "another form"),
        (
            json!({"message": "2026-12-01T08:00:00.000+01:00"}),
            "another form",
        ),
    ] {
        let mut bad = good.clone();
        for (name, value) in change.as_object().unwrap() {
            bad[name] = value.clone();
        }
        let found = faults(&kinds, &bad);
        assert!(
            found.iter().any(|fault| fault.contains(says)),
            "{says}: {found:?}"
        );
    }
    let mut short = good.clone();
    short.as_object_mut().unwrap().remove("do");
    assert!(!faults(&kinds, &short).is_empty());
}
