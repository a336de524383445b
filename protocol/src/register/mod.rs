//! The register: the federation's full list of authorities, nodes and keys, epoch by epoch.
//!
//! Epoch e+1 names the digest of epoch e and is signed by enough governance keys of e *and* of its
//! own. The first epoch is pinned by its digest. Each step leads to the next number and nothing
//! else is ever applied, so that a register can neither be rolled back nor skipped nor forked
//! unnoticed. Facts that widen what policy allows (communities, clients, kinds) come from here
//! alone.

mod archive;
mod convert;
mod request;
mod signed;

use std::collections::BTreeMap;

pub use archive::Archive;
pub use convert::RegisterError;
pub use request::{MembershipRequest, SignedMembershipRequest};
pub use signed::{SignedRegister, VerifiedRegister};

use crate::{
    digest::Digest,
    identifiers::{AuthorityId, CountryCode, FederationId, NodeId},
    keys::{KeyId, KeyUse, PublicKey},
    named::named,
    time::Timestamp,
    verify::{KeyStanding, SealingKeys},
};

/// Object identifier of the certificate extension that calls a certificate worthless: one of a development PKI
/// (RG-09). `certs-dev` writes it; a node outside a development federation refuses it.
pub const DEVELOPMENT_OID: &str = "1.3.6.1.4.1.32473.646576.1";

named! {
    /// Kind of authority.
    AuthorityKind, "kind of authority",
    "`customs`, `police`, `port-authority`, `private-operator`, `hub`" {
        /// A customs authority or office.
        Customs = "customs",
        /// A police authority.
        Police = "police",
        /// A port authority.
        PortAuthority = "port-authority",
        /// A terminal operator or another private party.
        PrivateOperator = "private-operator",
        /// A hub that aggregates and relays.
        Hub = "hub",
    }
}

named! {
    /// Law under which a member processes personal data.
    LegalRegime, "legal regime", "`led`, `gdpr`, `both`, `third-country`" {
        /// Directive (EU) 2016/680.
        Led = "led",
        /// Regulation (EU) 2016/679.
        Gdpr = "gdpr",
        /// Both, by purpose.
        Both = "both",
        /// Neither: outside of the Union.
        ThirdCountry = "third-country",
    }
}

/// A key with its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredKey {
    /// The key and its use.
    pub public: PublicKey,
    /// Time of its retirement. A time in the future lets records and frames that are on their way
    /// arrive.
    pub retired_at: Option<Timestamp>,
    /// Time since which it is compromised.
    pub compromised_since: Option<Timestamp>,
}

impl RegisteredKey {
    /// A key that is in force.
    #[must_use]
    pub const fn in_force(public: PublicKey) -> Self {
        Self {
            public,
            retired_at: None,
            compromised_since: None,
        }
    }

    /// Returns whether the key signs at this time.
    #[must_use]
    pub const fn signs_at(&self, now: Timestamp) -> bool {
        match self.standing() {
            KeyStanding::InForce => true,
            KeyStanding::RetiredSince(time) => time.millis_since(now) > 0,
            KeyStanding::CompromisedSince(_) => false,
        }
    }

    /// Returns the state of the key; a compromise takes precedence over a retirement.
    #[must_use]
    pub const fn standing(&self) -> KeyStanding {
        match (self.compromised_since, self.retired_at) {
            (Some(time), _) => KeyStanding::CompromisedSince(time),
            (None, Some(time)) => KeyStanding::RetiredSince(time),
            (None, None) => KeyStanding::InForce,
        }
    }
}

/// A node of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id, unique in the federation.
    pub id: NodeId,
    /// The one DNS name in its certificate.
    pub dns_name: String,
    /// Address that peers connect to: `host:port`.
    pub endpoint: String,
    /// The DER certificate of the authority's own CA: the only one that may vouch for this node.
    pub trust_anchor: Vec<u8>,
    /// Its keys.
    pub keys: Vec<RegisteredKey>,
}

impl Node {
    /// The one URI in the node's certificate.
    #[must_use]
    pub fn uri(&self, federation: &FederationId) -> String {
        node_uri(federation, &self.id)
    }
}

/// The URI that names a node in its certificate.
#[must_use]
pub fn node_uri(federation: &FederationId, node: &NodeId) -> String {
    format!("urn:portcullis:{federation}:{node}")
}

/// A member of the federation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Its id.
    pub id: AuthorityId,
    /// Its name for display.
    pub name: String,
    /// Kind of authority.
    pub kind: AuthorityKind,
    /// Its country.
    pub country: CountryCode,
    /// Its parent, for instance a ministry. Two members of one group count as one voice.
    pub group: String,
    /// Law under which it processes personal data.
    pub regime: LegalRegime,
    /// The communities it belongs to, for TLP:GREEN.
    pub communities: Vec<String>,
    /// The authorities that are its clients, for TLP:AMBER.
    pub clients: Vec<AuthorityId>,
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Contact point.
    pub contact: String,
}

/// The keys that sign freshness statements, and the number of signatures required.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FreshnessKeys {
    /// Number of keys that must sign; 0 if there are no keys, and freshness is then not used.
    pub threshold: u32,
    /// The keys: online, and for this use alone.
    pub keys: Vec<PublicKey>,
}

/// One epoch of the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// The federation.
    pub federation: FederationId,
    /// Number of the epoch, counted from 1.
    pub epoch: u64,
    /// The digest of the epoch before; `None` in the first.
    pub previous: Option<Digest>,
    /// True if worthless development keys are allowed; never changes.
    pub development: bool,
    /// Number of governance keys that must sign.
    pub threshold: u32,
    /// The governance keys.
    pub governance: Vec<PublicKey>,
    /// The keys that state, online, that this register is the newest.
    pub freshness: FreshnessKeys,
    /// The members.
    pub authorities: BTreeMap<AuthorityId, Authority>,
    /// Keys that earlier epochs list and this one does not, each with the time since which somebody
    /// else may have used it.
    pub former: BTreeMap<KeyId, Timestamp>,
    /// Time of issue.
    pub issued_at: Timestamp,
}

impl Register {
    /// Returns a node and the member it belongs to.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<(&Authority, &Node)> {
        self.nodes().find(|(_, node)| node.id == *id)
    }

    /// Returns every node with its authority, ordered by authority id.
    pub fn nodes(&self) -> impl Iterator<Item = (&Authority, &Node)> {
        self.authorities
            .values()
            .flat_map(|authority| authority.nodes.iter().map(move |node| (authority, node)))
    }

    /// Returns the hop key of `node` with this id, if it signs at this time.
    #[must_use]
    pub fn hop_key(&self, node: &NodeId, key: &KeyId, now: Timestamp) -> Option<PublicKey> {
        let (_, node) = self.node(node)?;
        node.keys
            .iter()
            .filter(|registered| registered.signs_at(now))
            .map(|registered| &registered.public)
            .find(|public| public.usage() == KeyUse::Hop && public.id() == *key)
            .cloned()
    }
}

impl Register {
    /// Returns the hop key of a node with this id for a check of what the node signed at some time:
    /// one that is retired counts, one that is compromised does not.
    #[must_use]
    pub fn past_hop_key(&self, node: &NodeId, key: &KeyId) -> Option<PublicKey> {
        let (_, node) = self.node(node)?;
        node.keys
            .iter()
            .filter(|registered| registered.compromised_since.is_none())
            .map(|registered| &registered.public)
            .find(|public| public.usage() == KeyUse::Hop && public.id() == *key)
            .cloned()
    }
}

impl SealingKeys for Register {
    fn sealing_key(&self, origin: &AuthorityId, key: &KeyId) -> Option<(&PublicKey, KeyStanding)> {
        let authority = self.authorities.get(origin)?;
        authority
            .nodes
            .iter()
            .flat_map(|node| &node.keys)
            .find(|registered| {
                registered.public.usage() == KeyUse::Sealing && registered.public.id() == *key
            })
            .map(|registered| (&registered.public, registered.standing()))
    }
}
