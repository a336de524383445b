//! The certificate that the authority's own CA issued for this node's request.
//!
//! The peers' checks are made here first, with the code that peers use: key, names, issuer, dates,
//! and the mark of a worthless certificate. A certificate that no peer would believe is not
//! installed.

use std::path::{Path, PathBuf};

use portcullis_protocol::{
    identifiers::{FederationId, NodeId},
    register::{Register, node_uri},
    time::Timestamp,
};
use rcgen::{CertificateParams, DistinguishedName, DnType, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    Home,
    config::{Config, dns_name::DnsName},
    files::{self, Access, FileError},
    keyring::{Keyring, KeyringError},
};
use portcullis_peering::{
    certificate::{CertificateError, PeerCertificate},
    identity::{IdentityError, OwnIdentity},
    trust::{DevelopmentCertificates, PeerFacts, PeerTrust, Refusal, Role, TrustError},
};

/// Format of PEM: 64 characters a line (RFC 7468 §2), and `\n`.
const LINES: pem::EncodeConfig = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);

/// A certificate request cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CsrError {
    /// The names or the key do not make one.
    #[error("the certificate request cannot be made: {0}")]
    Refused(#[from] rcgen::Error),
    /// The node's key is not to be had.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
}

/// Error of a file that holds no readable certificate.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is neither PEM nor DER.
    #[error("`{}` holds no certificate in PEM or DER; ask its authority for the certificate file", .0.display())]
    None(PathBuf),
    /// A certificate of a CA was expected, and it is not one.
    #[error("the certificate in `{}` is not that of a certification authority; name the CA's own certificate, the one that signs this authority's nodes", .0.display())]
    NotAuthority(PathBuf),
}

/// Error of a certificate that is not fit for this node.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFault {
    /// The file holds no readable certificate.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The certificate cannot be a node's, or belongs to another key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The certificate has other names than the node.
    #[error(
        "the certificate is for `{found}`, and this node is `{expected}`; have it made from `tls/csr.pem`, with both names as they are"
    )]
    Names {
        /// Names in the certificate.
        found: String,
        /// Names of the node.
        expected: String,
    },
    /// The certificate has ended.
    #[error("the certificate ended at {0}; have a new one made from `tls/csr.pem`")]
    Ended(jiff::Timestamp),
    /// Peers would not believe the certificate.
    #[error("no peer would believe it: {0}")]
    Refused(#[from] Refusal),
    /// The facts of this node in the register cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The register does not list this node.
    #[error(
        "the register does not list node `{0}`; have the governance admit it, then apply the new epoch"
    )]
    Unlisted(NodeId),
}

impl From<CertificateError> for CertificateFault {
    fn from(error: CertificateError) -> Self {
        Self::Identity(error.into())
    }
}

/// Identity of this node, as its certificate must state it.
#[derive(Debug, Clone)]
pub struct Own {
    /// Id of the node.
    pub node: NodeId,
    /// The one DNS name of the certificate.
    pub dns_name: DnsName,
    /// The one URI of the certificate.
    pub uri: String,
}

impl Own {
    /// Returns the identity of the node of this configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            node: config.node.clone(),
            dns_name: config.dns_name.clone(),
            uri: node_uri(&config.federation, &config.node),
        }
    }
}

/// Converts a time to that of certificates: whole seconds since 1970.
#[must_use]
pub fn unix(now: Timestamp) -> UnixTime {
    let millis = u64::try_from(now.as_millis()).unwrap_or_default();
    UnixTime::since_unix_epoch(std::time::Duration::from_millis(millis))
}

/// Reads certificates from a file in PEM, or one in DER.
///
/// # Errors
///
/// [`PemError`] if the file cannot be read or holds no certificate.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let bytes = files::read(path)?;
    let none = || PemError::None(path.to_owned());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| none())?;
    if !chain.is_empty() {
        return Ok(chain);
    }
    match X509Certificate::from_der(&bytes) {
        Ok(([], _)) => Ok(vec![bytes.into()]),
        Ok(_) | Err(_) => Err(none()),
    }
}

/// Reads the certificate of an authority's own CA.
///
/// # Errors
///
/// [`PemError`] if the file holds no certificate, or the certificate is not that of a CA.
pub fn certificate_authority(path: &Path) -> Result<CertificateDer<'static>, PemError> {
    let first = read_certificates(path)?.into_iter().next();
    let der = first.ok_or_else(|| PemError::None(path.to_owned()))?;
    let signs = X509Certificate::from_der(&der).is_ok_and(|(_, certificate)| certificate.is_ca());
    if signs {
        Ok(der)
    } else {
        Err(PemError::NotAuthority(path.to_owned()))
    }
}

/// Checks a chain that begins with the node's own certificate. Key, names and end are compared with
/// this node and with `now`. With a register, the chain is also judged as peers with that register
/// judge it.
///
/// # Errors
///
/// [`CertificateFault`] says what is wrong and what to do.
pub fn check_certificate(
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
    own: &Own,
    register: Option<&Register>,
    now: UnixTime,
) -> Result<PeerCertificate, CertificateFault> {
    let certificate = OwnIdentity::new(chain.to_vec(), key)?.certificate();
    let expected = format!("{} {}", own.dns_name, own.uri);
    let found = format!("{} {}", certificate.dns_name(), certificate.uri());
    if !found.eq_ignore_ascii_case(&expected) {
        return Err(CertificateFault::Names { found, expected });
    }
    if certificate.not_after().as_second() < i64::try_from(now.as_secs()).unwrap_or(i64::MAX) {
        return Err(CertificateFault::Ended(certificate.not_after()));
    }
    if let Some(register) = register {
        judge(chain, own, register, now)?;
    }
    Ok(certificate)
}

/// Judges the chain as peers will: as that of a client and as that of a server.
fn judge(
    chain: &[CertificateDer<'static>],
    own: &Own,
    register: &Register,
    now: UnixTime,
) -> Result<(), CertificateFault> {
    let (_, node) = register
        .node(&own.node)
        .ok_or_else(|| CertificateFault::Unlisted(own.node.clone()))?;
    let facts = PeerFacts {
        node: node.id.clone(),
        dns_name: node.dns_name.clone(),
        uri: node.uri(&register.federation),
        trust_anchor: node.trust_anchor.clone().into(),
        revocation_lists: Vec::new(),
    };
    let development = if register.development {
        DevelopmentCertificates::Accepted
    } else {
        DevelopmentCertificates::Refused
    };
    let trust = PeerTrust::new([facts], development)?;
    if let Some((end_entity, intermediates)) = chain.split_first() {
        for role in [Role::Client, Role::Server] {
            trust.judge(role, end_entity, intermediates, now)?;
        }
    }
    Ok(())
}

/// Puts a certificate in the node's home, after [`check_certificate`]. A running node uses it after
/// a reload.
///
/// # Errors
///
/// [`CertificateFault`] if the certificate is not fit or cannot be written; the present one stays.
pub fn install_certificate(
    home: &Home,
    path: &Path,
    keyring: &Keyring,
    own: &Own,
    register: Option<&Register>,
    now: UnixTime,
) -> Result<PeerCertificate, CertificateFault> {
    let chain = read_certificates(path)?;
    let certificate = check_certificate(&chain, keyring.tls_key(&chain), own, register, now)?;
    let pem: String = chain
        .iter()
        .map(|certificate| {
            pem::encode_config(&pem::Pem::new("CERTIFICATE", certificate.as_ref()), LINES)
        })
        .collect();
    files::replace(&home.certificate(), pem.as_bytes(), Access::Everyone)
        .map_err(PemError::from)?;
    Ok(certificate)
}

/// The request (PKCS #10, PEM) for the certificate of a node: one DNS name and one URI.
///
/// # Errors
///
/// [`CsrError`] if the cryptography refuses.
pub fn certificate_request(
    keyring: &Keyring,
    dns_name: &DnsName,
    federation: &FederationId,
    node: &NodeId,
) -> Result<String, CsrError> {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, dns_name.as_str());
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.subject_alt_names = vec![
        SanType::DnsName(dns_name.as_str().try_into()?),
        SanType::URI(node_uri(federation, node).try_into()?),
    ];
    Ok(params.serialize_request(&keyring.tls_pair()?)?.pem()?)
}
