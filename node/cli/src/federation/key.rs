//! `portcullis federation key`: makes a governance or a freshness key.

use std::{io, path::PathBuf};

use portcullis_protocol::keys::KeyUse;
use serde::Serialize;

use super::super::{
    Session,
    error::CliError,
    output::{Page, View},
};
use portcullis_home::{key_file, secret::Passphrase};

/// Make a governance key, or a freshness key
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Make a governance key: one of those that sign the federation's register. Each belongs to one \
person, who keeps it under a passphrase, away from any node. Its public half is written to a \
second file, with `.pub` after its name, to be sent to whoever founds the federation.

A freshness key (`--use freshness`) says that a register is the newest and can do nothing else. It \
may lie on a node, which then says so by itself.",
    after_long_help = "\
Examples:
  portcullis federation key --out anna.key
  portcullis federation key --use freshness --out online.key"
)]
pub(crate) struct Key {
    /// Where to write the key
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What the key is for: governance or freshness
    #[arg(long = "use", value_name = "USE", default_value = "governance", value_parser = usage)]
    usage: KeyUse,
    /// A file with the passphrase to protect it with; without it you are asked
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

fn usage(text: &str) -> Result<KeyUse, String> {
    [KeyUse::Governance, KeyUse::Freshness]
        .into_iter()
        .find(|usage| usage.name() == text)
        .ok_or_else(|| "write governance or freshness".to_owned())
}

impl Key {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let question = format!("new passphrase of {}", self.out.display());
        let passphrase = Passphrase::chosen(self.passphrase_file.as_deref(), &question)?;
        let public = key_file::create(&self.out, self.usage, &passphrase)?;
        session.output.show(&KeyView {
            file: self.out.display().to_string(),
            public_file: key_file::public_path(&self.out).display().to_string(),
            id: public.id().to_string(),
            r#use: self.usage.name(),
        })
    }
}

/// A key that was made, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct KeyView {
    file: String,
    public_file: String,
    id: String,
    r#use: &'static str,
}

impl View for KeyView {
    const SCHEMA: &'static str = "portcullis/governance-key/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("made a {} key", self.r#use))?;
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
