//! Sequence of a bench run, from the limits of the machine to the report.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    time::Instant,
};

use portcullis_protocol::{
    identifiers::NodeId,
    register::{AuthorityKind, LegalRegime},
};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    BenchError, Options,
    child::{Part, Worker},
    drafts::RECORD_BYTES,
    folder::Folder,
    limits,
    machine::{self, Machine, Usage},
    order::{Load, Named, Order, Reply, Role},
    report::{Ends, Figures, Memory, Percentiles, RecordBytes, Report, Versions},
};
use crate::demo::{cast::Member, federation, show::Show};
use portcullis_home::{Home, files};

#[cfg(test)]
pub(super) use crate::demo::cast::FEDERATION;

/// The authority that sends, and its node.
pub(super) const SENDER: &str = "sending";

/// The authority that receives, and its node.
pub(super) const RECEIVER: &str = "receiving";

/// Batches sent before the clock starts.
const WARM_UP: u64 = 2;

/// Alerts raised before the clock starts.
const WARM_UP_ALERTS: u64 = 20;

/// Bytes of one megabyte.
const MB: f64 = 1e6;

/// Measures all figures of an exchange.
///
/// # Errors
///
/// [`BenchError`] says what failed. The workers have ended by then and their folder is removed.
pub async fn run(options: &Options, show: &Show) -> Result<Report, BenchError> {
    unless_interrupted(measure(options, show)).await
}

/// Runs a measurement until it is done or the process is interrupted.
pub(super) async fn unless_interrupted<T>(
    measure: impl Future<Output = Result<T, BenchError>>,
) -> Result<T, BenchError> {
    let listen = |kind| signal(kind).map_err(BenchError::Signals);
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    tokio::select! {
        report = measure => report,
        _ = interrupt.recv() => Err(BenchError::Interrupted),
        _ = terminate.recv() => Err(BenchError::Interrupted),
    }
}

async fn measure(options: &Options, show: &Show) -> Result<Report, BenchError> {
    let machine = checked_machine(options)?;
    let folder = Folder::make_in(&options.folder)?;
    let bench = Bench {
        options,
        show,
        root: folder.path(),
    };
    let step = show.step("Checking signatures one by one");
    let verify_strict_per_s = apart(|| Ok(limits::verify_strict_per_s()?)).await?;
    step.done(&format!("{verify_strict_per_s:.0} per second"));
    let exchange = bench.exchange().await?;
    let unchecked_records_per_s = bench.pipe(exchange.in_frame).await?;
    let catch_up = bench.catch_up().await?;
    let records_per_s = options.records as f64 / exchange.seconds;
    let figures = Figures {
        records_per_s,
        share_of_unchecked: records_per_s / unchecked_records_per_s,
        alert_idle_ms: Percentiles::of(&exchange.idle_ms),
        alert_loaded_ms: Percentiles::of(&exchange.loaded_ms),
        fdatasync_ms: Percentiles::of(&exchange.disk_ms),
        catch_up_records: options.catch_up,
        catch_up_s: catch_up.seconds,
        catch_up_mb: catch_up.memory.sender.max(catch_up.memory.receiver),
    };
    let disk_s: f64 = exchange.disk_ms.iter().sum::<f64>() / 1e3;
    Ok(Report {
        records: options.records,
        records_per_s,
        unchecked_records_per_s,
        share_of_unchecked: figures.share_of_unchecked,
        record_bytes: RecordBytes {
            content: RECORD_BYTES,
            in_frame: exchange.in_frame,
            on_wire: exchange.on_wire,
            on_disk: exchange.on_disk,
        },
        cpu_s_per_1000: exchange.cpu_s_per_1000,
        alerts: options.alerts,
        alert_idle_ms: figures.alert_idle_ms,
        alert_loaded_ms: figures.alert_loaded_ms,
        bulk_per_s_under_alerts: exchange.bulk_per_s,
        fdatasync_ms: figures.fdatasync_ms,
        fdatasync_per_s: exchange.disk_ms.len() as f64 / disk_s,
        verify_strict_per_s,
        catch_up_records: options.catch_up,
        catch_up_s: catch_up.seconds,
        catch_up_records_per_s: options.catch_up as f64 / catch_up.seconds,
        peak_rss_mb: [exchange.memory, catch_up.memory]
            .iter()
            .flat_map(|ends| [ends.sender, ends.receiver])
            .fold(0.0, f64::max),
        memory_mb: Memory {
            exchange: exchange.memory,
            catch_up: catch_up.memory,
        },
        lost: exchange.lost + catch_up.lost,
        seed: options.seed,
        machine,
        versions: Versions {
            portcullis: env!("CARGO_PKG_VERSION"),
            sqlite: rusqlite::version(),
        },
        seconds: show.elapsed().as_secs_f64(),
        targets: figures.targets(),
    })
}

/// Returns the machine if its folder may be used for measuring.
pub(super) fn checked_machine(options: &Options) -> Result<Machine, BenchError> {
    let machine = Machine::here(&options.folder);
    if machine.is_memory() && options.memory == super::Memory::Refused {
        return Err(BenchError::InMemory {
            folder: machine.folder,
            file_system: machine.file_system,
        });
    }
    Ok(machine)
}

/// Results of the stream and of the alerts.
struct Exchanged {
    seconds: f64,
    in_frame: usize,
    on_wire: Option<f64>,
    on_disk: Ends,
    cpu_s_per_1000: Ends,
    idle_ms: Vec<f64>,
    loaded_ms: Vec<f64>,
    bulk_per_s: f64,
    disk_ms: Vec<f64>,
    memory: Ends,
    lost: u64,
}

/// Results of catching up.
struct CaughtUp {
    seconds: f64,
    memory: Ends,
    lost: u64,
}

pub(super) struct Bench<'a> {
    pub(super) options: &'a Options,
    pub(super) show: &'a Show,
    pub(super) root: &'a Path,
}

/// The homes of two nodes that know each other.
pub(super) struct Pair {
    folder: PathBuf,
    pub(super) sender: Home,
    pub(super) receiver: Home,
    pub(super) receiving: NodeId,
}

/// The two workers of a run.
pub(super) struct Running {
    pub(super) sender: Worker,
    pub(super) receiver: Worker,
}

impl Running {
    async fn usage(&mut self) -> Result<(Usage, Usage), BenchError> {
        Ok((self.sender.usage().await?, self.receiver.usage().await?))
    }

    /// Returns the number of records that were sent and are not held by the receiver, or the other
    /// way round.
    async fn lost(&mut self) -> Result<u64, BenchError> {
        let sent = self.sender.census(&Order::Sent).await?;
        let held = self.receiver.census(&Order::Held).await?;
        Ok(match sent.count.abs_diff(held.count) {
            0 if sent != held => 1,
            difference => difference,
        })
    }

    pub(super) async fn stop(self) -> Result<(), BenchError> {
        self.sender.stop().await?;
        self.receiver.stop().await
    }
}

impl Bench<'_> {
    pub(super) async fn pair(&self, name: &str) -> Result<Pair, BenchError> {
        let folder = self.root.join(name);
        files::create_folder(&folder)?;
        let root = folder.clone();
        let [sender, receiver] = apart(move || homes(&root)).await?;
        Ok(Pair {
            folder,
            sender,
            receiver,
            receiving: RECEIVER.parse()?,
        })
    }

    pub(super) async fn sender(&self, pair: &Pair, role: Role) -> Result<Worker, BenchError> {
        let part = self.part(SENDER, &pair.sender, role, Some(&pair.receiving));
        Worker::start(part).await
    }

    pub(super) async fn receiver(&self, pair: &Pair, role: Role) -> Result<Worker, BenchError> {
        let part = self.part(RECEIVER, &pair.receiver, role, None);
        Worker::start(part).await
    }

    const fn part<'a>(
        &self,
        name: &'static str,
        home: &'a Home,
        role: Role,
        peer: Option<&'a NodeId>,
    ) -> Part<'a> {
        Part {
            name,
            home,
            role,
            peer,
            seed: self.options.seed,
            batch: self.options.batch(),
        }
    }

    async fn start(&self, pair: &Pair, role: Role) -> Result<Running, BenchError> {
        let step = self.show.step("Starting two processes");
        let running = Running {
            receiver: self.receiver(pair, role).await?,
            sender: self.sender(pair, role).await?,
        };
        step.done("up");
        Ok(running)
    }

    async fn exchange(&self) -> Result<Exchanged, BenchError> {
        let pair = self.pair("main").await?;
        let mut nodes = self.start(&pair, Role::Node).await?;
        let in_frame = sample(&mut nodes.sender).await?;
        let records = self.options.records;
        let step = self.show.step("Streaming records");
        let warm_up = Order::Stream {
            records: WARM_UP * self.options.batch(),
        };
        nodes.sender.streamed(&warm_up, &step).await?;
        let (before, carried) = (nodes.usage().await?, machine::loopback_bytes());
        let order = Order::Stream { records };
        let seconds = nodes.sender.streamed(&order, &step).await?;
        let (after, carried_until) = (nodes.usage().await?, machine::loopback_bytes());
        step.done(&format!("{:.0} per second", records as f64 / seconds));
        let mut disk_ms = self.disk().await?;
        let (idle_ms, _) = self.alerts(&mut nodes, Load::Idle).await?;
        disk_ms.extend(self.disk().await?);
        let (loaded_ms, bulk_per_s) = self.alerts(&mut nodes, Load::Bulk).await?;
        let (sender, receiver) = nodes.usage().await?;
        let memory = memory(sender, receiver);
        let lost = self.counted(&mut nodes).await?;
        nodes.stop().await?;
        remove(&pair.folder)?;
        let per_record = |from: u64, to: u64| to.saturating_sub(from) as f64 / records as f64;
        let cpu = |from: Usage, to: Usage| (to.cpu_s - from.cpu_s) * 1e3 / records as f64;
        Ok(Exchanged {
            seconds,
            in_frame,
            on_wire: carried
                .zip(carried_until)
                .map(|(from, to)| per_record(from, to)),
            on_disk: Ends {
                sender: per_record(before.0.store_bytes, after.0.store_bytes),
                receiver: per_record(before.1.store_bytes, after.1.store_bytes),
            },
            cpu_s_per_1000: Ends {
                sender: cpu(before.0, after.0),
                receiver: cpu(before.1, after.1),
            },
            idle_ms,
            loaded_ms,
            bulk_per_s,
            disk_ms,
            memory,
            lost,
        })
    }

    async fn alerts(&self, nodes: &mut Running, load: Load) -> Result<(Vec<f64>, f64), BenchError> {
        let title = match load {
            Load::Idle => "Raising alerts, nothing else going on",
            Load::Bulk => "Raising alerts while bulk runs",
        };
        let step = self.show.step(title);
        if load == Load::Idle {
            let warm_up = Order::Alerts {
                count: WARM_UP_ALERTS,
                load,
            };
            nodes.sender.ask(&warm_up, None).await?;
        }
        let order = Order::Alerts {
            count: self.options.alerts,
            load,
        };
        let reply = nodes.sender.ask(&order, Some(&step)).await?;
        let Reply::Alerts { ms, bulk_per_s } = reply else {
            return Err(nodes.sender.unexpected(&reply));
        };
        let Percentiles { p50, p99, .. } = Percentiles::of(&ms);
        step.done(&format!("p50 {p50:.1} ms, p99 {p99:.1} ms"));
        Ok((ms, bulk_per_s))
    }

    /// Measures half of the syncs, so that those before and those after the idle alerts count
    /// alike.
    async fn disk(&self) -> Result<Vec<f64>, BenchError> {
        let step = self.show.step("Appending and syncing");
        let (folder, count) = (self.root.to_owned(), self.options.alerts.div_ceil(2));
        let ms = apart(move || {
            limits::fdatasync_ms(&folder, count).map_err(|source| BenchError::Disk {
                path: folder,
                source,
            })
        })
        .await?;
        let Percentiles { p50, p99, .. } = Percentiles::of(&ms);
        step.done(&format!("p50 {p50:.2} ms, p99 {p99:.2} ms"));
        Ok(ms)
    }

    pub(super) async fn counted(&self, nodes: &mut Running) -> Result<u64, BenchError> {
        let step = self.show.step("Counting what was sent and what is held");
        let lost = nodes.lost().await?;
        step.done(&format!("{lost} lost"));
        Ok(lost)
    }

    async fn pipe(&self, item_bytes: usize) -> Result<f64, BenchError> {
        let pair = self.pair("pipe").await?;
        let mut ends = self.start(&pair, Role::Pipe).await?;
        let step = self.show.step("Sending through the unchecked pipe");
        let listen = Order::PipeReceive {
            file: pair.folder.join("received.db"),
        };
        let reply = ends.receiver.ask(&listen, None).await?;
        let Reply::Listening { address } = reply else {
            return Err(ends.receiver.unexpected(&reply));
        };
        let records = self.options.records;
        let order = |records, seed| Order::PipeSend {
            file: pair.folder.join("sent.db"),
            address: address.clone(),
            peer: Named(pair.receiving.clone()),
            records,
            item_bytes,
            seed,
        };
        let seed = self.options.seed;
        let warm_up = order(WARM_UP * self.options.batch(), seed.wrapping_add(1));
        ends.sender.streamed(&warm_up, &step).await?;
        let seconds = ends.sender.streamed(&order(records, seed), &step).await?;
        let per_s = records as f64 / seconds;
        step.done(&format!("{per_s:.0} per second"));
        ends.stop().await?;
        remove(&pair.folder)?;
        Ok(per_s)
    }

    async fn catch_up(&self) -> Result<CaughtUp, BenchError> {
        let pair = self.pair("late").await?;
        let records = self.options.catch_up;
        let mut sender = self.sender(&pair, Role::Node).await?;
        let step = self.show.step("Publishing while the receiver is away");
        let took = sender.streamed(&Order::Preload { records }, &step).await?;
        step.done(&format!("{:.0} per second", records as f64 / took));
        sender.done(&Order::ForgetPeak).await?;
        let step = self.show.step("Catching up");
        let begun = Instant::now();
        let receiver = self.receiver(&pair, Role::Node).await?;
        sender.streamed(&Order::Settle, &step).await?;
        let seconds = begun.elapsed().as_secs_f64();
        step.done(&format!("{records} records in {seconds:.1} s"));
        let mut nodes = Running { sender, receiver };
        let (sending, receiving) = nodes.usage().await?;
        let lost = self.counted(&mut nodes).await?;
        nodes.stop().await?;
        remove(&pair.folder)?;
        Ok(CaughtUp {
            seconds,
            memory: memory(sending, receiving),
            lost,
        })
    }
}

/// Makes the homes of two customs authorities that know each other, the sending one first.
///
/// # Errors
///
/// [`BenchError`] if a file, a key or a certificate cannot be made.
pub fn homes(root: &Path) -> Result<[Home; 2], BenchError> {
    let members = vec![member(SENDER)?, member(RECEIVER)?];
    let seats = federation::set_up(root, members, &|_, listens| listens)?;
    let homes: Vec<Home> = seats.into_iter().map(|seat| seat.home).collect();
    homes.try_into().map_err(|_| BenchError::CutShort)
}

async fn sample(sender: &mut Worker) -> Result<usize, BenchError> {
    let reply = sender.ask(&Order::Sample, None).await?;
    if let Reply::Sample { item_bytes } = reply {
        return Ok(item_bytes);
    }
    Err(sender.unexpected(&reply))
}

fn memory(sender: Usage, receiver: Usage) -> Ends {
    let mb = |usage: Usage| usage.peak_rss_kb as f64 * 1024.0 / MB;
    Ends {
        sender: mb(sender),
        receiver: mb(receiver),
    }
}

fn member(name: &str) -> Result<Member, BenchError> {
    Ok(Member {
        authority: name.parse()?,
        node: name.parse()?,
        name: format!("Customs, {name} (bench)"),
        kind: AuthorityKind::Customs,
        group: "ministry-of-finance",
        regime: LegalRegime::Both,
        communities: vec!["ports-alliance".to_owned()],
        clients: Vec::new(),
        office: None,
    })
}

fn remove(folder: &Path) -> Result<(), BenchError> {
    fs::remove_dir_all(folder).map_err(|source| BenchError::Disk {
        path: folder.to_owned(),
        source,
    })
}

/// Runs work for processor or disk outside the runtime's own threads.
pub(super) fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BenchError> + Send + 'static,
) -> impl Future<Output = Result<T, BenchError>> {
    let working = portcullis_store::apart::spawn(work);
    async { working.await.map_err(|_| BenchError::CutShort)? }
}
