//! `portcullis federation show`: shows the content of an epoch.

use std::{io, path::PathBuf};

use portcullis_protocol::{
    keys::KeyUse,
    register::{Authority, Node, Register, SignedRegister},
    verify::KeyStanding,
};
use serde::Serialize;

use super::{
    super::{
        Session,
        error::CliError,
        output::{Column, Page, Table, View},
    },
    SignaturesView, kind, short, unverified,
};
use portcullis_home::{
    Home, files,
    membership::{ChainError, Signatures, read_epoch},
};

/// Show what an epoch of the register says, and who has signed it
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Show what an epoch of the register says, who has signed it and whose signature is missing. Each \
signature is checked against the keys that the epoch itself names; that it belongs to your \
federation is shown by `portcullis federation verify` alone.",
    after_long_help = "\
Examples:
  portcullis federation show 2.register
  portcullis federation show --home /var/lib/portcullis"
)]
pub(crate) struct Show {
    /// The epoch [default: the newest in the node's home]
    #[arg(value_name = "FILE")]
    register: Option<PathBuf>,
}

impl Show {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let path = match self.register {
            Some(path) => path,
            None => newest(&Home::new(session.home()?))?,
        };
        let epoch = read_epoch(&path)?;
        let register = unverified(&path, &epoch)?;
        session.output.show(&RegisterView::new(
            path.display().to_string(),
            &register,
            &epoch,
        ))
    }
}

fn newest(home: &Home) -> Result<PathBuf, CliError> {
    files::list(&home.register(), "register")?
        .pop()
        .ok_or_else(|| ChainError::None(home.register()).into())
}

/// An epoch, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct RegisterView {
    file: String,
    federation: String,
    epoch: u64,
    digest: String,
    previous: Option<String>,
    development: bool,
    issued_at: String,
    signatures: SignaturesView,
    authorities: Vec<AuthorityView>,
    /// Keys of members that left, each with the time since which it is compromised.
    former_keys: Vec<(String, String)>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct AuthorityView {
    id: String,
    name: String,
    kind: &'static str,
    country: String,
    group: String,
    regime: &'static str,
    communities: Vec<String>,
    clients: Vec<String>,
    contact: String,
    nodes: Vec<NodeView>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct NodeView {
    id: String,
    dns_name: String,
    uri: String,
    endpoint: String,
    keys: Vec<KeyView>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct KeyView {
    r#use: &'static str,
    id: String,
    ended: Option<String>,
    /// True if somebody else may have used it since it ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    compromised: bool,
}

impl RegisterView {
    fn new(file: String, register: &Register, epoch: &SignedRegister) -> Self {
        Self {
            file,
            federation: register.federation.to_string(),
            epoch: register.epoch,
            digest: epoch.digest().to_string(),
            previous: register.previous.map(|digest| digest.to_string()),
            development: register.development,
            issued_at: register.issued_at.to_string(),
            former_keys: register
                .former
                .iter()
                .map(|(key, since)| (key.to_string(), since.to_string()))
                .collect(),
            signatures: (&Signatures::of(register, epoch)).into(),
            authorities: register
                .authorities
                .values()
                .map(|authority| AuthorityView::new(authority, register))
                .collect(),
        }
    }
}

impl AuthorityView {
    fn new(authority: &Authority, register: &Register) -> Self {
        Self {
            id: authority.id.to_string(),
            name: authority.name.clone(),
            kind: authority.kind.name(),
            country: authority.country.to_string(),
            group: authority.group.clone(),
            regime: authority.regime.name(),
            communities: authority.communities.clone(),
            clients: authority.clients.iter().map(ToString::to_string).collect(),
            contact: authority.contact.clone(),
            nodes: authority
                .nodes
                .iter()
                .map(|node| NodeView::new(node, register))
                .collect(),
        }
    }
}

impl NodeView {
    fn new(node: &Node, register: &Register) -> Self {
        Self {
            id: node.id.to_string(),
            dns_name: node.dns_name.clone(),
            uri: node.uri(&register.federation),
            endpoint: node.endpoint.clone(),
            keys: node
                .keys
                .iter()
                .map(|key| KeyView {
                    r#use: key.public.usage().name(),
                    id: key.public.id().to_string(),
                    compromised: matches!(key.standing(), KeyStanding::CompromisedSince(_)),
                    ended: match key.standing() {
                        KeyStanding::InForce => None,
                        KeyStanding::RetiredSince(time) | KeyStanding::CompromisedSince(time) => {
                            Some(time.to_string())
                        }
                    },
                })
                .collect(),
        }
    }

    fn key(&self, usage: KeyUse) -> String {
        let in_force = |key: &&KeyView| key.r#use == usage.name() && key.ended.is_none();
        self.keys
            .iter()
            .find(in_force)
            .map_or_else(|| "none".to_owned(), |key| short(&key.id))
    }
}

impl View for RegisterView {
    const SCHEMA: &'static str = "portcullis/register/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("epoch {} of {}", self.epoch, self.federation))?;
        let none = || "none: this is the first".to_owned();
        page.pairs(&[
            ("file", self.file.clone()),
            ("digest", self.digest.clone()),
            ("before it", self.previous.clone().unwrap_or_else(none)),
            ("issued", self.issued_at.clone()),
            ("kind", kind(self.development).to_owned()),
            ("signatures", self.signatures.line()),
            ("signed", lines_or_none(&self.signatures.signed)),
            ("missing", lines_or_none(&self.signatures.missing)),
        ])?;
        for (key, since) in &self.former_keys {
            page.line(format!(
                "  key {key} of a former member is compromised since {since}"
            ))?;
        }
        if self.authorities.is_empty() {
            return page.line("  no members yet");
        }
        self.members(page)?;
        self.nodes(page)?;
        self.ended_keys(page)
    }
}

impl RegisterView {
    fn members(&self, page: &mut Page) -> io::Result<()> {
        page.heading("members")?;
        let mut table = Table::new(&[
            Column::Text("AUTHORITY"),
            Column::Text("KIND"),
            Column::Text("COUNTRY"),
            Column::Text("GROUP"),
            Column::Text("REGIME"),
            Column::Text("COMMUNITIES"),
            Column::Text("NAME"),
        ]);
        for authority in &self.authorities {
            table.row([
                authority.id.as_str(),
                authority.kind,
                &authority.country,
                &authority.group,
                authority.regime,
                &authority.communities.join(","),
                &authority.name,
            ]);
        }
        page.table(&table)
    }

    fn nodes(&self, page: &mut Page) -> io::Result<()> {
        page.heading("nodes")?;
        let mut table = Table::new(&[
            Column::Text("NODE"),
            Column::Text("AUTHORITY"),
            Column::Text("ENDPOINT"),
            Column::Text("SEALING KEY"),
            Column::Text("HOP KEY"),
        ]);
        for authority in &self.authorities {
            for node in &authority.nodes {
                table.row([
                    node.id.as_str(),
                    &authority.id,
                    &node.endpoint,
                    &node.key(KeyUse::Sealing),
                    &node.key(KeyUse::Hop),
                ]);
            }
        }
        page.table(&table)
    }
}

impl RegisterView {
    /// Lists the keys that have ended or end: whoever signs an epoch reads which they are.
    fn ended_keys(&self, page: &mut Page) -> io::Result<()> {
        let nodes = || {
            self.authorities
                .iter()
                .flat_map(|authority| &authority.nodes)
        };
        let mut table = Table::new(&[
            Column::Text("NODE"),
            Column::Text("USE"),
            Column::Text("KEY"),
            Column::Text("ENDED"),
        ]);
        for node in nodes() {
            for key in &node.keys {
                let Some(at) = &key.ended else { continue };
                let how = if key.compromised {
                    "compromised"
                } else {
                    "retired"
                };
                table.row([
                    node.id.as_str(),
                    key.r#use,
                    &short(&key.id),
                    &format!("{how} since {at}"),
                ]);
            }
        }
        if table.is_empty() {
            return Ok(());
        }
        page.heading("keys that have ended, or end")?;
        page.table(&table)
    }
}

fn lines_or_none(ids: &[String]) -> String {
    if ids.is_empty() {
        "none".to_owned()
    } else {
        ids.join("\n")
    }
}
