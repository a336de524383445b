//! A worker: one process of a bench, which carries out the orders on its standard input.
//!
//! It ends when its orders end, so it does not outlive the bench.

use std::{
    io::{self, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_protocol::{identifiers::NodeId, record::Kind};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    BATCH,
    census::Census,
    drafts::{DraftError, Generator},
    feed::{Feed, FeedError, Lead},
    machine::{self, Usage},
    order::{Load, Order, Reply, Role},
    pipe::{self, PipeError},
};
use portcullis_home::{Home, config::Config};
use portcullis_kernel::{Kernel, PublishError};
use portcullis_node::{
    observe,
    runtime::{Node, StartError},
};
use portcullis_store::StoreError;

/// Interval at which progress is reported.
const TELL: Duration = Duration::from_millis(200);

/// Error of an order that a worker did not carry out.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// Its node did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The operating system refused.
    #[error("the operating system refused: {0}")]
    System(#[from] io::Error),
    /// A record could not be made.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// A record could not be sealed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Records were not settled.
    #[error("{0}")]
    Feed(String),
    /// The pipe broke.
    #[error(transparent)]
    Pipe(#[from] PipeError),
    /// The order needs a peer, and this worker has none.
    #[error("this worker is not given a peer, so that it sends nothing")]
    NoPeer,
    /// A task of the worker ended before it was done.
    #[error("a part of the worker was cut short")]
    CutShort,
}

impl From<FeedError> for WorkError {
    fn from(error: FeedError) -> Self {
        Self::Feed(error.to_string())
    }
}

/// Parameters of a worker.
pub struct Beginning {
    /// The home of its node.
    pub home: Home,
    /// The configuration in it.
    pub config: Config,
    /// Role of the worker.
    pub role: Role,
    /// Node to which the worker sends.
    pub peer: Option<NodeId>,
    /// Seed of its record generator.
    pub seed: u64,
    /// Records handed over at once.
    pub batch: u64,
}

/// Carries out the orders on standard input until it ends.
///
/// # Errors
///
/// [`WorkError`] if the node does not start or does not serve until the end, or if a reply cannot
/// be written.
pub fn run(beginning: Beginning) -> Result<(), WorkError> {
    observe::start_log(beginning.config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work(beginning))
}

async fn work(beginning: Beginning) -> Result<(), WorkError> {
    let Beginning {
        home,
        config,
        role,
        peer,
        seed,
        batch,
    } = beginning;
    let node = Node::prepare(home.clone(), config).await?;
    let kernel = Arc::clone(node.kernel());
    let shutdown = CancellationToken::new();
    let serving = match role {
        Role::Node => Some(tokio::spawn(node.serve(shutdown.clone()))),
        Role::Pipe => None,
    };
    let now = kernel.now();
    let mut worker = Worker {
        feed: peer.map(|peer| Feed::new(Arc::clone(&kernel), peer, batch)),
        bulk: Generator::new(seed, now),
        alerts: Generator::new(seed.wrapping_add(1 << 12), now),
        sent: Census::default(),
        home,
        kernel,
        shutdown: shutdown.clone(),
    };
    let mut orders = orders();
    tell(&Reply::Ready)?;
    while let Some(order) = orders.recv().await {
        if order == Order::Stop {
            break;
        }
        let reply = tokio::select! {
            reply = worker.carry_out(order) => reply,
            // The bench sends no order while one is carried out. If the channel yields anything
            // now, the bench has gone.
            _ = orders.recv() => break,
        };
        tell(&reply.unwrap_or_else(|error| failed(&error)))?;
    }
    shutdown.cancel();
    if let Some(serving) = serving {
        serving.await.map_err(|_| WorkError::CutShort)??;
    }
    Ok(())
}

fn failed(error: &WorkError) -> Reply {
    Reply::Failed {
        why: error.to_string(),
    }
}

/// Reads orders on a thread of its own. A line that is not an order ends them.
fn orders() -> mpsc::Receiver<Order> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lines() {
            let order = line.ok().and_then(|line| serde_json::from_str(&line).ok());
            let Some(order) = order else {
                return;
            };
            if sender.blocking_send(order).is_err() {
                return;
            }
        }
    });
    receiver
}

fn tell(reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

struct Worker {
    kernel: Arc<Kernel>,
    home: Home,
    feed: Option<Feed>,
    bulk: Generator,
    alerts: Generator,
    sent: Census,
    shutdown: CancellationToken,
}

impl Worker {
    async fn carry_out(&mut self, order: Order) -> Result<Reply, WorkError> {
        match order {
            Order::Sample => self.sample().await,
            Order::Stream { records } => self.stream(records).await,
            Order::Preload { records } => self.preload(records).await,
            Order::Settle => {
                let begun = Instant::now();
                let until = self.telling(self.feed()?.settled()).await?;
                Ok(streamed(begun, until))
            }
            Order::Meet => {
                self.feed()?.meet().await?;
                Ok(Reply::Done)
            }
            Order::Backfill => {
                let begun = Instant::now();
                let until = self.telling(self.feed()?.backfill()).await?;
                Ok(streamed(begun, until))
            }
            Order::Alerts { count, load } => self.raise(count, load).await,
            Order::Usage => {
                let usage = Usage::of_this_process(&self.home.data())?;
                Ok(Reply::Usage(usage))
            }
            Order::ForgetPeak => {
                machine::forget_peak()?;
                Ok(Reply::Done)
            }
            Order::Sent => Ok(Reply::Census(self.sent)),
            Order::Held => self.held().await,
            Order::PipeReceive { file } => {
                let address = pipe::receive(&self.kernel, file, self.shutdown.clone()).await?;
                Ok(Reply::Listening { address })
            }
            Order::PipeSend {
                file,
                address,
                peer,
                records,
                item_bytes,
                seed,
            } => {
                let load = pipe::Load {
                    records,
                    item_bytes,
                    seed,
                };
                let seconds = pipe::send(&self.kernel, &peer.0, &address, file, load).await?;
                Ok(Reply::Streamed { seconds })
            }
            Order::Stop => Ok(Reply::Done),
        }
    }

    fn feed(&self) -> Result<&Feed, WorkError> {
        self.feed.as_ref().ok_or(WorkError::NoPeer)
    }

    /// Returns the mean length of a sealed record on the wire, in bytes. The records sealed for it
    /// are dropped.
    async fn sample(&self) -> Result<Reply, WorkError> {
        let drafts = self.bulk.clone().drafts(Kind::Indicator, BATCH)?;
        let kernel = Arc::clone(&self.kernel);
        let records = portcullis_store::apart::spawn(move || kernel.seal(drafts))
            .await
            .map_err(|_| WorkError::CutShort)??;
        let bytes: usize = records
            .iter()
            .map(|record| record.sealed().wire().encoded_len())
            .sum();
        Ok(Reply::Sample {
            item_bytes: bytes / records.len().max(1),
        })
    }

    async fn stream(&mut self, records: u64) -> Result<Reply, WorkError> {
        let begun = Instant::now();
        self.publish(records, Lead::Bounded).await?;
        let until = self.telling(self.feed()?.settled()).await?;
        Ok(streamed(begun, until))
    }

    async fn preload(&mut self, records: u64) -> Result<Reply, WorkError> {
        let begun = Instant::now();
        self.publish(records, Lead::Unbounded).await?;
        Ok(streamed(begun, Instant::now()))
    }

    async fn publish(&mut self, records: u64, lead: Lead) -> Result<(), WorkError> {
        let feed = self.feed()?.clone();
        let (mut generator, stop) = (self.bulk.clone(), CancellationToken::new());
        let publishing = feed.publish(&mut generator, records, lead, &stop);
        let published = self.telling(publishing).await?;
        self.bulk = generator;
        self.sent.merge(&published);
        Ok(())
    }

    async fn raise(&mut self, count: u64, load: Load) -> Result<Reply, WorkError> {
        let feed = self.feed()?.clone();
        let mut told = Instant::now();
        let at = |done| {
            if told.elapsed() >= TELL {
                told = Instant::now();
                progress(done);
            }
        };
        let raised = feed
            .raise(&mut self.alerts, &mut self.bulk, count, load, at)
            .await?;
        self.sent.merge(&raised.published);
        Ok(Reply::Alerts {
            ms: raised.ms,
            bulk_per_s: raised.bulk_per_s,
        })
    }

    async fn held(&self) -> Result<Reply, WorkError> {
        let store = Arc::clone(self.kernel.store());
        let census = portcullis_store::apart::spawn(move || Census::of_store(store.as_ref()))
            .await
            .map_err(|_| WorkError::CutShort)??;
        Ok(Reply::Census(census))
    }

    /// Reports the number of settled records while `work` is under way.
    async fn telling<T>(
        &self,
        work: impl Future<Output = Result<T, FeedError>>,
    ) -> Result<T, WorkError> {
        let feed = self.feed()?;
        let before = feed.settled_count();
        let mut tick = tokio::time::interval(TELL);
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done?),
                _ = tick.tick() => progress(feed.settled_count().saturating_sub(before)),
            }
        }
    }
}

fn streamed(begun: Instant, until: Instant) -> Reply {
    Reply::Streamed {
        seconds: until.duration_since(begun).as_secs_f64(),
    }
}

/// Reports progress. If the bench has gone nobody reads it; the end of the orders follows.
fn progress(done: u64) {
    if tell(&Reply::Progress { done }).is_err() {
        tracing::debug!("nobody hears of progress");
    }
}
