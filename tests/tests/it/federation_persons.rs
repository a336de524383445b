//! Persons at a running node: enrolled, ended, given other keys, and believed by their acts alone.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use portcullis_admin_api::{
    act::{self, Action, Request, Role},
    client::Client,
    persons::Change,
    v1::{ListView, act::EnrolView, status::EnrolledView},
};
use portcullis_home::{
    config::Config,
    keyring::{Keyring, SealedRecovery},
};
use portcullis_kernel::health;
use portcullis_protocol::{
    keys::{KeyUse, SigningKey},
    register::AuthorityKind,
};
use portcullis_store::{Fact, FactRow, Write};
use portcullis_tests::federation::{FEDERATION, Federation, Running, eventually};

use crate::office::Office;

async fn node() -> (Federation, Running) {
    let federation = Federation::new(&[("rotterdam", AuthorityKind::Customs)]);
    let node = Running::start(federation.home("rotterdam")).await;
    (federation, node)
}

/// Runs work that waits for processes apart from the runtime that serves the node.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

const STOP: &[&str] = &["release", "stop", "all", "--reason", "a test"];

/// Newcomer A3, bugs #10: who left went on signing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_ended_is_refused_and_the_list_says_until_when() {
    let (_federation, node) = node().await;
    let node = apart(move || {
        let office = Office::open(&node);
        office.good("anna", STOP);
        let last = office.signed("admin", &["person", "end", "admin"]);
        assert_eq!(last.status.code(), Some(3));
        office.good("admin", &["person", "end", "anna"]);
        let refused = office.signed("anna", STOP);
        assert_eq!(refused.status.code(), Some(2));
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(told.contains("`anna` was ended at"), "{told}");
        let persons = office.json(&["person", "list"]);
        let anna = &persons["items"][1];
        assert_eq!(anna["id"], "anna");
        assert_eq!(anna["state"], "ended");
        assert!(anna["until"].as_str().unwrap() >= anna["enrolled_at"].as_str().unwrap());
        // Neither her id nor her key is anybody's again.
        let again = [
            "--name",
            "Anna",
            "--role",
            "analyst",
            "--public-key",
            "anna.key.pub",
        ];
        for id in ["anna", "eve"] {
            let refused = office.signed("admin", &[&["person", "enrol", id][..], &again].concat());
            assert_eq!(refused.status.code(), Some(3), "{id}");
        }
        node
    })
    .await;
    // It is so after a restart.
    let node = Running::start(node.stop().await).await;
    let client = Client::new(node.home.socket());
    let persons: ListView<EnrolledView> = client.get("/v1/persons").await.unwrap();
    assert_eq!(persons.items[1].state, "ended");
    assert!(persons.items[0].enrolled_at < persons.items[1].enrolled_at);
    node.stop().await;
}

/// Attack M7: an administrator enrolled a second pair of hands of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_there_are_two_administrators_an_enrolment_waits_for_another_person() {
    let (_federation, node) = node().await;
    let node = apart(move || {
        let office = Office::open(&node);
        let key = |name: &str| {
            let out = format!("{name}.key");
            let pass = ["--passphrase-file", "pass"];
            office
                .user()
                .good(&[&["person", "key", "--out", &out][..], &pass].concat());
        };
        let enrol = |id: &'static str, role: &'static str| {
            let public = format!("{id}.key.pub");
            let whom = ["person", "enrol", id, "--name", id, "--role", role];
            [
                &whom.map(str::to_owned)[..],
                &["--public-key".to_owned(), public],
            ]
            .concat()
        };
        let good = |by: &str, command: Vec<String>| {
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            office.good(by, &command)
        };
        ["bea", "eve"].iter().for_each(|name| key(name));
        good("admin", enrol("bea", "administrator"));
        let told = good("admin", enrol("eve", "supervisor"));
        assert!(told.contains("waits for a second person"), "{told}");
        let proposals = office.json(&["person", "proposals"]);
        let id = proposals["items"][0]["id"].as_str().unwrap().to_owned();
        assert!(told.contains(&id));
        // Nobody is independent of `admin` yet, who enrolled everybody a moment ago.
        for by in ["admin", "bea", "anna"] {
            let refused = office.signed(by, &["person", "second", &id]);
            assert_eq!(refused.status.code(), Some(2), "{by}");
        }
        let refused = office.signed("eve", STOP);
        assert_eq!(refused.status.code(), Some(2));
        let told = office.good("admin", &["person", "end", "bea"]);
        assert!(told.contains("suspended"), "{told}");
        let refused = office.signed("bea", &["reload"]);
        assert_eq!(refused.status.code(), Some(2));
        node
    })
    .await;
    // What waits, waits after a restart.
    let node = Running::start(node.stop().await).await;
    assert_eq!(health::problems(&node.kernel), []);
    let client = Client::new(node.home.socket());
    let waiting: ListView<serde_json::Value> = client.get("/v1/persons/proposals").await.unwrap();
    assert_eq!(waiting.items.len(), 2);
    node.stop().await;
}

fn statement(key: &SigningKey, body: &[u8]) -> String {
    let request = Request {
        federation: FEDERATION,
        node: "rotterdam",
        action: Action::Enrol,
        parameters: BTreeMap::new(),
        body,
        at: portcullis_home::clock::system_clock()(),
        nonce: [3; 16],
    };
    act::sign(&request, key).unwrap()
}

fn enrolment(id: &str, role: Role, key: &SigningKey) -> Vec<u8> {
    let view = EnrolView {
        id: id.to_owned(),
        name: id.to_owned(),
        role: role.name().to_owned(),
        public_key: data_encoding::HEXLOWER.encode(&key.public().to_bytes()),
    };
    serde_json::to_vec(&view).unwrap()
}

/// Attack M7: 24 first enrolments at once made 24 administrators.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_24_first_enrolments_at_once_one_counts() {
    let (_federation, node) = node().await;
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..24_u8 {
        let client = Client::new(node.home.socket());
        tries.spawn(async move {
            let key = SigningKey::from_seed(KeyUse::Person, [number; 32]);
            let body = enrolment(&format!("a{number}"), Role::Administrator, &key);
            let signed = statement(&key, &body);
            client
                .act::<EnrolledView>(&signed, body.into())
                .await
                .is_ok()
        });
    }
    let done = tries.join_all().await;
    assert_eq!(done.iter().filter(|done| **done).count(), 1);
    let client = Client::new(node.home.socket());
    let persons: ListView<EnrolledView> = client.get("/v1/persons").await.unwrap();
    assert_eq!(persons.items.len(), 1);
    assert_eq!(node.kernel.store().persons().unwrap().len(), 1);
    // The same from the command line's earlier version is proven after a restart as well.
    let node = Running::start(node.stop().await).await;
    let client = Client::new(node.home.socket());
    let again: ListView<EnrolledView> = client.get("/v1/persons").await.unwrap();
    assert_eq!(again, persons);
    node.stop().await;
}

/// Attack H1: a person inserted into the table acted with full rights, and nothing told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_written_into_the_table_is_nobody_and_health_names_it() {
    let (_federation, node) = node().await;
    let ada = SigningKey::from_seed(KeyUse::Person, [1; 32]);
    let body = enrolment("ada", Role::Administrator, &ada);
    let client = Client::new(node.home.socket());
    let signed = statement(&ada, &body);
    let _: EnrolledView = client.act(&signed, body.into()).await.unwrap();
    let home = node.stop().await;
    let eve = SigningKey::from_seed(KeyUse::Person, [9; 32]);
    let database = rusqlite::Connection::open(home.data().join("store.db")).unwrap();
    let row = "INSERT INTO person VALUES ('eve', 'Eve', 'administrator', ?1, 0, '')";
    database.execute(row, [eve.public().to_bytes()]).unwrap();
    let raised = "UPDATE person SET role = 'supervisor' WHERE id = 'ada'";
    database.execute(raised, []).unwrap();
    drop(database);
    let node = Running::start(home).await;
    let client = Client::new(node.home.socket());
    let body = enrolment(
        "mallory",
        Role::Supervisor,
        &SigningKey::from_seed(KeyUse::Person, [8; 32]),
    );
    let signed = statement(&eve, &body);
    let refused = client.act::<EnrolledView>(&signed, body.into()).await;
    assert!(refused.is_err(), "{refused:?}");
    let problems = health::problems(&node.kernel);
    assert!(
        problems.iter().any(|one| one.what.contains("`eve`")),
        "{problems:?}"
    );
    node.stop().await;
}

/// An administrator lost their key, and nobody is left who could propose and second another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_at_the_machine_is_told_to_all_and_can_be_withdrawn() {
    let (_federation, node) = node().await;
    let (node, office) = apart(move || {
        let office = Office::open(&node);
        let pass = ["--passphrase-file", "pass"];
        let make = ["person", "key", "--out", "admin-2.key"];
        office.user().good(&[&make[..], &pass].concat());
        let recover = |id: &str| {
            let public = ["--public-key", "admin-2.key.pub"];
            office.run(&[&["person", "recover", id][..], &public].concat())
        };
        let told = recover("admin");
        assert!(told.status.success());
        assert!(String::from_utf8_lossy(&told.stdout).contains("restart the node"));
        // Of somebody else it counts for nobody.
        assert!(recover("nobody").status.success());
        assert_eq!(recover("No One").status.code(), Some(64));
        (node, office)
    })
    .await;
    let node = Running::start(node.stop().await).await;
    let waits = |node: &Running| {
        let problems = health::problems(&node.kernel);
        let of_it = problems
            .iter()
            .filter(|one| one.what.contains("give `admin` the key"));
        of_it.count()
    };
    assert_eq!(waits(&node), 1);
    assert_eq!(health::problems(&node.kernel).len(), 1);
    let events = node.kernel.store().events(100).unwrap();
    let told = events
        .iter()
        .filter(|event| event.kind == "administrator-recovery");
    assert_eq!(told.count(), 2);
    // It is told once, and its time begins once.
    let at = |node: &Running| {
        let mut facts = node.kernel.store().facts().unwrap();
        facts.retain(|fact| fact.kind == portcullis_store::FactKind::Recovery);
        facts.into_iter().map(|fact| fact.at).collect::<Vec<_>>()
    };
    let since = at(&node);
    let node = Running::start(node.stop().await).await;
    assert_eq!((at(&node), waits(&node)), (since, 1));
    let (node, office) = apart(move || {
        // A second one of the same person is refused, and told how to withdraw the first.
        let public = ["--public-key", "admin-2.key.pub"];
        let again = office.run(&[&["person", "recover", "admin"][..], &public].concat());
        assert_eq!(again.status.code(), Some(3));
        let told = String::from_utf8_lossy(&again.stderr).into_owned();
        let id = office.json(&["person", "proposals"])["items"][0]["id"].clone();
        let how = format!("portcullis person withdraw {}", id.as_str().unwrap());
        assert!(told.contains(&how), "{told}");
        let listed = office.run(&["person", "proposals"]);
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(
            listed.contains("recovery at this machine: give `admin` the key"),
            "{listed}"
        );
        // The key of before still counts, and the other one does not yet.
        let refused = office.signed("admin-2", &["reload"]);
        assert_eq!(refused.status.code(), Some(2));
        office.good("admin", &["reload"]);
        let id = office.json(&["person", "proposals"])["items"][0]["id"].clone();
        let withdraw = ["person", "withdraw", id.as_str().unwrap()];
        office.good("anna", &withdraw);
        let listed = office.json(&["person", "proposals"]);
        assert_eq!(listed["items"].as_array().unwrap().len(), 0);
        (node, office)
    })
    .await;
    assert_eq!(waits(&node), 0);
    let node = Running::start(node.stop().await).await;
    assert_eq!((waits(&node), health::problems(&node.kernel)), (0, vec![]));
    drop(office);
    node.stop().await;
}

/// A person's key that signs by the clock of the node.
fn signed(node: &Running, key: &SigningKey, change: &Change) -> String {
    use portcullis_protocol::seal::Entropy as _;
    let mut nonce = [0; 16];
    portcullis_home::clock::SystemEntropy::default().fill(&mut nonce);
    let request = Request {
        federation: FEDERATION,
        node: "rotterdam",
        action: change.action(),
        parameters: change.parameters(),
        body: &[],
        at: node.kernel.wall(),
        nonce,
    };
    act::sign(&request, key).unwrap()
}

/// Seals a recovery with the keys of a node that does not run, as `person recover` does.
fn recover(home: &portcullis_home::Home, id: &str, key: &SigningKey) {
    let config = Config::load(&home.config()).unwrap();
    let mut facts = Keyring::load(home, &config.key).unwrap().facts().clone();
    facts.recoveries.push(SealedRecovery {
        id: id.to_owned(),
        public_key: data_encoding::HEXLOWER.encode(&key.public().to_bytes()),
    });
    Keyring::seal_facts(home, &config.key, &facts).unwrap();
}

fn told(node: &Running) -> Vec<String> {
    let mut events = node.kernel.store().events(1_000).unwrap();
    events.retain(|event| event.kind == "administrator-recovery");
    events.into_iter().map(|event| event.detail).collect()
}

const HOUR: i64 = 3_600_000;

/// Stops a node, and has the recoveries that wait there wait for so long, as if it had run.
async fn stopped_after(node: Running, waited_ms: i64) -> portcullis_home::Home {
    let store = std::sync::Arc::clone(node.kernel.store());
    let home = node.stop().await;
    let mut noted = store.facts().unwrap();
    noted.retain(|fact| fact.subject.ends_with(" waited"));
    let facts = noted.into_iter().map(|noted| {
        let FactRow {
            kind, subject, at, ..
        } = noted;
        Write::Fact(Fact {
            kind,
            subject,
            content: Some(waited_ms.to_be_bytes().to_vec()),
            at,
        })
    });
    store.commit(facts.collect()).unwrap();
    home
}

/// Returns the times that the recoveries of a node have waited, as it noted them.
fn waited(node: &Running) -> Vec<i64> {
    let mut noted = node.kernel.store().facts().unwrap();
    noted.retain(|fact| fact.subject.ends_with(" waited"));
    let waited = noted.iter().map(|fact| &fact.content[..]);
    waited
        .map(|content| i64::from_be_bytes(content.try_into().unwrap()))
        .collect()
}

/// HP-199: whoever had the machine and the passphrase set the clock ahead, and nobody could withdraw.
/// Sibling: terms of persons began at the time of that clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_ahead_and_not_confirmed_makes_no_recovery_count() {
    let federation = Federation::new(&[("rotterdam", AuthorityKind::Customs)]);
    let (clock, ahead) = Running::settable_clock();
    let start = |home| Running::start_by(home, clock.clone());
    let node = start(federation.home("rotterdam")).await;
    let key = |seed: u8| SigningKey::from_seed(KeyUse::Person, [seed; 32]);
    let (ada, other) = (key(1), key(2));
    let client = Client::new(node.home.socket());
    let body = enrolment("ada", Role::Administrator, &ada);
    let first = statement(&ada, &body);
    let _: EnrolledView = client.act(&first, body.into()).await.unwrap();
    let home = node.stop().await;
    recover(&home, "ada", &other);
    // Of somebody who is nobody, and told of once.
    recover(&home, "nobody", &other);
    let node = start(home).await;
    assert_eq!(told(&node).len(), 2);
    let client = Client::new(node.home.socket());
    let end = |id: &str| Change::End { id: id.to_owned() };
    let second = |key: &SigningKey| {
        let digest = portcullis_protocol::digest::Digest::labelled("nothing", &[]);
        signed(&node, key, &Change::Second { act: digest })
    };
    // Whoever may act is told that it is of nobody; anybody else is nobody.
    let tried = async |statement: String| {
        let tried = client.act::<EnrolledView>(&statement, bytes::Bytes::new());
        tried.await.unwrap_err().to_string()
    };
    ahead.store(80 * HOUR, Ordering::SeqCst);
    assert!(tried(second(&other)).await.contains("no enrolled person"));
    let confirm = "portcullis clock confirm";
    assert!(tried(second(&ada)).await.contains(confirm));
    assert!(
        tried(signed(&node, &ada, &end("ada")))
            .await
            .contains(confirm)
    );
    let waits = || {
        let problems = health::problems(&node.kernel);
        let waits = |one: &health::Problem| one.what.contains("give `ada` the key");
        problems.iter().filter(|one| waits(one)).count()
    };
    assert_eq!(waits(), 1);
    // Nobody is enrolled while the clock is not believed. An act of now keeps its place before the recovery.
    let bert = enrolment("bert", Role::Supervisor, &key(3));
    let enrol = Change::Enrol {
        id: "bert".to_owned(),
        name: "bert".to_owned(),
        role: Role::Supervisor,
        key: key(3).public(),
    };
    let enrol = Request {
        federation: FEDERATION,
        node: "rotterdam",
        action: Action::Enrol,
        parameters: enrol.parameters(),
        body: &bert,
        at: node.kernel.wall(),
        nonce: [9; 16],
    };
    let enrol = act::sign(&enrol, &ada).unwrap();
    let refused = client.act::<EnrolledView>(&enrol, bert.clone().into());
    let refused = refused.await.unwrap_err().to_string();
    assert!(refused.contains(confirm), "{refused}");
    // An administrator confirms the clock: now it is believed, and still the node has not run for so long.
    node.kernel.confirm_clock();
    let _: EnrolledView = client.act(&enrol, bert.into()).await.unwrap();
    assert!(tried(second(&other)).await.contains("no enrolled person"));
    assert_eq!((told(&node).len(), waits()), (2, 1));
    let node = start(stopped_after(node, 72 * HOUR).await).await;
    eventually(&node.kernel, || told(&node).len() == 3).await;
    let client = Client::new(node.home.socket());
    let tried = async |key: &SigningKey| {
        let digest = portcullis_protocol::digest::Digest::labelled("nothing", &[]);
        let statement = signed(&node, key, &Change::Second { act: digest });
        let tried = client.act::<EnrolledView>(&statement, bytes::Bytes::new());
        tried.await.unwrap_err().to_string()
    };
    assert!(tried(&ada).await.contains("was that of `ada`"));
    assert!(tried(&other).await.contains("no such proposal"));
    let problems = health::problems(&node.kernel);
    assert!(!problems.iter().any(|one| one.what.contains("give `ada`")));
    // It is so after restarts, however late, and nothing is told anew.
    let mut home = node.stop().await;
    for hours in [80, 160, 240] {
        ahead.store(hours * HOUR, Ordering::SeqCst);
        let node = start(home).await;
        let problems = health::problems(&node.kernel);
        assert!(
            !problems.iter().any(|one| one.what.contains("not believed")),
            "{problems:?}"
        );
        assert_eq!(told(&node).len(), 3, "{hours}");
        let client = Client::new(node.home.socket());
        let persons: ListView<EnrolledView> = client.get("/v1/persons").await.unwrap();
        let keys =
            [&other, &key(3)].map(|key| data_encoding::HEXLOWER.encode(&key.public().to_bytes()));
        assert!(persons.items.iter().map(|one| &one.public_key).eq(&keys));
        home = node.stop().await;
    }
}

/// HP-199: the node ran for seconds at the beginning and at the end of the time, or its clock was set
/// while it was stopped, and nobody could withdraw.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_waits_for_72_hours_in_which_the_node_runs_however_often_it_is_stopped() {
    let federation = Federation::new(&[("rotterdam", AuthorityKind::Customs)]);
    let (clock, ahead) = Running::settable_clock();
    let start = |home| Running::start_by(home, clock.clone());
    let node = start(federation.home("rotterdam")).await;
    let (ada, other) =
        ([1, 2].map(|seed| SigningKey::from_seed(KeyUse::Person, [seed; 32]))).into();
    let client = Client::new(node.home.socket());
    let body = enrolment("ada", Role::Administrator, &ada);
    let first = statement(&ada, &body);
    let _: EnrolledView = client.act(&first, body.into()).await.unwrap();
    let mut home = node.stop().await;
    recover(&home, "ada", &other);
    let former = async |node: &Running| {
        let client = Client::new(node.home.socket());
        let persons: ListView<EnrolledView> = client.get("/v1/persons").await.unwrap();
        persons.items[0].former_keys.len()
    };
    let mut before = 0;
    for ms in [
        0,
        71 * HOUR,
        72 * HOUR - 1,
        72 * HOUR,
        143 * HOUR,
        145 * HOUR,
    ] {
        ahead.store(ms, Ordering::SeqCst);
        let node = start(home).await;
        assert_eq!((told(&node).len(), former(&node).await), (1, 0), "{ms}");
        let problems = health::problems(&node.kernel);
        let waits = problems.iter().any(|one| one.what.contains("give `ada`"));
        assert!(waits, "{problems:?}");
        // It goes on from the time that was noted when it was stopped.
        let noted = waited(&node)[0];
        assert!(noted >= before && noted < HOUR, "{before} {noted}");
        before = noted + 1;
        home = node.stop().await;
    }
    let node = start(home).await;
    // A minute is longer than this test takes.
    let node = start(stopped_after(node, 72 * HOUR - 60_000).await).await;
    assert_eq!((told(&node).len(), former(&node).await), (1, 0));
    let node = start(stopped_after(node, 72 * HOUR).await).await;
    eventually(&node.kernel, || told(&node).len() == 2).await;
    assert_eq!(former(&node).await, 1);
    node.stop().await;
}
