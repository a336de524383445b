//! What keeping many records costs beside exchanging them: a backup, its check, a home made from it;
//! sending them to a peer that is new; comparing both ends of the channel that they went through.
//!
//! ```text
//! publish N, nobody there ─▶ backup ─▶ verify ─▶ restore
//!     └─▶ the peer is new: it begins at the end ─▶ backfill of N over mutual TLS
//!             └─▶ 10 of them withdrawn at the receiver ─▶ compare
//! ```
//!
//! The comparison runs in this process, on both stores at once and through the messages that travel
//! otherwise: what is measured is what both ends spend, one after the other, without the network.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_home::config::Config;
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
    standing::Answers,
    walk::{Next, Walk},
};
use portcullis_home::{Home, clock::system_clock};
use portcullis_kernel::Kernel;
use portcullis_node::runtime::Node;
use portcullis_store::{ChannelPage, ChannelSide, Write};
use portcullis_store_sqlite::Snapshot;

/// Records that differ when the channel is compared.
pub const DIFFERENCES: usize = 10;

/// Own entries that are read for a page, as a comparison over the network does.
const OWN_ENTRIES: usize = 65_536;

/// How long to wait when the answering end says that it was asked much.
const BUSY_PAUSE: Duration = Duration::from_secs(4);
/// How often.
const BUSY_TRIES: u32 = 30;

/// All figures of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Records published, backed up, sent and compared.
    pub records: u64,
    /// Publishing them while nobody is there to receive them.
    pub publish_s: f64,
    /// The backup of the node that does not run.
    pub backup: Backup,
    /// Sending all of them to a peer that is new.
    pub backfill: Backfill,
    /// Comparing the channel.
    pub comparison: Comparison,
    /// Records that the receiver lacks after the backfill.
    pub lost: u64,
    /// Where the generator began.
    pub seed: u64,
    /// The machine.
    pub machine: Machine,
    /// The whole run.
    pub seconds: f64,
}

/// A backup.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Backup {
    /// What the store occupies.
    pub store_mb: f64,
    /// What the folder of the data occupies.
    pub data_mb: f64,
    /// What the folder of the keys occupies.
    pub keys_mb: f64,
    /// Taking it, in seconds.
    pub take_s: f64,
    /// Checking it.
    pub verify_s: f64,
    /// Making a home from it.
    pub restore_s: f64,
}

/// A backfill, from the order to the last receipt durable.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Backfill {
    /// In seconds.
    pub seconds: f64,
    /// Records in a second.
    pub records_per_s: f64,
}

/// A comparison of two ends of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Comparison {
    /// From the first look to the last finding, in seconds; both ends one after the other.
    pub seconds: f64,
    /// Of which the asking end spent so many on its own summary.
    pub own_summary_s: f64,
    /// The longest that the answering end took for one question.
    pub longest_answer_s: f64,
    /// Questions asked.
    pub questions: u64,
    /// Records found to differ.
    pub differences: u64,
}

/// Measures everything.
///
/// # Errors
///
/// [`BenchError`] says what did not work; the workers are ended and their folder is removed.
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
    /// Publishes all records with nobody there; the peer begins at the end of the log then.
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

    /// Sends all of it to the peer; gives the seconds and how many records are lost.
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

/// Both ends of a channel.
struct Ends {
    own: Arc<Kernel>,
    theirs: Arc<Kernel>,
    /// The answering node.
    to: NodeId,
    /// The asking one.
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

    /// Asks the other end, by the messages that travel otherwise.
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
                Err(reconcile::standing::AnswerError::Busy) => std::thread::sleep(BUSY_PAUSE),
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
