//! Trust settings: what was changed on the disk is not taken up until a person accepts it.

use std::{path::Path, time::Duration};

use portcullis_home::{Home, config::Config};
use portcullis_kernel::{dialect::Dialect, health};
use portcullis_node::runtime::Node;
use portcullis_protocol::{
    body::{Assessment, Body, Selector, SelectorKind, Subject},
    evaluation::Evaluation,
    marking::{Marking, Purpose, Tlp},
    record::Kind,
    register::AuthorityKind,
    seal::Draft,
};
use portcullis_tests::federation::{
    Federation, Member, Running, as_the_first_version_made_it, eventually,
};

use crate::office::Office;

const MEMBERS: [Member; 2] = [
    ("antwerp", AuthorityKind::Customs),
    ("rotterdam", AuthorityKind::Customs),
];
const NARROWER: &str = "@id(\"no-h3\")\nforbid (principal, action == Portcullis::Action::\"admit\", resource)\nwhen { context.marking.h3 };\n";

/// Runs work that waits for processes apart from the runtime that serves the node.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn is_connected(node: &Running) -> bool {
    let health = node.kernel.peer_health();
    health.values().any(|peer| peer.last_receipt.is_some())
}

fn problem(node: &Running, says: &str) -> bool {
    let problems = health::problems(&node.kernel);
    problems.iter().any(|problem| problem.what.contains(says))
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    let edited = text.replace(from, to);
    assert_ne!(text, edited);
    std::fs::write(path, edited).unwrap();
}

/// Attack H1: a policy and the configuration were rewritten on the disk, and the node went by them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_changed_settings_is_shut_until_an_administrator_accepts_them() {
    let federation = Federation::new(&MEMBERS);
    let other = Running::start(federation.home("rotterdam")).await;
    let node = Running::start(federation.home("antwerp")).await;
    let (node, office) = apart(move || {
        let office = Office::open(&node);
        (node, office)
    })
    .await;
    let home = node.stop().await;
    edit(&home.config(), "# exercises = false", "exercises = true");
    std::fs::write(home.policy().join("own.cedar"), NARROWER).unwrap();
    let node = Running::start_as_it_is(home, Dialect::default()).await;
    assert!(problem(&node, "exercises: default -> true"));
    assert!(problem(&node, "policy/own.cedar"));
    assert!(node.kernel.gates().shut);
    other.kernel.publish(vec![alert()]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!is_connected(&other) && !is_connected(&node));
    // A reload takes nothing up, by whomever it is asked.
    assert!(node.reloader.reload().await.is_err());
    let node = apart(move || {
        let refused = office.signed("admin", &["reload"]);
        assert_eq!(refused.status.code(), Some(3));
        let found = office.json(&["settings", "show"]);
        assert_eq!(found["shut"], true);
        let digest = found["digest"].as_str().unwrap().to_owned();
        let refused = office.signed("anna", &["settings", "accept", &digest]);
        assert_eq!(refused.status.code(), Some(2));
        let refused = office.signed("admin", &["settings", "accept", &"0".repeat(64)]);
        assert_eq!(refused.status.code(), Some(3));
        office.good("admin", &["settings", "accept", digest.get(..12).unwrap()]);
        let found = office.json(&["settings", "show"]);
        assert_eq!(found["standing"], "accepted");
        node
    })
    .await;
    assert!(!problem(&node, "accepted"));
    eventually(&other.kernel, || is_connected(&other)).await;
    // It holds at the next start.
    let node = Running::start_as_it_is(node.stop().await, Dialect::default()).await;
    assert!(!node.kernel.gates().shut);
    node.stop().await;
    other.stop().await;
}

/// Attack H1: older keys put back would bring back what was accepted with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_keys_that_are_put_back_shut_the_node() {
    let federation = Federation::new(&MEMBERS[..1]);
    let node = Running::start(federation.home("antwerp")).await;
    let older = std::fs::read(node.home.keys()).unwrap();
    let config = std::fs::read(node.home.config()).unwrap();
    let node = apart(move || {
        let office = Office::open(&node);
        edit(
            &node.home.config(),
            "# exercises = false",
            "exercises = true",
        );
        let found = office.json(&["settings", "show"]);
        let digest = found["digest"].as_str().unwrap().to_owned();
        office.good("admin", &["settings", "accept", &digest]);
        node
    })
    .await;
    let home = node.stop().await;
    std::fs::write(home.keys(), older).unwrap();
    std::fs::write(home.config(), config).unwrap();
    let node = Running::start_as_it_is(home, Dialect::default()).await;
    assert!(node.kernel.gates().shut);
    assert!(problem(&node, "an older file of keys was put back"));
    node.stop().await;
}

/// Finding F3: keys of before the acceptance, and a store that looks like one that was never sealed, had
/// everything adopted as the disk said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_before_the_acceptance_that_are_put_back_start_no_node() {
    let federation = Federation::new(&MEMBERS[..1]);
    let home = federation.home("antwerp");
    as_the_first_version_made_it(&home);
    let older = std::fs::read(home.keys()).unwrap();
    let node = Running::start_as_it_is(home, Dialect::default()).await;
    let place = |name| federation.folder().join(name).display().to_string();
    let (data, keys) = (place("data"), place("keys"));
    let (node, office) = apart(move || {
        let office = Office::open(&node);
        let found = office.json(&["settings", "show"]);
        assert_eq!(found["standing"], "unsealed");
        office.good("admin", &["backup", "--to", &data, "--keys-to", &keys]);
        let digest = found["digest"].as_str().unwrap().to_owned();
        office.good("admin", &["settings", "accept", &digest]);
        (node, office)
    })
    .await;
    let accepted = std::fs::read(node.home.keys()).unwrap();
    // The start after the acceptance binds the store to the keys.
    let node = Running::start_as_it_is(node.stop().await, Dialect::default()).await;
    assert!(!node.kernel.gates().shut);
    let home = node.stop().await;
    let newest = std::fs::read(home.keys()).unwrap();
    let main = rusqlite::Connection::open(home.data().join("store.db")).unwrap();
    for (put_back, edit, told) in [
        (&older, "", "older than the store"),
        (&accepted, "", "older than the store"),
        (&older, "DELETE FROM seal_root", "older than the store"),
        (&newest, "", "its seals are gone"),
    ] {
        std::fs::write(home.keys(), put_back).unwrap();
        main.execute_batch(edit).unwrap();
        let config = Config::load(&home.config()).unwrap();
        let refused = Node::prepare(home.clone(), config).await;
        let refused = refused.err().unwrap().to_string();
        assert!(refused.contains(told), "{refused}");
        let doctor = office.run(&["doctor"]);
        assert_eq!(doctor.status.code(), Some(6));
        let says = String::from_utf8(doctor.stdout).unwrap();
        assert!(says.contains(told), "{says}");
    }
    // A whole backup of before the acceptance is what it was.
    let restored = Home::new(federation.folder().join("restored"));
    let (to, from) = (restored.folder().display().to_string(), place("data"));
    let keys = place("keys");
    office
        .user()
        .good(&["--home", &to, "restore", "--from", &from, "--keys", &keys]);
    let node = Running::start_as_it_is(restored, Dialect::default()).await;
    assert!(!node.kernel.gates().shut);
    node.stop().await;
}

/// Attack H1: another pin, node and authority in the file were believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sealed_identity_counts_whatever_the_file_says() {
    let federation = Federation::new(&MEMBERS[..1]);
    let home = Running::start(federation.home("antwerp"))
        .await
        .stop()
        .await;
    let text = std::fs::read_to_string(home.config()).unwrap();
    for (key, other) in [
        ("authority", "authority = \"rotterdam\""),
        ("node", "node = \"rotterdam\""),
        ("federation", "federation = \"forged\""),
        (
            "register_pin",
            &format!("register_pin = \"{}\"", "01".repeat(32)),
        ),
    ] {
        let is_of = |line: &str| line.split(" = ").next() == Some(key);
        let lines = text
            .lines()
            .map(|line| if is_of(line) { other } else { line });
        let changed: Vec<&str> = lines.collect();
        std::fs::write(home.config(), changed.join("\n")).unwrap();
        let node = Running::start_as_it_is(home.clone(), Dialect::default()).await;
        assert!(node.kernel.gates().shut, "{key}");
        assert!(problem(&node, &format!("{key}: ")));
        assert_eq!(node.kernel.me().node.as_str(), "antwerp");
        assert_eq!(node.kernel.me().authority.as_ref(), "antwerp");
        // Whoever puts the file back opens the node with a reload.
        std::fs::write(home.config(), &text).unwrap();
        node.reloader.reload().await.unwrap();
        assert!(!node.kernel.gates().shut);
        node.stop().await;
    }
}

/// Place at which an edit of the disk is noticed.
enum Noticed {
    /// The node starts shut, and health names this.
    Shut(&'static str),
    /// The node starts, and health names this.
    Health(&'static str),
    /// The node does not start, with this in the error.
    NoStart(&'static str),
}

/// An edit of the disk, without a key, and where it is noticed.
type Edit = (&'static str, fn(&Home), Noticed);

fn sql(home: &Home, sql: &str) {
    let store = rusqlite::Connection::open(home.data().join("store.db")).unwrap();
    store.execute_batch(sql).unwrap();
}

fn set(home: &Home, from: &str, to: &str) {
    edit(&home.config(), from, to);
}

const EDITS: &[Edit] = &[
    (
        "a policy that admits nothing of the police",
        |home| {
            std::fs::write(
                home.policy().join("x.cedar"),
                "@id(\"x\")\nforbid (principal, action, resource);\n",
            )
            .unwrap()
        },
        Noticed::Shut("policy/x.cedar"),
    ),
    (
        "another schema of consignments",
        |home| std::fs::write(home.folder().join("schema.toml"), "").unwrap(),
        Noticed::NoStart("schema.toml"),
    ),
    (
        "the socket for a group",
        |home| {
            set(
                home,
                "# admin_access = \"owner\"",
                "admin_access = \"group\"",
            )
        },
        Noticed::Shut("admin_access: default -> group"),
    ),
    (
        "exercises",
        |home| set(home, "# exercises = false", "exercises = true"),
        Noticed::Shut("exercises: default -> true"),
    ),
    (
        "a peer that is tried again next year",
        |home| {
            set(
                home,
                "# retry_longest = \"15m\"",
                "retry_longest = \"365d\"",
            )
        },
        Noticed::Shut("dispatch.retry_longest"),
    ),
    (
        "one handshake at a time",
        |home| set(home, "# handshakes = 256", "handshakes = 1"),
        Noticed::Shut("exchange.handshakes"),
    ),
    (
        "a register of one's own, and its pin",
        |home| {
            let stranger = Federation::new(&MEMBERS[1..]);
            let other = stranger.home("rotterdam");
            let pin = |home: &Home| {
                let text = std::fs::read_to_string(home.config()).unwrap();
                text.lines()
                    .find(|line| line.starts_with("register_pin"))
                    .unwrap()
                    .to_owned()
            };
            set(home, &pin(home), &pin(&other));
            for file in std::fs::read_dir(other.register()).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), home.register().join(file.file_name())).unwrap();
            }
            sql(home, "DELETE FROM register");
        },
        Noticed::NoStart("pin"),
    ),
    (
        "a person",
        |home| {
            sql(
                home,
                "INSERT INTO person VALUES ('eve', 'Eve', 'administrator', x'00', 1, 'anna')",
            )
        },
        Noticed::Health("`person`"),
    ),
    (
        "cursors at the end",
        |home| {
            sql(
                home,
                "INSERT OR REPLACE INTO dispatch VALUES ('rotterdam', 'urgent', 999999999)",
            )
        },
        Noticed::Health("`dispatch`"),
    ),
    (
        "another generation",
        |home| {
            sql(
                home,
                "UPDATE meta SET value = randomblob(16) WHERE name = 'generation'",
            )
        },
        Noticed::Health("`meta`"),
    ),
    (
        "a release stop",
        |home| {
            sql(
                home,
                "INSERT INTO trust_fact VALUES ('stop', '*', x'00', 1)",
            )
        },
        Noticed::Shut("facts about trust"),
    ),
    (
        "no seals",
        |home| {
            sql(
                home,
                "DROP TABLE row_seal; DROP TABLE seal_root; DROP TABLE leaf; PRAGMA user_version = 11",
            )
        },
        Noticed::NoStart("its seals are gone"),
    ),
    (
        "a trigger",
        |home| {
            sql(
                home,
                "CREATE TRIGGER x AFTER INSERT ON event BEGIN DELETE FROM dispatch; END",
            )
        },
        Noticed::NoStart("schema"),
    ),
];

/// Attack H1: of 27 edits of the disk without a key, 17 were noticed nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_edit_of_the_disk_is_noticed_before_anything_is_sent() {
    for (what, edit, noticed) in EDITS {
        let federation = Federation::new(&MEMBERS[..1]);
        let home = Running::start(federation.home("antwerp"))
            .await
            .stop()
            .await;
        edit(&home);
        match noticed {
            Noticed::NoStart(says) => {
                let config = Config::load(&home.config()).unwrap();
                let refused = Node::prepare(home, config).await.err();
                let error = refused.unwrap_or_else(|| panic!("{what}: the node starts"));
                assert!(error.to_string().contains(says), "{what}: {error}");
            }
            Noticed::Shut(says) | Noticed::Health(says) => {
                let node = Running::start_as_it_is(home, Dialect::default()).await;
                let problems = health::problems(&node.kernel);
                assert!(problem(&node, says), "{what}: {problems:?}");
                let is_shut = matches!(noticed, Noticed::Shut(_));
                assert_eq!(node.kernel.gates().shut, is_shut, "{what}");
                node.stop().await;
            }
        }
    }
}

fn alert() -> Draft {
    let ship = Selector::new(SelectorKind::Imo, "9074729", None).unwrap();
    let purposes = [Purpose::CustomsControl, Purpose::PortSecurity];
    Draft::new(
        Kind::Alert,
        Marking::new(Tlp::Green, purposes),
        Evaluation::default(),
        vec![
            Body::Subject(Subject {
                selectors: vec![ship],
                title: "a ship".to_owned(),
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
