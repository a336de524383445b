//! `portcullis federation request`: asks the governance to list a node.

use std::{io, path::PathBuf};

use portcullis_protocol::{
    identifiers::{AuthorityId, CountryCode},
    register::{AuthorityKind, LegalRegime},
};
use serde::Serialize;

use super::super::{
    Session,
    error::CliError,
    output::{Page, View},
};
use portcullis_home::{
    Home,
    clock::system_clock,
    config::Config,
    files::{self, Access},
    keyring::Keyring,
    membership::{MemberFacts, make_request},
    own_certificate::certificate_authority,
};

/// Ask the governance to list this node
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Ask the governance to list this node and its authority, or to change their entry. Writes a file \
that carries the authority's facts, the node's public keys with proof that it holds them, and the \
certificate of the authority's own CA: the only one that may ever vouch for this node.

Send the file to the governance. It will compare the key ids with you by another way, for \
instance by telephone.",
    after_long_help = "\
Example:
  portcullis federation request --name 'Customs of Belgium' --kind customs --country BE \\
      --group be-finance --regime led --community europe --contact 'duty officer, +32 …' \\
      --endpoint antwerp.customs.example:7443 --ca ca.pem --out antwerp.request"
)]
pub(crate) struct Request {
    /// The authority's name, for people
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// What it is: customs, police, port-authority, private-operator or hub
    #[arg(long, value_name = "KIND")]
    kind: AuthorityKind,
    /// Its country, ISO 3166-1: two letters
    #[arg(long, value_name = "COUNTRY")]
    country: CountryCode,
    /// Its parent, for instance a ministry: members of one group count as one voice
    #[arg(long, value_name = "NAME")]
    group: String,
    /// Under which law it processes personal data: led, gdpr, both or third-country
    #[arg(long, value_name = "REGIME")]
    regime: LegalRegime,
    /// A community it belongs to, for TLP:GREEN; may be given again
    #[arg(long, value_name = "NAME")]
    community: Vec<String>,
    /// An authority that is its client, for TLP:AMBER; may be given again
    #[arg(long, value_name = "AUTHORITY")]
    client: Vec<AuthorityId>,
    /// Whom to call
    #[arg(long, value_name = "TEXT", default_value = "")]
    contact: String,
    /// Where peers connect to this node
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: String,
    /// The certificate of the authority's own CA, PEM or DER
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// Where to write the request
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Request {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let home = Home::new(session.home()?);
        let config = Config::of(&home)?;
        let keyring = Keyring::load(&home, &config.key)?;
        let out = self.out.clone();
        let bytes = make_request(&config, &keyring, self.facts()?, system_clock()())?;
        files::create(&out, &bytes, Access::Everyone)?;
        session.output.show(&RequestView {
            file: out.display().to_string(),
            federation: config.federation.to_string(),
            authority: config.authority.to_string(),
            node: config.node.to_string(),
            keys: keyring
                .public_keys()
                .iter()
                .map(|key| KeyView {
                    r#use: key.usage().name(),
                    id: key.id().to_string(),
                })
                .collect(),
        })
    }

    fn facts(self) -> Result<MemberFacts, CliError> {
        let Self {
            name,
            kind,
            country,
            group,
            regime,
            community,
            client,
            contact,
            endpoint,
            ca,
            out: _,
        } = self;
        Ok(MemberFacts {
            name,
            kind,
            country,
            group,
            regime,
            communities: community,
            clients: client,
            contact,
            endpoint,
            trust_anchor: certificate_authority(&ca)?.to_vec(),
        })
    }
}

/// A request that was made, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct RequestView {
    file: String,
    federation: String,
    authority: String,
    node: String,
    keys: Vec<KeyView>,
}

/// A key in the request.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct KeyView {
    r#use: &'static str,
    id: String,
}

impl View for RequestView {
    const SCHEMA: &'static str = "portcullis/membership-request/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("made the request {}", self.file))?;
        let mut pairs = vec![
            ("federation", self.federation.clone()),
            ("authority", self.authority.clone()),
            ("node", self.node.clone()),
        ];
        pairs.extend(self.keys.iter().map(|key| (key.r#use, key.id.clone())));
        page.pairs(&pairs)?;
        page.heading("next")?;
        page.line(
            "  send the file to the governance, and compare the key ids with it by another way",
        )
    }
}
