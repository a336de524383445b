//! The two alternative names of a node.

use crate::Error;

/// The names a node's certificate carries: one DNS name and one URI `urn:portcullis:<federation>:<node>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeNames {
    dns: String,
    uri: String,
}

impl NodeNames {
    /// Makes the names of the node `node` of `federation` with the DNS name `dns`.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] if a part is empty or holds other characters than ASCII letters, digits, `-`, `.` and `_`.
    pub fn new(federation: &str, node: &str, dns: &str) -> Result<Self, Error> {
        for part in [federation, node, dns] {
            check(part)?;
        }
        Ok(Self {
            dns: dns.to_owned(),
            uri: format!("urn:portcullis:{federation}:{node}"),
        })
    }

    /// The DNS name.
    #[must_use]
    pub fn dns(&self) -> &str {
        &self.dns
    }

    /// The URI.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }
}

pub(crate) fn check(part: &str) -> Result<(), Error> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if part.is_empty() || !part.chars().all(fits) {
        return Err(Error::Name {
            name: part.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_cannot_smuggle_in_another_node() {
        assert!(matches!(
            NodeNames::new("fed", "a:b", "a.example"),
            Err(Error::Name { .. })
        ));
    }

    #[test]
    fn the_uri_is_the_one_of_the_register() {
        let names = NodeNames::new("ports", "antwerp", "antwerp.example").unwrap();
        assert_eq!(names.uri(), "urn:portcullis:ports:antwerp");
    }
}
