//! `portcullis init`: makes a node.

use std::{io, net::SocketAddr, path::PathBuf};

use portcullis_protocol::{
    digest::Digest,
    identifiers::{AuthorityId, FederationId, NodeId},
    keys::KeyUse,
    register::node_uri,
};
use serde::Serialize;

use super::schema::SchemaName;
use crate::setup::{NewNode, init};
use portcullis_admin_api::persons::is_slug;
use portcullis_cli::{
    Session,
    error::CliError,
    output::{Page, View},
};
use portcullis_desk::shipped::Shipped;
use portcullis_home::{
    Home,
    config::dns_name::DnsName,
    key_file,
    keyring::{FirstAdministrator, Keyring},
    secret::KeySource,
};

/// Make a node: its keys, its certificate request and its configuration
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Make a node in its home folder: keys of its own, an empty store, a request for its certificate \
and a configuration that you may edit. It is done once; nothing that is there is overwritten.

You need two things before. A passphrase file that only the node's user can read, best on another \
disk than the home: `(umask 077; head -c 32 /dev/urandom | base64 > FILE)`. And the digest of the \
federation's first register, which its governance gives you by another way than the register \
itself, for instance on paper.

With `--first-administrator` the enrolment of persons begins with that person and their key alone. \
It lies sealed with the node's keys; nobody who writes to the disk can begin it otherwise.

The schema says which columns the files of your own consignments have. `--schema port` puts that of a \
port into the home, as `schema.toml`, which you may edit; `portcullis schema show port` explains it.",
    after_long_help = "\
Example:
  portcullis init --home /var/lib/portcullis --federation eu-ports --authority be-customs \\
      --id antwerp --dns-name antwerp.customs.example --listen 0.0.0.0:7443 \\
      --pin 5f1c…e2 --passphrase-file /etc/portcullis/passphrase \\
      --first-administrator anna=anna.key.pub"
)]
pub(super) struct Init {
    /// The federation's id
    #[arg(long, value_name = "ID")]
    federation: FederationId,
    /// The id of the authority whose node this is
    #[arg(long, value_name = "ID")]
    authority: AuthorityId,
    /// The node's id, unique in the federation
    #[arg(long, value_name = "ID")]
    id: NodeId,
    /// The one DNS name of the node's certificate
    #[arg(long, value_name = "NAME")]
    dns_name: DnsName,
    /// Where the node listens for peers
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:7443")]
    listen: SocketAddr,
    /// The digest of the register's first epoch
    #[arg(long, value_name = "DIGEST")]
    pin: Digest,
    /// The file with the passphrase of the node's keys
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "systemd_credential",
        conflicts_with = "systemd_credential"
    )]
    passphrase_file: Option<PathBuf>,
    /// In its place: the name of a credential that systemd gives the service
    #[arg(long, value_name = "NAME")]
    systemd_credential: Option<String>,
    /// The one person who may enrol first, with the public half of their key
    #[arg(long, value_name = "ID=KEY.pub")]
    first_administrator: Option<String>,
    /// Which of the shipped schemas of consignments to begin with: port or customs-kr [default: customs-kr]
    #[arg(long, value_name = "NAME")]
    schema: Option<SchemaName>,
    /// Where metrics and health are served [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
}

impl Init {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let home = Home::new(session.home()?);
        let node = self.node()?;
        let keyring = init(&home, &node)?;
        session.output.show(&MadeView::new(&home, &node, &keyring))
    }

    fn node(self) -> Result<NewNode, CliError> {
        let key = match (self.passphrase_file, self.systemd_credential) {
            (Some(file), _) => KeySource::PassphraseFile(file),
            (None, Some(name)) => KeySource::SystemdCredential(name),
            // clap requires one of the two.
            (None, None) => return Err(CliError::usage("name a passphrase file")),
        };
        let first = self.first_administrator.as_deref();
        let first_administrator = first.map(first_administrator).transpose()?;
        Ok(NewNode {
            first_administrator,
            federation: self.federation,
            authority: self.authority,
            node: self.id,
            dns_name: self.dns_name,
            listen: self.listen,
            register_pin: self.pin,
            key,
            metrics: self.metrics,
            schema: self.schema.map(Shipped::from),
        })
    }
}

/// Reads `ID=KEY.pub`.
fn first_administrator(text: &str) -> Result<FirstAdministrator, CliError> {
    let (id, path) = text
        .split_once('=')
        .filter(|(id, _)| is_slug(id))
        .ok_or_else(|| {
            CliError::usage("`--first-administrator` names a person's id and the public half of their key")
                .remedy("write it as `anna=anna.key.pub`; an id is of small letters, digits, `.`, `_` and `-`")
        })?;
    let key = key_file::public(path.as_ref(), KeyUse::Person)?;
    Ok(FirstAdministrator {
        id: id.to_owned(),
        key: key.id().to_string(),
    })
}

/// A node that was made, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct MadeView {
    home: String,
    configuration: String,
    certificate_request: String,
    dns_name: String,
    uri: String,
    keys: Vec<KeyView>,
}

/// A key of the node.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct KeyView {
    r#use: &'static str,
    id: String,
}

impl MadeView {
    fn new(home: &Home, node: &NewNode, keyring: &Keyring) -> Self {
        Self {
            home: home.folder().display().to_string(),
            configuration: home.config().display().to_string(),
            certificate_request: home.certificate_request().display().to_string(),
            dns_name: node.dns_name.to_string(),
            uri: node_uri(&node.federation, &node.node),
            keys: keyring
                .public_keys()
                .iter()
                .map(|key| KeyView {
                    r#use: key.usage().name(),
                    id: key.id().to_string(),
                })
                .collect(),
        }
    }
}

impl View for MadeView {
    const SCHEMA: &'static str = "portcullis/init/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("made a node in {}", self.home))?;
        page.pairs(&[
            ("configuration", self.configuration.clone()),
            ("certificate request", self.certificate_request.clone()),
            ("DNS name", self.dns_name.clone()),
            ("URI", self.uri.clone()),
        ])?;
        page.heading("keys")?;
        let keys: Vec<_> = self
            .keys
            .iter()
            .map(|key| (key.r#use, key.id.clone()))
            .collect();
        page.pairs(&keys)?;
        page.heading("next")?;
        for step in [
            "  1. have your own CA sign the certificate request, with both names as they are",
            "  2. portcullis tls install CERTIFICATE",
            "  3. portcullis federation request --ca CA-CERTIFICATE … and send the file to the governance",
            "  4. portcullis federation apply FILE… with every epoch that the governance sends back",
            "  5. portcullis doctor, then portcullis run",
        ] {
            page.line(step)?;
        }
        Ok(())
    }
}
