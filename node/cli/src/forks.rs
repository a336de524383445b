//! `portcullis dispatch forks`: peers whose history has forked, and the evidence for it.

use std::{fs, io, path::PathBuf};

use super::{
    Session,
    error::CliError,
    live::block_on,
    output::{Column, Page, Table, View, seconds},
};
use portcullis_admin_api::v1::{
    ListView,
    dispatch::{EvidenceView, ForkView},
};

/// Instructions for checking the exported files, written beside them.
const READ_ME: &str = "\
Evidence that a node signed two histories of one generation
============================================================

Each fork-N.json names a node of a federation, and holds two statements that this node signed:
`known`, which was believed, and `forked`, which does not follow from it. An honest node signs one
history: two nodes ran with its keys, or somebody else has them.

fork-N-known.dsse.json and fork-N-forked.dsse.json are the same statements as DSSE envelopes
(https://github.com/secure-systems-lab/dsse, version 1.0.2). Check each with any DSSE verifier:
the signature is Ed25519 (RFC 8032) over the pre-authentication encoding of payloadType and
payload, under `public_key` of fork-N.json. Whose key it is says the federation's register, in the
epoch whose number and digest stand beside the key; every member holds it, signed by the
federation's governance. The payload is the message `FramePayload` of exchange.proto.
";

/// List peers whose history has forked, and export the evidence
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
List peers whose history has forked (EX-11): two frames that the peer signed, and that cannot both \
be honest. `--export DIR` writes both statements of each, with the key that verifies them and how \
to check them, for whoever has to judge it.",
    after_long_help = "\
Examples:
  portcullis dispatch forks
  portcullis dispatch forks --export ./evidence"
)]
pub(super) struct Forks {
    /// Write the evidence into this folder, which must not be there
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
}

impl Forks {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let client = session.client()?;
        let forks: ListView<ForkView> =
            block_on(async { Ok(client.get("/v1/dispatch/forks").await?) })?;
        if let Some(folder) = &self.export {
            export(&forks, folder)?;
            session
                .output
                .note(&format!("the evidence is in `{}`", folder.display()));
        }
        session.output.show(&forks)
    }
}

fn export(forks: &ListView<ForkView>, folder: &std::path::Path) -> Result<(), CliError> {
    if forks.items.is_empty() {
        return Err(CliError::failed("there is no fork to export"));
    }
    let unwritten = |error: io::Error| {
        CliError::failed(format!("`{}` cannot be written", folder.display()))
            .because(&error)
            .remedy("name a folder that is not there, in one that is")
    };
    fs::create_dir(folder).map_err(unwritten)?;
    fs::write(folder.join("README.txt"), READ_ME).map_err(unwritten)?;
    for (number, fork) in (1..).zip(&forks.items) {
        let whole = serde_json::to_vec_pretty(fork).map_err(io::Error::from);
        fs::write(
            folder.join(format!("fork-{number}.json")),
            whole.map_err(unwritten)?,
        )
        .map_err(unwritten)?;
        for (name, evidence) in [("known", &fork.known), ("forked", &fork.forked)] {
            let envelope = envelope(evidence).map_err(unwritten)?;
            fs::write(
                folder.join(format!("fork-{number}-{name}.dsse.json")),
                envelope,
            )
            .map_err(unwritten)?;
        }
    }
    Ok(())
}

fn envelope(evidence: &EvidenceView) -> io::Result<Vec<u8>> {
    serde_json::to_vec_pretty(&evidence.envelope).map_err(io::Error::from)
}

impl View for ListView<ForkView> {
    const SCHEMA: &'static str = "portcullis/forks/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        if self.items.is_empty() {
            return page.line("no peer's history has forked");
        }
        let mut table = Table::new(&[
            Column::Text("PEER"),
            Column::Text("LANE"),
            Column::Text("FOUND"),
            Column::Text("BELIEVED"),
            Column::Text("FORKED"),
            Column::Text("KEY"),
        ]);
        for fork in &self.items {
            table.row([
                fork.peer.clone(),
                fork.lane.clone(),
                seconds(&fork.at),
                claim(&fork.known),
                claim(&fork.forked),
                fork.forked.epoch.map_or_else(
                    || "not listed".to_owned(),
                    |epoch| format!("of epoch {epoch}"),
                ),
            ]);
        }
        page.table(&table)
    }
}

fn claim(evidence: &EvidenceView) -> String {
    format!(
        "{} items from {}, {:.12} settled to {}",
        evidence.count, evidence.first_sequence, evidence.chain, evidence.settled_sequence
    )
}
