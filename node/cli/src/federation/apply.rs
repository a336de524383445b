//! `portcullis federation apply`: installs epochs in a node's home.

use std::{io, path::PathBuf};

use serde::Serialize;

use super::{
    super::{
        Session,
        error::CliError,
        live::block_on,
        output::{Page, View},
    },
    VerifiedView,
};
use portcullis_admin_api::{
    client::{Client, ClientError},
    v1::register::TakenUpView,
};
use portcullis_home::{Home, config::Config, membership::install};

/// Apply epochs of the register to a node
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Apply epochs of the register to a node. They are verified from the digest that was pinned at \
`init`, and must follow the newest that the node holds, one by one. An older epoch, one that \
skips, another branch and one with too few signatures are refused, and then nothing is applied.

A running node has them in force at once and tells every other member, so that one node is enough \
for the federation. A node that does not run takes them up at its next start.",
    after_long_help = "\
Example:
  portcullis federation apply 1.register 2.register"
)]
pub(crate) struct Apply {
    /// Epochs, in any order
    #[arg(value_name = "FILE", required = true)]
    registers: Vec<PathBuf>,
}

impl Apply {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let home = Home::new(session.home()?);
        let config = Config::of(&home)?;
        let newest = install(&home, &config.register_pin, &self.registers)?;
        session.output.show(&AppliedView {
            listed: newest.register().node(&config.node).is_some(),
            node: config.node.to_string(),
            applied: (&newest).into(),
            in_force: taken_up(session)?,
        })
    }
}

/// Has a running node put the epochs in force. Returns the epoch in force; `None` if no node runs.
fn taken_up(session: &Session) -> Result<Option<u64>, CliError> {
    let client: Client = session.client()?;
    block_on(async {
        match client.post::<_, TakenUpView>("/v1/register", &()).await {
            Ok(view) => Ok(Some(view.register_epoch)),
            Err(ClientError::NotThere(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}

/// Register that the node holds from now on, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct AppliedView {
    node: String,
    listed: bool,
    applied: VerifiedView,
    /// Epoch that the running node has in force; `None` if no node runs.
    in_force: Option<u64>,
}

impl View for AppliedView {
    const SCHEMA: &'static str = "portcullis/federation-apply/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("applied epoch {}", self.applied.epoch))?;
        page.pairs(&self.applied.pairs())?;
        let listed = if self.listed {
            "is listed"
        } else {
            "is not listed yet: send `portcullis federation request` to the governance"
        };
        page.line(format!("  node {} {listed}", self.node))?;
        match self.in_force {
            Some(epoch) => page.line(format!("  in force now: epoch {epoch}")),
            None => page.line("  the node does not run; it takes them up at its next start"),
        }
    }
}
