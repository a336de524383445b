//! Acts at a running node whose store fails: each is done once, however often it is sent.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use bytes::Bytes;
use portcullis_admin_api::{
    act::{self, Action, Request, Role},
    client::{Client, ClientError},
    v1::{
        act::{ClockView, DraftsView, EnrolView, PublishedView},
        backup::{BackupOrder, BackupStep},
        score::ImportedView,
        settings::AcceptedView,
        status::EnrolledView,
        trust::MovedView,
    },
};
use portcullis_home::clock::{Clock, system_clock};
use portcullis_kernel::dialect::Dialect;
use portcullis_protocol::{
    keys::{KeyUse, SigningKey},
    register::AuthorityKind,
};
use portcullis_store::{Act, ActOutcome, ConsignmentStage, Write, writer::Priority};
use portcullis_tests::{
    faults::load::draft,
    federation::{FEDERATION, Federation, Running},
};
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

/// A node and the persons who act there.
struct Bench {
    _federation: Federation,
    node: Running,
    client: Client,
}

/// An act that was signed, and the body that travels beside it.
struct Signed(String, Bytes);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(KeyUse::Person, [seed; 32])
}

impl Bench {
    async fn open() -> Self {
        Self::open_by(system_clock()).await
    }

    async fn open_by(clock: Clock) -> Self {
        let federation = Federation::new(&[("rotterdam", AuthorityKind::Customs)]);
        let node = Running::start_by(federation.home("rotterdam"), clock).await;
        let bench = Self {
            client: Client::new(node.home.socket()),
            _federation: federation,
            node,
        };
        for (id, role, seed) in [
            ("admin", Role::Administrator, 41),
            ("anna", Role::Supervisor, 42),
        ] {
            bench.enrol(id, role, seed).await;
        }
        bench
    }

    async fn enrol(&self, id: &str, role: Role, seed: u8) {
        let view = EnrolView {
            id: id.to_owned(),
            name: id.to_owned(),
            role: role.name().to_owned(),
            public_key: data_encoding::HEXLOWER.encode(&key(seed).public().to_bytes()),
        };
        let body = serde_json::to_vec(&view).unwrap();
        let enrol = self.sign(41, Action::Enrol, &[], body);
        let _: EnrolledView = self.send(&enrol).await.unwrap();
    }

    /// Sends an act whose body stops before its last byte, and returns the connection once the node
    /// has checked the statement and reads the body.
    async fn send_half(&self, Signed(statement, body): &Signed) -> UnixStream {
        let mut stream = UnixStream::connect(self.node.home.socket()).await.unwrap();
        let head = format!(
            "POST /v1/acts HTTP/1.1\r\nHost: node\r\n{}: {statement}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            portcullis_admin_api::ACT_HEADER,
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut goes_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut goes_on).await.unwrap();
        assert_eq!(&goes_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(&body[..body.len() - 1]).await.unwrap();
        stream
    }

    /// Takes the end of the newest act back, as if the node had been killed before that was written.
    async fn cut(&self, action: Action) {
        let done = self.node.kernel.store().acts_done(action.name()).unwrap();
        let outcome = Write::ActOutcome(ActOutcome {
            statement: done.last().unwrap().clone(),
            outcome: Act::BEGUN.to_owned(),
            answer: None,
        });
        let kernel = &self.node.kernel;
        kernel
            .commit(Priority::Urgent, vec![outcome])
            .await
            .unwrap();
    }

    fn sign(&self, by: u8, action: Action, parameters: &[(&str, &str)], body: Vec<u8>) -> Signed {
        let mut nonce = [0; 16];
        getrandom(&mut nonce);
        let parameters = parameters.iter();
        let request = Request {
            federation: FEDERATION,
            node: "rotterdam",
            action,
            parameters: parameters
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>(),
            body: &body,
            at: self.node.kernel.wall(),
            nonce,
        };
        let statement = act::sign(&request, &key(by)).unwrap();
        Signed(statement, body.into())
    }

    async fn send<T: DeserializeOwned>(&self, signed: &Signed) -> Result<T, ClientError> {
        self.client.act(&signed.0, signed.1.clone()).await
    }

    fn log_end(&self) -> u64 {
        self.node.kernel.store().log_end().unwrap()
    }

    /// Runs SQL in the store behind the node's back.
    fn sql(&self, sql: &str) {
        let main = self.node.home.data().join("store.db");
        Connection::open(main).unwrap().execute_batch(sql).unwrap();
    }

    /// Lets every commit fail: the store writes nothing beside a table that is not its own.
    fn fail(&self) {
        self.sql("CREATE TABLE fault (x)");
    }

    fn mend(&self) {
        self.sql("DROP TABLE fault");
    }

    /// Returns the ends of the acts with this name.
    fn ends(&self, action: Action) -> Vec<Option<String>> {
        let rows = self.node.kernel.store().acts(None, 1000).unwrap();
        let rows = rows.into_iter().filter(|row| row.action == action.name());
        rows.map(|row| row.outcome).collect()
    }
}

fn getrandom(bytes: &mut [u8]) {
    use portcullis_protocol::seal::Entropy as _;
    portcullis_home::clock::SystemEntropy::default().fill(bytes);
}

fn drafts(kind: &str, count: usize) -> Vec<u8> {
    let drafts = (0..count).map(|number| draft(kind, number)).collect();
    serde_json::to_vec(&DraftsView { drafts }).unwrap()
}

/// Attack HH5: an act that failed was refused as a replay when it was sent again, and signed again it
/// published everything twice. The store's own tests let it fail at each of its statements.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_act_that_the_store_refused_left_nothing_and_is_then_done_once() {
    let bench = Bench::open().await;
    // Alerts are written in another lane than indicators, and 70 records fill several packs.
    let acts = [
        (Action::Publish, "indicator", 1),
        (Action::Publish, "indicator", 70),
        (Action::Alert, "alert", 1),
        (Action::Advisory, "advisory", 1),
    ];
    for (action, kind, count) in acts {
        let told = format!("{count} {kind}");
        let (end, before) = (bench.log_end(), bench.ends(action).len());
        let signed = bench.sign(42, action, &[], drafts(kind, count));
        bench.fail();
        let refused = bench.send::<PublishedView>(&signed).await;
        assert!(matches!(refused, Err(ClientError::Refused(..))), "{told}");
        assert_eq!(bench.log_end(), end, "{told}");
        bench.mend();
        let first: PublishedView = bench.send(&signed).await.unwrap();
        let again: PublishedView = bench.send(&signed).await.unwrap();
        assert_eq!((first.records.len(), &first), (count, &again), "{told}");
        let store = bench.node.kernel.store();
        for id in &first.records {
            assert!(store.record(&id.parse().unwrap()).unwrap().is_some());
        }
        let ends = bench.ends(action);
        assert_eq!(ends.len(), before + 1, "{told}");
        assert_eq!(ends[0].as_deref(), Some("done"), "{told}");
        let held = store.ids_with_prefix("", 10_000).unwrap().len();
        assert_eq!(held, bench_total(&bench), "{told}");
    }
    bench.node.stop().await;
}

/// Returns the number of records that the answers of the acts name.
fn bench_total(bench: &Bench) -> usize {
    let main = bench.node.home.data().join("store.db");
    let raw = Connection::open(main).unwrap();
    let mut answers = raw
        .prepare("SELECT answer FROM act WHERE action IN ('publish', 'alert', 'advisory')")
        .unwrap();
    let answers = answers
        .query_map([], |row| row.get::<_, Vec<u8>>(0))
        .unwrap();
    let counts = answers.map(|answer| {
        let published: PublishedView = serde_json::from_slice(&answer.unwrap()).unwrap();
        published.records.len()
    });
    counts.sum()
}

/// Attack HH5: the caller went away before the answer came, and could not know what was done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_lost_the_answer_is_given_it_again() {
    let bench = Bench::open().await;
    for wait_ms in [0, 1, 5, 50] {
        let end = bench.log_end();
        let signed = bench.sign(42, Action::Publish, &[], drafts("indicator", 3));
        let mut stream = tokio::net::UnixStream::connect(bench.node.home.socket())
            .await
            .unwrap();
        let head = format!(
            "POST /v1/acts HTTP/1.1\r\nHost: node\r\n{}: {}\r\nContent-Length: {}\r\n\r\n",
            portcullis_admin_api::ACT_HEADER,
            signed.0,
            signed.1.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&signed.1).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
        drop(stream);
        // Both come at once: one of them does it, the other is told.
        let (one, other) = tokio::join!(
            bench.send::<PublishedView>(&signed),
            bench.send::<PublishedView>(&signed)
        );
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!((one.records.len(), &one), (3, &other));
        let logged = bench.log_end() - end;
        assert!(logged <= 64, "{logged}");
        let held = bench.node.kernel.store().ids_with_prefix("", 1000).unwrap();
        assert_eq!(held.len(), bench_total(&bench));
    }
    // It is so after a restart.
    let signed = bench.sign(42, Action::Publish, &[], drafts("indicator", 1));
    let first: PublishedView = bench.send(&signed).await.unwrap();
    let home = bench.node.stop().await;
    let node = Running::start(home).await;
    let again: PublishedView = bench.client.act(&signed.0, signed.1).await.unwrap();
    assert_eq!(first, again);
    node.stop().await;
}

/// Attack HH5: what a gate, a person or a reload answered was lost as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acts_that_publish_nothing_are_answered_again_and_done_once() {
    let bench = Bench::open().await;
    let stop = bench.sign(
        42,
        Action::ReleaseStop,
        &[],
        br#"{"peer":"all","reason":"a drill"}"#.to_vec(),
    );
    let resume = bench.sign(
        42,
        Action::ReleaseResume,
        &[],
        br#"{"peer":"all","reason":""}"#.to_vec(),
    );
    bench.fail();
    assert!(bench.send::<MovedView>(&stop).await.is_err());
    let is_stopped = || !bench.node.kernel.store().facts().unwrap().is_empty();
    assert!(!is_stopped());
    bench.mend();
    let stopped: MovedView = bench.send(&stop).await.unwrap();
    assert!(is_stopped());
    let _: MovedView = bench.send(&resume).await.unwrap();
    // Sent again, the stop is not done again.
    let again: MovedView = bench.send(&stop).await.unwrap();
    assert_eq!(stopped, again);
    assert!(!is_stopped());
    let reload = bench.sign(41, Action::Reload, &[], Vec::new());
    let one: serde_json::Value = bench.send(&reload).await.unwrap();
    assert_eq!(one, bench.send::<serde_json::Value>(&reload).await.unwrap());
    assert_eq!(bench.ends(Action::Reload), [Some("done".to_owned())]);
    let view = EnrolView {
        id: "bea".to_owned(),
        name: "bea".to_owned(),
        role: "analyst".to_owned(),
        public_key: data_encoding::HEXLOWER.encode(&key(43).public().to_bytes()),
    };
    let enrol = bench.sign(41, Action::Enrol, &[], serde_json::to_vec(&view).unwrap());
    bench.fail();
    assert!(bench.send::<EnrolledView>(&enrol).await.is_err());
    bench.mend();
    let first: EnrolledView = bench.send(&enrol).await.unwrap();
    assert_eq!(first, bench.send(&enrol).await.unwrap());
    assert_eq!(bench.node.kernel.store().persons().unwrap().len(), 3);
    bench.node.stop().await;
}

const HEADER: &str = "Declaration ID,Date,Office ID,Process Type,Import Type,Import Use,Payment Type,Mode of Transport,Declarant ID,Importer ID,Seller ID,Courier ID,HS6 Code,Country of Departure,Country of Origin,Tax Rate,Tax Type,Country of Origin Indicator,Net Mass,Item Price,Fraud,Critical Fraud";
const ROW: &str = "2021-01-01,40,B,11,11,11,10,76NV527,SHHZGSL,249LO7A,,760711,CN,CN,7.2,FCN1,E,901.2,415092.72,0,0";

/// Attack HH5: an import that failed halfway said that nothing was kept, and could not be finished.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_was_cut_short_goes_on_when_it_is_sent_again() {
    let bench = Bench::open().await;
    let held = || {
        let store = bench.node.kernel.store();
        store
            .consignments(ConsignmentStage::Arriving)
            .unwrap()
            .len()
    };
    let file = |rows: usize| {
        let rows: String = (0..rows).map(|n| format!("{},{ROW}\n", 1000 + n)).collect();
        format!("{HEADER}\n{rows}").into_bytes()
    };
    let signed = |rows| {
        let parameters = [("stage", "arriving")];
        bench.sign(42, Action::ImportConsignments, &parameters, file(rows))
    };
    // A part of the rows is there already, as after an import that was cut short.
    let _: ImportedView = bench.send(&signed(150)).await.unwrap();
    let import = signed(200);
    bench.fail();
    assert!(bench.send::<ImportedView>(&import).await.is_err());
    assert_eq!(held(), 150);
    bench.mend();
    let first: ImportedView = bench.send(&import).await.unwrap();
    assert_eq!((first.consignments, held()), (200, 200));
    assert_eq!(first, bench.send(&import).await.unwrap());
    let ends = bench.ends(Action::ImportConsignments);
    let done = Some("done".to_owned());
    assert_eq!(ends, [done.clone(), done]);
    bench.node.stop().await;
}

/// Returns the last byte of an act's body to its connection, and then the answer.
async fn finished(mut stream: UnixStream, body: &Bytes) -> String {
    stream.write_all(&body[body.len() - 1..]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Key, standing and role were checked before the body came, which may take ten minutes, and not again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_act_no_more_when_the_body_has_come_is_refused_whatever_the_act() {
    let bench = Bench::open().await;
    bench.enrol("dan", Role::DataProtection, 44).await;
    let of = |role: Role| {
        Action::ALL
            .iter()
            .filter(move |action| action.roles().last() == Some(&role))
    };
    let begun = async |by: u8, role: Role| {
        let mut begun = Vec::new();
        for action in of(role) {
            let signed = bench.sign(by, *action, &[], b"{} ".to_vec());
            begun.push((action.name(), bench.send_half(&signed).await, signed.1));
        }
        begun
    };
    let stop = || {
        let body = br#"{"peer":"all","reason":"a drill"}"#.to_vec();
        bench.sign(42, Action::ReleaseStop, &[], body)
    };
    let (good, bad) = (stop(), stop());
    // Who stays may act: it is not the slow body that is refused.
    let stream = bench.send_half(&good).await;
    let answer = finished(stream, &good.1).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut waiting = begun(42, Role::Supervisor).await;
    waiting.extend(begun(44, Role::DataProtection).await);
    waiting.push(("release-stop", bench.send_half(&bad).await, bad.1.clone()));
    let role = [("id", "anna"), ("role", "auditor")];
    let role = bench.sign(41, Action::PersonRole, &role, Vec::new());
    let _: EnrolledView = bench.send(&role).await.unwrap();
    let end = bench.sign(41, Action::PersonEnd, &[("id", "dan")], Vec::new());
    let _: EnrolledView = bench.send(&end).await.unwrap();
    // Somebody must be left who seconds.
    bench.enrol("sue", Role::Supervisor, 45).await;
    bench.enrol("bea", Role::Administrator, 43).await;
    waiting.extend(begun(43, Role::Administrator).await);
    // One administrator suspends the other.
    let end = bench.sign(41, Action::PersonEnd, &[("id", "bea")], Vec::new());
    let _: EnrolledView = bench.send(&end).await.unwrap();
    assert_eq!(
        waiting.len(),
        Action::ALL.len() - of(Role::Auditor).count() + 1
    );
    let store = bench.node.kernel.store();
    let (acts, facts) = (store.acts(None, 1_000).unwrap(), store.facts().unwrap());
    for (name, stream, body) in waiting {
        let answer = finished(stream, &body).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{name}: {answer}");
    }
    assert_eq!(store.acts(None, 1_000).unwrap(), acts);
    assert_eq!(store.facts().unwrap(), facts);
    assert_eq!(store.persons().unwrap().len(), 5);
    bench.node.stop().await;
}

/// Attack HH5: the node was killed between the work of an act and the log of its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_act_whose_end_was_not_logged_finds_its_earlier_attempt() {
    let bench = Bench::open().await;
    let rows: String = (0..90).map(|n| format!("{},{ROW}\n", 1000 + n)).collect();
    let file = format!("{HEADER}\n{rows}").into_bytes();
    let import = bench.sign(
        42,
        Action::ImportConsignments,
        &[("stage", "arriving")],
        file,
    );
    let imported: ImportedView = bench.send(&import).await.unwrap();
    bench.cut(Action::ImportConsignments).await;
    let again: ImportedView = bench.send(&import).await.unwrap();
    assert_eq!(again.replaced, 90);
    let again = ImportedView {
        replaced: 0,
        ..again
    };
    assert_eq!(imported, again);
    let arriving = bench
        .node
        .kernel
        .store()
        .consignments(ConsignmentStage::Arriving);
    assert_eq!(arriving.unwrap().len(), 90);

    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("data");
    let order = BackupOrder {
        to: to.clone(),
        keys_to: folder.path().join("keys"),
    };
    let order = serde_json::to_vec(&order).unwrap();
    let backup = bench.sign(41, Action::Backup, &[], order.clone());
    let taken = async |signed: &Signed| {
        let mut lines = bench
            .client
            .act_lines::<BackupStep<serde_json::Value>>(&signed.0, signed.1.clone())
            .await?;
        let mut last = None;
        while let Some(line) = lines.next().await? {
            last = Some(line);
        }
        Ok::<_, ClientError>(format!("{last:?}"))
    };
    let made = taken(&backup).await.unwrap();
    assert!(made.contains("Taken"), "{made}");
    let manifest = std::fs::read(to.join("manifest.json")).unwrap();
    // Answered from the log; and once its end is not there, from what it made.
    assert_eq!(taken(&backup).await.unwrap(), made);
    bench.cut(Action::Backup).await;
    assert_eq!(taken(&backup).await.unwrap(), made);
    assert_eq!(std::fs::read(to.join("manifest.json")).unwrap(), manifest);
    // Another act does not take it for its own.
    let other = taken(&bench.sign(41, Action::Backup, &[], order))
        .await
        .unwrap();
    assert!(other.contains("is there already"), "{other}");
    let ends = bench.ends(Action::Backup);
    let failed = "failed: no backup was made".to_owned();
    assert_eq!(ends, [Some(failed), Some("done".to_owned())]);

    let (_, found) = bench.node.reloader.settings_found().unwrap();
    let serial = |bench: &Bench| {
        let keyring = bench.node.kernel.keyring();
        keyring.facts().accepted.as_ref().unwrap().serial
    };
    let (digest, next) = (found.digest().to_string(), (serial(&bench) + 1).to_string());
    let parameters = [("digest", &*digest), ("serial", &*next)];
    let accept = bench.sign(41, Action::AcceptSettings, &parameters, Vec::new());
    let accepted: AcceptedView = bench.send(&accept).await.unwrap();
    bench.cut(Action::AcceptSettings).await;
    let sealed = serial(&bench);
    assert_eq!(accepted, bench.send(&accept).await.unwrap());
    assert_eq!(serial(&bench), sealed);
    assert_eq!(
        bench.ends(Action::AcceptSettings),
        [Some("done".to_owned())]
    );
    // Another act with its number is not it.
    let late = bench.sign(41, Action::AcceptSettings, &parameters, Vec::new());
    let refused = bench.send::<AcceptedView>(&late).await.unwrap_err();
    assert!(
        refused.to_string().contains("accepted meanwhile"),
        "{refused}"
    );
    // It is so after a restart.
    bench.cut(Action::AcceptSettings).await;
    let node = Running::start_as_it_is(bench.node.stop().await, Dialect::default()).await;
    let again: AcceptedView = bench.client.act(&accept.0, accept.1).await.unwrap();
    assert_eq!(again, accepted);
    node.stop().await;
}

/// A confirmation whose end could not be logged confirmed the next step as well when it was sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmation_of_the_clock_confirms_one_step() {
    let (clock, ahead) = Running::settable_clock();
    let bench = Bench::open_by(clock).await;
    let set = |minutes: i64| ahead.store(minutes * 60_000, Ordering::SeqCst);
    set(6);
    let confirm = bench.sign(41, Action::ConfirmClock, &[], Vec::new());
    bench.fail();
    assert!(bench.send::<ClockView>(&confirm).await.is_err());
    assert!(bench.node.kernel.clock_step().is_some());
    bench.mend();
    let first: ClockView = bench.send(&confirm).await.unwrap();
    assert_eq!(bench.node.kernel.clock_step(), None);
    set(12);
    assert!(bench.node.kernel.clock_step().is_some());
    assert_eq!(first, bench.send(&confirm).await.unwrap());
    assert!(bench.node.kernel.clock_step().is_some());
    assert_eq!(bench.ends(Action::ConfirmClock), [Some("done".to_owned())]);
    bench.node.stop().await;
}
