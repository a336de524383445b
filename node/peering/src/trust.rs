//! Trust in peers: one snapshot of the register and of the revocation lists, and the judgement of a certificate by it.
//!
//! A peer's node id is the one that the register binds to the single URI of its certificate. Its chain is verified
//! against the trust anchor bound to that node and no other, so that no authority can speak for another's node; name
//! constraints play no part. Revocation lists, if given for a node, are binding: an unknown status, or a list past its
//! next update, refuses. Without any, revocation is not checked, and only the register can end the trust.
//!
//! The register, not the anchor's own dates, says how long an anchor is trusted (RFC 5280 §6.1.1 d).
//!
//! Refuses certificates of the development PKI outside a development federation. Refuses a register in which two nodes
//! share a name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use portcullis_protocol::{identifiers::NodeId, rules::Rule};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use tokio::sync::watch;

use super::certificate::{self, CertificateError, Marking, PeerCertificate};
use crate::{
    cut::Cut,
    revocation::{self, RevocationList},
    term::Term,
    wording::verdict,
};

/// Facts about one node from the register and the operator.
#[derive(Debug, Clone)]
pub struct PeerFacts {
    /// The node.
    pub node: NodeId,
    /// The one DNS name of its certificate.
    pub dns_name: String,
    /// The one URI of its certificate.
    pub uri: String,
    /// The certificate of its authority's own certification authority.
    pub trust_anchor: CertificateDer<'static>,
    /// Revocation lists of that authority, of which those count that [`revocation::choose`] chooses. If there are none,
    /// revocation is not checked.
    pub revocation_lists: Vec<CertificateRevocationListDer<'static>>,
}

/// Treatment of development certificates, which call themselves worthless, in a federation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DevelopmentCertificates {
    /// Development certificates are refused.
    Refused,
    /// Development certificates are accepted: the register says that this is a development federation.
    Accepted,
}

/// Side of the connection that the judged peer plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The peer connected to this node.
    Client,
    /// This node connected to the peer.
    Server,
}

/// A peer whose certificate was judged good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedPeer {
    /// Node id of the peer.
    pub node: NodeId,
    /// Last second at which its certificate holds.
    pub certificate_expiry: Timestamp,
    /// Validity of its certificate.
    pub certificate_term: Term,
    /// Last second at which this judgement can hold: the end of its certificate or of a revocation list, whichever is
    /// first.
    pub holds_until: Timestamp,
}

/// Reason for which a peer is not believed. The peer, or the keeper of the register, has to mend it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The certificate cannot be that of a node.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The URI belongs to no node in the register.
    #[error(
        "no node in the register has the URI `{uri}`; check that both nodes hold the newest register"
    )]
    UnknownUri {
        /// URI found, shortened and with control characters escaped.
        uri: String,
    },
    /// The certificate carries another DNS name than the register binds to its URI.
    #[error(
        "the certificate of node `{node}` has the DNS name `{found}` and the register `{expected}`"
    )]
    OtherDnsName {
        /// The node its URI names.
        node: NodeId,
        /// The name in the register.
        expected: String,
        /// Name found, shortened and with control characters escaped.
        found: String,
    },
    /// The peer is another node than the one that was called.
    #[error(
        "node `{found}` answered where `{expected}` was called; check the endpoint of `{expected}` in the register"
    )]
    OtherNode {
        /// The node called.
        expected: NodeId,
        /// The node that answered.
        found: NodeId,
    },
    /// The node called is not in the register.
    #[error("node `{node}` is not in the register")]
    UnknownNode {
        /// The node called.
        node: NodeId,
    },
    /// The peer is cut off: blocked here, or its authority suspended.
    #[error("node `{node}` is {cut}")]
    Cut {
        /// The node its URI names.
        node: NodeId,
        /// Reason for the cut.
        cut: Cut,
    },
    /// The certificate is of a development PKI, and the federation is not for development.
    #[error(
        "the certificate of node `{node}` is of a development PKI, and the federation is not for development"
    )]
    Development {
        /// The node its URI names.
        node: NodeId,
    },
    /// The chain does not verify against the trust anchor of the node.
    #[error("the certificate of node `{node}` does not hold: {}", verdict(.reason))]
    Chain {
        /// The node its URI names.
        node: NodeId,
        /// Verdict of webpki.
        reason: rustls::Error,
    },
}

impl Refusal {
    /// Returns the action that helps, at this node or with the peer's operator.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "have the peer's certificate issued as a node's",
            Self::UnknownUri { .. } | Self::UnknownNode { .. } => {
                "check that both nodes hold the newest register"
            }
            Self::OtherDnsName { .. } => {
                "have the certificate issued for the name in the register, or the register changed"
            }
            Self::OtherNode { .. } => "check the endpoint in the register",
            Self::Cut {
                node: _,
                cut: Cut::Blocked,
            } => "open the block with `portcullis peer unblock` if it is no longer meant",
            Self::Cut {
                node: _,
                cut: Cut::Suspended(_),
            } => "a suspension ends by itself; ask the governance about it",
            Self::Cut {
                node: _,
                cut: Cut::Shut,
            } => "see `portcullis status`",
            Self::Development { .. } => {
                "have a certificate of the authority's own CA installed there"
            }
            Self::Chain { reason, .. } if is_revocation(reason) => {
                "ask the peer's operator for a new certificate; if only the list has ended, fetch a new one into `crl/` and reload"
            }
            Self::Chain { .. } => {
                "ask the peer's operator to renew it, compare the clocks, and check that both nodes hold the newest register"
            }
        }
    }

    /// Returns the rule that refuses the peer.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        match self {
            Self::Development { .. } => Rule::DevelopmentKeys,
            Self::Cut { cut, .. } => cut.rule(),
            Self::Chain { reason, .. } if is_revocation(reason) => Rule::PeerRevoked,
            Self::Chain { .. }
            | Self::Certificate(_)
            | Self::UnknownUri { .. }
            | Self::OtherDnsName { .. }
            | Self::OtherNode { .. }
            | Self::UnknownNode { .. } => Rule::PeerCertificate,
        }
    }
}

/// Returns true if a certificate is revoked, or if no list in force says that it is not.
const fn is_revocation(reason: &rustls::Error) -> bool {
    matches!(
        reason,
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::Revoked
                | rustls::CertificateError::UnknownRevocationStatus
                | rustls::CertificateError::ExpiredRevocationList
                | rustls::CertificateError::ExpiredRevocationListContext { .. }
        )
    )
}

/// Reason for which register facts make no snapshot. The keeper of the register or of the revocation lists has to mend
/// it.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Two nodes have the same id or the same URI.
    #[error("two nodes in the register share the name `{name}`")]
    Shared {
        /// The id or URI.
        name: String,
    },
    /// The name is not a DNS name.
    #[error("`{dns_name}`, of node `{node}`, is no DNS name")]
    DnsName {
        /// The node.
        node: NodeId,
        /// Its name in the register.
        dns_name: String,
    },
    /// The trust anchor does not parse.
    #[error(
        "the trust anchor of node `{node}` is not a certificate; have its authority send it again"
    )]
    Anchor {
        /// The node.
        node: NodeId,
    },
    /// A revocation list does not parse.
    #[error(
        "a revocation list for node `{node}` does not parse; fetch it from its authority again"
    )]
    RevocationList {
        /// The node.
        node: NodeId,
        /// The fault in the list.
        #[source]
        source: CertificateError,
    },
    /// The verifier cannot be built.
    #[error("no verifier can be built for node `{node}`")]
    Verifier {
        /// The node.
        node: NodeId,
        /// The error of the verifier's builder.
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
}

/// An immutable snapshot of who may be a peer.
#[derive(Debug, Clone)]
pub struct PeerTrust {
    peers: BTreeMap<NodeId, TrustedPeer>,
    /// Nodes that are cut off, whatever register and certificate say.
    cut: BTreeMap<NodeId, Cut>,
    by_uri: BTreeMap<String, NodeId>,
    development: DevelopmentCertificates,
}

#[derive(Debug, Clone)]
struct TrustedPeer {
    dns_name: String,
    server_name: ServerName<'static>,
    anchor_marking: Marking,
    /// Lists that count.
    lists: Vec<RevocationList>,
    lists_due: Option<Timestamp>,
    terms: Terms,
    as_client: Arc<dyn ClientCertVerifier>,
    as_server: Arc<WebPkiServerVerifier>,
}

/// Validity of the documents that vouch for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Term of the trust anchor.
    pub anchor: Term,
    /// Term of the revocation list that ends first; `None` without revocation lists.
    pub list: Option<Term>,
}

impl PeerTrust {
    /// Builds a snapshot from what the register says of every peer.
    ///
    /// # Errors
    ///
    /// [`TrustError`] names the node whose facts do not hold together.
    pub fn new(
        facts: impl IntoIterator<Item = PeerFacts>,
        development: DevelopmentCertificates,
    ) -> Result<Self, TrustError> {
        let mut trust = Self {
            peers: BTreeMap::new(),
            cut: BTreeMap::new(),
            by_uri: BTreeMap::new(),
            development,
        };
        for facts in facts {
            trust.add(facts)?;
        }
        Ok(trust)
    }

    /// Makes a snapshot in which nobody is a peer.
    #[must_use]
    pub const fn nobody() -> Self {
        Self {
            peers: BTreeMap::new(),
            cut: BTreeMap::new(),
            by_uri: BTreeMap::new(),
            development: DevelopmentCertificates::Refused,
        }
    }

    fn add(&mut self, facts: PeerFacts) -> Result<(), TrustError> {
        let (node, uri) = (facts.node.clone(), facts.uri.clone());
        let peer = TrustedPeer::new(facts)?;
        if let Some(other) = self.by_uri.insert(uri.clone(), node.clone()) {
            return Err(TrustError::Shared {
                name: if other == node { node.to_string() } else { uri },
            });
        }
        if self.peers.insert(node.clone(), peer).is_some() {
            return Err(TrustError::Shared {
                name: node.to_string(),
            });
        }
        Ok(())
    }

    /// Judges the certificate of a peer that plays `role`, at the time `now`.
    ///
    /// # Errors
    ///
    /// [`Refusal`] says why the peer is not believed.
    pub fn judge(
        &self,
        role: Role,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<JudgedPeer, Refusal> {
        let certificate = PeerCertificate::parse(end_entity)?;
        let (node, peer) = self.named(&certificate)?;
        if let Some(cut) = self.cut.get(node) {
            return Err(Refusal::Cut {
                node: node.clone(),
                cut: cut.clone(),
            });
        }
        self.refuse_worthless(node, peer, &certificate)?;
        peer.verify_chain(role, end_entity, intermediates, now)
            .map_err(|reason| Refusal::Chain {
                node: node.clone(),
                reason,
            })?;
        let certificate_expiry = certificate.not_after();
        Ok(JudgedPeer {
            node: node.clone(),
            certificate_expiry,
            certificate_term: certificate.term(),
            holds_until: peer
                .lists_due
                .map_or(certificate_expiry, |due| due.min(certificate_expiry)),
        })
    }

    /// Returns the DNS name to ask for when connecting to `node`; `None` if the register does not know the node.
    #[must_use]
    pub fn server_name(&self, node: &NodeId) -> Option<ServerName<'static>> {
        self.peers.get(node).map(|peer| peer.server_name.clone())
    }

    /// Lists every peer in the order of its id, with the time by which its revocation lists must be renewed.
    pub fn peers(&self) -> impl Iterator<Item = (&NodeId, Option<Timestamp>)> {
        self.peers.iter().map(|(node, peer)| (node, peer.lists_due))
    }

    /// Lists every node in the order of its id, with the terms of the documents that vouch for it.
    pub fn terms(&self) -> impl Iterator<Item = (&NodeId, Terms)> {
        self.peers.iter().map(|(node, peer)| (node, peer.terms))
    }

    /// Lists the revocation lists that count in this snapshot.
    pub fn revocation_lists(&self) -> impl Iterator<Item = &RevocationList> {
        self.peers.values().flat_map(|peer| &peer.lists)
    }

    fn named(&self, certificate: &PeerCertificate) -> Result<(&NodeId, &TrustedPeer), Refusal> {
        let unknown = || Refusal::UnknownUri {
            uri: shown(certificate.uri()),
        };
        let node = self.by_uri.get(certificate.uri()).ok_or_else(unknown)?;
        let peer = self.peers.get(node).ok_or_else(unknown)?;
        // RFC 4343: DNS names compare without regard to case.
        if !certificate.dns_name().eq_ignore_ascii_case(&peer.dns_name) {
            return Err(Refusal::OtherDnsName {
                node: node.clone(),
                expected: peer.dns_name.clone(),
                found: shown(certificate.dns_name()),
            });
        }
        Ok((node, peer))
    }

    fn refuse_worthless(
        &self,
        node: &NodeId,
        peer: &TrustedPeer,
        certificate: &PeerCertificate,
    ) -> Result<(), Refusal> {
        let worthless =
            [certificate.marking(), peer.anchor_marking].contains(&Marking::Development);
        if worthless && self.development == DevelopmentCertificates::Refused {
            return Err(Refusal::Development { node: node.clone() });
        }
        Ok(())
    }
}

impl TrustedPeer {
    fn new(facts: PeerFacts) -> Result<Self, TrustError> {
        let PeerFacts {
            node,
            dns_name,
            uri: _,
            trust_anchor,
            revocation_lists,
        } = facts;
        let anchor_error = || TrustError::Anchor { node: node.clone() };
        let server_name =
            ServerName::DnsName(
                dns_name
                    .clone()
                    .try_into()
                    .map_err(|_| TrustError::DnsName {
                        node: node.clone(),
                        dns_name: dns_name.clone(),
                    })?,
            );
        let anchor_marking = certificate::marking(&trust_anchor).map_err(|_| anchor_error())?;
        let lists = counting(revocation_lists).map_err(|source| TrustError::RevocationList {
            node: node.clone(),
            source,
        })?;
        let first = lists.iter().min_by_key(|list| list.until());
        let lists_due = first.map(RevocationList::until);
        let terms = Terms {
            anchor: certificate::term(&trust_anchor).map_err(|_| anchor_error())?,
            list: first.map(RevocationList::term),
        };
        let encoded = lists.iter().map(|list| list.der().clone()).collect();
        let mut roots = RootCertStore::empty();
        roots.add(trust_anchor).map_err(|_| anchor_error())?;
        let (as_client, as_server) =
            verifiers(Arc::new(roots), encoded).map_err(|source| TrustError::Verifier {
                node: node.clone(),
                source,
            })?;
        Ok(Self {
            dns_name,
            server_name,
            anchor_marking,
            lists,
            lists_due,
            terms,
            as_client,
            as_server,
        })
    }

    fn verify_chain(
        &self,
        role: Role,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        match role {
            Role::Client => self
                .as_client
                .verify_client_cert(end_entity, intermediates, now)
                .map(drop),
            Role::Server => self
                .as_server
                .verify_server_cert(end_entity, intermediates, &self.server_name, &[], now)
                .map(drop),
        }
    }
}

type Verifiers = (Arc<dyn ClientCertVerifier>, Arc<WebPkiServerVerifier>);

fn verifiers(
    roots: Arc<RootCertStore>,
    lists: Vec<CertificateRevocationListDer<'static>>,
) -> Result<Verifiers, rustls::server::VerifierBuilderError> {
    let provider: Arc<CryptoProvider> = super::crypto::provider();
    // Both builders deny an unknown status unless told otherwise, and ignore expiry unless told to enforce it.
    let as_client = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .with_crls(lists.clone())
        .only_check_end_entity_revocation()
        .enforce_revocation_expiration()
        .build()?;
    let as_server = WebPkiServerVerifier::builder_with_provider(roots, provider)
        .with_crls(lists)
        .only_check_end_entity_revocation()
        .enforce_revocation_expiration()
        .build()?;
    Ok((as_client, as_server))
}

fn counting(
    lists: Vec<CertificateRevocationListDer<'static>>,
) -> Result<Vec<RevocationList>, CertificateError> {
    let parsed: Result<Vec<_>, _> = lists.into_iter().map(RevocationList::parse).collect();
    Ok(revocation::choose(parsed?, |list| list).counting)
}

/// Makes a name from an unverified certificate safe for a log line: at most 100 characters, escaped.
fn shown(name: &str) -> String {
    name.chars()
        .take(100)
        .flat_map(char::escape_default)
        .collect()
}

/// The current snapshot, shared by all code that judges peers. A reload reaches all of it, and open connections too.
#[derive(Debug, Clone)]
pub struct Trust {
    current: watch::Sender<Arc<PeerTrust>>,
    /// Terms of the certificates that peers showed last; locked for a moment only.
    seen: Arc<Mutex<BTreeMap<NodeId, Term>>>,
}

impl Trust {
    /// Shares `snapshot`.
    #[must_use]
    pub fn new(snapshot: PeerTrust) -> Self {
        Self {
            current: watch::Sender::new(Arc::new(snapshot)),
            seen: Arc::default(),
        }
    }

    /// Puts `snapshot` in place of the current one and has every open connection judged by it. Nodes that are cut off
    /// stay so.
    pub fn replace(&self, snapshot: PeerTrust) {
        self.current.send_modify(|current| {
            let cut = current.cut.clone();
            *current = Arc::new(PeerTrust { cut, ..snapshot });
        });
    }

    /// Cuts off exactly these nodes, and has every open connection judged by it.
    pub fn cut(&self, cut: BTreeMap<NodeId, Cut>) {
        self.current.send_if_modified(|current| {
            if current.cut == cut {
                return false;
            }
            *current = Arc::new(PeerTrust {
                cut,
                ..PeerTrust::clone(current)
            });
            true
        });
    }

    /// Returns the current snapshot.
    #[must_use]
    pub fn current(&self) -> Arc<PeerTrust> {
        self.current.borrow().clone()
    }

    /// Records the term of the certificate that a peer showed.
    pub(super) fn saw(&self, judged: &JudgedPeer) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(judged.node.clone(), judged.certificate_term);
    }

    /// Returns the terms of the certificates that nodes of the register showed last.
    #[must_use]
    pub fn seen(&self) -> BTreeMap<NodeId, Term> {
        let current = self.current();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|node, _| current.peers.contains_key(node));
        seen.clone()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<PeerTrust>> {
        self.current.subscribe()
    }
}
