//! The behaviours of a hostile peer against a running node, layer by layer, and their table in
//! docs/validation.md.

use std::{collections::BTreeSet, path::Path};

use portcullis_tests::hostile::{
    LAYERS, receipts::delivers_to_who_takes_streams_late, stage::Theatre, try_all,
};

const TABLE: &str = include_str!("../../../docs/validation.md");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tried_with_connections_is_met() {
    try_all("connection").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tried_with_http2_is_met() {
    try_all("http/2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tried_with_frames_is_met() {
    try_all("frame").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tried_with_records_is_met() {
    try_all("record").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tried_with_receipts_is_met() {
    try_all("receipt").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tried_with_gossip_is_met() {
    try_all("gossip").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tried_with_channels_is_met() {
    try_all("channel").await;
}

/// A node waited 30 s for the headers of the response before it sent its first frame, which is what
/// such a server waits for before it sends them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_a_stream_with_its_first_frame_is_delivered_to() {
    let mut stage = Theatre::start().await;
    delivers_to_who_takes_streams_late(&mut stage).await;
    stage.end().await;
}

/// A line of the table: id, layer, the measure that meets the behaviour, and the test.
struct Line {
    id: &'static str,
    layer: &'static str,
    met_by: &'static str,
    test: &'static str,
}

fn lines() -> Vec<Line> {
    let lines = TABLE.lines().filter(|line| line.starts_with("| HP-"));
    lines
        .map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let [_, id, _, layer, met_by, _, test, _] = cells[..] else {
                panic!("{line}");
            };
            let test = test.trim_matches('`');
            Line {
                id,
                layer,
                met_by,
                test,
            }
        })
        .collect()
}

#[test]
fn every_behaviour_stands_in_the_table_and_has_its_test() {
    let lines = lines();
    let ids: BTreeSet<_> = lines.iter().map(|line| line.id).collect();
    assert_eq!(ids.len(), lines.len(), "an id stands twice");
    assert!(lines.len() >= 50);
    for (layer, behaviours) in LAYERS {
        for behaviour in *behaviours {
            let line = lines.iter().find(|line| line.id == behaviour.id());
            let line = line.unwrap_or_else(|| panic!("{} is in no table", behaviour.name));
            assert_eq!((line.test, line.layer), (behaviour.name, *layer));
        }
    }
    let sources = sources();
    for line in &lines {
        let defined = format!("fn {}(", line.test);
        assert!(
            sources.contains(&defined),
            "{}: there is no `{}`",
            line.id,
            line.test
        );
        assert!(!line.met_by.is_empty(), "{}", line.id);
        let listed = LAYERS.iter().flat_map(|(_, all)| *all);
        let ours = listed.filter(|one| one.name == line.test).count();
        assert_eq!(
            ours,
            usize::from(line.test.starts_with("hp_")),
            "{}",
            line.id
        );
    }
}

/// Returns the text of every Rust source of the workspace.
fn sources() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<_> = [
        "node",
        "protocol/src",
        "protocol/tests",
        "policy/src",
        "scoring/src",
        "tests",
    ]
    .iter()
    .map(|folder| root.join(folder))
    .collect();
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}
