//! A node's home: the one folder that holds everything a node keeps.
//!
//! ```text
//! portcullis.toml          the configuration
//! keys/node.keys           the node's keys, sealed under its key
//! keys/rotated-*.keys      keys made beside them later, sealed under the same key
//! tls/csr.pem, cert.pem    certificate request and certificate
//! crl/*.crl                revocation lists of the members' authorities
//! register/*.register      every epoch of the register, by number
//! policy/*.cedar           the authority's own policies
//! data/                    the store
//! admin.sock               where the command line speaks to the running node
//! ```

use std::path::{Path, PathBuf};

/// The folder of a node. That it exists is not said by having this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The home in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("portcullis.toml")
    }

    /// The node's sealed keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys").join("node.keys")
    }

    /// The node's certificate chain, its own certificate first.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.0.join("tls").join("cert.pem")
    }

    /// The request for that certificate.
    #[must_use]
    pub fn certificate_request(&self) -> PathBuf {
        self.0.join("tls").join("csr.pem")
    }

    /// The folder of the revocation lists.
    #[must_use]
    pub fn revocation_lists(&self) -> PathBuf {
        self.0.join("crl")
    }

    /// The folder of the register's epochs.
    #[must_use]
    pub fn register(&self) -> PathBuf {
        self.0.join("register")
    }

    /// The folder of the authority's own policies.
    #[must_use]
    pub fn policy(&self) -> PathBuf {
        self.0.join("policy")
    }

    /// The folder of the store.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// The name of the file that says which columns the authority's consignments have.
    pub const SCHEMA: &str = "schema.toml";

    /// The file that says which columns the authority's consignments have.
    #[must_use]
    pub fn schema(&self) -> PathBuf {
        self.0.join(Self::SCHEMA)
    }

    /// The socket of the running node.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    /// The sign that `portcullis init` has begun here and has not ended.
    #[must_use]
    pub fn unfinished(&self) -> PathBuf {
        self.0.join(".init-unfinished")
    }
}
