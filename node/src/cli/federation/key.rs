//! `portcullis federation key`: makes a governance key.

use std::{io, path::PathBuf};

use portcullis_protocol::keys::KeyUse;
use serde::Serialize;

use super::super::{
    Session,
    error::CliError,
    output::{Page, View},
};
use crate::{key_file, secret::Passphrase};

/// Make a governance key
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Make a governance key: one of those that sign the federation's register. Each belongs to one \
person, who keeps it under a passphrase, away from any node. Its public half is written to a \
second file, with `.pub` after its name, to be sent to whoever founds the federation.",
    after_long_help = "\
Example:
  portcullis federation key --out anna.key"
)]
pub(in crate::cli) struct Key {
    /// Where to write the key
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A file with the passphrase to protect it with; without it you are asked
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Key {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let question = format!("new passphrase of {}", self.out.display());
        let passphrase = Passphrase::chosen(self.passphrase_file.as_deref(), &question)?;
        let public = key_file::create(&self.out, KeyUse::Governance, &passphrase)?;
        session.output.show(&KeyView {
            file: self.out.display().to_string(),
            public_file: key_file::public_path(&self.out).display().to_string(),
            id: public.id().to_string(),
        })
    }
}

/// A key that was made, version 1.
#[derive(Debug, Serialize)]
struct KeyView {
    file: String,
    public_file: String,
    id: String,
}

impl View for KeyView {
    const SCHEMA: &'static str = "portcullis/governance-key/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading("made a governance key")?;
        page.pairs(&[
            (
                "key",
                format!("{} (keep it, and its passphrase)", self.file),
            ),
            (
                "public half",
                format!("{} (send it to the founder)", self.public_file),
            ),
            ("id", self.id.clone()),
        ])
    }
}
