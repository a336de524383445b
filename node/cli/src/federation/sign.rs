//! `portcullis federation sign`: adds a governance signature.

use std::{io, path::PathBuf};

use serde::Serialize;

use super::{
    super::{
        Session,
        error::CliError,
        output::{Page, View},
    },
    GovernanceKey, SignaturesView, unverified,
};
use portcullis_home::{
    files::{self, Access},
    membership::{Signatures, read_epoch, sign},
};

/// Sign an epoch of the register
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Sign an epoch of the register with a governance key; the signature is added to the file. Look at \
it first with `portcullis federation show`: with enough signatures it is the federation.",
    after_long_help = "\
Example:
  portcullis federation sign 2.register --key anna.key"
)]
pub(crate) struct Sign {
    /// The epoch to sign
    #[arg(value_name = "FILE")]
    register: PathBuf,
    #[command(flatten)]
    key: GovernanceKey,
    /// The epoch before, if its governance is another than this one's
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
}

impl Sign {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let mut epoch = read_epoch(&self.register)?;
        let before = self.before.as_deref().map(read_epoch).transpose()?;
        let register = unverified(&self.register, &epoch)?;
        let key = self.key.open()?;
        sign(&mut epoch, before.as_ref(), &key)?;
        files::replace(&self.register, &epoch.encode(), Access::Everyone)?;
        session.output.show(&SignedView {
            file: self.register.display().to_string(),
            epoch: register.epoch,
            digest: epoch.digest().to_string(),
            key: key.id().to_string(),
            signatures: (&Signatures::of(&register, &epoch)).into(),
        })
    }
}

/// A signature that was added, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct SignedView {
    file: String,
    epoch: u64,
    digest: String,
    key: String,
    signatures: SignaturesView,
}

impl View for SignedView {
    const SCHEMA: &'static str = "portcullis/federation-sign/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("signed epoch {} in {}", self.epoch, self.file))?;
        page.pairs(&[
            ("digest", self.digest.clone()),
            ("key", self.key.clone()),
            ("signatures", self.signatures.line()),
        ])
    }
}
