//! Reasons for which a peer is not reached, each a sentence and what to do about it.
//!
//! Errors of the network, of TLS and of gRPC end here: none of their texts reaches a person. Pure.

use std::{error::Error, fmt, io, time::Duration};

use rustls::AlertDescription;
use tonic::{Code, Status};

use super::{
    connector::{ConnectError, NoName},
    ending::Ending,
    trust::Refusal,
    verifier::refusal_of,
};

/// Longest text of a peer that is shown, in characters.
const LONGEST_SAID: usize = 120;

/// Reason for which a peer is not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreached {
    /// Its name has no address.
    NoName {
        /// Endpoint in the register.
        address: String,
    },
    /// Nothing listens at its address.
    Refused {
        /// Endpoint in the register.
        address: String,
    },
    /// No way leads to its address.
    NoRoute {
        /// Endpoint in the register.
        address: String,
    },
    /// Nothing came back in time.
    Silent {
        /// Time that was waited.
        limit: Duration,
    },
    /// It broke the connection off.
    BrokeOff,
    /// It does not believe this node.
    Disbelieves(Disbelief),
    /// This node does not believe who answers there.
    Disbelieved {
        /// Reason, in words.
        reason: String,
        /// Advice that goes with it.
        remedy: &'static str,
    },
    /// Something answers there that does not speak as a node does.
    NoNode,
    /// The endpoint in the register is not `host:port`.
    NoAddress {
        /// Endpoint in the register.
        address: String,
    },
    /// Something else failed on the way.
    Failed,
}

/// Objection of a peer to this node's certificate, as its TLS alert tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disbelief {
    /// The certificate has expired, by the peer's clock.
    Expired,
    /// The certificate is revoked.
    Revoked,
    /// The certificate is of another CA than the peer knows.
    OtherAuthority,
    /// The peer does not tell why.
    Untold,
}

impl Unreached {
    /// Every name that [`Self::name`] returns.
    pub const NAMES: [&'static str; 10] = [
        "no-name",
        "refused",
        "no-route",
        "silent",
        "broke-off",
        "disbelieves",
        "disbelieved",
        "no-node",
        "no-address",
        "failed",
    ];

    /// Returns the name in JSON and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NoName { .. } => "no-name",
            Self::Refused { .. } => "refused",
            Self::NoRoute { .. } => "no-route",
            Self::Silent { .. } => "silent",
            Self::BrokeOff => "broke-off",
            Self::Disbelieves(_) => "disbelieves",
            Self::Disbelieved { .. } => "disbelieved",
            Self::NoNode => "no-node",
            Self::NoAddress { .. } => "no-address",
            Self::Failed => "failed",
        }
    }

    /// Returns the action that helps.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoName { .. } => {
                "look at the DNS of this machine; if the name is gone, ask the peer's operator for a new membership request"
            }
            Self::Refused { .. } => {
                "ask the peer's operator whether the node runs, and which address it listens on"
            }
            Self::NoRoute { .. } => "look at the network and the firewall of this machine",
            Self::Silent { .. } => {
                "ask the peer's operator whether the node runs; look at the firewalls on both sides"
            }
            Self::BrokeOff => {
                "if it lasts, ask the peer's operator: the log of that node has the reason"
            }
            Self::Disbelieves(Disbelief::Expired) => {
                "install a new certificate with `portcullis tls install`; if it holds, compare the clocks"
            }
            Self::Disbelieves(Disbelief::Revoked) => {
                "ask the authority's own CA, then install a new certificate"
            }
            Self::Disbelieves(Disbelief::OtherAuthority | Disbelief::Untold) => {
                "ask the peer's operator, whose log names the reason: this node may be blocked there, or its register may be older than this node's certificate"
            }
            Self::Disbelieved { remedy, .. } => remedy,
            Self::NoNode => {
                "compare its endpoint in the register with the peer's operator; a proxy on the way must pass TLS on untouched"
            }
            Self::NoAddress { .. } => {
                "have its authority correct the endpoint in a changed membership request"
            }
            Self::Failed => "look at the log of this node with `PORTCULLIS_LOG=portcullis=debug`",
        }
    }

    /// Returns the reason behind an error, by the innermost cause that tells one.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        Self::told_by(error).unwrap_or_else(|| {
            tracing::debug!(?error, "a peer was not reached");
            Self::Failed
        })
    }

    /// Returns the reason for which a call did not reach a peer; `None` if the peer answered it, or if this node ended
    /// the connection in the ordinary way.
    #[must_use]
    pub fn of_call(status: &Status) -> Option<Self> {
        let cause = status.source();
        if cause.is_some_and(is_of_age) {
            return None;
        }
        let told = cause.and_then(Self::told_by);
        told.or_else(|| (status.code() == Code::Unavailable).then_some(Self::BrokeOff))
    }

    fn told_by(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<ConnectError>() {
                return Some(of_connecting(error));
            }
            if let Some(ending) = error.downcast_ref::<Ending>() {
                return Some(of_ending(ending));
            }
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return of_io(error);
            }
            cause = error.source();
        }
        None
    }
}

/// Returns true if a connection ended because it was old.
fn is_of_age(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let ending = inner.and_then(|inner| inner.downcast_ref::<Ending>());
        if matches!(ending, Some(Ending::Age)) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn of_connecting(error: &ConnectError) -> Unreached {
    match error {
        ConnectError::Address { address } => Unreached::NoAddress {
            address: address.clone(),
        },
        ConnectError::Tcp {
            node: _,
            address,
            source,
        } => of_tcp(address, source),
        ConnectError::Handshake { node: _, source } => of_io(source).unwrap_or(Unreached::NoNode),
        ConnectError::TimedOut { node: _, limit } => Unreached::Silent { limit: *limit },
        ConnectError::NotHttp2 { node: _ } => Unreached::NoNode,
        ConnectError::Untrusted(ending) => of_ending(ending),
    }
}

fn of_tcp(address: &str, error: &io::Error) -> Unreached {
    let address = address.to_owned();
    let inner = error.get_ref();
    if inner.is_some_and(|inner| inner.is::<NoName>()) {
        return Unreached::NoName { address };
    }
    let is = |kind| error.kind() == kind;
    if is(io::ErrorKind::ConnectionRefused) {
        Unreached::Refused { address }
    } else if is(io::ErrorKind::TimedOut) {
        Unreached::Silent {
            limit: Duration::ZERO,
        }
    } else if is(io::ErrorKind::ConnectionReset) {
        Unreached::BrokeOff
    } else {
        Unreached::NoRoute { address }
    }
}

fn of_ending(ending: &Ending) -> Unreached {
    match ending {
        Ending::Age => Unreached::BrokeOff,
        Ending::Untrusted(refusal) => of_refusal(refusal),
        Ending::NoClock => Unreached::Failed,
    }
}

fn of_refusal(refusal: &Refusal) -> Unreached {
    let text = refusal.to_string();
    let reason = text
        .split_once("; ")
        .map_or(text.as_str(), |(what, _)| what);
    Unreached::Disbelieved {
        reason: reason.to_owned(),
        remedy: refusal.remedy(),
    }
}

/// Returns the reason that an error of a stream tells; `None` if it tells none.
fn of_io(error: &io::Error) -> Option<Unreached> {
    if let Some(refusal) = refusal_of(error) {
        return Some(of_refusal(refusal));
    }
    let inner = error.get_ref();
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Some(of_tls(error));
    }
    if let Some(ending) = inner.and_then(|inner| inner.downcast_ref::<Ending>()) {
        return Some(of_ending(ending));
    }
    let broke_off = [
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::NotConnected,
    ];
    if broke_off.contains(&error.kind()) {
        return Some(Unreached::BrokeOff);
    }
    if error.kind() == io::ErrorKind::TimedOut {
        return Some(Unreached::Silent {
            limit: Duration::ZERO,
        });
    }
    inner.and_then(|inner| Unreached::told_by(inner))
}

fn of_tls(error: &rustls::Error) -> Unreached {
    if let rustls::Error::AlertReceived(alert) = error {
        return of_alert(*alert);
    }
    if matches!(error, rustls::Error::InvalidCertificate(_)) {
        return Unreached::Disbelieved {
            reason: format!(
                "the certificate shown there does not hold: {}",
                super::wording::verdict(error)
            ),
            remedy: CERTIFICATE,
        };
    }
    Unreached::NoNode
}

fn of_alert(alert: AlertDescription) -> Unreached {
    let about = |alerts: &[AlertDescription]| alerts.contains(&alert);
    if about(&[AlertDescription::CertificateExpired]) {
        Unreached::Disbelieves(Disbelief::Expired)
    } else if about(&[AlertDescription::CertificateRevoked]) {
        Unreached::Disbelieves(Disbelief::Revoked)
    } else if about(&[AlertDescription::UnknownCA]) {
        Unreached::Disbelieves(Disbelief::OtherAuthority)
    } else if about(&[
        AlertDescription::CertificateUnknown,
        AlertDescription::BadCertificate,
        AlertDescription::UnsupportedCertificate,
        AlertDescription::AccessDenied,
    ]) {
        Unreached::Disbelieves(Disbelief::Untold)
    } else if about(&[
        AlertDescription::CloseNotify,
        AlertDescription::UserCanceled,
    ]) {
        Unreached::BrokeOff
    } else {
        Unreached::NoNode
    }
}

const CERTIFICATE: &str = "ask the peer's operator to renew the certificate; if it was renewed, take up the newest register and revocation list";

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName { address } => write!(f, "the name in `{address}` is not found"),
            Self::Refused { address } => write!(f, "nothing listens at `{address}`"),
            Self::NoRoute { address } => write!(f, "no way leads to `{address}`"),
            Self::Silent { limit } if limit.is_zero() => f.write_str("it does not answer"),
            Self::Silent { limit } => {
                write!(f, "it does not answer within {} s", limit.as_secs_f64())
            }
            Self::BrokeOff => f.write_str("it broke the connection off"),
            Self::Disbelieves(disbelief) => {
                f.write_str("it refuses this node's certificate")?;
                f.write_str(match disbelief {
                    Disbelief::Expired => ": it has expired",
                    Disbelief::Revoked => ": it is revoked",
                    Disbelief::OtherAuthority => ": another CA signed it than it knows",
                    Disbelief::Untold => ", and does not say why",
                })
            }
            Self::Disbelieved { reason, .. } => f.write_str(reason),
            Self::NoNode => f.write_str("something answers there that is no node"),
            Self::NoAddress { address } => {
                write!(
                    f,
                    "its endpoint `{address}` in the register is not `host:port`"
                )
            }
            Self::Failed => f.write_str("the connection failed"),
        }
    }
}

/// Returns the answer of a peer that refuses a call, in words. What it says of its own is cut and escaped.
#[must_use]
pub fn answered(status: &Status) -> String {
    if let Some(reason) = Unreached::of_call(status) {
        return reason.to_string();
    }
    let said: String = status
        .message()
        .chars()
        .take(LONGEST_SAID)
        .flat_map(char::escape_debug)
        .collect();
    let words = if status.source().is_some() {
        "it ended the connection"
    } else if status.code() == Code::ResourceExhausted {
        "it has no room for another call now"
    } else if status.code() == Code::Unimplemented {
        "it does not have this service; its version may be an older one"
    } else {
        "it ended the call"
    };
    if said.is_empty() || status.source().is_some() {
        words.to_owned()
    } else {
        format!("{words}: `{said}`")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{CertificateError, OtherError};

    use super::*;
    use crate::cut::Cut;

    fn handshake(error: rustls::Error) -> ConnectError {
        ConnectError::Handshake {
            node: "hague".parse().unwrap(),
            source: io::Error::new(io::ErrorKind::InvalidData, error),
        }
    }

    fn tcp(kind: io::ErrorKind) -> ConnectError {
        ConnectError::Tcp {
            node: "hague".parse().unwrap(),
            address: "hague.example:7443".to_owned(),
            source: kind.into(),
        }
    }

    fn blocked() -> Refusal {
        Refusal::Cut {
            node: "hague".parse().unwrap(),
            cut: Cut::Blocked,
        }
    }

    fn refused(error: impl Error + Send + Sync + 'static) -> rustls::Error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
    }

    fn all() -> Vec<(ConnectError, &'static str, &'static str)> {
        let unknown = AlertDescription::CertificateUnknown;
        let expired = AlertDescription::CertificateExpired;
        let alert = |alert| handshake(rustls::Error::AlertReceived(alert));
        let no_name = ConnectError::Tcp {
            node: "hague".parse().unwrap(),
            address: "hague.example:7443".to_owned(),
            source: io::Error::new(
                io::ErrorKind::NotFound,
                NoName::of(io::Error::other("failed to lookup address information")),
            ),
        };
        let chain = Refusal::Chain {
            node: "hague".parse().unwrap(),
            reason: rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer),
        };
        vec![
            (
                no_name,
                "no-name",
                "the name in `hague.example:7443` is not found",
            ),
            (
                tcp(io::ErrorKind::ConnectionRefused),
                "refused",
                "nothing listens at `hague.example:7443`",
            ),
            (
                tcp(io::ErrorKind::HostUnreachable),
                "no-route",
                "no way leads to `hague.example:7443`",
            ),
            (tcp(io::ErrorKind::TimedOut), "silent", "it does not answer"),
            (
                alert(unknown),
                "disbelieves",
                "it refuses this node's certificate, and does not say why",
            ),
            (
                alert(expired),
                "disbelieves",
                "it refuses this node's certificate: it has expired",
            ),
            (
                alert(AlertDescription::ProtocolVersion),
                "no-node",
                "something answers there that is no node",
            ),
            (
                handshake(refused(blocked())),
                "disbelieved",
                "node `hague` is blocked here",
            ),
            (
                ConnectError::Untrusted(blocked().into()),
                "disbelieved",
                "node `hague` is blocked here",
            ),
            (
                ConnectError::Untrusted(chain.into()),
                "disbelieved",
                "the certificate of node `hague` does not hold: another CA signed it than the register names for the node",
            ),
            (
                handshake(rustls::Error::InvalidCertificate(CertificateError::Expired)),
                "disbelieved",
                "the certificate shown there does not hold: it has expired",
            ),
        ]
    }

    /// Newcomer B3: a blocked peer was told of as `Custom { kind: InvalidData, error: … }`.
    #[test]
    fn each_error_of_a_connection_is_a_sentence_and_something_to_do() {
        for (error, name, words) in all() {
            let reason = Unreached::of(&error);
            assert_eq!((reason.name(), reason.to_string().as_str()), (name, words));
            assert!(Unreached::NAMES.contains(&reason.name()));
            for text in [reason.to_string(), reason.remedy().to_owned()] {
                let rust = ["::", "{", "Error", "kind", "Os", "(os"];
                let shown = rust.iter().find(|part| text.contains(**part));
                assert_eq!(shown, None, "{text}");
                assert!(!text.is_empty() && text.starts_with(|c: char| !c.is_uppercase()));
            }
        }
    }

    #[test]
    fn the_reason_is_found_however_deep_it_lies() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] ConnectError);
        let deep = Outer(tcp(io::ErrorKind::ConnectionRefused));
        assert_eq!(Unreached::of(&deep).name(), "refused");
        let deep = io::Error::other(deep);
        assert_eq!(Unreached::of(&deep).name(), "refused");
    }

    #[test]
    fn what_a_peer_says_of_its_own_is_cut_and_escaped() {
        let said = format!("\u{1b}[31m{}", "x".repeat(1_000));
        let answer = answered(&Status::internal(said));
        assert!(answer.len() < 200 && !answer.contains('\u{1b}'), "{answer}");
        assert_eq!(Unreached::of_call(&Status::internal("no")), None);
        let gone = Status::unavailable("gone");
        assert_eq!(Unreached::of_call(&gone), Some(Unreached::BrokeOff));
    }
}
