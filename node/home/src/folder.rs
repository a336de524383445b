//! A node's home: the one folder that holds all files of a node.
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

/// Folder of a node. The folder need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// Makes a home of this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Returns the folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Returns the path of the configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("portcullis.toml")
    }

    /// Returns the path of the node's sealed keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys").join("node.keys")
    }

    /// Returns the path of the node's certificate chain, which begins with the node's own
    /// certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.0.join("tls").join("cert.pem")
    }

    /// Returns the path of the request for that certificate.
    #[must_use]
    pub fn certificate_request(&self) -> PathBuf {
        self.0.join("tls").join("csr.pem")
    }

    /// Returns the folder of the revocation lists.
    #[must_use]
    pub fn revocation_lists(&self) -> PathBuf {
        self.0.join("crl")
    }

    /// Returns the folder of the register's epochs.
    #[must_use]
    pub fn register(&self) -> PathBuf {
        self.0.join("register")
    }

    /// Returns the folder of the authority's own policies.
    #[must_use]
    pub fn policy(&self) -> PathBuf {
        self.0.join("policy")
    }

    /// Returns the folder of the store.
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

    /// Returns the path of the running node's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    /// Longest path of a socket, in bytes (`sun_path` of unix(7), without its end).
    pub const LONGEST_SOCKET: usize = 107;

    /// Returns the number of bytes by which this home's path is too long for its socket; `None` if
    /// it fits. The socket is made under a longer name than it has.
    #[must_use]
    pub fn too_long_by(&self) -> Option<usize> {
        let made = self.0.join("admin.sock-new");
        let over = made.as_os_str().len().saturating_sub(Self::LONGEST_SOCKET);
        (over > 0).then_some(over)
    }

    /// Returns the path of the mark that `portcullis init` has begun here and not ended.
    #[must_use]
    pub fn unfinished(&self) -> PathBuf {
        self.0.join(".init-unfinished")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug 18: `init` made a home whose socket can never be made.
    #[test]
    fn a_home_is_too_long_if_the_longest_name_of_its_socket_is() {
        let rest = "/admin.sock-new".len();
        let home = |length: usize| Home::new(format!("/{}", "h".repeat(length - 1)));
        let fits = Home::LONGEST_SOCKET - rest;
        assert_eq!(home(fits).too_long_by(), None);
        assert_eq!(home(fits + 3).too_long_by(), Some(3));
    }
}
