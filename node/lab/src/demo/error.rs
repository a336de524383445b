//! Errors of a demo.

use std::{io, path::PathBuf};

use portcullis_protocol::{
    identifiers::NameError, register::RegisterError, statement::SignatureError,
};

use super::data::DataError;
use portcullis_admin_api::client::ClientError;
use portcullis_desk::SetupError;
use portcullis_home::{
    config::ConfigError, config::dns_name::DnsNameError, files::FileError, key_file::KeyFileError,
    keyring::KeyringError, secret::SecretError,
};
use portcullis_store::StoreError;

/// Error that ends a demo early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The declarations cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The schema cannot be used.
    #[error(transparent)]
    Schema(#[from] SetupError),
    /// A name is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There are too few offices to exchange anything.
    #[error("`--offices` names {0}; name at least two different offices of the data")]
    Offices(usize),
    /// An office that is to keep its profile takes no part.
    #[error("`--withhold` names `{office}`, which takes no part; name offices of `--offices`: {}", offices.join(", "))]
    Withholding {
        /// Office that was named.
        office: String,
        /// Offices that take part.
        offices: Vec<String>,
    },
    /// A demo is kept, or under way, in this folder.
    #[error("a demo's nodes run in `{}` already; end them with `portcullis-lab demo --stop`", .0.display())]
    KeptAlready(PathBuf),
    /// A name of a node is somebody else's.
    #[error("`{}` names another node; rename it, or set PORTCULLIS_NODES to a folder for the demo's names", .0.display())]
    NameTaken(PathBuf),
    /// No demo is kept.
    #[error("no kept demo is named in `{}`; `portcullis-lab demo --keep` leaves one", .0.display())]
    NothingKept(PathBuf),
    /// A demo is under way.
    #[error("the demo in `{}` is still at work; interrupt it (process {process}), which ends its nodes too", folder.display())]
    AtWork {
        /// Folder of the demo.
        folder: PathBuf,
        /// Its process.
        process: u32,
    },
    /// Nodes do not end.
    #[error("the nodes in `{}` do not end, not even when killed; look at them with `ps`", .0.display())]
    Endless(PathBuf),
    /// A socket of a node would have too long a path.
    #[error("`{}` is too long for the path of a socket; set TMPDIR to a shorter folder", .0.display())]
    LongPath(PathBuf),
    /// A key of a person could not be written.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A passphrase could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Keys could not be made or opened.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// A configuration cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A store could not be made or opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A certificate of the development PKI could not be made.
    #[error("a development certificate cannot be made: {0}")]
    Certificate(#[from] portcullis_certs_dev::Error),
    /// The clock gives no time that a certificate can hold.
    #[error("the clock gives no time that a certificate can bear: {0}")]
    Clock(#[source] jiff::Error),
    /// A certificate request could not be made.
    #[error(transparent)]
    Request(#[from] portcullis_home::own_certificate::CsrError),
    /// A certificate request could not be read.
    #[error("a certificate request cannot be read: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// A DNS name of the demo is not valid.
    #[error(transparent)]
    DnsName(#[from] DnsNameError),
    /// The register could not be made.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A signature could not be made.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The country code of the demo is not valid.
    #[error("the demo's country code is none")]
    Country,
    /// There are no free ports.
    #[error("no free ports on loopback: {0}")]
    Ports(#[source] io::Error),
    /// A node's process did not start.
    #[error("node `{node}` cannot be started: {source}")]
    Process {
        /// Name of the node.
        node: String,
        /// Underlying I/O error.
        source: io::Error,
    },
    /// A node's process ended or is silent.
    #[error("node `{node}` {how}; its log `{}` ends with:\n{tail}", log.display())]
    Ended {
        /// Name of the node.
        node: String,
        /// Description of its end, or of its silence.
        how: String,
        /// File of its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A node refused a request or broke off.
    #[error("node `{node}`: {source}")]
    Client {
        /// Name of the node.
        node: String,
        /// Underlying error of the client.
        source: ClientError,
    },
    /// A request could not be written as JSON.
    #[error("what is sent to a node cannot be written as JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// The federation has no node of this name.
    #[error("the federation has no node `{0}`")]
    NoNode(String),
    /// The exchange has open decisions or deliveries after its time.
    #[error("the exchange does not come to rest: {0}")]
    Unsettled(String),
    /// A record that is held does not verify.
    #[error("record `{record:.12}` at `{node}` does not verify: {why}")]
    Unverified {
        /// Name of the node that holds the record.
        node: String,
        /// Id of the record.
        record: String,
        /// Reason of the failure.
        why: String,
    },
    /// The arrivals have too few containers.
    #[error(
        "{wanted} alerts need as many arrivals by sea, and there are {found}; ask for fewer with `--alerts`"
    )]
    Targets {
        /// Number of alerts asked for.
        wanted: usize,
        /// Number of containers found.
        found: usize,
    },
    /// An alert was not answered and scored in time.
    #[error(
        "alert {number}: {receipts_left} receipts are missing, and its consignment at office {office} {scored}"
    )]
    Alert {
        /// Number of the alert, from 1.
        number: usize,
        /// The office of its consignment.
        office: String,
        /// Number of missing receipts.
        receipts_left: usize,
        /// State of the new score, in words.
        scored: &'static str,
    },
    /// The database to tamper with could not be opened or read.
    #[error("the database to flip a bit in: {0}")]
    Database(#[source] rusqlite::Error),
    /// There is no section or register to tamper with.
    #[error("there is no section or register to flip a bit in")]
    NoSection,
    /// The operating system refused.
    #[error("`{}`: {source}", path.display())]
    System {
        /// Path of the file or folder.
        path: PathBuf,
        /// Underlying I/O error.
        source: io::Error,
    },
    /// The person at the terminal interrupted the demo.
    #[error("interrupted: the nodes are ended, and their folder is removed")]
    Interrupted,
    /// A task of the demo ended before it was done.
    #[error("a part of the demo was cut short")]
    CutShort,
}
