//! `portcullis person key` and `person enrol`: make a person's key, and enrol the person with a
//! role.
//!
//! The person makes the key and keeps it; only its public half is enrolled. Enrolling is an act of
//! an administrator. While nobody is enrolled, the first administrator signs their own enrolment.

use std::{io, path::PathBuf};

use portcullis_protocol::keys::KeyUse;
use serde::Serialize;

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Page, View},
    signing::{ActRequest, SigningArgs, have_done},
};
use portcullis_admin_api::{
    act::Role,
    persons::Change,
    v1::{act::EnrolView, status::EnrolledView},
};
use portcullis_home::{
    key_file::{self, SealedKey},
    secret::Passphrase,
};

/// Make a person's key
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Make your own key, with which you sign what you have the node do. It is protected by a passphrase \
and stays with you. Its public half is written to a second file, with `.pub` after its name: give \
that to the administrator who enrols you.",
    after_long_help = "\
Example:
  portcullis person key --out ~/.portcullis/anna.key"
)]
pub(super) struct PersonKey {
    /// Where to write the key
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A file with the passphrase to protect it with; without it you are asked
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PersonKey {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let question = format!("new passphrase of {}", self.out.display());
        let passphrase = Passphrase::chosen(self.passphrase_file.as_deref(), &question)?;
        let public = key_file::create(&self.out, KeyUse::Person, &passphrase)?;
        session.output.show(&PersonKeyView {
            file: self.out.display().to_string(),
            public_file: key_file::public_path(&self.out).display().to_string(),
            id: public.id().to_string(),
        })
    }
}

/// A key that was made, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct PersonKeyView {
    file: String,
    public_file: String,
    id: String,
}

impl View for PersonKeyView {
    const SCHEMA: &'static str = "portcullis/person-key/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading("made a person's key")?;
        page.pairs(&[
            (
                "key",
                format!("{} (keep it, and its passphrase)", self.file),
            ),
            (
                "public half",
                format!("{} (give it to the administrator)", self.public_file),
            ),
            ("id", self.id.clone()),
        ])
    }
}

/// Change the passphrase of a key file
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Change the passphrase of your own key, or of a governance or freshness key. The key stays the same, \
so nobody has to be told. Copies of the file, in backups for instance, still open with the passphrase \
before it.",
    after_long_help = "\
Example:
  portcullis person passphrase ~/.portcullis/anna.key"
)]
pub(super) struct PersonPassphrase {
    /// The key file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A file with the present passphrase; without it you are asked
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// A file with the new passphrase; without it you are asked
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

impl PersonPassphrase {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let file = self.file.display();
        let sealed = SealedKey::read(&self.file)?;
        let question = format!("present passphrase of {file}");
        let present = Passphrase::given_or_asked(self.passphrase_file.as_deref(), &question)?;
        sealed.check(&present)?;
        let question = format!("new passphrase of {file}");
        let next = Passphrase::chosen(self.new_passphrase_file.as_deref(), &question)?;
        sealed.change_passphrase(&present, &next)?;
        session.output.show(&PassphraseView {
            file: file.to_string(),
            next: None,
        })
    }
}

/// A passphrase that was changed, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct PassphraseView {
    /// The file or folder that the new passphrase opens.
    pub(super) file: String,
    /// Step that is left to do.
    pub(super) next: Option<String>,
}

impl View for PassphraseView {
    const SCHEMA: &'static str = "portcullis/passphrase/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.line(format!("changed the passphrase of {}", self.file))?;
        self.next
            .as_ref()
            .map_or(Ok(()), |next| page.line(format!("next: {next}")))
    }
}

/// Enrol a person
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Enrol a person at the running node: who they are, what they may do, and the public half of their \
key. An administrator signs it. The first person enrolled is an administrator who signs with the \
very key that is enrolled. Enrol everybody you need before the second administrator: from then on \
each change takes two persons (`portcullis person second`).

Roles: analyst (records and scores), supervisor (an analyst who answers for others), \
data-protection, administrator (runs the node), auditor (reads the logs).",
    after_long_help = "\
Examples:
  portcullis person enrol anna --name 'Anna Claes' --role administrator \\
      --public-key anna.key.pub --key anna.key
  portcullis person enrol bert --name 'Bert Maes' --role analyst \\
      --public-key bert.key.pub --key anna.key"
)]
pub(super) struct PersonEnrol {
    /// A short name, unique at this node
    #[arg(value_name = "ID")]
    id: String,
    /// Their full name
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// What they may do: analyst, supervisor, data-protection, administrator or auditor
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Role,
    /// The public half of their key, made by `portcullis person key`
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
    #[command(flatten)]
    signing: SigningArgs,
}

/// Reads a role.
pub(super) fn role(text: &str) -> Result<Role, String> {
    Role::named(text).ok_or_else(|| {
        let names: Vec<_> = Role::ALL.iter().map(|role| role.name()).collect();
        format!("write one of {}", names.join(", "))
    })
}

impl PersonEnrol {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let public = key_file::public(&self.public_key, KeyUse::Person)?;
        let person = EnrolView {
            id: self.id.clone(),
            name: self.name.clone(),
            role: self.role.name().to_owned(),
            public_key: data_encoding::HEXLOWER.encode(&public.to_bytes()),
        };
        // The statement itself says who is enrolled, so that it proves it by itself.
        let change = Change::Enrol {
            id: self.id,
            name: self.name,
            role: self.role,
            key: public,
        };
        let body = serde_json::to_vec(&person)
            .map_err(|error| CliError::failed("the enrolment cannot be written").because(&error))?;
        let key = self.signing.open()?;
        let deed = ActRequest {
            parameters: change.parameters(),
            ..ActRequest::new(change.action(), body)
        };
        let enrolled: EnrolledView = block_on(async { have_done(&client, &key, deed).await })?;
        session.output.show(&enrolled)
    }
}

impl View for EnrolledView {
    const SCHEMA: &'static str = "portcullis/person/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        if let Some(proposal) = &self.proposed {
            page.line(format!("proposed: `{}` waits for a second person", self.id))?;
            if self.state == "suspended" {
                page.line(format!("`{}` is suspended meanwhile", self.id))?;
            }
            return page.line(format!(
                "have another person run: portcullis person second {proposal}"
            ));
        }
        let state = match self.state.as_str() {
            "" | "active" => "enrolled",
            other => other,
        };
        page.line(format!("{state} {}: {}, {}", self.id, self.name, self.role))
    }
}
