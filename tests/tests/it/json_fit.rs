//! Check of an answer in JSON against the manual: it fits the JSON Schema of its kind, and its times have
//! one form. The helper that runs commands asks this of every answer that a test sees.
//!
//! [`misfits`] knows the words of JSON Schema that the program's schemas use, and fails at any other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Output,
    sync::LazyLock,
};

use serde_json::{Map, Value};

pub(crate) const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schemas");

/// Returns the schema of each kind of answer, as the manual has it.
pub(crate) fn documented() -> BTreeMap<String, Value> {
    let read = |path: &Path| -> Value {
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    let files = fs::read_dir(SCHEMAS).unwrap();
    files
        .map(|file| read(&file.unwrap().path()))
        .map(|schema| (schema["title"].as_str().unwrap().to_owned(), schema))
        .collect()
}

static DOCUMENTED: LazyLock<BTreeMap<String, Value>> = LazyLock::new(documented);

/// Checks what a command printed that was asked for JSON: its answers, or its error.
#[track_caller]
pub(crate) fn check(arguments: &[&str], output: &Output) {
    let answers = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    // Pages of the manual and scripts are no JSON.
    let answers = answers.map_while(Result::ok);
    let errors = String::from_utf8_lossy(&output.stderr);
    let errors = errors
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for answer in answers.chain(errors) {
        let found = faults(&DOCUMENTED, &answer);
        assert!(found.is_empty(), "{arguments:?}: {found:#?}");
    }
}

/// Returns what of an answer does not fit the schema of its kind, and times in another form than that of
/// the manual.
pub(crate) fn faults(kinds: &BTreeMap<String, Value>, answer: &Value) -> Vec<String> {
    let Some(kind) = answer["schema"].as_str() else {
        return vec!["it has no `schema`".to_owned()];
    };
    let Some(schema) = kinds.get(kind) else {
        return vec![format!("`{kind}` is not documented")];
    };
    let mut found = misfits(schema, schema, answer, "");
    times(answer, "", &mut found);
    found
}

/// Words of a schema that say nothing about what fits.
const SILENT: [&str; 8] = [
    "$schema",
    "$defs",
    "title",
    "description",
    "format",
    "default",
    "minimum",
    "maximum",
];

fn misfits(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if *schema == Value::Bool(true) {
        return Vec::new();
    }
    let Some(words) = schema.as_object() else {
        panic!("{at}: `{schema}` is no schema");
    };
    let mut found = Vec::new();
    for (word, said) in words {
        let mut more = match word.as_str() {
            "$ref" => {
                let place = said.as_str().unwrap().trim_start_matches('#');
                misfits(root, root.pointer(place).unwrap(), value, at)
            }
            "type" => {
                let types = said
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![said.clone()]);
                let fits = types.iter().any(|one| is_of(one.as_str().unwrap(), value));
                told(fits, || format!("{at}: {value} is no {said}"))
            }
            "const" => told(said == value, || format!("{at}: {value} is not {said}")),
            "enum" => {
                let fits = said.as_array().unwrap().contains(value);
                told(fits, || format!("{at}: {value} is none of {said}"))
            }
            "required" => {
                let names = said
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|one| one.as_str().unwrap());
                let object = value.as_object();
                let missing =
                    names.filter(|name| object.is_some_and(|one| !one.contains_key(*name)));
                missing
                    .map(|name| format!("{at}: `{name}` is missing"))
                    .collect()
            }
            "properties" => properties(root, said.as_object().unwrap(), value, at),
            "additionalProperties" | "unevaluatedProperties" => {
                additional(root, said, words, value, at)
            }
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                items
                    .flat_map(|(place, item)| misfits(root, said, item, &format!("{at}/{place}")))
                    .collect()
            }
            "prefixItems" => {
                let pairs = said
                    .as_array()
                    .unwrap()
                    .iter()
                    .zip(value.as_array().into_iter().flatten());
                pairs
                    .flat_map(|(one, item)| misfits(root, one, item, at))
                    .collect()
            }
            "minItems" => {
                let count = value.as_array().map_or(0, Vec::len) as u64;
                told(count >= said.as_u64().unwrap(), || format!("{at}: too few"))
            }
            "maxItems" => {
                let count = value.as_array().map_or(0, Vec::len) as u64;
                told(count <= said.as_u64().unwrap(), || {
                    format!("{at}: too many")
                })
            }
            "anyOf" | "oneOf" => {
                let ways = said.as_array().unwrap().iter();
                let fits = ways
                    .clone()
                    .any(|one| misfits(root, one, value, at).is_empty());
                told(fits, || format!("{at}: {value} fits none of the ways"))
            }
            "allOf" => {
                let ways = said.as_array().unwrap().iter();
                ways.flat_map(|one| misfits(root, one, value, at)).collect()
            }
            silent if SILENT.contains(&silent) => Vec::new(),
            unknown => panic!("{at}: this test does not know `{unknown}`"),
        };
        found.append(&mut more);
    }
    found
}

fn told(fits: bool, text: impl FnOnce() -> String) -> Vec<String> {
    if fits { Vec::new() } else { vec![text()] }
}

fn properties(root: &Value, said: &Map<String, Value>, value: &Value, at: &str) -> Vec<String> {
    let pairs = said
        .iter()
        .filter_map(|(name, schema)| Some((name, schema, value.get(name)?)));
    pairs
        .flat_map(|(name, schema, value)| misfits(root, schema, value, &format!("{at}/{name}")))
        .collect()
}

fn additional(
    root: &Value,
    said: &Value,
    words: &Map<String, Value>,
    value: &Value,
    at: &str,
) -> Vec<String> {
    let listed: BTreeSet<&String> = words
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::keys)
        .collect();
    let others = value.as_object().into_iter().flatten();
    let others = others.filter(|(name, _)| !listed.contains(name));
    others
        .flat_map(|(name, value)| {
            if *said == Value::Bool(false) {
                return vec![format!("{at}: `{name}` is not documented")];
            }
            misfits(root, said, value, &format!("{at}/{name}"))
        })
        .collect()
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("`{other}` is no type"),
    }
}

/// Finds every time that is not RFC 3339 in UTC with three digits of fraction.
fn times(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::String(text) if begins_as_a_time(text) && !is_fixed(text) => {
            found.push(format!("{at}: `{text}` has another form than other times"));
        }
        Value::Array(items) => items.iter().for_each(|item| times(item, at, found)),
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| times(value, &format!("{at}/{name}"), found)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns whether a text is a time and nothing more: words that name one are another matter.
fn begins_as_a_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let place = |at: usize, wanted: u8| bytes.get(at) == Some(&wanted);
    place(4, b'-') && place(7, b'-') && place(10, b'T') && place(13, b':') && !text.contains(' ')
}

fn is_fixed(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|one| if one.is_ascii_digit() { '0' } else { one })
        .collect();
    shape == "0000-00-00T00:00:00.000Z"
}
