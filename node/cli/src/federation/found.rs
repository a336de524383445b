//! `portcullis federation init`: makes the first epoch.

use std::{io, path::PathBuf};

use portcullis_protocol::{identifiers::FederationId, keys::KeyUse};
use serde::Serialize;

use super::{
    super::{
        Session,
        error::CliError,
        output::{Page, View},
    },
    kind, write_epoch,
};
use portcullis_home::{clock::system_clock, key_file, membership::found};

/// Found a federation: make the first epoch of its register
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Found a federation: make the first epoch of its register, which names the governance keys and how \
many of them must sign, and no member yet. Let it be signed with `federation sign`.

The digest that is printed pins the federation for ever: every authority gets it by another way \
than the register itself, and gives it to `portcullis init`. Signing does not change it.",
    after_long_help = "\
Example:
  portcullis federation init --id eu-ports --governance-key anna.key.pub \\
      --governance-key bert.key.pub --governance-key carla.key.pub --threshold 2 --out 1.register"
)]
pub(crate) struct Found {
    /// The federation's id: lower-case letters, digits and hyphens
    #[arg(long, value_name = "ID")]
    id: FederationId,
    /// The public half of a governance key; once for each key
    #[arg(long, value_name = "FILE", required = true)]
    governance_key: Vec<PathBuf>,
    /// How many of the governance keys must sign an epoch
    #[arg(long, value_name = "NUMBER")]
    threshold: u32,
    /// Accept worthless development certificates; for tests, and it can never be changed
    #[arg(long)]
    development: bool,
    /// Where to write the epoch
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Found {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let governance = self
            .governance_key
            .iter()
            .map(|path| key_file::public(path, KeyUse::Governance))
            .collect::<Result<Vec<_>, _>>()?;
        let keys = governance.iter().map(|key| key.id().to_string()).collect();
        let epoch = found(
            self.id.clone(),
            self.development,
            governance,
            self.threshold,
            system_clock()(),
        )?;
        write_epoch(&self.out, &epoch)?;
        session.output.show(&FoundView {
            file: self.out.display().to_string(),
            federation: self.id.to_string(),
            digest: epoch.digest().to_string(),
            development: self.development,
            threshold: self.threshold,
            governance: keys,
        })
    }
}

/// A federation that was founded, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct FoundView {
    file: String,
    federation: String,
    digest: String,
    development: bool,
    threshold: u32,
    governance: Vec<String>,
}

impl View for FoundView {
    const SCHEMA: &'static str = "portcullis/federation-init/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("founded federation {}", self.federation))?;
        page.pairs(&[
            ("file", self.file.clone()),
            ("pin", self.digest.clone()),
            ("kind", kind(self.development).to_owned()),
            (
                "governance",
                format!("{} of {} keys sign", self.threshold, self.governance.len()),
            ),
            ("keys", self.governance.join("\n")),
        ])?;
        page.heading("next")?;
        page.line(format!(
            "  let {} governance keys sign: portcullis federation sign {} --key FILE",
            self.threshold, self.file
        ))
    }
}
