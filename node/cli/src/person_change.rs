//! `portcullis person end`, `rekey`, `role` and `second`: what changes about persons who are
//! enrolled.
//!
//! Once a node has two administrators, each of these is a proposal until another person seconds it.

use std::{io, path::PathBuf};

use portcullis_protocol::{digest::Digest, keys::KeyUse};
use serde::Serialize;

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Page, View},
    person_enrol::role,
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{act::Role, persons::Change, v1::status::EnrolledView};
use portcullis_home::key_file;

/// End a person: their key counts no more
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
End a person at the running node. From then on what they sign is refused; what they signed before \
stays theirs, and their id and key are nobody else's. An administrator signs it. The last \
administrator cannot be ended.

Once there are two administrators, one of them alone suspends the person, for a week at most. \
Another person makes it an end with `portcullis person second`.",
    after_long_help = "\
Example:
  portcullis person end bert --key anna.key"
)]
pub(super) struct PersonEnd {
    /// Their id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    signing: SigningArgs,
}

/// Give a person another key
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Give a person another key, for instance after they lost theirs. The key before it counts no more; \
what it signed stays theirs. An administrator signs it, and another person seconds it once there are \
two administrators.",
    after_long_help = "\
Example:
  portcullis person rekey bert --public-key bert-2.key.pub --key anna.key"
)]
pub(super) struct PersonRekey {
    /// Their id
    #[arg(value_name = "ID")]
    id: String,
    /// The public half of their new key, made by `portcullis person key`
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
    #[command(flatten)]
    signing: SigningArgs,
}

/// Give a person another role
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Give a person another role: analyst, supervisor, data-protection, administrator or auditor. An \
administrator signs it, and another person seconds it once there are two administrators.",
    after_long_help = "\
Example:
  portcullis person role bert supervisor --key anna.key"
)]
pub(super) struct PersonRole {
    /// Their id
    #[arg(value_name = "ID")]
    id: String,
    /// The role from now on
    #[arg(value_name = "ROLE", value_parser = role)]
    role: Role,
    #[command(flatten)]
    signing: SigningArgs,
}

/// Second what an administrator proposed about a person
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Second what an administrator proposed about a person, within a week. Look first at what it is: \
`portcullis person proposals`. Who seconds is an administrator, a supervisor or data protection, not \
the one who proposed it, and nobody whom that person enrolled, or gave a key or role, within the \
last seven days.",
    after_long_help = "\
Example:
  portcullis person second 5f1c…e2 --key carla.key"
)]
pub(super) struct PersonSecond {
    /// The proposal's id
    #[arg(value_name = "PROPOSAL")]
    proposal: Digest,
    #[command(flatten)]
    signing: SigningArgs,
}

/// Withdraw what you proposed about a person, or a recovery
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Withdraw what you proposed about a person: it waits no more. A proposal to end somebody suspends them; \
withdrawn, they may sign again. Nobody else withdraws it.

A recovery, which gives an administrator another key and was made at the machine (`portcullis person \
recover`), is withdrawn by any administrator, supervisor or officer for data protection within its 72 \
hours.",
    after_long_help = "\
Example:
  portcullis person withdraw 5f1c…e2 --key carla.key"
)]
pub(super) struct PersonWithdraw {
    /// The id of the proposal or recovery
    #[arg(value_name = "PROPOSAL")]
    proposal: Digest,
    #[command(flatten)]
    signing: SigningArgs,
}

impl PersonWithdraw {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let change = Change::Withdraw { act: self.proposal };
        have_changed(session, &self.signing, &change)
    }
}

impl PersonEnd {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        have_changed(session, &self.signing, &Change::End { id: self.id })
    }
}

impl PersonRekey {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let change = Change::Rekey {
            id: self.id,
            key: key_file::public(&self.public_key, KeyUse::Person)?,
        };
        have_changed(session, &self.signing, &change)
    }
}

impl PersonRole {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let change = Change::Role {
            id: self.id,
            role: self.role,
        };
        have_changed(session, &self.signing, &change)
    }
}

impl PersonSecond {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let change = Change::Second { act: self.proposal };
        have_changed(session, &self.signing, &change)
    }
}

fn have_changed(session: &Session, signing: &SigningArgs, change: &Change) -> Result<(), CliError> {
    let client = session.client()?;
    let key = signing.open()?;
    let deed = ActRequest {
        parameters: change.parameters(),
        ..ActRequest::new(change.action(), Vec::new())
    };
    let person: EnrolledView = block_on(async { have_done(&client, &key, deed).await })?;
    session.output.show(&ChangedView {
        did: match change {
            Change::Enrol { .. } => "enrolled",
            Change::End { .. } => "ended",
            Change::Rekey { .. } => "given another key",
            Change::Role { .. } => "given the role",
            Change::Second { .. } => "seconded",
            Change::Withdraw { .. } => "withdrawn",
        },
        person,
    })
}

/// A person as an act left them.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct ChangedView {
    /// What the act did, for people.
    #[serde(skip)]
    did: &'static str,
    #[serde(flatten)]
    person: EnrolledView,
}

impl View for ChangedView {
    const SCHEMA: &'static str = EnrolledView::SCHEMA;

    fn page(&self, page: &mut Page) -> io::Result<()> {
        let EnrolledView {
            id,
            name,
            role,
            state,
            proposed,
            ..
        } = &self.person;
        if proposed.is_some() {
            return self.person.page(page);
        }
        let state = if state.is_empty() { "active" } else { state };
        page.line(format!(
            "{}; `{id}` is now: {name}, {role}, {state}",
            self.did
        ))
    }
}
