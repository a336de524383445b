//! The command line: `portcullis COMMAND`.
//!
//! ```text
//! arguments ─clap─▶ Command ─run(&Session)─▶ View ─Output─▶ table or JSON, exit code
//! ```
//!
//! Each command has a file of its own: its arguments as a clap struct with their help, its view,
//! and one function that carries it out. To add a command, add its file, a variant of `Command` and
//! its line in `Command::run`. A command returns a [`CliError`]; it does not print the error or end
//! the process. It reaches a running node only through the node's socket.

pub mod bar;
pub mod documented;
pub mod error;
pub mod exit;
pub mod exit_codes;
pub mod output;
pub mod place;

mod about;
mod backfill;
mod check;
mod clock;
mod completions;
mod consignment;
mod consignment_desk;
mod dispatch;
mod drafting;
mod explain;
mod federation;
mod forks;
mod groups;
mod hold;
mod inbox;
mod indicator_import;
mod keys;
mod kinds;
mod list;
pub mod live;
mod log;
mod man;
mod names;
mod near;
mod peer;
mod peer_list;
mod person;
mod person_change;
mod person_enrol;
mod person_recover;
mod policy;
mod profile;
mod publish;
mod quarantine;
mod reference;
mod reload;
mod score;
mod settings;
mod sheet;
mod show;
pub mod signing;
mod status;
mod tls;
mod watch;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches, Parser, Subcommand, error::ErrorKind};

use error::CliError;
use exit::Exit;
use output::{Colour, Kind, Output};
use place::{PlaceArgs, Surroundings};

/// A program with a command line: what it is called, and what its help says.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// What it is, at length.
    pub long_about: &'static str,
}

/// The commands of a program.
pub trait Commands: Subcommand {
    /// Does what the command line says.
    ///
    /// # Errors
    ///
    /// [`CliError`] with what happened, what to do, and the exit code.
    fn run(self, session: &Session) -> Result<(), CliError>;

    /// Returns the kinds of answers that it prints with `--json`, as far as they are documented.
    #[must_use]
    fn kinds() -> Vec<Kind> {
        Vec::new()
    }
}

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed; 2 denied; 3 wrong input; 4 not found; 5 no node answers; \
6 the node cannot do its work; 64 wrong usage.

Ids of records may be cut short everywhere, as long as they stay unambiguous.";

/// A whole command line.
#[derive(Debug, Parser)]
#[command(
    version,
    after_long_help = AFTER_HELP,
    max_term_width = groups::WIDEST,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Cli<C: Commands> {
    #[command(flatten)]
    place: PlaceArgs,
    /// Print JSON for programs; errors become a JSON object on standard error
    #[arg(long, global = true, help_heading = "Which node, and how to print")]
    json: bool,
    /// When to use colours
    #[arg(
        long,
        value_name = "WHEN",
        global = true,
        default_value = "auto",
        help_heading = "Which node, and how to print"
    )]
    color: Colour,
    #[command(subcommand)]
    command: C,
}

/// The commands that speak to a running node, or to files alone.
#[derive(Debug)]
pub struct Command(Which);

impl FromArgMatches for Command {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Which::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Subcommand for Command {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        Which::augment_subcommands(command)
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        Which::augment_subcommands_for_update(command)
    }

    fn has_subcommand(name: &str) -> bool {
        Which::has_subcommand(name)
    }
}

impl Commands for Command {
    fn run(self, session: &Session) -> Result<(), CliError> {
        self.0.run(session)
    }

    fn kinds() -> Vec<Kind> {
        kinds::all()
    }
}

/// Each of the commands.
#[derive(Debug, Subcommand)]
enum Which {
    /// Make, sign, check and apply the federation's register
    #[command(subcommand, arg_required_else_help = true)]
    Federation(federation::FederationCommand),
    /// Install the node's certificate
    #[command(subcommand, arg_required_else_help = true)]
    Tls(tls::TlsCommand),
    /// Rotate the node's keys
    #[command(subcommand, arg_required_else_help = true)]
    Keys(KeysCommand),
    Reload(reload::Reload),
    /// See which settings that decide were changed, and accept them
    #[command(subcommand, arg_required_else_help = true)]
    Settings(SettingsCommand),
    /// Confirm the clock after it was set
    #[command(subcommand, arg_required_else_help = true)]
    Clock(ClockCommand),
    /// See how it stands with each peer, cut one off at once, and let it in again
    #[command(subcommand, arg_required_else_help = true)]
    Peer(PeerCommand),
    /// Stop at once what is sent, and send it again
    #[command(subcommand, arg_required_else_help = true)]
    Release(ReleaseCommand),
    /// Decide on what arrived and waits for a person
    #[command(subcommand, arg_required_else_help = true)]
    Hold(HoldCommand),
    /// See what is sent, what was given up, and send older records
    #[command(subcommand, arg_required_else_help = true)]
    Dispatch(DispatchCommand),
    /// See what failed verification, and destroy it
    #[command(subcommand, arg_required_else_help = true)]
    Quarantine(QuarantineCommand),
    Status(status::Status),
    List(list::List),
    About(about::About),
    Inbox(inbox::Inbox),
    Show(show::Show),
    Watch(watch::Watch),
    /// Publish indicators: something to look out for
    #[command(subcommand, arg_required_else_help = true)]
    Indicator(IndicatorCommand),
    /// Raise alerts: something to act on now
    #[command(subcommand, arg_required_else_help = true)]
    Alert(AlertCommand),
    /// Publish advisories: vulnerabilities and good practices
    #[command(subcommand, arg_required_else_help = true)]
    Advisory(AdvisoryCommand),
    /// Import the authority's own consignments
    #[command(subcommand, arg_required_else_help = true)]
    Consignment(ConsignmentCommand),
    Score(score::Score),
    /// Publish the authority's risk profile
    #[command(subcommand, arg_required_else_help = true)]
    Profile(ProfileCommand),
    /// Check, preview and explain the rules that decide
    #[command(subcommand, arg_required_else_help = true)]
    Policy(PolicyCommand),
    /// Enrol, change, end and list persons
    #[command(subcommand, arg_required_else_help = true)]
    Person(PersonCommand),
    /// Read what happened at the node, and who had what done
    #[command(subcommand, arg_required_else_help = true)]
    Log(LogCommand),
    Check(check::Check),
    Explain(explain::Explain),
    Completions(completions::Completions),
    Man(man::Man),
}

#[derive(Debug, Subcommand)]
enum IndicatorCommand {
    Publish(Box<publish::Indicator>),
    Import(Box<indicator_import::IndicatorImport>),
}

#[derive(Debug, Subcommand)]
enum AlertCommand {
    Raise(Box<publish::Alert>),
}

#[derive(Debug, Subcommand)]
enum AdvisoryCommand {
    Publish(Box<publish::Advisory>),
}

#[derive(Debug, Subcommand)]
enum ConsignmentCommand {
    Import(consignment::ConsignmentImport),
    List(consignment_desk::ConsignmentList),
    Show(consignment_desk::ConsignmentShow),
    Close(consignment_desk::ConsignmentClose),
    Prune(consignment_desk::ConsignmentPrune),
}

#[derive(Debug, Subcommand)]
enum ProfileCommand {
    Publish(profile::ProfilePublish),
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    Check(policy::PolicyCheck),
    Preview(Box<policy::PolicyPreview>),
    Explain(policy::PolicyExplain),
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    Rotate(keys::KeysRotate),
    Passphrase(keys::KeysPassphrase),
}

#[derive(Debug, Subcommand)]
enum SettingsCommand {
    Show(settings::SettingsShow),
    Accept(settings::SettingsAccept),
}

#[derive(Debug, Subcommand)]
enum ClockCommand {
    Confirm(clock::ClockConfirm),
}

#[derive(Debug, Subcommand)]
enum PeerCommand {
    List(peer_list::PeerList),
    Block(peer::PeerBlock),
    Unblock(peer::PeerUnblock),
}

#[derive(Debug, Subcommand)]
enum ReleaseCommand {
    Stop(peer::ReleaseStop),
    Resume(peer::ReleaseResume),
}

#[derive(Debug, Subcommand)]
enum HoldCommand {
    List(hold::HoldList),
    Show(hold::HoldShow),
    Release(hold::HoldRelease),
    Drop(hold::HoldDrop),
}

#[derive(Debug, Subcommand)]
enum DispatchCommand {
    Status(dispatch::DispatchStatus),
    Undelivered(dispatch::Undelivered),
    Retry(dispatch::Retry),
    Backfill(backfill::Backfill),
    Forks(forks::Forks),
}

#[derive(Debug, Subcommand)]
enum QuarantineCommand {
    List(quarantine::QuarantineList),
    Show(quarantine::QuarantineShow),
    Drop(quarantine::QuarantineDrop),
}

#[derive(Debug, Subcommand)]
enum PersonCommand {
    Key(person_enrol::PersonKey),
    Passphrase(person_enrol::PersonPassphrase),
    Enrol(person_enrol::PersonEnrol),
    End(person_change::PersonEnd),
    Rekey(person_change::PersonRekey),
    Role(person_change::PersonRole),
    Proposals(person::PersonProposals),
    Second(person_change::PersonSecond),
    Withdraw(person_change::PersonWithdraw),
    Recover(person_recover::PersonRecover),
    List(person::PersonList),
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    Events(log::LogEvents),
    Acts(log::LogActs),
}

impl Which {
    fn run(self, session: &Session) -> Result<(), CliError> {
        match self {
            Self::Federation(command) => command.run(session),
            Self::Tls(command) => command.run(session),
            Self::Keys(KeysCommand::Rotate(command)) => command.run(session),
            Self::Keys(KeysCommand::Passphrase(command)) => command.run(session),
            Self::Reload(command) => command.run(session),
            Self::Settings(SettingsCommand::Show(command)) => command.run(session),
            Self::Settings(SettingsCommand::Accept(command)) => command.run(session),
            Self::Clock(ClockCommand::Confirm(command)) => command.run(session),
            Self::Peer(PeerCommand::List(command)) => command.run(session),
            Self::Peer(PeerCommand::Block(command)) => command.run(session),
            Self::Peer(PeerCommand::Unblock(command)) => command.run(session),
            Self::Release(ReleaseCommand::Stop(command)) => command.run(session),
            Self::Release(ReleaseCommand::Resume(command)) => command.run(session),
            Self::Hold(HoldCommand::List(command)) => command.run(session),
            Self::Hold(HoldCommand::Show(command)) => command.run(session),
            Self::Hold(HoldCommand::Release(command)) => command.run(session),
            Self::Hold(HoldCommand::Drop(command)) => command.run(session),
            Self::Quarantine(QuarantineCommand::List(command)) => command.run(session),
            Self::Quarantine(QuarantineCommand::Show(command)) => command.run(session),
            Self::Quarantine(QuarantineCommand::Drop(command)) => command.run(session),
            Self::Dispatch(DispatchCommand::Status(command)) => command.run(session),
            Self::Dispatch(DispatchCommand::Undelivered(command)) => command.run(session),
            Self::Dispatch(DispatchCommand::Retry(command)) => command.run(session),
            Self::Dispatch(DispatchCommand::Backfill(command)) => command.run(session),
            Self::Dispatch(DispatchCommand::Forks(command)) => command.run(session),
            Self::Status(command) => command.run(session),
            Self::List(command) => command.run(session),
            Self::About(command) => command.run(session),
            Self::Inbox(command) => command.run(session),
            Self::Show(command) => command.run(session),
            Self::Watch(command) => command.run(session),
            Self::Indicator(IndicatorCommand::Publish(command)) => command.run(session),
            Self::Indicator(IndicatorCommand::Import(command)) => command.run(session),
            Self::Alert(AlertCommand::Raise(command)) => command.run(session),
            Self::Advisory(AdvisoryCommand::Publish(command)) => command.run(session),
            Self::Consignment(ConsignmentCommand::Import(command)) => command.run(session),
            Self::Consignment(ConsignmentCommand::List(command)) => command.run(session),
            Self::Consignment(ConsignmentCommand::Show(command)) => command.run(session),
            Self::Consignment(ConsignmentCommand::Close(command)) => command.run(session),
            Self::Consignment(ConsignmentCommand::Prune(command)) => command.run(session),
            Self::Score(command) => command.run(session),
            Self::Profile(ProfileCommand::Publish(command)) => command.run(session),
            Self::Policy(PolicyCommand::Check(command)) => command.run(session),
            Self::Policy(PolicyCommand::Preview(command)) => command.run(session),
            Self::Policy(PolicyCommand::Explain(command)) => command.run(session),
            Self::Person(PersonCommand::Key(command)) => command.run(session),
            Self::Person(PersonCommand::Passphrase(command)) => command.run(session),
            Self::Person(PersonCommand::Enrol(command)) => command.run(session),
            Self::Person(PersonCommand::End(command)) => command.run(session),
            Self::Person(PersonCommand::Rekey(command)) => command.run(session),
            Self::Person(PersonCommand::Role(command)) => command.run(session),
            Self::Person(PersonCommand::Proposals(command)) => command.run(session),
            Self::Person(PersonCommand::Second(command)) => command.run(session),
            Self::Person(PersonCommand::Withdraw(command)) => command.run(session),
            Self::Person(PersonCommand::Recover(command)) => command.run(session),
            Self::Person(PersonCommand::List(command)) => command.run(session),
            Self::Log(LogCommand::Events(command)) => command.run(session),
            Self::Log(LogCommand::Acts(command)) => command.run(session),
            Self::Check(command) => command.run(session),
            Self::Explain(command) => command.run(session),
            Self::Completions(command) => command.run(session),
            Self::Man(command) => command.run(session),
        }
    }
}

/// Context that every command receives.
#[derive(Debug)]
pub struct Session {
    /// Output on which the command prints.
    pub output: Output,
    /// The definition of the whole command line, for completions and manual pages.
    pub definition: clap::Command,
    /// Lists the kinds of answers, for the manual.
    kinds: fn() -> Vec<Kind>,
    place: PlaceArgs,
    surroundings: Surroundings,
}

impl Session {
    /// The folder in which nodes are found by their names.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the environment names none.
    pub fn nodes_folder(&self) -> Result<PathBuf, CliError> {
        self.surroundings.nodes_folder()
    }

    /// Returns the home of the node that the command line or the environment names.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the command line names no node.
    pub fn home(&self) -> Result<PathBuf, CliError> {
        self.place.home(&self.surroundings)
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main<C: Commands>(program: Program) -> ExitCode {
    let proposing = || completions::completing(definition::<C>(program));
    // It answers and ends the process if a shell asks for completions.
    clap_complete::CompleteEnv::with_factory(proposing)
        .var(completions::VARIABLE)
        .complete();
    let arguments = helped(std::env::args_os().collect());
    let definition = definition::<C>(program);
    let parsed = definition
        .clone()
        .try_get_matches_from(&arguments)
        .and_then(|matches| Cli::<C>::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return unparsed(error, asks_for_json(&arguments)).into(),
    };
    let session = Session {
        output: Output::new(cli.json, cli.color),
        definition,
        kinds: C::kinds,
        place: cli.place,
        surroundings: Surroundings::of_process(),
    };
    match cli.command.run(&session) {
        Ok(()) => Exit::Ok,
        Err(error) => {
            session.output.complain(&error);
            error.exit
        }
    }
    .into()
}

/// The definition of a program's command line.
#[must_use]
pub fn definition<C: Commands>(program: Program) -> clap::Command {
    let definition = Cli::<C>::command()
        .name(program.name)
        .bin_name(program.name)
        .about(program.about)
        .long_about(program.long_about);
    groups::grouped(definition)
}

/// Reads `help COMMAND` as `COMMAND --help`.
fn helped(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.get(1).is_some_and(|word| word == "help") {
        arguments.remove(1);
        arguments.push("--help".into());
    }
    arguments
}

fn asks_for_json(arguments: &[OsString]) -> bool {
    arguments.iter().any(|argument| argument == "--json")
}

/// Prints the help if it was asked for, or else what is wrong with the command line. A value that
/// is none of those that are expected is wrong input; everything else is wrong usage.
fn unparsed(mut error: clap::Error, json: bool) -> Exit {
    near::keep_only_near(&mut error);
    let exit = if !error.use_stderr() {
        Exit::Ok
    } else if matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    ) {
        Exit::Invalid
    } else {
        Exit::Usage
    };
    if json && exit != Exit::Ok {
        let text = error.render().to_string();
        let (message, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
        let message = message.trim_start_matches("error:").trim();
        let complaint = CliError::new(exit, message).remedy(rest.trim());
        Output::new(json, Colour::Never).complain(&complaint);
    } else if let Err(unwritable) = error.print() {
        tracing::debug!(%unwritable, "the usage cannot be printed");
    }
    exit
}
