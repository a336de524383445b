//! `portcullis federation verify`: verifies a register against the pinned digest.

use std::{io, path::PathBuf};

use portcullis_protocol::digest::Digest;
use serde::Serialize;

use super::{
    super::{
        Session,
        error::CliError,
        output::{Page, View},
    },
    VerifiedView,
};
use portcullis_home::membership::verify_files;

/// Verify a chain of epochs from the pinned first one
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Verify a chain of epochs: the first against the digest that you were given by another way, each \
further one against the one before, with enough signatures of both governances. The files may be \
named in any order and must leave out no epoch.

Exit code 3 if an epoch is refused; the rule that refuses it is named.",
    after_long_help = "\
Example:
  portcullis federation verify 1.register 2.register --pin 5f1c…e2"
)]
pub(crate) struct Verify {
    /// Every epoch, from the first to the newest
    #[arg(value_name = "FILE", required = true)]
    registers: Vec<PathBuf>,
    /// The digest of the first epoch
    #[arg(long, value_name = "DIGEST")]
    pin: Digest,
}

impl Verify {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let verified = verify_files(&self.registers, &self.pin)?;
        session.output.show(&ChainView {
            verified: (&verified).into(),
        })
    }
}

/// A chain that verifies, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct ChainView {
    verified: VerifiedView,
}

impl View for ChainView {
    const SCHEMA: &'static str = "portcullis/federation-verify/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading("the register verifies from the pinned epoch")?;
        page.pairs(&self.verified.pairs())
    }
}
