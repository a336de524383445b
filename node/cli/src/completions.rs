//! `portcullis completions`: a completion script for a shell, and what it asks the program while a person
//! types.
//!
//! The script asks the program itself (`COMPLETE=bash portcullis -- …`), which knows every command, and
//! besides: the names of nodes in their folder, kinds and labels, and of a running node the members of its
//! register and the ids of its newest records. A node that does not answer at once adds nothing.

use std::{ffi::OsStr, time::Duration};

use clap::Arg;
use clap_complete::{
    Shell,
    engine::{ArgValueCompleter, CompletionCandidate},
    env::Shells,
};
use portcullis_admin_api::{
    client::Client,
    names::NamesView,
    v1::record::{FilterView, RecordsView},
};
use portcullis_home::Home;
use portcullis_protocol::{
    marking::{DataSubject, Pap, Purpose, RequestedAction, Tlp},
    record::Kind,
};

use super::{
    Session,
    error::CliError,
    live::block_on,
    place::{self, PlaceArgs, Surroundings},
};

/// Variable by which a shell asks for completions.
pub(super) const VARIABLE: &str = "COMPLETE";

/// Longest time that a person who types waits for a node.
const PATIENCE: Duration = Duration::from_millis(700);

/// Number of newest records whose ids are proposed.
const RECORDS: u32 = 40;

/// Characters of an id that are proposed.
const ID: usize = 12;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Print a completion script for a shell. It completes commands and flags, and the values that the program \
knows: nodes by name, kinds, labels and purposes, and of a running node its peers, authorities and the ids \
of its newest records. Asking for ids is a consultation like `list`, and logged like it.",
    after_long_help = "\
Example, for bash:
  portcullis completions bash > ~/.local/share/bash-completion/completions/portcullis"
)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let name = session.definition.get_name();
        let shell = self.shell.to_string();
        let failed = || CliError::failed(format!("there is no completion for `{shell}`"));
        let shells = Shells::builtins();
        let completer = shells.completer(&shell).ok_or_else(failed)?;
        let mut script = Vec::new();
        completer
            .write_registration(VARIABLE, name, name, name, &mut script)
            .map_err(|error| failed().because(&error))?;
        session.output.raw(&script)
    }
}

/// Returns a command line whose arguments propose their values.
pub(super) fn completing(definition: clap::Command) -> clap::Command {
    let name = definition.get_name().to_owned();
    let is_of_records = matches!(&*name, "show" | "hold" | "retry");
    let names: Vec<String> = definition
        .get_subcommands()
        .map(|one| one.get_name().to_owned())
        .collect();
    let mut definition = definition.mut_args(|argument| proposing(argument, is_of_records));
    for one in names {
        definition = definition.mut_subcommand(one, |command| {
            // The commands of `hold` name records, as it does itself.
            if is_of_records {
                let command = command.mut_args(|argument| proposing(argument, true));
                return command;
            }
            completing(command)
        });
    }
    definition
}

/// Source of the values of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Names of nodes in their folder.
    Homes,
    /// Kinds of records.
    Kinds,
    Tlp,
    Pap,
    Purposes,
    Actions,
    DataSubjects,
    /// Nodes of the register.
    Nodes,
    /// Authorities of the register.
    Authorities,
    /// The newest records.
    Records,
}

/// Returns the source of the values of an argument with this name, if there is one.
fn source(argument: &str, value_name: &str, is_of_records: bool) -> Option<Source> {
    match (argument, value_name) {
        ("node", "NAME") => Some(Source::Homes),
        ("kind", "KIND") => Some(Source::Kinds),
        ("tlp", _) => Some(Source::Tlp),
        ("pap", _) => Some(Source::Pap),
        ("purpose", _) => Some(Source::Purposes),
        ("requested_action", _) => Some(Source::Actions),
        ("data_subject", _) => Some(Source::DataSubjects),
        ("peer" | "from", "PEER" | "PEER|all" | "NODE") => Some(Source::Nodes),
        ("origin" | "authority" | "release_to", _) => Some(Source::Authorities),
        ("supersedes" | "derived_from", _) => Some(Source::Records),
        ("id", "ID") if is_of_records => Some(Source::Records),
        _ => None,
    }
}

fn proposing(argument: Arg, is_of_records: bool) -> Arg {
    let value_name = argument.get_value_names().and_then(<[_]>::first);
    let value_name = value_name.map(ToString::to_string).unwrap_or_default();
    match source(argument.get_id().as_str(), &value_name, is_of_records) {
        Some(source) => argument.add(ArgValueCompleter::new(move |typed: &OsStr| {
            proposals(&values(source), &typed.to_string_lossy())
        })),
        None => argument,
    }
}

/// Returns the values that begin with what is typed, in either case. Of several values between commas the
/// last is completed.
fn proposals(values: &[String], typed: &str) -> Vec<CompletionCandidate> {
    let (before, last) = match typed.rsplit_once(',') {
        Some((before, last)) => (format!("{before},"), last),
        None => (String::new(), typed),
    };
    let begun = last.to_lowercase();
    let fits = |value: &&String| value.to_lowercase().starts_with(&begun);
    let fitting = values.iter().filter(fits);
    fitting
        .map(|value| CompletionCandidate::new(format!("{before}{value}")))
        .collect()
}

fn values(source: Source) -> Vec<String> {
    let named = |names: &mut dyn Iterator<Item = &'static str>| names.map(str::to_owned).collect();
    match source {
        Source::Homes => Surroundings::of_process()
            .nodes_folder()
            .map(|folder| place::names(&folder))
            .unwrap_or_default(),
        Source::Kinds => named(&mut Kind::ALL.iter().map(|one| one.name())),
        Source::Tlp => named(&mut Tlp::ALL.iter().map(|one| one.name())),
        Source::Pap => named(&mut Pap::ALL.iter().map(|one| one.name())),
        Source::Purposes => named(&mut Purpose::ALL.iter().map(|one| one.name())),
        Source::Actions => named(&mut RequestedAction::ALL.iter().map(|one| one.name())),
        Source::DataSubjects => named(&mut DataSubject::ALL.iter().map(|one| one.name())),
        Source::Nodes => members(|member| member.nodes),
        Source::Authorities => members(|member| vec![member.authority]),
        Source::Records => records(),
    }
}

fn members(names: fn(portcullis_admin_api::names::MemberNames) -> Vec<String>) -> Vec<String> {
    let view: Option<NamesView> = asked(async |client| client.get("/v1/names").await.ok());
    let members = view.map(|view| view.members).unwrap_or_default();
    members.into_iter().flat_map(names).collect()
}

fn records() -> Vec<String> {
    let filter = FilterView {
        limit: RECORDS,
        ..FilterView::default()
    };
    let view: Option<RecordsView> =
        asked(async |client| client.post("/v1/records", &filter).await.ok());
    let lines = view.map(|view| view.items).unwrap_or_default();
    let ids = lines.into_iter();
    ids.map(|line| line.id.chars().take(ID).collect()).collect()
}

/// Asks the node that the words typed so far name; `None` if it does not answer soon.
fn asked<T>(question: impl AsyncFnOnce(Client) -> Option<T>) -> Option<T> {
    let words: Vec<String> = std::env::args().collect();
    let home = named_place(&words).home(&Surroundings::of_process()).ok()?;
    let client = Client::new(Home::new(home).socket());
    let answered =
        block_on(async { Ok(tokio::time::timeout(PATIENCE, question(client)).await.ok()) });
    answered.ok().flatten().flatten()
}

/// Returns the node that the words typed so far name.
fn named_place(words: &[String]) -> PlaceArgs {
    let after = |flags: [&str; 2]| {
        let pairs = words.iter().zip(words.iter().skip(1));
        let apart = pairs.filter(|(flag, _)| flags.contains(&flag.as_str()));
        let joined = words.iter().filter_map(|word| {
            let [_, long] = flags;
            word.strip_prefix(long)?
                .strip_prefix('=')
                .map(str::to_owned)
        });
        apart.map(|(_, value)| value.clone()).chain(joined).next()
    };
    PlaceArgs {
        home: after(["--home", "--home"]).map(Into::into),
        node: after(["-n", "--node"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(values: &[&str], typed: &str) -> Vec<String> {
        let values: Vec<String> = values.iter().map(|one| (*one).to_owned()).collect();
        let found = proposals(&values, typed);
        let found = found.iter().map(|one| one.get_value().to_string_lossy());
        found.map(std::borrow::Cow::into_owned).collect()
    }

    /// Newcomer §6: bash proposed file names for `-n`, `--kind` and `--tlp`.
    #[test]
    fn what_is_typed_is_completed_in_either_case_and_after_a_comma() {
        let labels = ["TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED"];
        assert_eq!(told(&labels, "tlp:a"), ["TLP:AMBER", "TLP:AMBER+STRICT"]);
        assert_eq!(told(&labels, "x"), Vec::<String>::new());
        assert_eq!(
            told(&["customs-control", "statistics"], "statistics,cu"),
            ["statistics,customs-control"]
        );
    }

    #[test]
    fn the_node_is_the_one_that_is_typed() {
        let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        let named = named_place(&words("portcullis -n antwerp show 3f"));
        assert_eq!(named.node.as_deref(), Some("antwerp"));
        let named = named_place(&words("portcullis show --home=/srv/node 3f"));
        assert_eq!(named.home.as_deref(), Some("/srv/node".as_ref()));
        assert!(named_place(&words("portcullis show 3f")).node.is_none());
    }
}
