//! `portcullis federation apply`: installs epochs in a node's home.

use std::{io, path::PathBuf};

use serde::Serialize;

use super::{
    super::{
        Session,
        error::CliError,
        output::{Page, View},
    },
    VerifiedView,
};
use crate::{home::Home, membership::install, setup::load_config};

/// Apply epochs of the register to a node
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Apply epochs of the register to a node. They are verified from the digest that was pinned at \
`init`, and must follow the newest that the node holds, one by one. An older epoch, one that \
skips, another branch and one with too few signatures are refused, and then nothing is applied.

A running node takes them up at `systemctl reload` (SIGHUP) or at its next start.",
    after_long_help = "\
Example:
  portcullis federation apply 1.register 2.register"
)]
pub(in crate::cli) struct Apply {
    /// Epochs, in any order
    #[arg(value_name = "FILE", required = true)]
    registers: Vec<PathBuf>,
}

impl Apply {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let home = Home::new(session.home()?);
        let config = load_config(&home)?;
        let newest = install(&home, &config.register_pin, &self.registers)?;
        session.output.show(&AppliedView {
            listed: newest.register().node(&config.node).is_some(),
            node: config.node.to_string(),
            applied: (&newest).into(),
        })
    }
}

/// What the node holds from now on, version 1.
#[derive(Debug, Serialize)]
struct AppliedView {
    node: String,
    listed: bool,
    applied: VerifiedView,
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
        page.line(format!("  node {} {listed}", self.node))
    }
}
