//! The command line of `portcullis`: the commands that need a node or its store at hand, and those of
//! `portcullis-cli`, which do not.

mod backup;
mod doctor;
mod init;
mod run;
mod schema;

use std::process::ExitCode;

use clap::Subcommand;
use portcullis_cli::{
    Commands, Program, Session, error::CliError, exit::Exit, exit_codes, output::Kind,
};

use crate::setup::SetupError;

/// The product's program.
const PROGRAM: Program = Program {
    name: "portcullis",
    about: "A node for the secure exchange of information between authorities at the border",
    long_about: "\
Portcullis exchanges signed records between customs, police and port authorities, and scores an \
authority's own consignments against what it has lawfully received.

Each authority runs a node of its own. Most commands speak to a running node through its socket; \
`init`, `doctor`, `schema`, `federation`, `tls`, `keys`, `backup`, `restore`, `check`, `explain`, `policy check`, \
`completions` and `man` need none.",
};

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    crate::undumped::protect();
    portcullis_cli::main::<Command>(PROGRAM)
}

/// Every command of `portcullis`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Those that need a node or its store at hand
    #[command(flatten)]
    Node(NodeCommand),
    /// Those that speak to a running node, or to files alone
    #[command(flatten)]
    Cli(portcullis_cli::Command),
}

/// The commands that need a node or its store at hand.
#[derive(Debug, Subcommand)]
enum NodeCommand {
    Init(init::Init),
    Doctor(doctor::Doctor),
    Run(run::Run),
    Backup(backup::Backup),
    Restore(backup::Restore),
    /// Explain and check the schema of the authority's own consignments
    #[command(subcommand, arg_required_else_help = true)]
    Schema(schema::SchemaCommand),
}

impl Commands for Command {
    fn run(self, session: &Session) -> Result<(), CliError> {
        match self {
            Self::Node(command) => command.run(session),
            Self::Cli(command) => command.run(session),
        }
    }

    fn kinds() -> Vec<Kind> {
        let mut kinds = portcullis_cli::Command::kinds();
        kinds.extend([
            Kind::of::<init::MadeView>(),
            Kind::of::<doctor::FindingsView>(),
            Kind::of::<backup::TakenView>(),
            Kind::of::<backup::CheckedView>(),
            Kind::of::<backup::RestoredView>(),
            Kind::of::<schema::SchemaView>(),
            Kind::of::<schema::CheckedView>(),
        ]);
        kinds
    }
}

impl Commands for NodeCommand {
    fn run(self, session: &Session) -> Result<(), CliError> {
        match self {
            Self::Init(command) => command.run(session),
            Self::Doctor(command) => command.run(session),
            Self::Run(command) => command.run(session),
            Self::Backup(command) => command.run(session),
            Self::Restore(command) => command.run(session),
            Self::Schema(command) => command.run(session),
        }
    }
}

impl From<SetupError> for CliError {
    fn from(error: SetupError) -> Self {
        let exit = match &error {
            SetupError::File(file) => exit_codes::of_file(file),
            SetupError::Keyring(keyring) => exit_codes::of_keyring(keyring),
            SetupError::Config(config) => exit_codes::of_config(config),
            SetupError::AlreadyMade(_)
            | SetupError::Exchangeable(_)
            | SetupError::TooLong { .. }
            | SetupError::Path(_) => Exit::Invalid,
            SetupError::Running(_) | SetupError::Store(_) | SetupError::Request(_) => Exit::Failed,
        };
        exit_codes::told(exit, &error)
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

    #[test]
    fn every_command_stands_in_a_group_of_the_help() {
        let mut definition = portcullis_cli::definition::<Command>(PROGRAM);
        let help = definition.render_long_help().to_string();
        assert!(!help.contains("Commands:"), "{help}");
        for command in definition.get_subcommands() {
            let line = format!("\n  {} ", command.get_name());
            assert_eq!(help.matches(&line).count(), 1, "{line}: {help}");
        }
    }

    #[test]
    fn no_two_kinds_of_answers_have_one_name() {
        let mut names: Vec<&str> = Command::kinds().iter().map(|kind| kind.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
