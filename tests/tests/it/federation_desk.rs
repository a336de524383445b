//! The analyst's desk: lists that say how many there are, names that nobody has, and ids cut short.

use std::sync::Arc;

use portcullis_kernel::Kernel;
use portcullis_protocol::{
    body::{Assessment, Body, Selector, SelectorKind, Subject, Window},
    evaluation::Evaluation,
    marking::{Marking, Purpose, Tlp},
    record::{Kind, RecordId},
    register::AuthorityKind,
    seal::Draft,
    time::Timestamp,
};
use portcullis_tests::federation::{Federation, Member, Running, eventually};
use serde_json::Value;

use crate::office::Office;

const MEMBERS: [Member; 3] = [
    ("antwerp", AuthorityKind::Customs),
    ("rotterdam", AuthorityKind::Police),
    ("terminal", AuthorityKind::PrivateOperator),
];

/// An indicator on a container, with a narrative.
fn indicator(container: &str, threat: &str, narrative: &str, purposes: &[Purpose]) -> Draft {
    let window = Window {
        from: "2020-01-01".parse().unwrap(),
        until: Timestamp::LAST,
    };
    let kind = SelectorKind::Container;
    let selector = Selector::accept_unchecked(kind, container, Some(window)).unwrap();
    Draft::new(
        Kind::Indicator,
        Marking::new(Tlp::Green, purposes.iter().copied()),
        Evaluation::default(),
        vec![
            Body::Subject(Subject {
                title: format!("a box for {threat}"),
                selectors: vec![selector],
                generated: false,
            }),
            Body::Assessment(Assessment {
                threat: threat.to_owned(),
                finding: None,
                text: String::new(),
            }),
            Body::Narrative(narrative.to_owned()),
        ],
    )
}

const BOTH: [Purpose; 2] = [Purpose::CustomsControl, Purpose::PortSecurity];

async fn publish(at: &Arc<Kernel>, drafts: Vec<Draft>) -> Vec<RecordId> {
    at.publish(drafts).await.unwrap()
}

async fn arrived(at: &Kernel, id: &RecordId) {
    eventually(at, || at.store().record(id).unwrap().is_some()).await;
}

/// The ids, the total and the rest of a list.
fn listed(view: &Value) -> (Vec<&str>, u64, bool) {
    let items = view["items"].as_array().unwrap().iter();
    let ids = items.map(|line| line["id"].as_str().unwrap()).collect();
    let total = view["total"].as_u64().unwrap();
    (ids, total, view["more"].as_bool().unwrap())
}

/// Checks that a command fails with this exit code, and tells these things.
#[track_caller]
fn fails(output: &std::process::Output, code: i32, told: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    for told in told {
        assert!(errors.contains(told), "`{told}`: {errors}");
    }
    assert!(errors.contains("do: "), "{errors}");
}

/// Newcomer A7, B4: a list was cut without a word, and a mistyped container read as an unknown one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_says_how_many_fit_and_a_wrong_identifier_is_no_empty_list() {
    let federation = Federation::new(&MEMBERS);
    let antwerp = Running::start(federation.home("antwerp")).await;
    let office = Office::open(&antwerp);
    let many = (0..7).map(|_| indicator("CSQU3054383", "narcotics", "one", &BOTH));
    let ids = publish(&antwerp.kernel, many.collect()).await;
    let other = indicator("CSQU3054384", "weapons", "two", &BOTH);
    let unchecked = publish(&antwerp.kernel, vec![other]).await;

    let all = office.json(&["list", "--limit", "3"]);
    assert_eq!(
        (listed(&all).0.len(), listed(&all).1, listed(&all).2),
        (3, 8, true)
    );
    let page = String::from_utf8(office.run(&["list", "--limit", "3"]).stdout).unwrap();
    assert!(page.ends_with("3 of 8; `--limit N` lists more\n"), "{page}");
    assert!(page.contains("a box for weapons"), "{page}");
    for (filter, total) in [
        (&["--threat", "NARCOTICS"][..], 7),
        (&["--about", "csqu 305438 3"], 7),
        (&["--tlp", "green", "--origin", "antwerp"], 8),
        (&["--tlp", "red"], 0),
        (&["--until", "2020-01-01"], 0),
        (&["--since", "2020-01-01", "--kind", "indicator"], 8),
    ] {
        let view = office.json(&[&["list", "--limit", "2"][..], filter].concat());
        let (shown, counted, more) = listed(&view);
        assert_eq!(
            (shown.len() as u64, counted, more),
            (total.min(2), total, total > 2),
            "{filter:?}"
        );
    }

    let wrong = office.run(&["list", "--about", "CSQU3054384"]);
    fails(
        &wrong,
        3,
        &["no container number", "CSQU3054383", "--as container"],
    );
    let taken = office.json(&["list", "--about", "CSQU3054384", "--as", "container"]);
    assert_eq!(listed(&taken).0, [unchecked[0].to_string()]);
    fails(
        &office.run(&["list", "--about", "hello"]),
        3,
        &["`hello` is no identifier"],
    );
    let unknown = office.run(&["list", "--about", "MSCU0000007"]);
    let unknown = String::from_utf8(unknown.stdout).unwrap();
    assert!(
        unknown.starts_with("nothing is known here about container MSCU0000007"),
        "{unknown}"
    );
    for refused in [
        &["list", "--limit", "0"][..],
        &["score", "--top", "0"],
        &["score", "--top", "200000"],
    ] {
        assert_ne!(office.run(refused).status.code(), Some(0), "{refused:?}");
    }

    // Ids may be cut short, and an empty one is told as such.
    let whole = ids[0].to_string();
    let short = whole.get(..12).unwrap();
    let advisory = [
        "advisory",
        "publish",
        "--text",
        "replaced",
        "--threat",
        "narcotics",
    ];
    let more = ["--supersedes", short, "--derived-from", short];
    office.enrol("ana", "analyst");
    office.good("ana", &[&advisory[..], &more].concat());
    let newest = office.json(&["list", "--limit", "1"]);
    let shown = office.json(&["show", listed(&newest).0[0]]);
    assert_eq!(shown["header"]["supersedes"], ids[0].to_string());
    assert_eq!(shown["header"]["derived_from"][0], ids[0].to_string());
    let nobody = office.signed(
        "ana",
        &[&advisory[..], &["--supersedes", "00000000"]].concat(),
    );
    fails(&nobody, 4, &["begins with `00000000`"]);
    fails(&office.run(&["show", ""]), 3, &["at least 4"]);
    fails(&office.run(&["hold", "show", " "]), 3, &["at least 4"]);
}

/// Newcomer A7, A9: names that nobody has were empty lists, and records that reach nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_nobody_has_is_refused_with_those_that_are_near() {
    let federation = Federation::new(&MEMBERS);
    let antwerp = Running::start(federation.home("antwerp")).await;
    let office = Office::open(&antwerp);
    office.enrol("ana", "analyst");
    let near = "near: `rotterdam`";
    for command in [
        &["list", "--origin", "roterdam"][..],
        &["quarantine", "list", "--from", "roterdam"],
        &["hold", "list", "--from", "roterdam"],
        &["dispatch", "undelivered", "--peer", "roterdam"],
        &["dispatch", "backfill", "roterdam", "--since", "2026-01-01"],
    ] {
        fails(&office.run(command), 3, &["`roterdam`", near]);
    }
    for (by, command) in [
        ("admin", &["peer", "block", "roterdam", "--reason", "x"][..]),
        ("admin", &["peer", "unblock", "roterdam"]),
        ("anna", &["release", "stop", "roterdam"]),
        ("anna", &["release", "resume", "roterdam"]),
        ("anna", &["dispatch", "backfill", "roterdam", "--cancel"]),
        ("anna", &["dispatch", "retry", "00000000", "roterdam"]),
    ] {
        fails(&office.signed(by, command), 3, &["`roterdam`", near]);
    }
    let own = ["peer", "block", "antwerp", "--reason", "x"];
    fails(&office.signed("admin", &own), 3, &["this node itself"]);
    let red = ["--tlp", "RED", "--release-to", "terminal,roterdam"];
    let box_of = [
        "--container",
        "CSQU3054383",
        "--from",
        "2026-11-01",
        "--until",
        "2026-12-01",
    ];
    let publish = [&["indicator", "publish"][..], &box_of, &red].concat();
    fails(
        &office.signed("ana", &publish),
        3,
        &["no authority `roterdam`", near],
    );
    let preview = [&["policy", "preview"][..], &box_of, &red].concat();
    fails(&office.run(&preview), 3, &["no authority `roterdam`", near]);
    let held = office.json(&["list"]);
    assert_eq!(listed(&held).1, 0, "nothing was published");
    // A gate that is closed for somebody who left can be opened.
    office.good("admin", &["peer", "block", "rotterdam", "--reason", "x"]);
    office.good("admin", &["peer", "unblock", "rotterdam"]);
}

/// A text is found where policy shows it, for a purpose that its originator allows, and the log says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_is_found_only_where_it_may_be_read_and_the_search_is_accounted_for() {
    let federation = Federation::new(&MEMBERS);
    let terminal = Running::start(federation.home("terminal")).await;
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let (here, there) = (Office::open(&rotterdam), Office::open(&terminal));
    let ids = publish(
        &rotterdam.kernel,
        vec![
            indicator("CSQU3054383", "narcotics", "the Rip-Off method", &BOTH),
            indicator(
                "MSKU0000080",
                "narcotics",
                "a rip-off too",
                &[Purpose::CustomsControl],
            ),
            indicator("MSCU0000007", "weapons", "nothing", &BOTH),
        ],
    )
    .await;
    let first = ids[0].to_string();
    arrived(&terminal.kernel, &ids[0]).await;
    let search = |text: &'static str, purpose: &'static str| {
        [
            "list",
            "--text",
            text,
            "--since",
            "2026-01-01",
            "--purpose",
            purpose,
        ]
    };
    let found = here.json(&search("RIP-OFF", "customs-control"));
    assert_eq!(listed(&found).1, 2);
    let found = here.json(&search("rip-off", "port-security"));
    assert_eq!(
        listed(&found).0,
        [first.as_str()],
        "the other is for customs alone"
    );
    // The narrative is withheld from a terminal, and nothing tells of it.
    let hidden = there.json(&search("rip-off", "port-security"));
    assert_eq!(listed(&hidden).1, 0);
    let open = there.json(&search("csqu3054383", "port-security"));
    assert_eq!(listed(&open).0, [first.as_str()]);
    for missing in [
        &["list", "--text", "rip-off"][..],
        &["list", "--text", "rip-off", "--since", "2026-01-01"],
    ] {
        assert_ne!(here.run(missing).status.code(), Some(0), "{missing:?}");
    }
    here.enrol("dora", "data-protection");
    let log = here.good("dora", &["log", "acts"]);
    assert!(
        log.contains("by text") && log.contains("for customs-control"),
        "{log}"
    );
    assert!(!log.to_lowercase().contains("rip-off"), "{log}");
}
