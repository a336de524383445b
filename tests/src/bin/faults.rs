//! The long run of whole-process faults: `faults PORTCULLIS-LAB [KILLS [REPORT.json]]`.
//!
//! Prints a table, writes the report, and fails if anything was lost, doubled, missing or
//! damaged.
#![expect(clippy::unwrap_used, reason = "a panic here is a failed run")]

use std::{path::Path, process::ExitCode};

use portcullis_tests::faults::{
    clock, disk, kills, link, namespace,
    report::{Report, Row},
    resources::{self, Pressure},
};

/// Kills of a long run.
const KILLS: usize = 200;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let binary = arguments.next().unwrap();
    let kills = arguments
        .next()
        .map_or(KILLS, |count| count.parse().unwrap());
    let file = arguments.next();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let report = runtime.block_on(run(Path::new(&binary), kills));
    println!("{}\n\n{}", report.machine, report.table());
    for skipped in &report.skipped {
        println!("not done: {skipped}");
    }
    if let Some(file) = file {
        std::fs::write(file, serde_json::to_vec_pretty(&report).unwrap()).unwrap();
    }
    let is_clean = report.rows.iter().all(Row::is_clean);
    if is_clean && report.pressures.iter().all(Pressure::is_within) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn run(binary: &Path, kills: usize) -> Report {
    let mut skipped = Vec::new();
    let mut rows = Vec::new();
    let mut done = |row: Row| {
        eprintln!(
            "{}: {} times, {} ms at most",
            row.fault, row.injected, row.catch_up_longest_ms
        );
        rows.push(row);
    };
    done(kills::run(binary, 3, kills).await);
    done(disk::full(binary).await);
    if disk::can_mount() {
        done(disk::real(binary).await);
        done(disk::short(binary).await);
    } else {
        skipped.push(
            "a real disk that is full, short of space or read-only: nothing can be mounted here"
                .to_owned(),
        );
    }
    done(disk::slow(binary).await);
    done(disk::failing(binary).await);
    done(clock::jumps(binary).await);
    done(clock::put_right(binary).await);
    done(clock::epochs(binary).await);
    done(link::slow(binary).await);
    done(link::falling(binary, 40).await);
    done(link::partition(binary, 10).await);
    done(link::half_open(binary).await);
    done(link::frozen(binary, 5).await);
    let mut pressures = vec![
        resources::desk_memory(binary, 80).await,
        resources::held_flood(binary, 64).await,
        resources::descriptors(binary).await,
    ];
    pressures.extend(resources::floods(binary).await);
    for pressure in &pressures {
        eprintln!("{}: {} KiB gained", pressure.attack, pressure.gained_kib);
    }
    match namespace::cut_and_healed(binary, 3).await {
        Some(row) => done(row),
        None => {
            skipped.push("network namespaces cut and healed: this machine gives none".to_owned())
        }
    }
    Report::new(rows, pressures, skipped)
}
