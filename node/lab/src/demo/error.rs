//! Why a demo did not come to its end.

use std::{io, path::PathBuf};

use portcullis_protocol::{
    identifiers::NameError, register::RegisterError, statement::SignatureError,
};

use super::data::DataError;
use portcullis_admin_api::client::ClientError;
use portcullis_desk::SetupError;
use portcullis_home::{config::dns_name::DnsNameError, files::FileError, keyring::KeyringError};
use portcullis_store::StoreError;

/// Why a demo did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The declarations.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The schema.
    #[error(transparent)]
    Schema(#[from] SetupError),
    /// A name cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Too few offices to exchange anything.
    #[error("`--offices` names {0}; name at least two different offices of the data")]
    Offices(usize),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Keys.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The development PKI.
    #[error("a development certificate cannot be made: {0}")]
    Certificate(#[from] portcullis_certs_dev::Error),
    /// The clock.
    #[error("the clock gives no time that a certificate can bear: {0}")]
    Clock(#[source] jiff::Error),
    /// A certificate request.
    #[error(transparent)]
    Request(#[from] portcullis_home::own_certificate::CsrError),
    /// A certificate request that is none.
    #[error("a certificate request cannot be read: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// A DNS name of the demo.
    #[error(transparent)]
    DnsName(#[from] DnsNameError),
    /// The register.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The country code of the demo.
    #[error("the demo's country code is none")]
    Country,
    /// No free ports.
    #[error("no free ports on loopback: {0}")]
    Ports(#[source] io::Error),
    /// A node's process did not start.
    #[error("node `{node}` cannot be started: {source}")]
    Process {
        /// Which.
        node: String,
        /// Why.
        source: io::Error,
    },
    /// A node's process ended or is silent.
    #[error("node `{node}` {how}; its log `{}` ends with:\n{tail}", log.display())]
    Ended {
        /// Which.
        node: String,
        /// How.
        how: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A node refused or broke off.
    #[error("node `{node}`: {source}")]
    Client {
        /// Which.
        node: String,
        /// What it said.
        source: ClientError,
    },
    /// JSON.
    #[error("what is sent to a node cannot be written as JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// There is no such node.
    #[error("the federation has no node `{0}`")]
    NoNode(String),
    /// Something stays open.
    #[error("the exchange does not come to rest: {0}")]
    Unsettled(String),
    /// A record that is held does not verify.
    #[error("record `{record:.12}` at `{node}` does not verify: {why}")]
    Unverified {
        /// Where.
        node: String,
        /// Which.
        record: String,
        /// Why.
        why: String,
    },
    /// The arrivals have too few containers.
    #[error(
        "{wanted} alerts need as many arrivals by sea, and there are {found}; ask for fewer with `--alerts`"
    )]
    Targets {
        /// How many alerts.
        wanted: usize,
        /// How many containers.
        found: usize,
    },
    /// An alert did not arrive in time.
    #[error(
        "alert {number}: {receipts_left} receipts are missing, and its consignment at office {office} {scored}"
    )]
    Alert {
        /// Which.
        number: usize,
        /// The office of its consignment.
        office: String,
        /// How many receipts are missing.
        receipts_left: usize,
        /// Whether it was scored.
        scored: &'static str,
    },
    /// The database to tamper with.
    #[error("the database to flip a bit in: {0}")]
    Database(#[source] rusqlite::Error),
    /// There is nothing to tamper with.
    #[error("there is no section or register to flip a bit in")]
    NoSection,
    /// The operating system refused.
    #[error("`{}`: {source}", path.display())]
    System {
        /// With which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The person at the terminal stopped it.
    #[error("interrupted; the nodes are ended and their folder is removed")]
    Interrupted,
    /// A task of the demo ended before its end.
    #[error("a part of the demo was cut short")]
    CutShort,
}
