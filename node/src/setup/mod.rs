//! Making of a node: `portcullis init`, and the certificate that its authority's CA issues.
//!
//! ```text
//! init: mark the home unfinished → folders → keys → store → certificate request
//!   → configuration → unmark
//! ```
//!
//! A home is made once. A process that is killed in the middle leaves the mark, and no command
//! takes a home with that mark for a node. The next `init` clears the files that the first one had
//! made and starts anew. A home that is a node already is refused: keys are never overwritten.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use portcullis_protocol::{
    digest::Digest,
    identifiers::{AuthorityId, FederationId, NodeId},
};

use portcullis_desk::shipped::Shipped;
use portcullis_home::{
    Home,
    config::{Config, ConfigError, dns_name::DnsName, keys::render},
    files::{self, Access, FileError},
    keyring::{Accepted, FirstAdministrator, Keyring, KeyringError, SealedFacts},
    own_certificate::{CsrError, certificate_request},
    secret::KeySource,
    trust_settings::TrustSettings,
};
use portcullis_store::StoreError;

use crate::kept;

/// Settings of a node that is to be made.
#[derive(Debug, Clone)]
pub struct NewNode {
    /// Id of the federation.
    pub federation: FederationId,
    /// Id of the authority whose node it is.
    pub authority: AuthorityId,
    /// Id of the node.
    pub node: NodeId,
    /// The one DNS name of its certificate.
    pub dns_name: DnsName,
    /// Address on which the node listens for peers.
    pub listen: SocketAddr,
    /// Digest of the register's first epoch.
    pub register_pin: Digest,
    /// Source of the passphrase of its keys.
    pub key: KeySource,
    /// Address on which metrics and health are served; `None` for the default.
    pub metrics: Option<SocketAddr>,
    /// The person with whom alone the enrolment of persons begins; `None` for whoever comes first.
    pub first_administrator: Option<FirstAdministrator>,
    /// The schema of consignments that is put into the home; `None` for none, which is that of the shipped
    /// data set.
    pub schema: Option<Shipped>,
}

/// Error of a node that was not made. A home that is left unfinished is not taken for a node.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The home is a node already.
    #[error("`{}` is a node already; its keys are never made anew: name another home with `--home`", .0.display())]
    AlreadyMade(PathBuf),
    /// Another process is making it.
    #[error("`portcullis init` is running in `{}` already; wait for it to end", .0.display())]
    Running(PathBuf),
    /// The path of the home is too long for its socket.
    #[error("the path `{}` is {over} bytes too long for the node's socket; name a shorter home with `--home`", home.display())]
    TooLong {
        /// The home.
        home: PathBuf,
        /// Number of bytes too many.
        over: usize,
    },
    /// Others can move the home away and put another in its place.
    #[error("everybody can exchange what is in `{}`; run `chmod o-w {}`, or name another home with `--home`", .0.display(), .0.display())]
    Exchangeable(PathBuf),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The keys cannot be made.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The store cannot be made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The path of the passphrase file cannot be written in TOML.
    #[error("`{}` is not text in UTF-8; name the passphrase file by another path", .0.display())]
    Path(PathBuf),
    /// The certificate request cannot be made.
    #[error(transparent)]
    Request(#[from] CsrError),
}

/// Makes a node in `home`: keys, store, certificate request and configuration.
///
/// # Errors
///
/// [`SetupError`] if the node cannot be made. A home that is left halfway carries the mark.
pub fn init(home: &Home, node: &NewNode) -> Result<Keyring, SetupError> {
    let config = configuration(node)?;
    if let Some(over) = home.too_long_by() {
        let home = home.folder().to_owned();
        return Err(SetupError::TooLong { home, over });
    }
    // The passphrase is read first. If that fails, not even a folder is made.
    node.key.chosen().map_err(KeyringError::from)?;
    let made = home.config().exists() || home.keys().exists();
    if !made {
        files::create_folder(home.folder())?;
        let folder = fs::canonicalize(home.folder())
            .map_err(|source| FileError::system("find", home.folder(), source))?;
        files::own_folder(&folder)?;
        if let Some((path, _)) = files::exchangeable(&folder).into_iter().next() {
            return Err(SetupError::Exchangeable(path));
        }
    }
    let mark = begin(home)?;
    for folder in folders(home) {
        files::own_folder(&folder)?;
    }
    let parsed = Config::parse(&home.config(), &config)?;
    // It is one of the settings that decide, so it lies there before they are accepted.
    if let Some(schema) = node.schema {
        files::replace(&home.schema(), schema.text().as_bytes(), Access::Everyone)?;
    }
    let facts = SealedFacts {
        recoveries: Vec::new(),
        first_administrator: node.first_administrator.clone(),
        accepted: Some(Accepted {
            serial: 1,
            settings: TrustSettings::found(home, &parsed)?,
        }),
    };
    let keyring = Keyring::create_with(home, &node.key, &facts)?;
    // The store is made only here. A node whose store is gone must not go on with an empty one.
    drop(kept::create(home, &keyring)?);
    let request = certificate_request(&keyring, &node.dns_name, &node.federation, &node.node)?;
    files::create(
        &home.certificate_request(),
        request.as_bytes(),
        Access::Everyone,
    )?;
    files::create(&home.config(), config.as_bytes(), Access::Everyone)?;
    end(home, mark)?;
    Ok(keyring)
}

/// Returns the text of the configuration, checked in the same way as the node checks it.
fn configuration(node: &NewNode) -> Result<String, SetupError> {
    let mut given = vec![
        ("federation", quoted(node.federation.as_ref())),
        ("authority", quoted(node.authority.as_ref())),
        ("node", quoted(node.node.as_ref())),
        ("dns_name", quoted(node.dns_name.as_str())),
        ("listen", quoted(&node.listen.to_string())),
        ("register_pin", quoted(&node.register_pin.to_string())),
    ];
    given.push(match &node.key {
        KeySource::PassphraseFile(path) => {
            // The path is made absolute, because the node may be started in another folder.
            let path = std::path::absolute(path)
                .map_err(|source| FileError::system("find", path, source))?;
            let text = path
                .to_str()
                .ok_or_else(|| SetupError::Path(path.clone()))?;
            ("key.passphrase_file", quoted(text))
        }
        KeySource::SystemdCredential(name) => ("key.systemd_credential", quoted(name)),
    });
    if let Some(metrics) = node.metrics {
        given.push(("metrics.listen", quoted(&metrics.to_string())));
    }
    let text = render(&given);
    Config::parse("portcullis.toml".as_ref(), &text)?;
    Ok(text)
}

/// Quotes text as a basic string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn folders(home: &Home) -> Vec<PathBuf> {
    let of_file = |path: PathBuf| path.parent().map(PathBuf::from).unwrap_or_default();
    vec![
        of_file(home.keys()),
        of_file(home.certificate()),
        home.revocation_lists(),
        home.register(),
        home.policy(),
        home.data(),
    ]
}

/// Marks the home unfinished and locks the mark against other processes. If an `init` was stopped
/// before, its files are cleared.
fn begin(home: &Home) -> Result<File, SetupError> {
    let path = home.unfinished();
    let failed = |source| FileError::system("write", &path, source);
    match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(mark) => {
            lock(home, &mark)?;
            if home.config().exists() || home.keys().exists() {
                end(home, mark)?;
                return Err(SetupError::AlreadyMade(home.folder().to_owned()));
            }
            files::sync_folder_of(&path)?;
            Ok(mark)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mark = OpenOptions::new().write(true).open(&path).map_err(failed)?;
            lock(home, &mark)?;
            clear(home)?;
            Ok(mark)
        }
        Err(source) => Err(failed(source).into()),
    }
}

/// Locks the mark for this process. The locked file must still be the one in the home.
fn lock(home: &Home, mark: &File) -> Result<(), SetupError> {
    let path = home.unfinished();
    let running = || SetupError::Running(home.folder().to_owned());
    let failed = |source| FileError::system("lock", &path, source);
    match mark.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(running()),
        Err(TryLockError::Error(source)) => return Err(failed(source).into()),
    }
    let held = mark.metadata().map_err(failed)?;
    match fs::metadata(&path) {
        Ok(present) if (present.dev(), present.ino()) == (held.dev(), held.ino()) => Ok(()),
        // Since the file was opened, another process has ended or begun an `init`.
        Ok(_) | Err(_) => Err(running()),
    }
}

/// Removes the files that a stopped `init` had made; none of them has been used.
fn clear(home: &Home) -> Result<(), FileError> {
    let mut made = vec![home.config(), home.certificate_request(), home.keys()];
    made.extend(files::list_all(&home.data())?);
    for path in made {
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(FileError::system("remove", &path, source)),
        }
    }
    Ok(())
}

fn end(home: &Home, mark: File) -> Result<(), FileError> {
    let path = home.unfinished();
    fs::remove_file(&path).map_err(|source| FileError::system("remove", &path, source))?;
    drop(mark);
    files::sync_folder_of(&path)
}

#[cfg(test)]
mod tests;
