//! `portcullis federation amend`: makes the next epoch without a request.

use std::{io, path::PathBuf};

use portcullis_protocol::{
    digest::Digest,
    identifiers::AuthorityId,
    keys::{KeyId, KeyUse},
    register::FreshnessKeys,
    time::Timestamp,
};
use serde::Serialize;

use super::{
    super::{
        Session,
        error::CliError,
        output::{Page, View},
    },
    unverified, write_epoch,
};
use portcullis_home::{
    clock::system_clock,
    key_file,
    membership::{Amendment, KeyEnd, amend, read_epoch},
};

/// Make the next epoch of the register: members that leave, keys that end, freshness keys
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Make the next epoch of the register from the present one, with members that leave, keys that end \
and freshness keys. It is signed as any other epoch, and applied at one node.

What arrives late under a retired key is held for a person; what was first seen under a \
compromised key since the time given is set apart everywhere, also if its member has left: in the \
epoch that removes the member, or in any later one, with `--earlier` for an epoch that lists the key.",
    after_long_help = "\
Examples:
  portcullis federation amend --register 2.register --out 3.register --remove nl-terminal
  portcullis federation amend --register 2.register --out 3.register \\
      --compromised 5f0c…=2026-11-20T08:00:00Z
  portcullis federation amend --register 7.register --out 8.register \
      --compromised 5f0c…=2026-11-20T08:00:00Z --earlier 2.register
  portcullis federation amend --register 2.register --out 3.register \\
      --freshness-key online.key.pub --freshness-threshold 1"
)]
pub(crate) struct Amend {
    /// The present epoch
    #[arg(long, value_name = "FILE")]
    register: PathBuf,
    /// Where to write the next epoch
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A member that leaves; may be given again
    #[arg(long, value_name = "AUTHORITY")]
    remove: Vec<AuthorityId>,
    /// The id of a key that is used no more; may be given again
    #[arg(long, value_name = "KEY", value_parser = key_id)]
    retired: Vec<KeyId>,
    /// The id of a key that somebody else may have used, and since when; may be given again
    #[arg(long, value_name = "KEY=TIME", value_parser = compromised)]
    compromised: Vec<(KeyId, Timestamp)>,
    /// An earlier epoch, which lists a compromised key of a member that left; may be given again
    #[arg(long, value_name = "FILE", requires = "compromised")]
    earlier: Vec<PathBuf>,
    /// The public half of a freshness key; may be given again; replaces those listed
    #[arg(long, value_name = "FILE", requires = "freshness_threshold")]
    freshness_key: Vec<PathBuf>,
    /// How many freshness keys must sign a statement; 0 with no key ends the use of freshness
    #[arg(long, value_name = "N")]
    freshness_threshold: Option<u32>,
}

fn key_id(text: &str) -> Result<KeyId, String> {
    let digest: Digest = text
        .parse()
        .map_err(|_| format!("`{text}` is no key id; `portcullis federation show` prints them"))?;
    KeyId::from_slice(digest.as_bytes()).ok_or_else(|| "a key id has 32 bytes".to_owned())
}

fn compromised(text: &str) -> Result<(KeyId, Timestamp), String> {
    let (key, time) = text
        .split_once('=')
        .ok_or("write a key id, `=` and a time such as `2026-11-20T08:00:00Z`")?;
    let time = time.parse().map_err(|error| format!("{error}"))?;
    Ok((key_id(key)?, time))
}

impl Amend {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let present = read_epoch(&self.register)?;
        let freshness = self
            .freshness_threshold
            .map(|threshold| -> Result<_, CliError> {
                let keys = self
                    .freshness_key
                    .iter()
                    .map(|path| key_file::public(path, KeyUse::Freshness))
                    .collect::<Result<_, _>>()?;
                Ok(FreshnessKeys { threshold, keys })
            })
            .transpose()?;
        let earlier = self.earlier.iter().map(|path| read_epoch(path));
        let earlier = earlier.collect::<Result<Vec<_>, _>>()?;
        let changes = Changes {
            removed: self.remove.iter().map(ToString::to_string).collect(),
            retired: self.retired.iter().map(ToString::to_string).collect(),
            compromised: self
                .compromised
                .iter()
                .map(|(key, since)| (key.to_string(), since.to_string()))
                .collect(),
            freshness_threshold: self.freshness_threshold,
        };
        let retired = self.retired.into_iter().map(|key| (key, KeyEnd::Retired));
        let compromised = self
            .compromised
            .into_iter()
            .map(|(key, since)| (key, KeyEnd::CompromisedSince(since)));
        let amendment = Amendment {
            remove: self.remove,
            ended: retired.chain(compromised).collect(),
            freshness,
            earlier,
        };
        let next = amend(&present, amendment, system_clock()())?;
        let register = unverified(&self.out, &next)?;
        write_epoch(&self.out, &next)?;
        session.output.show(&AmendedView {
            file: self.out.display().to_string(),
            epoch: register.epoch,
            digest: next.digest().to_string(),
            threshold: register.threshold,
            changes,
        })
    }
}

/// Differences of an epoch from the one before it, for whoever signs it.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct Changes {
    /// Members that leave.
    removed: Vec<String>,
    /// Ids of keys that are used no more.
    retired: Vec<String>,
    /// Ids of keys that somebody else may have used, each with the time since when.
    compromised: Vec<(String, String)>,
    /// Number of freshness keys that must sign from now on, if it is set anew.
    freshness_threshold: Option<u32>,
}

/// The next epoch, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct AmendedView {
    file: String,
    epoch: u64,
    digest: String,
    threshold: u32,
    changes: Changes,
}

impl View for AmendedView {
    const SCHEMA: &'static str = "portcullis/federation-amend/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("made epoch {} in {}", self.epoch, self.file))?;
        page.line(format!("  digest  {}", self.digest))?;
        page.heading("changes")?;
        for member in &self.changes.removed {
            page.line(format!("  {member} leaves"))?;
        }
        for key in &self.changes.retired {
            page.line(format!("  key {key} is retired"))?;
        }
        for (key, since) in &self.changes.compromised {
            page.line(format!("  key {key} is compromised since {since}"))?;
        }
        match self.changes.freshness_threshold {
            None => {}
            Some(0) => page.line("  freshness is used no more")?,
            Some(keys) => page.line(format!("  {keys} of new freshness keys must sign"))?,
        }
        page.heading("next")?;
        page.line(format!(
            "  let {} governance keys sign: portcullis federation sign {} --key FILE",
            self.threshold, self.file
        ))
    }
}
