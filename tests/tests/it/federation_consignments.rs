//! The consignments of a port: a file as its spreadsheet saves it is imported, met by what others publish,
//! and scored.

use std::fs;

use portcullis_desk::shipped::Shipped;
use portcullis_kernel::repeated::{Repeat, repeated};
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
        &["about", "CSQU3054383"],
        &["inbox", "--since", "2026-01-01"],
        &["consignment", "list"],
        &["consignment", "show", "NLRTM-2026-0003"],
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

/// Newcomer A8, A18: what was controlled stayed on top of the ranking, and nothing could be deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consignment_is_closed_by_name_and_no_file_opens_it_again() {
    let federation = Federation::new(&MEMBERS);
    let home = federation.home("antwerp");
    fs::write(home.schema(), Shipped::Port.text()).unwrap();
    let antwerp = Running::start(home).await;
    let office = Office::open(&antwerp);
    office.enrol("odile", "analyst");
    office.user().file("today.csv", SAMPLE);
    let import = ["consignment", "import", "today.csv", "--json"];
    office.good("anna", &import);
    let (closed, other) = ("NLRTM-2026-0001", "NLRTM-2026-0002");
    let scored = || office.json(&["score", "--top", "9"])["total"] == 6;
    eventually(&antwerp.kernel, scored).await;

    let close = ["consignment", "close", closed, "found"];
    let says = office.good("odile", &[&close[..], &["--note", "two bags"]].concat());
    assert!(says.contains("counts as an own control"), "{says}");
    // Its result stands, whoever says another one, and a file brings it neither back nor another result.
    let again = ["consignment", "close", closed, "nothing"];
    let refused = office.signed("anna", &again);
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{errors}");
    assert!(
        errors.contains("closed with `found` by `odile`"),
        "{errors}"
    );
    // A file of history without one result is refused: goods that arrive would leave the ranking.
    let history = [&import[..], &["--history"]].concat();
    let refused = office.signed("anna", &history);
    assert_eq!(refused.status.code(), Some(3));
    let controlled = |text: &str| text.replacen("20.000,0;", "20.000,0;0", 1);
    assert_ne!(controlled(SAMPLE), SAMPLE);
    for history in [&[][..], &["--history"]] {
        office.user().file("today.csv", &controlled(SAMPLE));
        let imported = office.good("anna", &[&import[..], history].concat());
        let imported: Value = serde_json::from_str(&imported).unwrap();
        assert_eq!(imported["closed"], 1, "{imported}");
        assert_eq!(imported["consignments"], 5, "{imported}");
        assert_eq!(imported["replaced"], 5, "{imported}");
    }
    office.good("anna", &import);
    let shown = office.json(&["consignment", "show", closed]);
    assert_eq!(shown["line"]["closing"]["result"], "found");
    assert_eq!(shown["line"]["closing"]["note"], "two bags");
    let listed = |flags: &[&str]| {
        let list = office.json(&[&["consignment", "list"][..], flags].concat());
        let items = list["items"].as_array().unwrap().clone();
        assert_eq!(list["total"], items.len());
        let references = items
            .iter()
            .map(|item| item["reference"].as_str().unwrap().to_owned());
        let mut references: Vec<String> = references.collect();
        references.sort();
        references
    };
    assert_eq!(listed(&["--closed"]), [closed]);
    assert!(!listed(&[]).contains(&closed.to_owned()));
    assert_eq!(listed(&["--all"]).len(), 6);
    assert_eq!(listed(&["--all", "--about", "CSQU3054383"]), [closed]);
    let corrected = office.good("anna", &[&again[..], &["--correct"]].concat());
    assert!(corrected.contains("nothing"), "{corrected}");
    let unknown = office.run(&["consignment", "show", "NLRTM-2026-9999"]);
    assert_eq!(unknown.status.code(), Some(4));

    // Goods of days that may still be controlled stay, and an analyst deletes nothing.
    let prune = |before: &str, by: &str| {
        let command = ["consignment", "prune", "--before", before, "--all", "--yes"];
        office.signed(by, &command)
    };
    assert_eq!(prune("2099-01-01", "anna").status.code(), Some(3));
    let past = ["consignment", "prune", "--before", "2026-01-01", "--all"];
    assert_eq!(office.json(&past)["consignments"], 0);
    assert!(!prune("2026-01-01", "odile").status.success());
    assert!(prune("2026-01-01", "anna").status.success());
    assert_eq!(listed(&["--all"]).len(), 6);
    let old = SAMPLE
        .replace("2026-12-0", "2020-12-0")
        .replace("NLRTM-2026", "NLRTM-2020");
    office.user().file("old.csv", &controlled(&old));
    office.good("anna", &["consignment", "import", "old.csv", "--history"]);
    let counted = office.json(&past)["consignments"].as_u64().unwrap();
    assert!(counted > 0, "{old}");
    let deleted = prune("2026-01-01", "anna");
    let says = String::from_utf8_lossy(&deleted.stdout).into_owned();
    assert!(
        says.contains(&format!("deleted {counted} consignments")),
        "{says}"
    );
    assert_eq!(office.json(&past)["consignments"], 0);
    assert_eq!(
        office.json(&["consignment", "show", other])["line"]["stage"],
        "arriving"
    );
    antwerp.stop().await;
}

/// Attack H3, on the way of an alert: before every record the node read whole, files and all, what others had
/// said of the same identifier, and the whole store for goods and ports.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whether_a_draft_was_said_before_is_found_among_own_records_alone() {
    let federation = Federation::new(&MEMBERS);
    let antwerp = Running::start(federation.home("antwerp")).await;
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let said = || {
        vec![
            indicator(SelectorKind::Container, "CSQU3054383"),
            indicator(SelectorKind::HsCode, "220421"),
            indicator(SelectorKind::UnLocode, "CNSHA"),
        ]
    };
    let others = rotterdam.kernel.publish(said()).await.unwrap();
    for id in &others {
        eventually(&antwerp.kernel, || {
            antwerp.kernel.store().record(id).unwrap().is_some()
        })
        .await;
    }
    let asked = |drafts: Vec<Draft>| repeated(&antwerp.kernel, &drafts).unwrap();
    assert_eq!(asked(said()), [Repeat::New; 3], "others said it");
    let own = antwerp.kernel.publish(said()).await.unwrap();
    let of = |n: usize| Repeat::Of(own[n]);
    assert_eq!(asked(said()), [of(0), of(1), of(2)]);
    let another = vec![
        indicator(SelectorKind::Container, "MSKU0000080"),
        indicator(SelectorKind::HsCode, "220422"),
    ];
    assert_eq!(asked(another), [Repeat::New; 2]);
    // A list of goods is looked up at once, not once for each of its lines.
    let many = |n: usize| indicator(SelectorKind::HsCode, &format!("{:06}", 10_000 + n));
    let goods: Vec<Draft> = (0..512).map(many).chain(said()).collect();
    let found = asked(goods);
    assert_eq!(found[512..], [of(0), of(1), of(2)]);
    // Another text is another record.
    let mut other = said();
    let Body::Assessment(assessment) = &mut other[0].sections[1].body else {
        panic!("an assessment is second");
    };
    assessment.text = "seen on the quay".to_owned();
    assert_eq!(asked(other)[0], Repeat::New);
    rotterdam.stop().await;
    antwerp.stop().await;
}

/// Newcomer A19: `reload` said that all was in force, and went on with the schema of before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_up_another_schema_and_refuses_a_broken_one() {
    let federation = Federation::new(&MEMBERS);
    let home = federation.home("antwerp");
    let path = home.schema();
    let antwerp = Running::start(home).await;
    let office = Office::open(&antwerp);
    office.user().file("today.csv", SAMPLE);
    let import = ["consignment", "import", "today.csv", "--json"];
    assert_eq!(office.signed("anna", &import).status.code(), Some(3));

    // It decides on scores, so that a person accepts it.
    fs::write(&path, Shipped::Port.text()).unwrap();
    let refused = office.signed("admin", &["reload"]);
    assert_eq!(refused.status.code(), Some(3));
    let digest = office.json(&["settings", "show"])["digest"].clone();
    let digest = digest.as_str().unwrap().to_owned();
    office.good("admin", &["settings", "accept", &digest]);
    let imported: Value = serde_json::from_str(&office.good("anna", &import)).unwrap();
    assert_eq!(imported["consignments"], 6);
    let scored = || office.json(&["score", "--top", "9"])["total"] == 6;
    eventually(&antwerp.kernel, scored).await;

    fs::write(&path, "[[field]]\ncolumn = 1\n").unwrap();
    let refused = office.signed("admin", &["reload"]);
    assert_eq!(refused.status.code(), Some(3));
    let digest = office.json(&["settings", "show"])["digest"].clone();
    let digest = digest.as_str().unwrap().to_owned();
    let refused = office.signed("admin", &["settings", "accept", &digest]);
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{errors}");
    assert!(errors.contains("schema.toml"), "{errors}");
    // What was in force goes on.
    let again: Value = serde_json::from_str(&office.good("anna", &import)).unwrap();
    assert_eq!(again["replaced"], 6);
    antwerp.stop().await;
}
