//! `portcullis federation …`: makes a federation and its register, by means of files.
//!
//! ```text
//! governance:  key → init → sign…        admit REQUEST → sign… → every member
//! member:      portcullis init → request → (to the governance)    apply FILE…
//! anyone:      show FILE, verify FILE… --pin DIGEST
//! online:      freshness --key KEY    suspend AUTHORITY --for 24h --key KEY    carry FILE
//! ```

mod admit;
mod amend;
mod apply;
mod found;
mod key;
mod request;
mod show;
mod sign;
mod statement;
mod verify;

use std::path::{Path, PathBuf};

use portcullis_protocol::{
    keys::{KeyUse, SigningKey},
    register::{Register, SignedRegister, VerifiedRegister},
};
use serde::Serialize;

use super::{Session, error::CliError, output::Kind};
use portcullis_home::{
    files::{self, Access, FileError},
    key_file,
    membership::{ChainError, Signatures},
    secret::Passphrase,
};

/// Make, sign, check and apply the federation's register
#[derive(Debug, clap::Subcommand)]
pub(super) enum FederationCommand {
    Key(key::Key),
    Init(found::Found),
    Request(Box<request::Request>),
    Admit(admit::Admit),
    Amend(amend::Amend),
    Sign(sign::Sign),
    Show(show::Show),
    Verify(verify::Verify),
    Apply(apply::Apply),
    Freshness(statement::FreshnessCommand),
    Suspend(statement::Suspend),
    Carry(statement::Carry),
}

/// Returns the kinds of answers of these commands.
pub(super) fn kinds() -> Vec<Kind> {
    vec![
        Kind::of::<key::KeyView>(),
        Kind::of::<admit::AdmittedView>(),
        Kind::of::<found::FoundView>(),
        Kind::of::<verify::ChainView>(),
        Kind::of::<statement::StatementShown>(),
        Kind::of::<amend::AmendedView>(),
        Kind::of::<sign::SignedView>(),
        Kind::of::<show::RegisterView>(),
        Kind::of::<request::RequestView>(),
        Kind::of::<apply::AppliedView>(),
    ]
}

impl FederationCommand {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        match self {
            Self::Key(command) => command.run(session),
            Self::Init(command) => command.run(session),
            Self::Request(command) => command.run(session),
            Self::Admit(command) => command.run(session),
            Self::Amend(command) => command.run(session),
            Self::Sign(command) => command.run(session),
            Self::Show(command) => command.run(session),
            Self::Verify(command) => command.run(session),
            Self::Apply(command) => command.run(session),
            Self::Freshness(command) => command.run(session),
            Self::Suspend(command) => command.run(session),
            Self::Carry(command) => command.run(session),
        }
    }
}

/// With which governance key to sign.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Who signs")]
struct GovernanceKey {
    /// The file of the governance key, made by `portcullis federation key`
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A file with the key's passphrase on its first line; without it you are asked
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl GovernanceKey {
    fn open(&self) -> Result<SigningKey, CliError> {
        let question = format!("passphrase of {}", self.key.display());
        let passphrase = Passphrase::given_or_asked(self.passphrase_file.as_deref(), &question)?;
        Ok(key_file::open(&self.key, KeyUse::Governance, &passphrase)?)
    }
}

/// Writes an epoch to a new file.
fn write_epoch(path: &Path, epoch: &SignedRegister) -> Result<(), FileError> {
    files::create(path, &epoch.encode(), Access::Everyone)
}

/// Reads the content of an epoch. It verifies nothing.
fn unverified(path: &Path, epoch: &SignedRegister) -> Result<Register, CliError> {
    epoch.unverified().map_err(|error| {
        let refusal = error.into();
        ChainError::Refused {
            path: path.to_owned(),
            refusal,
        }
        .into()
    })
}

/// State of an epoch's signatures, as every view shows it.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct SignaturesView {
    threshold: usize,
    signed: Vec<String>,
    missing: Vec<String>,
    sufficient: bool,
}

impl From<&Signatures> for SignaturesView {
    fn from(signatures: &Signatures) -> Self {
        let texts = |ids: &[portcullis_protocol::keys::KeyId]| {
            ids.iter().map(ToString::to_string).collect()
        };
        Self {
            threshold: signatures.threshold,
            signed: texts(&signatures.valid),
            missing: texts(&signatures.missing),
            sufficient: signatures.suffice(),
        }
    }
}

impl SignaturesView {
    fn line(&self) -> String {
        let state = if self.sufficient {
            "enough"
        } else {
            "not yet enough"
        };
        format!(
            "{} of {} keys have signed, {} must: {state}",
            self.signed.len(),
            self.signed.len().saturating_add(self.missing.len()),
            self.threshold
        )
    }
}

/// A verified register, as the commands that verify one show it.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct VerifiedView {
    federation: String,
    epoch: u64,
    digest: String,
    development: bool,
    authorities: usize,
    nodes: usize,
}

impl From<&VerifiedRegister> for VerifiedView {
    fn from(verified: &VerifiedRegister) -> Self {
        let register = verified.register();
        Self {
            federation: register.federation.to_string(),
            epoch: register.epoch,
            digest: verified.digest().to_string(),
            development: register.development,
            authorities: register.authorities.len(),
            nodes: register.nodes().count(),
        }
    }
}

impl VerifiedView {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        vec![
            ("federation", self.federation.clone()),
            ("epoch", self.epoch.to_string()),
            ("digest", self.digest.clone()),
            ("kind", kind(self.development).to_owned()),
            (
                "members",
                format!("{} authorities, {} nodes", self.authorities, self.nodes),
            ),
        ]
    }
}

const fn kind(development: bool) -> &'static str {
    if development {
        "development: worthless keys are accepted"
    } else {
        "real"
    }
}

/// Returns the first 16 characters of an id, enough to compare by telephone.
fn short(id: &str) -> String {
    id.chars().take(16).collect()
}
