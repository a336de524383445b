//! `portcullis-lab bench store`: what keeping many records costs on this machine.

use std::{io, path::PathBuf};

use serde::Serialize;

use crate::{
    bench::{
        Options,
        upkeep::{self, DIFFERENCES, Report},
    },
    commands::measuring::{in_runtime, options_in, write},
};
use portcullis_cli::{
    Session,
    error::CliError,
    output::{Page, View},
};

/// Measure backups, sending older records and comparing a channel, on a store with many records
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Publish records, back the node up, check the backup and make a home from it; send all of them to a \
peer that is new, over mutual TLS and with fsync on; withdraw ten at the receiver and compare both \
ends of the channel. All homes are made in a folder that is removed at the end; it must be on a disk \
and takes about 5 KB for each record.

Exit code 1 if a record was lost or the comparison found something else than the ten.",
    after_long_help = "\
Examples:
  portcullis-lab bench store
  portcullis-lab bench store --records 10000
  portcullis-lab bench store --records 1000000 --dir /srv/scratch --report store.json"
)]
pub(super) struct BenchStore {
    /// Write all figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How many records to keep
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..))]
    records: u64,
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

impl BenchStore {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let options = Options {
            records: self.records,
            alerts: 0,
            catch_up: 0,
            seed: self.seed,
            ..options_in(self.dir, self.allow_memory)
        };
        let report = in_runtime(|show| async move { upkeep::run(&options, &show).await })?;
        if let Some(path) = self.report {
            write(&path, &report)?;
        }
        session.output.show(&Shown(&report))?;
        let found = report.comparison.differences;
        if report.lost == 0 && found == DIFFERENCES as u64 {
            return Ok(());
        }
        let what = format!(
            "{} records were lost; {found} differences were found where {DIFFERENCES} are",
            report.lost
        );
        Err(CliError::failed(what).remedy("this is a fault of the exchange: report it"))
    }
}

/// Answer that is printed at the end.
#[derive(Serialize)]
struct Shown<'r>(&'r Report);

impl View for Shown<'_> {
    const SCHEMA: &'static str = "portcullis/bench-store/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading("Figures")?;
        page.pairs(&figures(self.0))
    }
}

fn figures(report: &Report) -> Vec<(&'static str, String)> {
    let (backup, backfill, comparison) = (report.backup, report.backfill, report.comparison);
    let machine = &report.machine;
    vec![
        (
            "published",
            format!("{} records in {:.1} s", report.records, report.publish_s),
        ),
        ("store", format!("{:.0} MB", backup.store_mb)),
        (
            "backup",
            format!(
                "{:.1} s, {:.0} MB of data and {:.0} MB of keys",
                backup.take_s, backup.data_mb, backup.keys_mb
            ),
        ),
        ("backup verified", format!("{:.1} s", backup.verify_s)),
        ("restored", format!("{:.1} s", backup.restore_s)),
        (
            "backfill",
            format!(
                "{:.1} s, {:.0} records per second",
                backfill.seconds, backfill.records_per_s
            ),
        ),
        (
            "comparison",
            format!(
                "{:.1} s, {} questions, {} differences; own summary {:.1} s, longest answer {:.1} s",
                comparison.seconds,
                comparison.questions,
                comparison.differences,
                comparison.own_summary_s,
                comparison.longest_answer_s
            ),
        ),
        ("lost", report.lost.to_string()),
        (
            "machine",
            format!(
                "{} cores, {}, {} at `{}`",
                machine.cores,
                machine.cpu,
                machine.file_system,
                machine.folder.display()
            ),
        ),
        ("time", format!("{:.0} s", report.seconds)),
    ]
}
