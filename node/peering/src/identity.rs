//! The certificate and key that this node shows its peers, replaceable while it runs.
//!
//! Refuses a key that is not the certificate's, and a certificate that cannot be a node's.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::certificate::{CertificateError, PeerCertificate};

/// Error that keeps this node from showing a certificate. The operator has to mend it.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Not PEM, or without the part that is needed.
    #[error(
        "no {what} in the PEM file; check that the file is the one its authority sent or `init` made"
    )]
    Pem {
        /// The part that was looked for.
        what: &'static str,
    },
    /// The certificate cannot be a node's.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The key does not parse or is another's.
    #[error(
        "the private key does not belong to the certificate; have a new certificate made from this node's request"
    )]
    Key(#[source] rustls::Error),
}

/// The certificate chain and key shown to peers. `Debug` shows nothing of the key.
#[derive(Debug)]
pub struct OwnIdentity {
    // This is an `ArcSwap` because rustls asks for it in the middle of a handshake and must not
    // wait.
    shown: ArcSwap<Shown>,
}

#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    certificate: PeerCertificate,
}

impl OwnIdentity {
    /// Shows the certificate first in `chain`, with its private key.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] if the certificate cannot be a node's or the key is not its key.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, IdentityError> {
        Ok(Self {
            shown: ArcSwap::from_pointee(Shown::new(chain, key)?),
        })
    }

    /// As [`Self::new`], from PEM: the chain, end-entity certificate first, and the key.
    ///
    /// # Errors
    ///
    /// As [`Self::new`], and [`IdentityError::Pem`] if a part is missing.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let (chain, key) = parse_pem(chain, key)?;
        Self::new(chain, key)
    }

    /// Shows another certificate from the next handshake on; with an error, goes on showing the present one.
    ///
    /// # Errors
    ///
    /// As [`Self::from_pem`].
    pub fn replace_from_pem(&self, chain: &[u8], key: &[u8]) -> Result<(), IdentityError> {
        let (chain, key) = parse_pem(chain, key)?;
        self.shown.store(Arc::new(Shown::new(chain, key)?));
        Ok(())
    }

    /// Shows what another identity shows, from the next handshake on.
    pub fn replace(&self, other: &Self) {
        self.shown.store(other.shown.load_full());
    }

    /// Returns what the certificate shown says.
    #[must_use]
    pub fn certificate(&self) -> PeerCertificate {
        self.shown.load().certificate.clone()
    }

    fn key(&self) -> Arc<CertifiedKey> {
        self.shown.load().key.clone()
    }
}

impl Shown {
    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, IdentityError> {
        let end_entity = chain.first().ok_or(IdentityError::Pem {
            what: "certificate",
        })?;
        let certificate = PeerCertificate::parse(end_entity)?;
        let key = CertifiedKey::from_der(chain, key, &super::crypto::provider())
            .map_err(IdentityError::Key)?;
        Ok(Self {
            key: Arc::new(key),
            certificate,
        })
    }
}

fn parse_pem(
    chain: &[u8],
    key: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), IdentityError> {
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| IdentityError::Pem {
            what: "certificate",
        })?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError::Pem {
        what: "private key",
    })?;
    Ok((chain, key))
}

impl ResolvesServerCert for OwnIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

impl ResolvesClientCert for OwnIdentity {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use portcullis_certs_dev::{DevelopmentAuthority, NodeCertificate, NodeNames, certificate_pem};

    use super::*;

    fn issue(node: &str) -> NodeCertificate {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let names = NodeNames::new("ports", node, &format!("{node}.example")).unwrap();
        DevelopmentAuthority::new("belgium", now)
            .unwrap()
            .issue(&names, now)
            .unwrap()
    }

    fn pem(certificate: &NodeCertificate) -> (String, String) {
        (
            certificate_pem(&certificate.certificate),
            certificate.key.pem(),
        )
    }

    #[test]
    fn another_certificates_key_is_refused_and_the_present_one_stays() {
        let ((present, key), (renewed, other_key)) =
            (pem(&issue("antwerp")), pem(&issue("antwerp")));
        let identity = OwnIdentity::from_pem(present.as_bytes(), key.as_bytes()).unwrap();
        let before = identity.certificate();
        let refused = identity.replace_from_pem(renewed.as_bytes(), key.as_bytes());
        assert!(matches!(refused, Err(IdentityError::Key(_))), "{refused:?}");
        assert_eq!(identity.certificate(), before);
        identity
            .replace_from_pem(renewed.as_bytes(), other_key.as_bytes())
            .unwrap();
        assert_ne!(identity.certificate().serial(), before.serial());
    }

    #[test]
    fn a_file_without_its_part_says_what_is_missing() {
        let (certificate, key) = pem(&issue("antwerp"));
        let what = |chain: &str, key: &str| {
            OwnIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err()
        };
        assert!(matches!(
            what(&key, &key),
            IdentityError::Pem {
                what: "certificate"
            }
        ));
        assert!(matches!(
            what(&certificate, &certificate),
            IdentityError::Pem {
                what: "private key"
            }
        ));
    }

    #[test]
    fn the_key_does_not_show_in_debug_output() {
        let certificate = issue("antwerp");
        let (chain, key) = pem(&certificate);
        let shown = format!(
            "{:?}",
            OwnIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
        );
        assert!(!shown.contains(&format!("{:?}", certificate.key.der().secret_der())));
    }
}
