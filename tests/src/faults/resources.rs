//! Attacks of a member on the memory of a node: files that scoring does not need, and items that wait
//! for a person.
//!
//! ```text
//! attacker ──records with large files──▶ the target's process ◀──alerts── an honest member
//! ```
//!
//! The target's peak memory is held against its memory at rest, and the time in which an honest
//! alert is answered against that without an attack. Last the target starts with 1 GiB of address
//! space (`prlimit --as`).

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_admin_api::v1::hold::HeldPageView;
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
    process::{Launch, PATIENCE, Process},
};
use crate::{
    federation::{Federation, Member, Running, accept_settings, eventually},
    hostile::stage::draft,
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

/// Alerts from which a median and a 99th percentile are taken.
const ALERTS: usize = 25;

/// Address space with which the target has to start again.
const LIMIT: u64 = 1 << 30;

/// Most memory that an attack may gain, in KiB.
pub const MOST_GAINED_KIB: u64 = 300 << 10;

/// Results of one attack on memory.
#[derive(Debug, Clone, Serialize)]
pub struct Pressure {
    /// Description of the attack.
    pub attack: String,
    /// Memory of the target at rest, in KiB.
    pub rest_kib: u64,
    /// Peak of its memory beyond that, in KiB.
    pub gained_kib: u64,
    /// Time in which 99 of 100 honest alerts were answered without an attack, in milliseconds.
    pub alert_ms: u64,
    /// The same during the attack.
    pub alert_under_attack_ms: u64,
}

impl Pressure {
    /// Returns whether the target stayed within the bound.
    #[must_use]
    pub const fn is_within(&self) -> bool {
        self.gained_kib < MOST_GAINED_KIB
    }
}

/// The target's process, and its two peers in this process.
struct Stage {
    target: Process,
    attacker: Running,
    honest: Running,
    _federation: Federation,
}

impl Stage {
    async fn start(binary: &Path) -> Self {
        let federation = Federation::new(&MEMBERS);
        for (name, _) in MEMBERS {
            quick(&federation.home(name).config());
            accept_settings(&federation.home(name));
        }
        let launch = Launch {
            binary: binary.to_owned(),
            ..Launch::default()
        };
        let mut target = Process::new(federation.home("antwerp"), launch);
        target.up().await;
        Self {
            target,
            attacker: Running::start(federation.home("rotterdam")).await,
            honest: Running::start(federation.home("hamburg")).await,
            _federation: federation,
        }
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
        let worst = times.last().copied().unwrap_or_default();
        u64::try_from(worst.as_millis()).unwrap()
    }

    /// Has the attacker publish records and waits until the target has answered each.
    async fn flood(&self, drafts: Vec<Draft>) {
        let kernel = &self.attacker.kernel;
        for draft in drafts {
            let id = publish(kernel, draft).await;
            answered(kernel, &id).await;
        }
    }

    /// Measures the target under an attack, and starts it again with little memory.
    async fn measure(
        mut self,
        attack: &str,
        alert_ms: u64,
        work: impl AsyncFnOnce(&Self),
    ) -> Pressure {
        let rest_kib = self.target.memory_at_rest_kib();
        let alerts = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.alerts().await
        };
        let ((), alert_under_attack_ms) = tokio::join!(work(&self), alerts);
        let gained_kib = self.target.peak_memory_kib().saturating_sub(rest_kib);
        assert!(self.target.stop().await.success(), "{}", self.target.log());
        self.target.limit_memory(LIMIT);
        self.target.up().await;
        self.alerts().await;
        settled(&self.target).await;
        assert!(self.target.ended().is_none(), "{}", self.target.log());
        self.target.stop().await;
        self.attacker.stop().await;
        self.honest.stop().await;
        Pressure {
            attack: attack.to_owned(),
            rest_kib,
            gained_kib,
            alert_ms,
            alert_under_attack_ms,
        }
    }
}

/// Scoring opens no files: a new model over `records` indicators with 4 MB each costs little memory.
pub async fn desk_memory(binary: &Path, records: usize) -> Pressure {
    let stage = Stage::start(binary).await;
    let alert_ms = stage.alerts().await;
    stage
        .flood(with_files(Kind::Indicator, None, records))
        .await;
    settled(&stage.target).await;
    stage
        .measure(
            "a model over records with large files",
            alert_ms,
            async |stage: &Stage| {
                let mut outcome = draft(Kind::Outcome);
                finding(&mut outcome);
                stage.flood(vec![outcome]).await;
                settled(&stage.target).await;
            },
        )
        .await
}

/// Items that wait for a person are bounded in bytes, and listing them opens one at a time.
pub async fn held_flood(binary: &Path, records: usize) -> Pressure {
    let stage = Stage::start(binary).await;
    let alert_ms = stage.alerts().await;
    let flood = with_files(Kind::Indicator, Some("for officers alone"), records);
    stage
        .measure(
            "large records that wait for a person",
            alert_ms,
            async |stage: &Stage| {
                let kernel = &stage.attacker.kernel;
                for draft in flood {
                    let id = publish(kernel, draft).await;
                    heard(kernel, &id).await;
                }
                let list = || stage.target.client.get::<HeldPageView>("/v1/held");
                let lists = tokio::join!(list(), list(), list(), list());
                assert!(!lists.0.unwrap().items.is_empty());
            },
        )
        .await
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
