//! Benchmark of keeping many records. It measures a backup, its check and a home made from it, the
//! backfill to a new peer, and the comparison of both ends of the channel that the records went
//! through.
//!
//! ```text
//! publish N, nobody there ─▶ backup ─▶ verify ─▶ restore
//!     └─▶ the peer is new: it begins at the end ─▶ backfill of N over mutual TLS
//!             └─▶ 10 of them withdrawn at the receiver ─▶ compare
//! ```
//!
//! The comparison runs in this process, on both stores at once, with the messages that otherwise
//! travel between nodes. Its time is the work of both ends, one after the other, without the
//! network.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_home::{Home, clock::system_clock, config::Config};
use portcullis_protocol::{
    identifiers::NodeId,
    reconcile::{Answer, Ask, Question},
    record::RecordId,
};
use serde::Serialize;

use super::{
    BenchError, Options,
    folder::Folder,
    machine::{Machine, bytes_below},
    order::{Order as Task, Role},
    run::{Bench, Pair, RECEIVER, Running, SENDER, apart, checked_machine, unless_interrupted},
};
use crate::demo::show::Show;
use portcullis_backup as backup;
use portcullis_backup::{Order, Restoring, Which};
use portcullis_exchange::reconcile::{
    self,
    answers::Answers,
    walk::{Next, Walk},
};
use portcullis_kernel::Kernel;
use portcullis_node::runtime::Node;
use portcullis_store::{ChannelPage, ChannelSide, Write};
use portcullis_store_sqlite::Snapshot;

/// Number of records that differ when the channel is compared.
pub const DIFFERENCES: usize = 10;

/// Number of own entries read for one page, the same as in a comparison over the network.
const OWN_ENTRIES: usize = 65_536;

/// Pause after the answering end has said that it is busy.
const BUSY_PAUSE: Duration = Duration::from_secs(4);
/// Number of tries before the question is given up.
const BUSY_TRIES: u32 = 30;

/// All figures of a run, as they are reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Number of records published, backed up, sent and compared.
    pub records: u64,
    /// Time to publish them while no receiver runs, in seconds.
    pub publish_s: f64,
    /// Backup of the sending node, which does not run meanwhile.
    pub backup: Backup,
    /// Backfill of all records to a new peer.
    pub backfill: Backfill,
    /// Comparison of the channel.
    pub comparison: Comparison,
    /// Number of records by which the receiver's count differs after the backfill.
    pub lost: u64,
    /// Seed of the record generator.
    pub seed: u64,
    /// The machine.
    pub machine: Machine,
    /// Duration of the whole run, in seconds.
    pub seconds: f64,
}

/// Sizes of a backup in 10^6 bytes, and its times in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Backup {
    /// Space that the files of the node's data folder occupy.
    pub store_mb: f64,
    /// Size of the backup's data folder.
    pub data_mb: f64,
    /// Size of the backup's key folder.
    pub keys_mb: f64,
    /// Time to take it.
    pub take_s: f64,
    /// Time to verify it.
    pub verify_s: f64,
    /// Time to make a home from it.
    pub restore_s: f64,
}

/// Result of a backfill, from the order to the last receipt durable.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Backfill {
    /// Time in seconds.
    pub seconds: f64,
    /// Records per second.
    pub records_per_s: f64,
}

/// Result of a comparison of the two ends of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Comparison {
    /// Time from the first look to the last finding, in seconds; both ends work one after the
    /// other.
    pub seconds: f64,
    /// Part of that time that the asking end spent on its own summary, in seconds.
    pub own_summary_s: f64,
    /// Longest time that the answering end took for one question, in seconds.
    pub longest_answer_s: f64,
    /// Number of questions asked.
    pub questions: u64,
    /// Number of records found to differ.
    pub differences: u64,
}

/// Measures all figures of the upkeep.
///
/// # Errors
///
/// [`BenchError`] says what failed. The workers have ended by then and their folder is removed.
pub async fn run(options: &Options, show: &Show) -> Result<Report, BenchError> {
    unless_interrupted(measure(options, show)).await
}

async fn measure(options: &Options, show: &Show) -> Result<Report, BenchError> {
    let machine = checked_machine(options)?;
    let folder = Folder::make_in(&options.folder)?;
    let bench = Bench {
        options,
        show,
        root: folder.path(),
    };
    let pair = bench.pair("kept").await?;
    let records = options.records;
    let publish_s = bench.published(&pair).await?;
    let backup = bench.backed_up(&pair).await?;
    let (seconds, lost) = bench.backfilled(&pair).await?;
    let comparison = bench.compared(&pair).await?;
    Ok(Report {
        records,
        publish_s,
        backup,
        backfill: Backfill {
            seconds,
            records_per_s: records as f64 / seconds,
        },
        comparison,
        lost,
        seed: options.seed,
        machine,
        seconds: show.elapsed().as_secs_f64(),
    })
}

impl Bench<'_> {
    /// Publishes all records while no receiver runs. The peer then begins at the end of the log.
    async fn published(&self, pair: &Pair) -> Result<f64, BenchError> {
        let step = self.show.step("Publishing while nobody is there");
        let mut sender = self.sender(pair, Role::Node).await?;
        let records = self.options.records;
        let seconds = sender.streamed(&Task::Preload { records }, &step).await?;
        sender.done(&Task::Meet).await?;
        sender.stop().await?;
        step.done(&format!("{records} records in {seconds:.1} s"));
        Ok(seconds)
    }

    async fn backed_up(&self, pair: &Pair) -> Result<Backup, BenchError> {
        let step = self.show.step("Backing up, checking, restoring");
        let (home, root) = (pair.sender.clone(), self.root.to_owned());
        let backup = apart(move || back_up(&home, &root)).await?;
        step.done(&format!(
            "{:.0} MB in {:.1} s, {:.1} s, {:.1} s",
            backup.data_mb + backup.keys_mb,
            backup.take_s,
            backup.verify_s,
            backup.restore_s
        ));
        Ok(backup)
    }

    /// Sends all records to the peer. Returns the time in seconds and the number of lost records.
    async fn backfilled(&self, pair: &Pair) -> Result<(f64, u64), BenchError> {
        let step = self.show.step("Sending older records to a new peer");
        let receiver = self.receiver(pair, Role::Node).await?;
        let mut sender = self.sender(pair, Role::Node).await?;
        let seconds = sender.streamed(&Task::Backfill, &step).await?;
        let per_s = self.options.records as f64 / seconds;
        step.done(&format!("{seconds:.1} s, {per_s:.0} per second"));
        let mut nodes = Running { sender, receiver };
        let held = nodes.receiver.census(&Task::Held).await?;
        nodes.stop().await?;
        Ok((seconds, self.options.records.abs_diff(held.count)))
    }

    async fn compared(&self, pair: &Pair) -> Result<Comparison, BenchError> {
        let step = self.show.step("Comparing both ends of the channel");
        let sender = prepared(&pair.sender).await?;
        let receiver = prepared(&pair.receiver).await?;
        let ends = Ends {
            own: Arc::clone(sender.kernel()),
            theirs: Arc::clone(receiver.kernel()),
            to: RECEIVER.parse()?,
            from: SENDER.parse()?,
            answers: Answers::default(),
        };
        let comparison = apart(move || ends.compare()).await?;
        drop((sender, receiver));
        let Comparison {
            seconds,
            questions,
            differences,
            ..
        } = comparison;
        step.done(&format!(
            "{differences} differences found in {seconds:.1} s, {questions} questions"
        ));
        Ok(comparison)
    }
}

async fn prepared(home: &Home) -> Result<Node, BenchError> {
    let config = Config::of(home)?;
    Ok(Node::prepare(home.clone(), config).await?)
}

fn back_up(home: &Home, root: &Path) -> Result<Backup, BenchError> {
    let now = system_clock()();
    let order = Order {
        home: home.clone(),
        to: root.join("backup"),
        keys_to: root.join("backup-keys"),
        key: backup::log_key(home, now)?,
        now,
        act: None,
    };
    let told = &mut |_| {};
    let data = home.data();
    let begun = Instant::now();
    let taken = backup::take(&order, || Snapshot::of_folder(&data), told)?;
    let take_s = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let which = Which {
        from: &order.to,
        keys: Some(&order.keys_to),
        pin: None,
    };
    backup::verify(which, told)?;
    let verify_s = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let restoring = Restoring {
        from: order.to.clone(),
        keys: order.keys_to.clone(),
        pin: None,
        home: Home::new(root.join("restored")),
    };
    backup::restore(&restoring, told)?;
    let restore_s = begun.elapsed().as_secs_f64();
    let store_bytes =
        bytes_below(&data).map_err(|source| BenchError::Disk { path: data, source })?;
    Ok(Backup {
        store_mb: megabytes(store_bytes),
        data_mb: megabytes(taken.data.bytes()),
        keys_mb: megabytes(taken.keys.bytes()),
        take_s,
        verify_s,
        restore_s,
    })
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The two ends of a channel.
struct Ends {
    own: Arc<Kernel>,
    theirs: Arc<Kernel>,
    /// The answering node.
    to: NodeId,
    /// The asking node.
    from: NodeId,
    answers: Answers,
}

impl Ends {
    fn compare(&self) -> Result<Comparison, BenchError> {
        self.withdraw_some()?;
        let begun = Instant::now();
        let own = reconcile::summary(self.own.store().as_ref(), &self.to, ChannelSide::Sent)?;
        let mut comparison = Comparison {
            seconds: 0.0,
            own_summary_s: begun.elapsed().as_secs_f64(),
            longest_answer_s: 0.0,
            questions: 0,
            differences: 0,
        };
        let mut walk = Walk::new(own);
        loop {
            match walk.step() {
                Next::Digests(ranges) => {
                    let answer = self.ask(Question::Digests(ranges), &mut comparison)?;
                    walk.digests(&answer.ranges).map_err(refused)?;
                }
                Next::Page(page) => {
                    let own = ChannelPage {
                        of: page.of,
                        after: page.after,
                        most: OWN_ENTRIES,
                    };
                    let store = self.own.store();
                    let own = store.channel(&self.to, ChannelSide::Sent, &own)?;
                    let theirs = self.ask(Question::Page(page), &mut comparison)?;
                    let found = walk.page(page, &own, &theirs).map_err(refused)?;
                    let found = found.missing.len()
                        + found.unknown.len()
                        + found.withdrawn_there.len()
                        + found.withdrawn_here.len();
                    comparison.differences += found as u64;
                }
                Next::Done => break,
            }
        }
        comparison.seconds = begun.elapsed().as_secs_f64();
        Ok(comparison)
    }

    /// Withdraws some records at the answering end.
    fn withdraw_some(&self) -> Result<(), BenchError> {
        let store = self.theirs.store();
        let mut records: Vec<RecordId> = Vec::new();
        for first in 0..16_u32 {
            records.extend(store.ids_with_prefix(&format!("{first:x}"), 1)?);
        }
        records.truncate(DIFFERENCES);
        let write = Write::Withdraw {
            records,
            outcome: "bench".to_owned(),
            at: self.theirs.now(),
        };
        store.commit(vec![write])?;
        Ok(())
    }

    /// Asks the other end a question, with the messages that otherwise travel over the network.
    fn ask(&self, question: Question, comparison: &mut Comparison) -> Result<Answer, BenchError> {
        let ask = Ask {
            generation: self.own.store().generation()?,
            question,
        };
        let ask = ask.to_wire(&self.own.me().federation);
        comparison.questions += 1;
        for _ in 0..BUSY_TRIES {
            let begun = Instant::now();
            match self.answers.answer(&self.theirs, &self.from, ask.clone()) {
                Ok(answer) => {
                    let took = begun.elapsed().as_secs_f64();
                    comparison.longest_answer_s = comparison.longest_answer_s.max(took);
                    return Answer::read(answer.to_wire()).map_err(refused);
                }
                Err(reconcile::answers::AnswerError::Busy) => std::thread::sleep(BUSY_PAUSE),
                Err(error) => return Err(BenchError::Compare(error.to_string())),
            }
        }
        Err(BenchError::Compare(
            "the answering end has no time".to_owned(),
        ))
    }
}

fn refused(error: impl std::fmt::Display) -> BenchError {
    BenchError::Compare(error.to_string())
}
