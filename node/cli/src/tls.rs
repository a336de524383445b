//! `portcullis tls install`: installs the certificate that the authority's CA issued.

use std::{io, path::PathBuf};

use portcullis_protocol::{register::VerifiedRegister, time::Timestamp};
use serde::Serialize;

use super::{
    Session,
    error::CliError,
    output::{Page, View},
};
use portcullis_home::{
    Home,
    clock::system_clock,
    config::Config,
    keyring::Keyring,
    membership::{ChainError, load_chain},
    own_certificate::{Own, install_certificate, unix},
};

/// Install the node's certificate
#[derive(Debug, clap::Subcommand)]
pub(super) enum TlsCommand {
    Install(Install),
}

impl TlsCommand {
    pub(super) fn run(self, session: &Session) -> Result<(), CliError> {
        match self {
            Self::Install(command) => command.run(session),
        }
    }
}

/// Install the certificate that your authority's CA made of this node's request
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Install the certificate that your authority's CA made of this node's request (`tls/csr.pem`). It \
is checked first: that it belongs to this node's key, carries its two names, has not ended and, \
once a register is applied, that peers will believe it. If it is not fit, the present one stays.

A running node takes it up at `systemctl reload` (SIGHUP) or at its next start.",
    after_long_help = "\
Example:
  portcullis tls install antwerp.pem"
)]
pub(super) struct Install {
    /// The certificate, and behind it any intermediate ones, in PEM; or alone in DER
    #[arg(value_name = "FILE")]
    certificate: PathBuf,
}

impl Install {
    fn run(self, session: &Session) -> Result<(), CliError> {
        let home = Home::new(session.home()?);
        let config = Config::of(&home)?;
        let keyring = Keyring::load(&home, &config.key)?;
        let own = Own::of(&config);
        let register = register_listing(&home, &config)?;
        let certificate = install_certificate(
            &home,
            &self.certificate,
            &keyring,
            &own,
            register.as_ref().map(VerifiedRegister::register),
            unix(system_clock()()),
        )?;
        session.output.show(&InstalledView {
            file: home.certificate().display().to_string(),
            dns_name: certificate.dns_name().to_owned(),
            uri: certificate.uri().to_owned(),
            ends: Timestamp::from_millis(certificate.not_after().as_millisecond()).to_string(),
            judged_by_register: register.is_some(),
        })
    }
}

/// Returns the register if there is one yet that lists the node. Before that, nothing says which CA
/// may have issued the certificate.
fn register_listing(home: &Home, config: &Config) -> Result<Option<VerifiedRegister>, CliError> {
    match load_chain(home, &config.register_pin) {
        Ok(register) => {
            let listed = register.register().node(&config.node).is_some();
            Ok(listed.then_some(register))
        }
        Err(ChainError::None(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A certificate that was installed, version 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct InstalledView {
    file: String,
    dns_name: String,
    uri: String,
    ends: String,
    judged_by_register: bool,
}

impl View for InstalledView {
    const SCHEMA: &'static str = "portcullis/certificate/v1";

    fn page(&self, page: &mut Page) -> io::Result<()> {
        page.heading(&format!("installed {}", self.file))?;
        page.pairs(&[
            ("DNS name", self.dns_name.clone()),
            ("URI", self.uri.clone()),
            ("ends", self.ends.clone()),
        ])?;
        if !self.judged_by_register {
            page.line(
                "  whether peers will believe its issuer shows once a register lists this node: run `portcullis doctor` then",
            )?;
        }
        Ok(())
    }
}
