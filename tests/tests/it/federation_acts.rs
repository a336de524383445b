//! Acts at a running node whose store fails: each is done once, however often it is sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use portcullis_admin_api::{
    act::{self, Action, Request, Role},
    client::{Client, ClientError},
    v1::{
        act::{DraftsView, EnrolView, PublishedView},
        score::ImportedView,
        status::EnrolledView,
        trust::MovedView,
    },
};
use portcullis_protocol::{
    keys::{KeyUse, SigningKey},
    register::AuthorityKind,
};
use portcullis_store::ConsignmentStage;
use portcullis_tests::{
    faults::load::draft,
    federation::{FEDERATION, Federation, Running},
};
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt as _;

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
        let federation = Federation::new(&[("rotterdam", AuthorityKind::Customs)]);
        let node = Running::start(federation.home("rotterdam")).await;
        let bench = Self {
            client: Client::new(node.home.socket()),
            _federation: federation,
            node,
        };
        for (id, role, seed) in [
            ("admin", Role::Administrator, 41),
            ("anna", Role::Supervisor, 42),
        ] {
            let view = EnrolView {
                id: id.to_owned(),
                name: id.to_owned(),
                role: role.name().to_owned(),
                public_key: data_encoding::HEXLOWER.encode(&key(seed).public().to_bytes()),
            };
            let body = serde_json::to_vec(&view).unwrap();
            let enrol = bench.sign(41, Action::Enrol, &[], body);
            let _: EnrolledView = bench.send(&enrol).await.unwrap();
        }
        bench
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
