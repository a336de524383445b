//! Attacks of a member on the memory, the processor and the descriptors of a node.
//!
//! ```text
//! attacker ──floods──▶ the target's process, with 1 GiB of address space ◀──alerts── an honest member
//! ```
//!
//! The target's peak memory is held against its memory at rest, and the time in which an honest
//! alert is answered against that while other work takes as much of the processor. The target has
//! 1 GiB of address space throughout (`prlimit --as`, which counts more than a control group would),
//! and starts again with it at the end.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_admin_api::v1::{hold::HeldPageView, status::StatusView};
use portcullis_kernel::Kernel;
use portcullis_protocol::{
    body::{Attachment, Body},
    record::{Kind, RecordId},
    register::AuthorityKind,
    seal::{Draft, DraftSection},
};
use portcullis_store::DisclosureState;
use serde::Serialize;

use super::{
    cast::quick,
    floods::{Aside, Attacker, FLOODS},
    process::{Launch, PATIENCE, Process},
};
use crate::{
    federation::{Federation, Member, Running, accept_settings, eventually},
    hostile::stage::{Mallory, draft},
};

const MEMBERS: [Member; 3] = [
    ("antwerp", AuthorityKind::Customs),
    ("rotterdam", AuthorityKind::Customs),
    ("hamburg", AuthorityKind::Customs),
];

/// Bytes of the file that a record of the attacker brings.
const FILE: usize = 4_000_000;

/// Longest wait for the answer to a record that may be refused for now.
const FOR_NOW: Duration = Duration::from_secs(2);

/// Alerts from which a 99th percentile is taken.
const ALERTS: usize = 100;

/// Address space of the target.
const LIMIT: u64 = 1 << 30;

/// Most memory that an attack may gain, in KiB.
pub const MOST_GAINED_KIB: u64 = 300 << 10;

/// Most by which an attack may lengthen the time of an alert, as a factor.
const MOST_SLOWER: u64 = 3;

/// Time of an alert below which noise of the machine decides, in milliseconds.
const NOISE_MS: u64 = 20;

/// Measurements that are taken again if a bound is missed: a busy machine makes times longer, never
/// shorter, and what an attack causes is there each time.
const AGAIN: usize = 2;

/// Descriptors of a target that is to run out of them.
const FEW_DESCRIPTORS: u64 = 256;

/// Fewer lines than this are logged during a flood.
const MOST_LINES: usize = 40;

/// Results of one attack on memory.
#[derive(Debug, Clone, Serialize)]
pub struct Pressure {
    /// Description of the attack.
    pub attack: String,
    /// Number of messages and silent connections of a flood; 0 if the attacker was a node.
    pub attempts: u64,
    /// Memory of the target at rest, in KiB.
    pub rest_kib: u64,
    /// Peak of its memory beyond that, in KiB.
    pub gained_kib: u64,
    /// Time in which 99 of 100 honest alerts were answered while other work took the processor, in
    /// milliseconds.
    pub alert_ms: u64,
    /// The same during the attack.
    pub alert_under_attack_ms: u64,
}

impl Pressure {
    /// Returns whether the target stayed within the bounds.
    #[must_use]
    pub fn is_within(&self) -> bool {
        let slower = self.alert_ms.max(NOISE_MS) * MOST_SLOWER;
        self.gained_kib < MOST_GAINED_KIB && self.alert_under_attack_ms <= slower
    }
}

/// Measures of the target without an attack.
#[derive(Debug, Clone, Copy)]
struct Rest {
    /// Its memory, in KiB.
    kib: u64,
    /// Time in which 99 of 100 honest alerts were answered, in milliseconds.
    alert_ms: u64,
}

/// The target's process, and its honest peer in this process.
struct Stage {
    target: Process,
    honest: Running,
    federation: Federation,
}

impl Stage {
    async fn start(binary: &Path, descriptors: Option<u64>) -> Self {
        let federation = Federation::new(&MEMBERS);
        for (name, _) in MEMBERS {
            quick(&federation.home(name).config());
            accept_settings(&federation.home(name));
        }
        let launch = Launch {
            binary: binary.to_owned(),
            memory: Some(LIMIT),
            descriptors,
            ..Launch::default()
        };
        let mut target = Process::new(federation.home("antwerp"), launch);
        target.up().await;
        Self {
            target,
            honest: Running::start(federation.home("hamburg")).await,
            federation,
        }
    }

    /// Starts the attacker as a node.
    async fn attacker(&self) -> Running {
        Running::start(self.federation.home("rotterdam")).await
    }

    /// Prepares the floods of the attacker.
    fn floods(&self) -> Arc<Attacker> {
        let kernel = &self.honest.kernel;
        let decider = kernel.decider();
        let (_, node) = decider
            .register()
            .node(&"antwerp".parse().unwrap())
            .unwrap();
        let to = node.endpoint.parse().unwrap();
        let mallory = Mallory::take(&self.federation, "rotterdam");
        Arc::new(Attacker::new(mallory, to, kernel))
    }

    /// Measures the target without an attack, while other work takes the processor.
    async fn rest(&self) -> Rest {
        let work = Aside::idle_work();
        let alert_ms = self.alerts().await;
        work.end().await;
        let kib = self.target.memory_at_rest_kib();
        Rest { kib, alert_ms }
    }

    /// Returns the time in which 99 of 100 alerts of the honest member are answered.
    async fn alerts(&self) -> u64 {
        let mut times = Vec::new();
        for _ in 0..ALERTS {
            let begun = Instant::now();
            let kernel = &self.honest.kernel;
            let id = publish(kernel, draft(Kind::Alert)).await;
            answered(kernel, &id).await;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        let slow = times.get(ALERTS * 99 / 100 - 1).copied().unwrap();
        u64::try_from(slow.as_millis()).unwrap()
    }

    /// Measures the target under an attack.
    async fn measure(&self, attack: &str, rest: Rest, work: impl AsyncFnOnce()) -> Pressure {
        // Its peak counts anew.
        let _ = self.target.memory_at_rest_kib();
        let alerts = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.alerts().await
        };
        let ((), alert_under_attack_ms) = tokio::join!(work(), alerts);
        let gained_kib = self.target.peak_memory_kib().saturating_sub(rest.kib);
        Pressure {
            attack: attack.to_owned(),
            attempts: 0,
            rest_kib: rest.kib,
            gained_kib,
            alert_ms: rest.alert_ms,
            alert_under_attack_ms,
        }
    }

    /// Starts the target again, which must serve as before, and ends all.
    async fn end(mut self) {
        assert!(self.target.stop().await.success(), "{}", self.target.log());
        self.target.up().await;
        self.alerts().await;
        settled(&self.target).await;
        assert!(self.target.ended().is_none(), "{}", self.target.log());
        self.target.stop().await;
        self.honest.stop().await;
    }
}

/// Has the attacker publish records and waits until the target has answered each.
async fn flood(attacker: &Running, drafts: Vec<Draft>) {
    let kernel = &attacker.kernel;
    for draft in drafts {
        let id = publish(kernel, draft).await;
        answered(kernel, &id).await;
    }
}

/// Every flood of [`floods`](super::floods) in turn. The node must answer alerts of an honest member
/// meanwhile, and serve as before after each.
pub async fn floods(binary: &Path) -> Vec<Pressure> {
    let stage = Stage::start(binary, None).await;
    let rest = stage.rest().await;
    let attacker = stage.floods();
    let mut pressures = Vec::new();
    for (name, flood) in FLOODS {
        let work = Aside::flood(Arc::clone(&attacker), *flood);
        // Long enough that its buffers and budgets are full.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut pressure = stage.measure(name, rest, async || {}).await;
        for _ in 0..AGAIN {
            if !pressure.is_within() {
                pressure = stage.measure(name, rest, async || {}).await;
            }
        }
        work.end().await;
        pressures.push(Pressure {
            attempts: attacker.take_attempts(),
            ..pressure
        });
        stage.alerts().await;
    }
    stage.end().await;
    pressures
}

/// A stranger's and a member's connections with few descriptors at the target: it keeps those that it
/// needs, and its log stays short.
pub async fn descriptors(binary: &Path) -> Pressure {
    let stage = Stage::start(binary, Some(FEW_DESCRIPTORS)).await;
    let rest = stage.rest().await;
    let attacker = stage.floods();
    let logged = stage.target.log().len();
    let silent = FLOODS.last().unwrap().1;
    let work = Aside::flood(Arc::clone(&attacker), silent);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let attack = "connections on which nothing is said, with 256 descriptors";
    let pressure = stage
        .measure(attack, rest, async || {
            let status = stage.target.client.get::<StatusView>("/v1/status").await;
            status.unwrap();
        })
        .await;
    work.end().await;
    let log = stage.target.log();
    let lines = log.get(logged..).unwrap().lines().count();
    assert!(lines < MOST_LINES, "{log}");
    stage.end().await;
    Pressure {
        attempts: attacker.take_attempts(),
        ..pressure
    }
}

/// Scoring opens no files: a new model over `records` indicators with 4 MB each costs little memory.
pub async fn desk_memory(binary: &Path, records: usize) -> Pressure {
    let stage = Stage::start(binary, None).await;
    let attacker = stage.attacker().await;
    flood(&attacker, with_files(Kind::Indicator, None, records)).await;
    settled(&stage.target).await;
    let rest = stage.rest().await;
    let pressure = stage
        .measure("a model over records with large files", rest, async || {
            let mut outcome = draft(Kind::Outcome);
            finding(&mut outcome);
            flood(&attacker, vec![outcome]).await;
            settled(&stage.target).await;
        })
        .await;
    attacker.stop().await;
    stage.end().await;
    pressure
}

/// Items that wait for a person are bounded in bytes, and listing them opens one at a time.
pub async fn held_flood(binary: &Path, records: usize) -> Pressure {
    let stage = Stage::start(binary, None).await;
    let rest = stage.rest().await;
    let attacker = stage.attacker().await;
    let flood = with_files(Kind::Indicator, Some("for officers alone"), records);
    let pressure = stage
        .measure("large records that wait for a person", rest, async || {
            let kernel = &attacker.kernel;
            for draft in flood {
                let id = publish(kernel, draft).await;
                heard(kernel, &id).await;
            }
            let list = || stage.target.client.get::<HeldPageView>("/v1/held");
            let lists = tokio::join!(list(), list(), list(), list());
            assert!(!lists.0.unwrap().items.is_empty());
        })
        .await;
    attacker.stop().await;
    stage.end().await;
    pressure
}

/// Returns drafts that each bring a file, and are held under H3 if there is a restriction.
fn with_files(kind: Kind, restriction: Option<&str>, count: usize) -> Vec<Draft> {
    (0..count)
        .map(|n| {
            let mut draft = draft(kind);
            draft.marking.handling.h3 = restriction.map(str::to_owned);
            // A restriction wants its recipients named.
            draft.marking.release_to = restriction.map(|_| ["antwerp".parse().unwrap()].into());
            draft.sections.push(DraftSection {
                body: Body::Attachments(vec![Attachment {
                    name: format!("scan {n}"),
                    media_type: "image/png".to_owned(),
                    content: vec![7; FILE].into(),
                }]),
                stricter: None,
            });
            draft
        })
        .collect()
}

fn finding(draft: &mut Draft) {
    for section in &mut draft.sections {
        if let Body::Assessment(assessment) = &mut section.body {
            assessment.finding = Some(portcullis_protocol::body::Finding::NotFound);
        }
    }
}

async fn publish(kernel: &Arc<Kernel>, draft: Draft) -> RecordId {
    kernel.publish(vec![draft]).await.unwrap()[0]
}

/// Waits until the target has admitted a record.
async fn answered(kernel: &Kernel, id: &RecordId) {
    let row = || kernel.store().disclosure(id, &"antwerp".parse().unwrap());
    eventually(kernel, || {
        let state = row().unwrap().map(|row| row.state);
        matches!(state, Some(DisclosureState::Answered(outcome)) if outcome.is_admitted())
    })
    .await;
}

/// Waits until the target has answered a record in any way. One that it refuses for now stays open
/// at its sender, and is waited for no longer.
async fn heard(kernel: &Kernel, id: &RecordId) {
    let row = || kernel.store().disclosure(id, &"antwerp".parse().unwrap());
    let answered = eventually(kernel, || {
        let state = row().unwrap().map(|row| row.state);
        matches!(state, Some(DisclosureState::Answered(_)))
    });
    drop(tokio::time::timeout(FOR_NOW, answered).await);
}

/// Waits until every arrival at the target is scored by everything known.
async fn settled(target: &Process) {
    // The desk begins a quarter of a second after the last news.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let settled = target.client.get::<serde_json::Value>("/v1/desk/settled");
    let state = tokio::time::timeout(PATIENCE, settled).await;
    let state = state.unwrap().unwrap();
    assert_eq!(state["revision"], state["scored"], "{}", target.log());
}
