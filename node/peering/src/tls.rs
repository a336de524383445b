//! TLS configuration of this node, one for both sides.
//!
//! Only TLS 1.3 (RFC 8446), over aws-lc-rs, with the hybrid key exchange X25519MLKEM768 first, certificates on both
//! sides, and HTTP/2 by ALPN. Refuses session resumption, tickets and early data: each connection judges its peer anew.

use std::sync::Arc;

use portcullis_protocol::identifiers::NodeId;
use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use super::crypto::provider;
use super::identity::OwnIdentity;
use super::trust::Trust;
use super::verifier::{AnyPeer, OnePeer};

/// The protocol of RFC 9113, as named in ALPN.
pub const HTTP2: &[u8] = b"h2";

/// Source of the time by which certificates are judged.
pub type Clock = Arc<dyn TimeProvider>;

/// Returns the clock of the operating system.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(rustls::time_provider::DefaultTimeProvider)
}

/// Builds the configuration that accepts every node of the register.
///
/// # Errors
///
/// [`rustls::Error`] if the provider cannot do TLS 1.3: our fault.
pub fn server_config(
    identity: Arc<OwnIdentity>,
    trust: Trust,
    clock: Clock,
) -> Result<ServerConfig, rustls::Error> {
    let provider = provider();
    let mut config = ServerConfig::builder_with_details(provider.clone(), clock)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(AnyPeer::new(trust, provider)))
        .with_cert_resolver(identity);
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Builds the configuration that connects to `expected` and to no other node.
///
/// # Errors
///
/// [`rustls::Error`] if the provider cannot do TLS 1.3: our fault.
pub fn client_config(
    identity: Arc<OwnIdentity>,
    trust: Trust,
    expected: NodeId,
    clock: Clock,
) -> Result<ClientConfig, rustls::Error> {
    let provider = provider();
    let mut config = ClientConfig::builder_with_details(provider.clone(), clock)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OnePeer::new(expected, trust, provider)))
        .with_client_cert_resolver(identity);
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}
