//! `portcullis-lab bench`: what an exchange costs on this machine.

use crate::{
    bench::{
        self, Options,
        order::Role,
        report::{Percentiles, Report},
        worker::{self, Beginning},
    },
    commands::measuring::{in_runtime, options_in, write},
};
use std::{io, path::PathBuf};

use portcullis_protocol::identifiers::NodeId;
use serde::Serialize;

use super::bench_store::BenchStore;
use portcullis_cli::{
    Session,
    error::CliError,
    exit::Exit,
    exit_codes,
    output::{Column, Page, Table, View},
};
use portcullis_home::{Home, config::Config};

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
pub(super) enum BenchCommand {
    Exchange(BenchExchange),
    Store(BenchStore),
    #[command(hide = true)]
    Worker(BenchWorker),
}

/// Measure two node processes that exchange records over mutual TLS, with fsync on
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Run two node processes on this machine, with fsync on, and measure: records per second from the \
draft to the receipt that is durable at the sender; a lone alert, idle and while bulk runs; catching \
up after the receiver was away; processor time, memory and disk. In the same run, the limits that \
the figures stand against: the unchecked pipe (the same bytes in the same frames, a row per record \
at both ends, nothing sealed, verified or decided), signatures checked one by one, and appends that \
are synced.

Records have 600 bytes in three sections, one indexed selector each. The homes are made in a folder \
that is removed at the end; it must be on a disk.

A target that is missed is reported and is no failure. Exit code 1 if a record was lost.",
    after_long_help = "\
Examples:
  portcullis-lab bench exchange
  portcullis-lab bench exchange --report bench.json
  portcullis-lab bench exchange --dir /srv/scratch --catch-up 1000000
  portcullis-lab bench exchange --records 20000 --alerts 200 --catch-up 20000"
)]
pub(super) struct BenchExchange {
    /// Write all figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How many records to stream, and to send through the unchecked pipe
    #[arg(long, value_name = "COUNT", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// How many alerts to raise idle, and again while bulk runs
    #[arg(long, value_name = "COUNT", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    alerts: u64,
    /// How many records wait for the receiver when it comes back
    #[arg(long, value_name = "COUNT", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    catch_up: u64,
    /// Where the generator of records begins
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// The folder to make homes in, on a disk [default: ./target, else the one for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Take a folder in memory as well, where fsync costs nothing
    #[arg(long)]
    allow_memory: bool,
}

/// Be one of the processes of a bench, ordered on standard input
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  portcullis-lab bench worker node --home /srv/scratch/sending --peer receiving")]
pub(super) struct BenchWorker {
    /// What to be
    role: Role,
    /// To whom to send
    #[arg(long, value_name = "NODE")]
    peer: Option<NodeId>,
    /// Where the generator of records begins
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How many records to hand over at once
    #[arg(long, value_name = "COUNT", default_value_t = bench::BATCH)]
    batch: u64,
}

impl BenchWorker {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let home = Home::new(session.home()?);
        let config = Config::of(&home)?;
        let beginning = Beginning {
            home,
            config,
            role: self.role,
            peer: self.peer,
            seed: self.seed,
            batch: self.batch,
        };
        worker::run(beginning).map_err(|error| exit_codes::told(Exit::Failed, &error))
    }
}

impl BenchExchange {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let path = self.report.clone();
        let options = self.options();
        let report = in_runtime(|show| async move { bench::run(&options, &show).await })?;
        if let Some(path) = path {
            write(&path, &report)?;
        }
        session.output.show(&Shown(&report))?;
        if report.lost == 0 {
            return Ok(());
        }
        let what = format!("{} records were lost or came unasked", report.lost);
        Err(CliError::failed(what).remedy("this is a fault of the exchange: report it"))
    }

    fn options(self) -> Options {
        Options {
            records: self.records,
            alerts: self.alerts,
            catch_up: self.catch_up,
            seed: self.seed,
            ..options_in(self.dir, self.allow_memory)
        }
    }
}

/// Answer that is printed at the end.
#[derive(Serialize)]
struct Shown<'r>(&'r Report);

impl View for Shown<'_> {
    const SCHEMA: &'static str = "portcullis/bench-exchange/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading("Targets")?;
        page.table(&targets(self.0))?;
        page.heading("Figures")?;
        page.pairs(&figures(self.0))?;
        page.heading("Limits of the same run")?;
        page.pairs(&limits(self.0))
    }
}

fn targets(report: &Report) -> Table {
    let mut table = Table::new(&[
        Column::Text("TARGET"),
        Column::Text("WANTED"),
        Column::Number("MEASURED"),
        Column::Text(""),
    ]);
    for target in &report.targets {
        let held = if target.held { "held" } else { "MISSED" };
        table.row([target.name, &target.wanted, &target.measured, held]);
    }
    table
}

fn figures(report: &Report) -> Vec<(&'static str, String)> {
    let bytes = &report.record_bytes;
    let wire = bytes.on_wire.map_or_else(
        || "unknown".to_owned(),
        |on_wire| format!("{on_wire:.0} on the wire"),
    );
    vec![
        (
            "stream",
            format!(
                "{} records, {:.0} per second",
                report.records, report.records_per_s
            ),
        ),
        (
            "processor time",
            format!(
                "{:.3} s for 1,000 records at the sender, {:.3} s at the receiver",
                report.cpu_s_per_1000.sender, report.cpu_s_per_1000.receiver
            ),
        ),
        (
            "bytes of a record",
            format!(
                "{}; {} in a frame, {wire}, {:.0} on the sender's disk, {:.0} on the receiver's",
                bytes.content, bytes.in_frame, bytes.on_disk.sender, bytes.on_disk.receiver
            ),
        ),
        ("alert, idle", percentiles(report.alert_idle_ms)),
        (
            "alert, bulk running",
            format!(
                "{} ({:.0} bulk records per second meanwhile)",
                percentiles(report.alert_loaded_ms),
                report.bulk_per_s_under_alerts
            ),
        ),
        (
            "catching up",
            format!(
                "{} records in {:.1} s, {:.0} per second",
                report.catch_up_records, report.catch_up_s, report.catch_up_records_per_s
            ),
        ),
        (
            "memory",
            format!(
                "at most {:.0} MB; {:.0} and {:.0} MB while catching up",
                report.peak_rss_mb,
                report.memory_mb.catch_up.sender,
                report.memory_mb.catch_up.receiver
            ),
        ),
        ("lost", report.lost.to_string()),
    ]
}

fn limits(report: &Report) -> Vec<(&'static str, String)> {
    let machine = &report.machine;
    vec![
        (
            "unchecked pipe",
            format!("{:.0} records per second", report.unchecked_records_per_s),
        ),
        (
            "append and sync",
            format!(
                "{}; {:.0} per second",
                percentiles(report.fdatasync_ms),
                report.fdatasync_per_s
            ),
        ),
        (
            "signatures",
            format!(
                "{:.0} per second on one core, one by one",
                report.verify_strict_per_s
            ),
        ),
        (
            "machine",
            format!(
                "{} cores, {}, Linux {}, {} at `{}`",
                machine.cores,
                machine.cpu,
                machine.kernel,
                machine.file_system,
                machine.folder.display()
            ),
        ),
        ("time", format!("{:.0} s", report.seconds)),
    ]
}

fn percentiles(ms: Percentiles) -> String {
    let Percentiles { p50, p99, p999 } = ms;
    format!("p50 {p50:.2} ms, p99 {p99:.2} ms, p999 {p999:.2} ms")
}
