//! Urgent alerts, raised one at a time, and the time that each takes.
//!
//! Times are measured in the demo's process, by one clock. They start just before the request to
//! raise the alert is signed and sent to the police node's socket. One time ends with the police
//! node's notice of the last signed receipt of its own deliveries. The other ends with the notice
//! of the new score from the office that has the consignment. Each request opens a new connection;
//! notices stream over connections that stay open. There is no other traffic: the hub's onward
//! deliveries are waited for before the next alert, outside the measured time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinSet,
    time::timeout,
};

use super::{
    DemoError,
    cast::{HUB, POLICE},
    people::{People, json},
    process::NodeProcess,
    records::Target,
    report::{AlertsReport, Percentiles},
    show::Step,
};
use portcullis_admin_api::{
    act::Action,
    client::Lines,
    v1::{
        act::{DraftsView, PublishedView},
        notice::{NoticeView, WhatView},
        preview::PreviewView,
    },
};

/// Longest time that one alert may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longest wait for the hub's onward deliveries between two alerts.
const CALM: Duration = Duration::from_secs(2);

/// Number of notices that may wait to be read.
const WAITING: usize = 4096;

/// A notice of a node, with the time at which it came.
struct Heard {
    node: String,
    what: WhatView,
    at: Instant,
}

/// Raises alerts on `targets` and measures the time of each.
///
/// # Errors
///
/// [`DemoError::Alert`] if an alert is not answered or scored in time.
pub async fn run(
    nodes: &BTreeMap<String, NodeProcess>,
    people: &People,
    targets: &[Target],
    step: &Step,
) -> Result<AlertsReport, DemoError> {
    let police = super::node(nodes, POLICE)?;
    let (mut heard, _listeners) = listen(nodes).await?;
    let (mut receipts, mut scores) = (Vec::new(), Vec::new());
    for (n, target) in targets.iter().enumerate() {
        step.at(&format!("{} of {}", n + 1, targets.len()));
        let draft = target.alert();
        let preview: PreviewView =
            police
                .client
                .post("/v1/preview", &draft)
                .await
                .map_err(|source| DemoError::Client {
                    node: POLICE.to_owned(),
                    source,
                })?;
        let sent_to = preview.members.iter().filter(|row| !row.gets.is_empty());
        let mut alert = Alert {
            target,
            record: String::new(),
            receipts_left: sent_to.count(),
            last_receipt: None,
            scored: None,
            relayed: 0,
        };
        let body = json(&DraftsView {
            drafts: vec![draft],
        })?;
        let raised = Instant::now();
        let published: PublishedView = people
            .act(police, Action::Alert, BTreeMap::new(), body)
            .await?;
        alert.record = published.records.into_iter().next().unwrap_or_default();
        let waited = timeout(PATIENCE, alert.wait(&mut heard)).await;
        let (receipt, score) = waited.ok().flatten().ok_or_else(|| alert.failed(n))?;
        receipts.push(millis(raised, receipt));
        scores.push(millis(raised, score));
        alert.calm(&mut heard, nodes.len()).await;
    }
    Ok(AlertsReport {
        count: targets.len(),
        receipt_ms: Percentiles::of(receipts),
        scored_ms: Percentiles::of(scores),
    })
}

fn millis(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1000.0
}

/// One alert under way.
struct Alert<'a> {
    target: &'a Target,
    record: String,
    receipts_left: usize,
    last_receipt: Option<Instant>,
    scored: Option<Instant>,
    relayed: usize,
}

impl Alert<'_> {
    /// Waits for the last receipt and the new score. Returns `None` if the notices of all nodes
    /// have ended.
    async fn wait(&mut self, heard: &mut Receiver<Heard>) -> Option<(Instant, Instant)> {
        loop {
            if let (0, Some(receipt), Some(score)) =
                (self.receipts_left, self.last_receipt, self.scored)
            {
                return Some((receipt, score));
            }
            self.take(heard.recv().await?);
        }
    }

    /// Takes a notice into account. A new score of the consignment is attributed to this alert; it
    /// could have an earlier cause, but not in a federation without other traffic.
    fn take(&mut self, heard: Heard) {
        match &heard.what {
            WhatView::Answered { record, .. } if *record == self.record && heard.node == POLICE => {
                self.receipts_left = self.receipts_left.saturating_sub(1);
                self.last_receipt = Some(heard.at);
            }
            WhatView::Answered { record, .. } if *record == self.record && heard.node == HUB => {
                self.relayed += 1;
            }
            WhatView::Scored { reference, .. } if *reference == self.target.reference => {
                self.scored = self.scored.or(Some(heard.at));
            }
            WhatView::Answered { .. }
            | WhatView::Declined { .. }
            | WhatView::Alarm { .. }
            | WhatView::Scored { .. }
            | WhatView::Published { .. }
            | WhatView::Received { .. }
            | WhatView::DeliveryFailed { .. }
            | WhatView::Missed { .. } => {}
        }
    }

    /// Waits for the hub to pass the alert on to everyone but itself and the police. The wait ends
    /// after a while if policy lets it go to fewer members.
    async fn calm(&mut self, heard: &mut Receiver<Heard>, nodes: usize) {
        let quiet = async {
            while self.relayed + 2 < nodes {
                match heard.recv().await {
                    Some(heard) => self.take(heard),
                    None => return,
                }
            }
        };
        if timeout(CALM, quiet).await.is_err() {
            tracing::debug!("the hub passes the alert on to fewer members");
        }
    }

    fn failed(&self, n: usize) -> DemoError {
        DemoError::Alert {
            number: n + 1,
            office: self.target.office.clone(),
            receipts_left: self.receipts_left,
            scored: if self.scored.is_some() {
                "is scored"
            } else {
                "has no new score"
            },
        }
    }
}

/// Listens to the notices of every node. The listeners end when the set is dropped.
async fn listen(
    nodes: &BTreeMap<String, NodeProcess>,
) -> Result<(Receiver<Heard>, JoinSet<()>), DemoError> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut listeners = JoinSet::new();
    for (name, node) in nodes {
        let notices = node
            .client
            .watch()
            .await
            .map_err(|source| DemoError::Client {
                node: name.clone(),
                source,
            })?;
        listeners.spawn(forward(name.clone(), notices, sender.clone()));
    }
    Ok((receiver, listeners))
}

async fn forward(node: String, mut notices: Lines<NoticeView>, heard: Sender<Heard>) {
    while let Ok(Some(notice)) = notices.next().await {
        let heard_now = Heard {
            node: node.clone(),
            what: notice.what,
            at: Instant::now(),
        };
        if heard.send(heard_now).await.is_err() {
            return;
        }
    }
}
