//! The command line of `portcullis-lab`.

mod bench;
mod bench_store;
mod demo;
mod measuring;
mod run;

use std::process::ExitCode;

use clap::Subcommand;
use portcullis_cli::{Commands, Program, Session, error::CliError};

/// The laboratory's program.
const PROGRAM: Program = Program {
    name: "portcullis-lab",
    about: "A laboratory for Portcullis: the demo and the benches",
    long_about: "\
Runs a federation of nodes on this machine as a demonstration, and measures what an exchange and a store cost. It is \
never shipped: it makes certificates that are worthless, and tampers with what it made to show that tampering is found.",
};

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    portcullis_cli::main::<Command>(PROGRAM)
}

/// Every command of `portcullis-lab`.
#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    /// Measure what an exchange costs on this machine
    #[command(subcommand, arg_required_else_help = true)]
    Bench(bench::BenchCommand),
    Run(run::Run),
}

impl Commands for Command {
    fn run(self, session: &Session) -> Result<(), CliError> {
        match self {
            Self::Demo(command) => command.run(session),
            Self::Bench(bench::BenchCommand::Exchange(command)) => command.run(session),
            Self::Bench(bench::BenchCommand::Store(command)) => command.run(session),
            Self::Bench(bench::BenchCommand::Worker(command)) => command.run(session),
            Self::Run(command) => command.run(session),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_its_help_whole() {
        let definition = portcullis_cli::definition::<Command>(PROGRAM);
        definition.clone().debug_assert();
        assert_eq!(
            portcullis_cli::documented::gaps(&definition),
            Vec::<String>::new()
        );
    }
}
