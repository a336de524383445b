//! The credentials of a node: its key, its request and its certificate.

use std::fmt;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};

use crate::{Error, NodeNames};

/// Serial number of a certificate: 16 random octets, the first bit clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serial(Vec<u8>);

impl Serial {
    pub(crate) fn random() -> Result<Self, Error> {
        let mut octets = [0u8; 16];
        getrandom::fill(&mut octets).map_err(Error::Random)?;
        // RFC 5280 §4.1.2.2: positive. With 0x40 set, no octet is lost to minimal encoding either.
        octets[0] = (octets[0] & 0x7f) | 0x40;
        Ok(Self(octets.to_vec()))
    }

    /// Makes the serial number with these octets, most significant first, as a certificate's parser returns them.
    #[must_use]
    pub fn from_octets(octets: &[u8]) -> Self {
        Self(octets.to_vec())
    }

    /// Returns the octets, most significant first.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn number(&self) -> SerialNumber {
        SerialNumber::from_slice(&self.0)
    }
}

/// A node's TLS key. `Debug` shows nothing of it.
pub struct NodeKey(KeyPair);

impl NodeKey {
    /// Makes a fresh ECDSA P-256 key.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] if the library makes none.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self(KeyPair::generate()?))
    }

    /// Returns the private key as PKCS #8, for rustls.
    #[must_use]
    pub fn der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }

    /// Returns the private key as PKCS #8 in PEM, to be written to a file that only its owner can read.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// Makes a certificate request (PKCS #10) for `names`.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] if the library refuses.
    pub fn request(
        &self,
        names: &NodeNames,
    ) -> Result<CertificateSigningRequestDer<'static>, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(names);
        params.subject_alt_names = alternative_names(names)?;
        Ok(params.serialize_request(&self.0)?.into())
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.0
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

/// A node's certificate with its key.
#[derive(Debug)]
pub struct NodeCertificate {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its private key.
    pub key: NodeKey,
    /// Its serial number, to be put on a revocation list.
    pub serial: Serial,
}

pub(crate) fn node_params(names: &NodeNames, serial: &Serial) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(serial.number());
    params.distinguished_name = subject(names);
    params.subject_alt_names = alternative_names(names)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    params.custom_extensions = vec![crate::marker::extension()];
    Ok(params)
}

pub(crate) fn alternative_names(names: &NodeNames) -> Result<Vec<SanType>, Error> {
    Ok(vec![dns_name(names)?, uri_name(names)?])
}

pub(crate) fn dns_name(names: &NodeNames) -> Result<SanType, Error> {
    Ok(SanType::DnsName(names.dns().try_into()?))
}

pub(crate) fn uri_name(names: &NodeNames) -> Result<SanType, Error> {
    Ok(SanType::URI(names.uri().try_into()?))
}

fn subject(names: &NodeNames) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, names.dns());
    subject
}
