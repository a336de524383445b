//! `portcullis federation admit`: makes the next epoch of the register from requests.

use std::{io, path::PathBuf, time::Duration};

use portcullis_protocol::register::{MembershipRequest, Register};
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
    config::duration::parse_duration,
    membership::{Admission, Admitted, admit, read_epoch, read_request},
};

/// Make the next epoch of the register, with members that asked
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Make the next epoch of the register from the present one, with the members that asked. Each \
request proves that its keys are held, and not by whom: compare the key ids that are printed with \
the authority by another way before anybody signs.

The present epoch must have its signatures. A member that is listed already is changed only with \
`--change`; keys that it no longer names are retired after `--overlap`, a week if it is not given: as \
long as a delivery is tried. What they sealed stays verifiable. A key that is lost to somebody else \
is ended at once with `federation amend --compromised`.",
    after_long_help = "\
Example:
  portcullis federation admit antwerp.request rotterdam.request --register 1.register \\
      --out 2.register"
)]
pub(crate) struct Admit {
    /// Requests, made by `portcullis federation request`
    #[arg(value_name = "REQUEST", required = true)]
    requests: Vec<PathBuf>,
    /// The present epoch
    #[arg(long, value_name = "FILE")]
    register: PathBuf,
    /// Let members that are listed already change their entry
    #[arg(long)]
    change: bool,
    /// For how long the keys that a changed member no longer names still count: what is on its
    /// way under them arrives
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration, requires = "change")]
    overlap: Duration,
    /// Where to write the next epoch
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

impl Admit {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let present = read_epoch(&self.register)?;
        let requests = self
            .requests
            .iter()
            .map(|path| read_request(path))
            .collect::<Result<Vec<_>, _>>()?;
        let admission = if self.change {
            Admission::Changes {
                overlap_ms: i64::try_from(self.overlap.as_millis()).unwrap_or(i64::MAX),
            }
        } else {
            Admission::NewOnly
        };
        let (next, admitted) = admit(&present, requests.clone(), admission, system_clock()())?;
        let register = unverified(&self.out, &next)?;
        write_epoch(&self.out, &next)?;
        session.output.show(&AdmittedView {
            file: self.out.display().to_string(),
            epoch: register.epoch,
            digest: next.digest().to_string(),
            threshold: register.threshold,
            members: admitted
                .iter()
                .zip(&requests)
                .map(|(admitted, request)| MemberView::new(admitted, request, &register))
                .collect(),
        })
    }
}

/// The next epoch, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct AdmittedView {
    file: String,
    epoch: u64,
    digest: String,
    threshold: u32,
    members: Vec<MemberView>,
}

/// A member that was admitted or changed.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct MemberView {
    authority: String,
    name: String,
    kind: &'static str,
    country: String,
    change: bool,
    keys: Vec<KeyView>,
}

/// A key that the member asked to have listed.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct KeyView {
    node: String,
    r#use: &'static str,
    id: String,
}

impl MemberView {
    fn new(admitted: &Admitted, request: &MembershipRequest, register: &Register) -> Self {
        let (id, change) = match admitted {
            Admitted::New(id) => (id, false),
            Admitted::Changed(id) => (id, true),
        };
        let authority = register.authorities.get(id).unwrap_or(&request.authority);
        let keys = request.authority.nodes.iter().flat_map(|node| {
            node.keys.iter().map(|key| KeyView {
                node: node.id.to_string(),
                r#use: key.public.usage().name(),
                id: key.public.id().to_string(),
            })
        });
        Self {
            authority: id.to_string(),
            name: authority.name.clone(),
            kind: authority.kind.name(),
            country: authority.country.to_string(),
            change,
            keys: keys.collect(),
        }
    }
}

impl View for AdmittedView {
    const SCHEMA: &'static str = "portcullis/federation-admit/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("made epoch {} in {}", self.epoch, self.file))?;
        page.line(format!("  digest  {}", self.digest))?;
        for member in &self.members {
            let what = if member.change { "changed" } else { "admitted" };
            page.heading(&format!(
                "{what} {}: {}, {}, {}",
                member.authority, member.name, member.kind, member.country
            ))?;
            let keys: Vec<_> = member
                .keys
                .iter()
                .map(|key| (format!("{} {}", key.node, key.r#use), key.id.clone()))
                .collect();
            page.pairs(&keys)?;
        }
        page.heading("next")?;
        page.line("  compare the key ids with each authority by another way")?;
        page.line(format!(
            "  let {} governance keys sign: portcullis federation sign {} --key FILE",
            self.threshold, self.file
        ))
    }
}
