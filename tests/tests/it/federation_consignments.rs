//! The consignments of a port: a file as its spreadsheet saves it is imported, met by what others publish,
//! and scored.

use std::fs;

use portcullis_desk::shipped::Shipped;
use portcullis_protocol::{
    body::{Assessment, Body, Selector, SelectorKind, Subject, Window},
    evaluation::Evaluation,
    marking::{Marking, Purpose, Tlp},
    record::Kind,
    register::AuthorityKind,
    seal::Draft,
    time::Timestamp,
};
use portcullis_tests::federation::{Federation, Member, Running, eventually};
use serde_json::Value;

use crate::office::Office;

const MEMBERS: [Member; 2] = [
    ("antwerp", AuthorityKind::Customs),
    ("rotterdam", AuthorityKind::Police),
];

const SAMPLE: &str = include_str!("../../../data/port/sample.csv");

fn indicator(kind: SelectorKind, text: &str) -> Draft {
    let window = Window {
        from: "2020-01-01".parse().unwrap(),
        until: Timestamp::LAST,
    };
    let selector = Selector::accept_unchecked(kind, text, Some(window)).unwrap();
    Draft::new(
        Kind::Indicator,
        Marking::new(Tlp::Green, [Purpose::CustomsControl, Purpose::PortSecurity]),
        "A1".parse::<Evaluation>().unwrap(),
        vec![
            Body::Subject(Subject {
                title: String::new(),
                selectors: vec![selector],
                generated: false,
            }),
            Body::Assessment(Assessment {
                threat: "narcotics".to_owned(),
                finding: None,
                text: String::new(),
            }),
        ],
    )
}

/// Returns what a consignment's score says of indicators.
fn told(office: &Office, reference: &str) -> Vec<String> {
    let score = office.json(&["score", reference]);
    let parts = score["contributions"].as_array().unwrap().iter();
    parts
        .filter(|part| part["part"] == "selector")
        .map(|part| part["what"].as_str().unwrap().to_owned())
        .collect()
}

/// Newcomer A19, B5, bugs 16 and 18: the shipped schema had no container, a wrong check digit refused the
/// whole manifest, and goods with an edition met nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_imports_its_file_and_is_told_which_boxes_others_look_for() {
    let federation = Federation::new(&MEMBERS);
    let home = federation.home("antwerp");
    fs::write(home.schema(), Shipped::Port.text()).unwrap();
    let antwerp = Running::start(home).await;
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let office = Office::open(&antwerp);

    let wrong = SAMPLE.replace("ZZZU1000041", "ZZZU1000042");
    office.user().file("today.csv", &wrong);
    let refused = office.signed("anna", &["consignment", "import", "today.csv"]);
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{errors}");
    assert!(errors.contains("line 6: column `Container`"), "{errors}");
    let command = [
        "consignment",
        "import",
        "today.csv",
        "--accept-unchecked",
        "--json",
    ];
    let taken = office.signed("anna", &command);
    let imported: Value = serde_json::from_slice(&taken.stdout).unwrap();
    assert_eq!(imported["consignments"], 6);
    assert_eq!(imported["unchecked"], 1);
    let read_as = imported["read_as"].as_str().unwrap();
    assert!(read_as.starts_with("semicolon"), "{read_as}");
    assert!(
        read_as.contains("decimal commas in `Gross Weight kg`"),
        "{read_as}"
    );

    let drafts = vec![
        indicator(SelectorKind::Container, "csqu 305438 3"),
        indicator(SelectorKind::Container, "ZZZU1000042"),
        indicator(SelectorKind::HsCode, "220421@2022"),
    ];
    let published = rotterdam.kernel.publish(drafts).await.unwrap();
    for id in &published {
        eventually(&antwerp.kernel, || {
            antwerp.kernel.store().record(id).unwrap().is_some()
        })
        .await;
    }
    for (reference, expected) in [
        ("NLRTM-2026-0001", "container CSQU3054383: indicated"),
        (
            "NLRTM-2026-0004",
            "container ZZZU1000042 (unchecked): indicated",
        ),
        ("NLRTM-2026-0005", "hs 220421@2022: indicated"),
    ] {
        assert_eq!(told(&office, reference), [expected]);
    }
    assert!(told(&office, "NLRTM-2026-0002").is_empty());
    let first = |office: &Office| {
        let top = office.json(&["score", "--top", "1"]);
        top["items"][0]["reference"].as_str().map(str::to_owned)
    };
    eventually(&antwerp.kernel, || {
        first(&office).is_some_and(|one| matches!(&*one, "NLRTM-2026-0001" | "NLRTM-2026-0004"))
    })
    .await;
    looked_at(&office, &published[0].to_string());
    rotterdam.stop().await;
    antwerp.stop().await;
}

/// Asks everything that can be asked; the helper compares each answer with its schema.
fn looked_at(office: &Office, record: &str) {
    for command in [
        &["status"][..],
        &["peer", "list"],
        &["list"],
        &["list", "--about", "CSQU3054383"],
        &["list", "--quarantined"],
        &["show", record],
        &["score", "NLRTM-2026-0003"],
        &["score", "--top", "9"],
        &["hold", "list"],
        &["quarantine", "list"],
        &["dispatch", "status"],
        &["dispatch", "undelivered"],
        &["dispatch", "forks"],
        &["person", "list"],
        &["person", "proposals"],
        &["settings", "show"],
        &["policy", "check"],
        &["policy", "explain"],
        &["policy", "explain", "base-permit-release"],
        &["policy", "preview", "--imo", "9074729"],
        &["explain"],
        &["explain", "EX-07"],
        &["check", "CSQU3054383"],
        &["check", "XYZA1003094"],
        &["schema", "show"],
        &["schema", "check"],
    ] {
        let answer = office.json(command);
        assert!(answer["schema"].is_string(), "{command:?}");
    }
}
