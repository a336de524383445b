//! The parts that the benches' commands share: where homes are made, the runtime, the report's file.

use crate::{
    bench::{Memory, Options, error::BenchError},
    demo::show::Show,
};
use std::path::PathBuf;

use serde::Serialize;

use portcullis_cli::{error::CliError, exit::Exit, exit_codes};
use portcullis_home::files::{self, Access};

/// Returns options that say where homes are made. The amounts to measure are left to the caller.
pub(super) fn options_in(dir: Option<PathBuf>, allow_memory: bool) -> Options {
    let target = PathBuf::from("target");
    let default = || {
        if target.is_dir() {
            target
        } else {
            std::env::temp_dir()
        }
    };
    let folder = dir.unwrap_or_else(default);
    Options {
        records: 0,
        alerts: 0,
        catch_up: 0,
        seed: 0,
        // The homes of the workers name their files with absolute paths.
        folder: std::path::absolute(&folder).unwrap_or(folder),
        memory: if allow_memory {
            Memory::Accepted
        } else {
            Memory::Refused
        },
    }
}

/// Runs a bench in a runtime of its own, to its end.
pub(super) fn in_runtime<T, F: Future<Output = Result<T, BenchError>>>(
    bench: impl FnOnce(Show) -> F,
) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| {
            CliError::failed("the operating system gives no runtime").because(&error)
        })?;
    runtime
        .block_on(bench(Show::begin()))
        .map_err(|error| complaint(&error))
}

/// Maps an error to its exit code. A folder that cannot be used is invalid input; all others are
/// failures.
fn complaint(error: &BenchError) -> CliError {
    let exit = match error {
        BenchError::InMemory { .. } => Exit::Invalid,
        BenchError::SetUp(_)
        | BenchError::Name(_)
        | BenchError::File(_)
        | BenchError::Signature(_)
        | BenchError::Disk { .. }
        | BenchError::Signals(_)
        | BenchError::Process { .. }
        | BenchError::Worker { .. }
        | BenchError::Ended { .. }
        | BenchError::Unexpected { .. }
        | BenchError::Json(_)
        | BenchError::Backup(_)
        | BenchError::Start(_)
        | BenchError::Config(_)
        | BenchError::Store(_)
        | BenchError::Compare(_)
        | BenchError::CutShort
        | BenchError::Interrupted => Exit::Failed,
    };
    exit_codes::told(exit, error)
}

/// Writes a report to a file.
pub(super) fn write(path: &std::path::Path, report: &impl Serialize) -> Result<(), CliError> {
    let json = serde_json::to_vec_pretty(report)
        .map_err(|error| CliError::failed("the report cannot be written").because(&error))?;
    Ok(files::replace(path, &json, Access::Everyone)?)
}
