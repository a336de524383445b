//! Compares embedded stores on the write path of a node: 600-byte records, one durable commit for each 1,024.
//!
//! Prints a table, and with `--json FILE` writes every figure. The program fails if an engine that
//! is opened again after its run does not hold what it had reported as committed.

mod engines;
mod report;
mod run;
mod syscalls;
mod workload;

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::time::Duration;
use workload::Shape;

const USAGE: &str = "\
usage: portcullis-bench-stores [--commits N] [--repeat N] [--limit SECONDS] [--dir FOLDER] [--json FILE]

  --commits N       durable commits in each run, 1,024 records each (default 100)
  --repeat N        runs of each engine and shape; the median is shown (default 3)
  --limit SECONDS   a run that takes longer ends early and is counted as far as it came (default 3)
  --dir FOLDER      where the stores are written; it must be on the disk to be measured (default target/stores)
  --json FILE       write all figures there";

/// Options of the command line.
struct Options {
    commits: u64,
    repeat: usize,
    limit: Duration,
    folder: PathBuf,
    json: Option<PathBuf>,
    /// Set if strace runs this program: make one run in this engine and shape, and report nothing.
    only: Option<(String, Shape)>,
}

fn main() -> Result<()> {
    let options = parse(std::env::args().skip(1))?;
    std::fs::create_dir_all(&options.folder)
        .with_context(|| format!("cannot create `{}`", options.folder.display()))?;
    if let Some((engine, shape)) = &options.only {
        run::once(
            engine,
            *shape,
            options.commits,
            options.limit,
            &options.folder,
        )?;
        return Ok(());
    }
    let report = report::Report::measure(&options)?;
    print!("{report}");
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options {
        commits: 100,
        repeat: 3,
        limit: Duration::from_secs(3),
        folder: PathBuf::from("target/stores"),
        json: None,
        only: None,
    };
    while let Some(flag) = arguments.next() {
        if flag == "--help" {
            println!("{USAGE}");
            std::process::exit(0);
        }
        let value = arguments
            .next()
            .with_context(|| format!("`{flag}` needs a value\n\n{USAGE}"))?;
        match flag.as_str() {
            "--commits" => options.commits = value.parse().context("`--commits` takes a number")?,
            "--repeat" => options.repeat = value.parse().context("`--repeat` takes a number")?,
            "--limit" => {
                options.limit =
                    Duration::from_secs(value.parse().context("`--limit` takes seconds")?)
            }
            "--dir" => options.folder = value.into(),
            "--json" => options.json = Some(value.into()),
            "--only" => options.only = Some(parse_only(&value)?),
            unknown => bail!("`{unknown}` is not an option\n\n{USAGE}"),
        }
    }
    if options.repeat == 0 {
        bail!("`--repeat` must be at least 1");
    }
    Ok(options)
}

fn parse_only(value: &str) -> Result<(String, Shape)> {
    let (engine, shape) = value
        .split_once(':')
        .context("`--only` takes ENGINE:SHAPE")?;
    let shape = Shape::ALL
        .into_iter()
        .find(|known| known.name() == shape)
        .with_context(|| format!("`{shape}` is not a shape"))?;
    Ok((engine.to_owned(), shape))
}
