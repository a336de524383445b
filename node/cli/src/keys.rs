//! `portcullis keys rotate`: makes a new key beside the present one, and the request to have it
//! used. `portcullis keys passphrase`: seals the node's keys under another passphrase.

use std::{io, path::PathBuf};

use portcullis_protocol::register::Register;
use serde::Serialize;

use super::{
    Session,
    error::CliError,
    output::{Page, View},
    person_enrol::PassphraseView,
};
use portcullis_home::{
    Home,
    clock::system_clock,
    config::Config,
    files::{self, Access},
    keyring::{Keyring, Rotatable},
    membership::{RequestError, load_chain, request_new_keys},
    own_certificate::certificate_request,
    secret::{KeySource, Passphrase},
};

/// Change the passphrase of the node's keys
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Change the passphrase of the node's keys, all of them in one step. The keys stay the same. A running \
node goes on; for the next start and the next reload, put the new passphrase where the configuration \
says. Backups of the keys still open with the passphrase before it.",
    after_long_help = "\
Example:
  portcullis keys passphrase --new-passphrase-file /etc/portcullis/passphrase-2"
)]
pub(super) struct KeysPassphrase {
    /// A file with the present passphrase; without it the one that the configuration names
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// A file with the new passphrase; without it you are asked
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

impl KeysPassphrase {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let home = Home::new(session.home()?);
        let config = Config::of(&home)?;
        let present = match &self.passphrase_file {
            Some(file) => Passphrase::from_file(file)?,
            None => config.key.read()?,
        };
        // A wrong one is told before a new one is chosen.
        Keyring::open(&home, &present)?;
        let question = "new passphrase of the node's keys";
        let next = Passphrase::chosen(self.new_passphrase_file.as_deref(), question)?;
        Keyring::change_passphrase(&home, &present, &next)?;
        let place = match &config.key {
            KeySource::PassphraseFile(file) => {
                format!("put the new passphrase into `{}`", file.display())
            }
            KeySource::SystemdCredential(name) => {
                format!("encrypt the new passphrase as the credential `{name}`")
            }
        };
        session.output.show(&PassphraseView {
            file: home.keys().with_file_name("").display().to_string(),
            next: Some(format!("{place}, before the node starts or reloads")),
        })
    }
}

/// Make a new key of the node, and what is needed to have it used
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Make a new key of the node beside the present one. Nothing is deleted, and a running node needs no \
restart. Begun again before the new key is in use, it is the same key.

For `sealing`, `hop`, `log` and `agreement` it writes the request to have the key listed, signed with \
the new and with the present keys, so that the governance sees that it comes from who is listed. The \
node goes on with the present key, and switches by itself when an epoch of the register lists the new \
one; that epoch retires the present key after some time (`federation admit --change --overlap`), so \
that what is on its way arrives.

For `tls` it writes a new certificate request: have the authority's own CA sign it, run `portcullis \
tls install FILE`, then reload. The present certificate and its key stay in use until then.",
    after_long_help = "\
Examples:
  portcullis keys rotate --use sealing --out antwerp.request
  portcullis federation admit antwerp.request --change --register 4.register --out 5.register
  portcullis keys rotate --use tls --out antwerp.csr"
)]
pub(super) struct KeysRotate {
    /// Which key: sealing, hop, log, agreement or tls
    #[arg(long = "use", value_name = "USE")]
    usage: Rotatable,
    /// Where to write the request; what is there is not overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl KeysRotate {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        let home = Home::new(session.home()?);
        let config = Config::of(&home)?;
        let verified = load_chain(&home, &config.register_pin)?;
        let register = verified.register();
        let (_, listed) = register
            .node(&config.node)
            .ok_or_else(|| RequestError::NotListed(config.node.clone()))?;
        let mut keyring = Keyring::load(&home, &config.key)?;
        let made = keyring.rotate(&home, &config.key, self.usage, listed)?;
        let request = request(self.usage, &config, &keyring, register)?;
        files::create(&self.out, &request, Access::Everyone)?;
        if self.usage == Rotatable::Tls {
            files::replace(&home.certificate_request(), &request, Access::Everyone)?;
        }
        session.output.show(&RotatedView {
            file: self.out.display().to_string(),
            node: config.node.to_string(),
            r#use: self.usage.name(),
            new: made.map(|key| key.id().to_string()),
        })
    }
}

/// Writes a membership request, or a certificate request for a TLS key.
fn request(
    usage: Rotatable,
    config: &Config,
    keyring: &Keyring,
    register: &Register,
) -> Result<Vec<u8>, CliError> {
    Ok(match usage {
        Rotatable::Tls => {
            let names = (&config.dns_name, &config.federation, &config.node);
            certificate_request(keyring, names.0, names.1, names.2)?.into_bytes()
        }
        Rotatable::Sealing | Rotatable::Hop | Rotatable::Log | Rotatable::Agreement => {
            request_new_keys(config, keyring, register, system_clock()())?
        }
    })
}

/// A key that waits to be used, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct RotatedView {
    file: String,
    node: String,
    r#use: &'static str,
    /// Id of the new key; a TLS key has none.
    new: Option<String>,
}

impl View for RotatedView {
    const SCHEMA: &'static str = "portcullis/keys-rotate/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("a new {} key waits", self.r#use))?;
        let mut pairs = vec![("node", self.node.clone())];
        pairs.extend(self.new.clone().map(|id| ("new", id)));
        pairs.push(("request", self.file.clone()));
        page.pairs(&pairs)?;
        page.heading("next")?;
        if self.new.is_some() {
            page.line(
                "  send the request to the governance, and compare the new id by another way",
            )?;
            return page.line("  the node switches by itself when an epoch lists the new key");
        }
        page.line("  have the authority's own CA sign the request")?;
        page.line("  then run `portcullis tls install FILE`, and reload the node")
    }
}
