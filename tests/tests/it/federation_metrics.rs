//! The page of `/metrics`, and what reads it: rules, dashboard and runbooks.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use portcullis_kernel::Kernel;
use portcullis_node::{exposition, readings::Readings};
use portcullis_protocol::{
    body::{Assessment, Body, Selector, SelectorKind, Subject},
    evaluation::Evaluation,
    marking::{Marking, Purpose, Tlp},
    record::Kind,
    register::AuthorityKind,
    seal::Draft,
};
use portcullis_store::DisclosureState;
use portcullis_tests::federation::{Federation, Member, Running, eventually};

const MEMBERS: [Member; 3] = [
    ("rotterdam", AuthorityKind::Customs),
    ("antwerp", AuthorityKind::Customs),
    ("hamburg", AuthorityKind::Customs),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn alert() -> Draft {
    let assessment = Assessment {
        threat: "narcotics".to_owned(),
        finding: None,
        text: String::new(),
    };
    let subject = Subject {
        selectors: vec![Selector::new(SelectorKind::Imo, "9074729", None).unwrap()],
        title: String::new(),
        generated: false,
    };
    Draft::new(
        Kind::Alert,
        Marking::new(Tlp::Green, [Purpose::CustomsControl]),
        Evaluation::default(),
        vec![Body::Subject(subject), Body::Assessment(assessment)],
    )
}

/// Returns the page of a node that has a peer that answers and one that is not there, and that peer's.
async fn pages() -> [String; 2] {
    let federation = Federation::new(&MEMBERS);
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let antwerp = Running::start(federation.home("antwerp")).await;
    let kernel = &rotterdam.kernel;
    let id = kernel.publish(vec![alert()]).await.unwrap()[0];
    let peer = "antwerp".parse().unwrap();
    eventually(kernel, || {
        let row = kernel.store().disclosure(&id, &peer).unwrap();
        row.is_some_and(|row| matches!(row.state, DisclosureState::Answered(_)))
    })
    .await;
    let pages = [page(kernel).await, page(&antwerp.kernel).await];
    antwerp.stop().await;
    rotterdam.stop().await;
    pages
}

async fn page(kernel: &Arc<Kernel>) -> String {
    let readings = Readings::taken(kernel).await;
    exposition::page(kernel.metrics(), readings).unwrap()
}

/// Returns the names of the product's metrics in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let is_of_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    text.split(|letter| !is_of_name(letter))
        .filter(|word| word.len() > "portcullis_".len() && word.starts_with("portcullis_"))
        .collect()
}

/// Returns the first value of a sample whose line begins so.
fn value(page: &str, sample: &str) -> f64 {
    let line = page.lines().find(|line| line.starts_with(sample));
    let line = line.unwrap_or_else(|| panic!("no `{sample}` in {page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Newcomer A6, A12: what monitoring needs was not there, or said `ok` whatever was wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_tells_how_each_peer_stands_and_its_readers_know_every_name() {
    let [page, other] = pages().await;
    let state = |peer: &str, state: &str| {
        value(
            &page,
            &format!("portcullis_peer_state{{peer=\"{peer}\",state=\"{state}\"}}"),
        )
    };
    assert!((state("antwerp", "connected") - 1.0).abs() < f64::EPSILON);
    assert!(state("hamburg", "connected").abs() < f64::EPSILON);
    assert!(
        value(
            &page,
            "portcullis_peer_lag_seconds{peer=\"hamburg\",lane=\"urgent\"}"
        ) >= 0.0
    );
    assert!(
        value(
            &page,
            "portcullis_peer_behind_records{peer=\"hamburg\",lane=\"urgent\"}"
        ) > 0.5
    );
    assert!(value(&page, "portcullis_alert_latency_seconds_count") > 0.5);
    assert!(value(&page, "portcullis_store_bytes") > 0.0);
    assert!(value(&page, "portcullis_disk_free_bytes") > 0.0);
    // Nobody but the peers of the register makes a series.
    let peers: BTreeSet<&str> = page
        .split("peer=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert_eq!(Vec::from_iter(peers), ["antwerp", "hamburg"]);

    let mut known: BTreeSet<String> = [named(&page), named(&other)]
        .into_iter()
        .flatten()
        .map(str::to_owned)
        .collect();
    // What was never counted is on no page.
    for source in ["node/kernel/src/metrics.rs", "node/peering/src/counters.rs"] {
        let text = fs::read_to_string(root().join(source)).unwrap();
        known.extend(named(&text).into_iter().map(|name| format!("{name}_total")));
        known.extend(named(&text).into_iter().map(str::to_owned));
    }
    for reader in [
        "packaging/prometheus/alerts.yml",
        "packaging/prometheus/alerts_test.yml",
        "packaging/grafana/portcullis.json",
        "docs/runbooks.md",
        "docs/operator.md",
    ] {
        let text = fs::read_to_string(root().join(reader)).unwrap();
        let unknown: Vec<&str> = named(&text)
            .into_iter()
            // Names of crates in filters of the log.
            .filter(|name| !known.contains(*name) && !["portcullis_exchange"].contains(name))
            .collect();
        assert_eq!(unknown, Vec::<&str>::new(), "{reader}");
    }
    tools(&page);
}

/// Has Prometheus' own tool check the page and the rules, in the long gate: its tests of rules take a minute.
fn tools(page: &str) {
    if std::env::var_os("PORTCULLIS_PROMTOOL").is_none() {
        println!("skipped: `scripts/rules` has promtool check the page and the rules");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page");
    fs::write(&file, page).unwrap();
    let checks: [(&[&str], Option<&Path>); 3] = [
        (&["check", "metrics"], Some(&file)),
        (&["check", "rules", "alerts.yml"], None),
        (&["test", "rules", "alerts_test.yml"], None),
    ];
    for (arguments, input) in checks {
        let mut tool = Command::new("promtool");
        tool.args(arguments)
            .current_dir(root().join("packaging/prometheus"));
        if let Some(input) = input {
            tool.stdin(fs::File::open(input).unwrap());
        }
        let output = tool.output().expect("promtool");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}

#[test]
fn each_alert_names_a_page_of_the_runbooks_that_is_there() {
    let rules = fs::read_to_string(root().join("packaging/prometheus/alerts.yml")).unwrap();
    let runbooks = fs::read_to_string(root().join("docs/runbooks.md")).unwrap();
    let pages: BTreeSet<String> = runbooks
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|title| title.to_lowercase().replace(' ', "-"))
        .collect();
    let alerts = rules.matches("- alert: ").count();
    let links: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.split_once("runbooks.md#").map(|(_, page)| page.trim()))
        .collect();
    assert_eq!(links.len(), alerts);
    assert!(alerts >= 15, "{alerts}");
    for page in links {
        assert!(pages.contains(page), "{page}");
    }
}

#[test]
fn the_dashboard_is_one_and_each_panel_says_what_it_shows() {
    let dashboard = fs::read_to_string(root().join("packaging/grafana/portcullis.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 10);
    for panel in panels {
        assert!(panel["description"].as_str().unwrap().len() > 10, "{panel}");
        assert!(panel["targets"][0]["expr"].is_string(), "{panel}");
    }
}
