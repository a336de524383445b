//! Feed of the sending side: it hands records to the node as fast as they are settled, and raises
//! alerts one by one.
//!
//! Settled records are counted with the node's own counter of receipts, which is read without
//! touching the store. The store's positions decide in the end. A single alert is followed by the
//! notices about it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use portcullis_protocol::{
    frame::{Lane, Outcome},
    identifiers::NodeId,
    record::{Kind, RecordId},
    time::Timestamp,
};
use tokio::{sync::broadcast, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    census::Census,
    drafts::{DraftError, Generator},
    order::Load,
};
use portcullis_kernel::{Kernel, Notice, PublishError};
use portcullis_store::{Backfill, DisclosureState, Relay, StoreError, Write, writer::Priority};

/// Batches that may be published and not yet settled. The feed heeds backpressure in this way.
const LEAD: u64 = 16;

/// Batches settled before alerts are raised under load.
const RUNNING: u64 = 4;

/// Batches handed over at the same time, so that one is sealed while another is made durable.
const AT_ONCE: usize = 2;

/// Interval at which counters are read.
const GLANCE: Duration = Duration::from_millis(1);

/// Interval at which the store is asked whether a backfill is over.
const GLIMPSE: Duration = Duration::from_millis(20);

/// Interval at which the store is asked for its positions while the counters say that records are
/// not yet settled.
const LOOK: Duration = Duration::from_millis(250);

/// Longest time without a settled record before the feed gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Error of a feed whose records were not settled.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    #[error(transparent)]
    Draft(#[from] DraftError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("nothing was settled for {PATIENCE:?}; {why}")]
    Stuck { why: String },
    #[error("alert `{0}` was answered with `{1}`")]
    Answered(RecordId, Outcome),
    #[error("a part of the generator was cut short")]
    CutShort,
}

/// Hands records to a node that sends them to one peer.
#[derive(Clone)]
pub(super) struct Feed {
    kernel: Arc<Kernel>,
    peer: NodeId,
    /// Records handed over at once.
    batch: u64,
    /// Records handed over since the process began.
    handed: Arc<AtomicU64>,
}

/// Limit on the records that may wait for settlement while publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    Bounded,
    Unbounded,
}

impl Feed {
    pub(super) fn new(kernel: Arc<Kernel>, peer: NodeId, batch: u64) -> Self {
        Self {
            kernel,
            peer,
            batch,
            handed: Arc::default(),
        }
    }

    /// Publishes bulk records until there are `records` of them or `stop` is cancelled. Returns the
    /// census of the published records.
    pub(super) async fn publish(
        &self,
        generator: &mut Generator,
        records: u64,
        lead: Lead,
        stop: &CancellationToken,
    ) -> Result<Census, FeedError> {
        let mut published = Census::default();
        let mut under_way = JoinSet::new();
        let mut left = records;
        while left > 0 && !stop.is_cancelled() {
            if lead == Lead::Bounded {
                self.wait_for_room().await?;
            }
            if under_way.len() >= AT_ONCE {
                join(&mut under_way, &mut published).await?;
            }
            let count = left.min(self.batch);
            left -= count;
            let drafts = generator.drafts(Kind::Indicator, count)?;
            self.handed.fetch_add(count, Ordering::Relaxed);
            let kernel = Arc::clone(&self.kernel);
            under_way.spawn(async move { kernel.publish(drafts).await });
        }
        while !under_way.is_empty() {
            join(&mut under_way, &mut published).await?;
        }
        Ok(published)
    }

    /// Returns the number of records handed over and not yet settled.
    fn open(&self) -> u64 {
        let settled = self.kernel.metrics().receipted();
        self.handed.load(Ordering::Relaxed).saturating_sub(settled)
    }

    /// Returns the number of records settled since the process began.
    pub(super) fn settled_count(&self) -> u64 {
        self.kernel.metrics().receipted()
    }

    async fn wait_for_room(&self) -> Result<(), FeedError> {
        let mut patience = Patience::new(self.settled_count());
        while self.open() > LEAD * self.batch {
            tokio::time::sleep(GLANCE).await;
            patience.look(self)?;
        }
        Ok(())
    }

    /// Waits until nothing is left after the durable cursors. Returns the time at which that was
    /// seen.
    pub(super) async fn settled(&self) -> Result<Instant, FeedError> {
        let mut patience = Patience::new(self.settled_count());
        let mut looked = Instant::now();
        loop {
            if self.open() == 0 || looked.elapsed() >= LOOK {
                looked = Instant::now();
                if self.nothing_left()? {
                    return Ok(looked);
                }
            }
            patience.look(self)?;
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Has the peer begin at the end of the log.
    pub(super) async fn meet(&self) -> Result<(), FeedError> {
        let write = Write::Meet(vec![self.peer.clone()]);
        self.kernel.commit(Priority::Urgent, vec![write]).await?;
        Ok(())
    }

    /// Sends the peer everything that was published before now, and waits until nothing of it is
    /// left. Returns the time at which that was seen.
    pub(super) async fn backfill(&self) -> Result<Instant, FeedError> {
        let now = self.kernel.now();
        let backfill = Backfill {
            peer: self.peer.clone(),
            since: Timestamp::from_millis(0),
            until: now.plus_millis(1),
            now,
        };
        let write = Write::Backfill(backfill);
        self.kernel.commit(Priority::Urgent, vec![write]).await?;
        self.kernel.call_dispatch();
        let mut patience = Patience::new(self.settled_count());
        while self.kernel.store().next_backfill(&self.peer)?.is_some() {
            patience.look(self)?;
            tokio::time::sleep(GLIMPSE).await;
        }
        Ok(Instant::now())
    }

    fn nothing_left(&self) -> Result<bool, StoreError> {
        let store = self.kernel.store();
        for &lane in Lane::ALL {
            let position = store.position(&self.peer, lane)?;
            let rest = store.outbox(lane, Relay::OwnOnly, position.cursor, 1)?;
            if !rest.is_empty()
                || store
                    .next_due(&self.peer, lane, self.kernel.now())?
                    .is_some()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Raises alerts one by one. Returns the published records and the time of each alert in
    /// milliseconds.
    pub(super) async fn alerts(
        &self,
        generator: &mut Generator,
        count: u64,
        mut at: impl FnMut(u64),
    ) -> Result<(Census, Vec<f64>), FeedError> {
        let mut notices = self.kernel.notices();
        let (mut published, mut ms) = (Census::default(), Vec::new());
        for number in 0..count {
            let drafts = generator.drafts(Kind::Alert, 1)?;
            self.handed.fetch_add(1, Ordering::Relaxed);
            let begun = Instant::now();
            let ids = self.kernel.publish(drafts).await?;
            for id in &ids {
                self.followed(id, &mut notices).await?;
                published.add(id);
            }
            ms.push(begun.elapsed().as_secs_f64() * 1e3);
            at(number);
        }
        Ok((published, ms))
    }

    /// Waits until the receipt of a record is durable.
    async fn followed(
        &self,
        id: &RecordId,
        notices: &mut broadcast::Receiver<Notice>,
    ) -> Result<(), FeedError> {
        let begun = Instant::now();
        loop {
            let outcome = match tokio::time::timeout(LOOK, notices.recv()).await {
                Ok(Ok(Notice::Answered { answer, .. })) if answer.record == *id => {
                    Some(answer.outcome)
                }
                Ok(Ok(_)) => None,
                // The notices came too fast, or none came: the ledger has the answer.
                Ok(Err(_)) | Err(_) => self.answered(id)?,
            };
            match outcome {
                Some(outcome) if outcome.is_admitted() => return Ok(()),
                Some(outcome) => return Err(FeedError::Answered(*id, outcome)),
                None if begun.elapsed() > PATIENCE => return Err(self.stuck()),
                None => {}
            }
        }
    }

    fn answered(&self, id: &RecordId) -> Result<Option<Outcome>, StoreError> {
        let row = self.kernel.store().disclosure(id, &self.peer)?;
        Ok(row.and_then(|row| match row.state {
            DisclosureState::Answered(outcome) => Some(outcome),
            DisclosureState::Intended | DisclosureState::Denied => None,
        }))
    }

    fn stuck(&self) -> FeedError {
        let health = self.kernel.peer_health();
        let failure = health.get(&self.peer).and_then(|peer| peer.failure.clone());
        let why = failure.unwrap_or_else(|| "no delivery failed".to_owned());
        FeedError::Stuck { why }
    }
}

async fn join(
    under_way: &mut JoinSet<Result<Vec<RecordId>, PublishError>>,
    published: &mut Census,
) -> Result<(), FeedError> {
    if let Some(joined) = under_way.join_next().await {
        let ids = joined.map_err(|_| FeedError::CutShort)??;
        ids.iter().for_each(|id| published.add(id));
    }
    Ok(())
}

/// Timer that gives up when no record is settled for too long.
struct Patience {
    settled: u64,
    since: Instant,
}

impl Patience {
    fn new(settled: u64) -> Self {
        Self {
            settled,
            since: Instant::now(),
        }
    }

    fn look(&mut self, feed: &Feed) -> Result<(), FeedError> {
        let settled = feed.settled_count();
        if settled != self.settled {
            *self = Self::new(settled);
        }
        if self.since.elapsed() > PATIENCE {
            return Err(feed.stuck());
        }
        Ok(())
    }
}

/// Result of raising alerts, with the bulk records settled in the same time.
pub(super) struct Raised {
    pub(super) published: Census,
    pub(super) ms: Vec<f64>,
    pub(super) bulk_per_s: f64,
}

impl Feed {
    /// Raises alerts, idle or under load. Everything is settled when it returns.
    pub(super) async fn raise(
        &self,
        alerts: &mut Generator,
        bulk: &mut Generator,
        count: u64,
        load: Load,
        at: impl FnMut(u64),
    ) -> Result<Raised, FeedError> {
        let raised = match load {
            Load::Idle => {
                let (published, ms) = self.alerts(alerts, count, at).await?;
                Raised {
                    published,
                    ms,
                    bulk_per_s: 0.0,
                }
            }
            Load::Bulk => self.under_load(alerts, bulk, count, at).await?,
        };
        self.settled().await?;
        Ok(raised)
    }

    async fn under_load(
        &self,
        alerts: &mut Generator,
        bulk: &mut Generator,
        count: u64,
        at: impl FnMut(u64),
    ) -> Result<Raised, FeedError> {
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let (feed, mut generator) = (self.clone(), bulk.clone());
        let feeding = tokio::spawn(async move {
            let published = feed
                .publish(&mut generator, u64::MAX, Lead::Bounded, &stop)
                .await?;
            Ok::<_, FeedError>((published, generator))
        });
        self.until_bulk_runs(&feeding).await;
        let (settled, begun) = (self.settled_count(), Instant::now());
        let (mut published, ms) = self.alerts(alerts, count, at).await?;
        let bulk_settled = self.settled_count().saturating_sub(settled + count);
        let bulk_per_s = bulk_settled as f64 / begun.elapsed().as_secs_f64();
        drop(guard);
        let (more, generator) = feeding.await.map_err(|_| FeedError::CutShort)??;
        *bulk = generator;
        published.merge(&more);
        Ok(Raised {
            published,
            ms,
            bulk_per_s,
        })
    }

    /// Waits until the first batches of bulk are settled, or until the feeding task has ended.
    async fn until_bulk_runs<T>(&self, feeding: &tokio::task::JoinHandle<T>) {
        let before = self.settled_count();
        while self.settled_count() < before + RUNNING * self.batch && !feeding.is_finished() {
            tokio::time::sleep(GLANCE).await;
        }
    }
}
