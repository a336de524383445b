//! Certificate verifiers for the two places where rustls asks about a peer. Both answer by [`super::trust`].
//!
//! Refuses TLS 1.2 signatures outright: neither side of this node can negotiate that version.

use std::sync::Arc;

use portcullis_protocol::identifiers::NodeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::trust::{JudgedPeer, Refusal, Role, Trust};

/// Admits whichever node of the register connects.
#[derive(Debug)]
pub struct AnyPeer {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl AnyPeer {
    /// Judges by the current snapshot of `trust`.
    #[must_use]
    pub fn new(trust: Trust, provider: Arc<CryptoProvider>) -> Self {
        Self { trust, provider }
    }
}

impl ClientCertVerifier for AnyPeer {
    /// Gives no hint. The list of authorities is no caller's business before it has said who it is, and a node has only
    /// one certificate.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let judged = self
            .trust
            .current()
            .judge(Role::Client, end_entity, intermediates, now)
            .map_err(one_alert)?;
        self.trust.saw(&judged);
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
        .map_err(|error| other(Arc::new(error)))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Admits one node of the register, the one that was called.
#[derive(Debug)]
pub struct OnePeer {
    expected: NodeId,
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl OnePeer {
    /// Expects `expected`, judged by the current snapshot of `trust`.
    #[must_use]
    pub fn new(expected: NodeId, trust: Trust, provider: Arc<CryptoProvider>) -> Self {
        Self {
            expected,
            trust,
            provider,
        }
    }
}

impl ServerCertVerifier for OnePeer {
    /// The name that rustls passes is ignored; the register's name for the expected node is checked instead.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = self
            .trust
            .current()
            .judge(Role::Server, end_entity, intermediates, now)
            .map_err(alert)?;
        let judged = refuse_other(&self.expected, judged).map_err(alert)?;
        self.trust.saw(&judged);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

pub(super) fn refuse_other(expected: &NodeId, judged: JudgedPeer) -> Result<JudgedPeer, Refusal> {
    if judged.node == *expected {
        return Ok(judged);
    }
    Err(Refusal::OtherNode {
        expected: expected.clone(),
        found: judged.node,
    })
}

/// Returns the refusal behind a failed handshake, if there is one.
#[must_use]
pub fn refusal_of(error: &std::io::Error) -> Option<&Refusal> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    let Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) = error else {
        return None;
    };
    inner.downcast_ref()
}

/// Turns the refusal of a caller into an error for rustls that shows it `certificate_unknown` for whatever reason.
/// Different alerts would tell a stranger whose names the register lists.
fn one_alert(refusal: Refusal) -> Error {
    not_believed(&refusal);
    other(Arc::new(refusal))
}

/// Turns the refusal of a node that was called into an error for rustls. The verdicts of webpki are passed on as they
/// are, so that the node gets the alert that fits (`certificate_expired`, `certificate_revoked`). This node's own
/// refusals travel inside, and the other node sees `certificate_unknown`.
fn alert(refusal: Refusal) -> Error {
    not_believed(&refusal);
    match refusal {
        Refusal::Chain { node: _, reason } => reason,
        Refusal::Certificate(_)
        | Refusal::UnknownUri { .. }
        | Refusal::OtherDnsName { .. }
        | Refusal::OtherNode { .. }
        | Refusal::UnknownNode { .. }
        | Refusal::Cut { .. }
        | Refusal::Development { .. } => other(Arc::new(refusal)),
    }
}

fn not_believed(refusal: &Refusal) {
    tracing::debug!(rule = refusal.rule().id(), %refusal, "peer not believed");
}

fn other(reason: Arc<dyn std::error::Error + Send + Sync>) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(reason)))
}

fn only_tls13() -> Error {
    Error::General("a TLS 1.2 signature in a TLS 1.3 handshake".to_owned())
}
