//! Conversion of the register between wire and domain types, with the checks of its content.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use bytes::Bytes;

use super::{
    Authority, AuthorityKind, FreshnessKeys, LegalRegime, Node, Register, RegisteredKey, node_uri,
};
use crate::{
    digest::Digest,
    identifiers::{AuthorityId, FederationId, NodeId},
    keys::{KeyId, KeyUse, PublicKey},
    rules::Rule,
    shape::Misshapen,
    time::Timestamp,
    verify::{KeyStanding, Refusal},
    wire,
};

/// The most authorities in a register, nodes of one authority, and keys of one node.
const MAX_AUTHORITIES: usize = 10_000;
const MAX_NODES: usize = 64;
pub(super) const MAX_KEYS: usize = 64;
const MAX_COMMUNITIES: usize = 256;
/// The most former keys that a register lists as compromised.
const MAX_FORMER: usize = 10_000;

/// Error in the content of a register or a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// It cannot be decoded.
    #[error("it cannot be decoded")]
    Unreadable,
    /// It has more elements than a register may have; they were not decoded.
    #[error("it has more of `{0}` than are allowed")]
    TooMany(&'static str),
    /// It holds a field or a value that this version does not know.
    #[error("it holds something that this version does not know; update this node")]
    LaterVersion,
    /// A field is missing or holds what it must not.
    #[error("{of}: `{field}` is missing or holds a value that is not allowed")]
    Field {
        /// The authority, node or register that has the field.
        of: String,
        /// The field.
        field: &'static str,
    },
    /// A value that must be unique occurs twice.
    #[error("{what} `{value}` stands twice")]
    Twice {
        /// Kind of value.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// Content that the wire format cannot express.
    #[error("a time of zero or an id under another name would be lost")]
    Lossy,
    /// The threshold cannot be met.
    #[error("a threshold of {threshold} with {keys} {of} keys can never be met, or needs nobody")]
    Threshold {
        /// The use of the keys.
        of: &'static str,
        /// The threshold.
        threshold: u32,
        /// Number of keys.
        keys: usize,
    },
}

impl From<Misshapen> for RegisterError {
    fn from(error: Misshapen) -> Self {
        match error {
            Misshapen::Unreadable => Self::Unreadable,
            Misshapen::LaterField(_) | Misshapen::LaterValue { .. } => Self::LaterVersion,
            Misshapen::TooMany { field, .. } => Self::TooMany(field),
        }
    }
}

impl From<RegisterError> for Refusal {
    fn from(error: RegisterError) -> Self {
        let rule = match error {
            RegisterError::Unreadable => Rule::RegisterUnreadable,
            RegisterError::LaterVersion => Rule::TrustLater,
            RegisterError::TooMany(_) => Rule::RegisterContent,
            RegisterError::Field { .. }
            | RegisterError::Twice { .. }
            | RegisterError::Lossy
            | RegisterError::Threshold { .. } => Rule::RegisterContent,
        };
        Self::new(rule, error.to_string())
    }
}

fn field(of: &str, field: &'static str) -> RegisterError {
    RegisterError::Field {
        of: of.to_owned(),
        field,
    }
}

impl From<AuthorityKind> for wire::AuthorityKind {
    fn from(kind: AuthorityKind) -> Self {
        match kind {
            AuthorityKind::Customs => Self::Customs,
            AuthorityKind::Police => Self::Police,
            AuthorityKind::PortAuthority => Self::PortAuthority,
            AuthorityKind::PrivateOperator => Self::PrivateOperator,
            AuthorityKind::Hub => Self::Hub,
        }
    }
}

fn authority_kind(number: i32) -> Option<AuthorityKind> {
    match wire::AuthorityKind::try_from(number).ok()? {
        wire::AuthorityKind::Customs => Some(AuthorityKind::Customs),
        wire::AuthorityKind::Police => Some(AuthorityKind::Police),
        wire::AuthorityKind::PortAuthority => Some(AuthorityKind::PortAuthority),
        wire::AuthorityKind::PrivateOperator => Some(AuthorityKind::PrivateOperator),
        wire::AuthorityKind::Hub => Some(AuthorityKind::Hub),
        wire::AuthorityKind::Unspecified => None,
    }
}

impl From<LegalRegime> for wire::LegalRegime {
    fn from(regime: LegalRegime) -> Self {
        match regime {
            LegalRegime::Led => Self::Led,
            LegalRegime::Gdpr => Self::Gdpr,
            LegalRegime::Both => Self::Both,
            LegalRegime::ThirdCountry => Self::ThirdCountry,
        }
    }
}

fn legal_regime(number: i32) -> Option<LegalRegime> {
    match wire::LegalRegime::try_from(number).ok()? {
        wire::LegalRegime::Led => Some(LegalRegime::Led),
        wire::LegalRegime::Gdpr => Some(LegalRegime::Gdpr),
        wire::LegalRegime::Both => Some(LegalRegime::Both),
        wire::LegalRegime::ThirdCountry => Some(LegalRegime::ThirdCountry),
        wire::LegalRegime::Unspecified => None,
    }
}

fn key_use(number: i32) -> Option<KeyUse> {
    match wire::KeyUse::try_from(number).ok()? {
        wire::KeyUse::Sealing => Some(KeyUse::Sealing),
        wire::KeyUse::Hop => Some(KeyUse::Hop),
        wire::KeyUse::Log => Some(KeyUse::Log),
        wire::KeyUse::Agreement => Some(KeyUse::Agreement),
        wire::KeyUse::Governance => Some(KeyUse::Governance),
        wire::KeyUse::Freshness => Some(KeyUse::Freshness),
        // A person's key is never in the register.
        wire::KeyUse::Person | wire::KeyUse::Unspecified => None,
    }
}

fn wire_key(public: &PublicKey) -> wire::Key {
    let algorithm = if public.usage() == KeyUse::Agreement {
        wire::KeyAlgorithm::X25519
    } else {
        wire::KeyAlgorithm::Ed25519
    };
    wire::Key {
        r#use: wire::KeyUse::from(public.usage()).into(),
        algorithm: algorithm.into(),
        public: Bytes::copy_from_slice(&public.to_bytes()),
        retired_at_ms: 0,
        compromised_since_ms: 0,
    }
}

impl From<&RegisteredKey> for wire::Key {
    fn from(key: &RegisteredKey) -> Self {
        Self {
            retired_at_ms: Timestamp::to_wire(key.retired_at),
            compromised_since_ms: Timestamp::to_wire(key.compromised_since),
            ..wire_key(&key.public)
        }
    }
}

fn registered_key(wire: wire::Key, of: &str) -> Result<RegisteredKey, RegisterError> {
    let wire::Key {
        r#use,
        algorithm,
        public,
        retired_at_ms,
        compromised_since_ms,
    } = wire;
    let usage = key_use(r#use).ok_or_else(|| field(of, "key use"))?;
    let public = PublicKey::from_slice(usage, &public).map_err(|_| field(of, "key"))?;
    if wire_key(&public).algorithm != algorithm {
        return Err(field(of, "key algorithm"));
    }
    Ok(RegisteredKey {
        public,
        retired_at: Timestamp::from_wire(retired_at_ms),
        compromised_since: Timestamp::from_wire(compromised_since_ms),
    })
}

impl Node {
    fn to_wire(&self, federation: &FederationId) -> wire::Node {
        wire::Node {
            id: self.id.to_string(),
            dns_name: self.dns_name.clone(),
            uri: self.uri(federation),
            endpoint: self.endpoint.clone(),
            trust_anchor: Bytes::copy_from_slice(&self.trust_anchor),
            keys: self.keys.iter().map(wire::Key::from).collect(),
        }
    }

    fn from_wire(wire: wire::Node, federation: &FederationId) -> Result<Self, RegisterError> {
        let wire::Node {
            id,
            dns_name,
            uri,
            endpoint,
            trust_anchor,
            keys,
        } = wire;
        let id: NodeId = id.parse().map_err(|_| field("node", "id"))?;
        let of = format!("node `{id}`");
        if uri != node_uri(federation, &id) {
            return Err(field(&of, "uri"));
        }
        if !is_dns_name(&dns_name) {
            return Err(field(&of, "dns_name"));
        }
        if !is_endpoint(&endpoint) {
            return Err(field(&of, "endpoint"));
        }
        if trust_anchor.is_empty() || trust_anchor.len() > 16_384 {
            return Err(field(&of, "trust_anchor"));
        }
        if keys.len() > MAX_KEYS {
            return Err(field(&of, "keys"));
        }
        let keys = keys
            .into_iter()
            .map(|key| registered_key(key, &of))
            .collect::<Result<Vec<_>, _>>()?;
        let of_the_federation = [KeyUse::Governance, KeyUse::Freshness];
        if keys
            .iter()
            .any(|key| of_the_federation.contains(&key.public.usage()))
        {
            return Err(field(&of, "key use"));
        }
        Ok(Self {
            id,
            dns_name,
            endpoint,
            trust_anchor: trust_anchor.to_vec(),
            keys,
        })
    }
}

/// Returns whether `name` consists of labels of lower-case letters, digits and hyphens with dots
/// between. The last label is not a number, so that no address passes for a name.
fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    (1..=253).contains(&name.len())
        && name.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether `endpoint` is `name:port` or `address:port` in its only spelling, so that no
/// endpoint can be listed twice.
fn is_endpoint(endpoint: &str) -> bool {
    if let Ok(address) = endpoint.parse::<SocketAddr>() {
        return address.port() > 0 && address.to_string() == endpoint;
    }
    endpoint.rsplit_once(':').is_some_and(|(host, port)| {
        let canonical = |number: u16| number > 0 && number.to_string() == port;
        is_dns_name(host) && port.parse().is_ok_and(canonical)
    })
}

/// Returns whether `text` is one line of at most `longest` bytes without control characters, which
/// a terminal would act on.
fn is_line(text: &str, longest: usize) -> bool {
    text.len() <= longest && !text.chars().any(char::is_control)
}

impl Authority {
    /// The authority as a register or a request lists it.
    pub(super) fn to_wire(&self, federation: &FederationId) -> wire::Authority {
        wire::Authority {
            id: self.id.to_string(),
            name: self.name.clone(),
            kind: wire::AuthorityKind::from(self.kind).into(),
            country: self.country.to_string(),
            group: self.group.clone(),
            regime: wire::LegalRegime::from(self.regime).into(),
            communities: self.communities.clone(),
            clients: self.clients.iter().map(ToString::to_string).collect(),
            nodes: self
                .nodes
                .iter()
                .map(|node| node.to_wire(federation))
                .collect(),
            contact: self.contact.clone(),
        }
    }

    pub(super) fn from_wire(
        wire: wire::Authority,
        federation: &FederationId,
    ) -> Result<Self, RegisterError> {
        let wire::Authority {
            id,
            name,
            kind,
            country,
            group,
            regime,
            communities,
            clients,
            nodes,
            contact,
        } = wire;
        let id: AuthorityId = id.parse().map_err(|_| field("authority", "id"))?;
        let of = format!("authority `{id}`");
        if nodes.is_empty() || nodes.len() > MAX_NODES {
            return Err(field(&of, "nodes"));
        }
        let named = !name.is_empty() && is_line(&name, 256);
        if !named || group.is_empty() || !is_line(&group, 64) || !is_line(&contact, 256) {
            return Err(field(&of, "name, group or contact"));
        }
        let community = |text: &String| !text.is_empty() && is_line(text, 64);
        if communities.len() > MAX_COMMUNITIES || !communities.iter().all(community) {
            return Err(field(&of, "communities"));
        }
        if clients.len() > MAX_AUTHORITIES {
            return Err(field(&of, "clients"));
        }
        Ok(Self {
            id,
            name,
            kind: authority_kind(kind).ok_or_else(|| field(&of, "kind"))?,
            country: country.parse().map_err(|_| field(&of, "country"))?,
            group,
            regime: legal_regime(regime).ok_or_else(|| field(&of, "regime"))?,
            communities,
            clients: clients
                .iter()
                .map(|client| client.parse().map_err(|_| field(&of, "clients")))
                .collect::<Result<_, _>>()?,
            nodes: nodes
                .into_iter()
                .map(|node| Node::from_wire(node, federation))
                .collect::<Result<_, _>>()?,
            contact,
        })
    }
}

impl From<&Register> for wire::Register {
    fn from(register: &Register) -> Self {
        Self {
            federation: register.federation.to_string(),
            epoch: register.epoch,
            previous: register.previous.map_or_else(Bytes::new, |digest| {
                Bytes::copy_from_slice(digest.as_bytes())
            }),
            development: register.development,
            threshold: register.threshold,
            governance: register.governance.iter().map(wire_key).collect(),
            authorities: register
                .authorities
                .values()
                .map(|authority| authority.to_wire(&register.federation))
                .collect(),
            issued_at_ms: register.issued_at.as_millis(),
            freshness_threshold: register.freshness.threshold,
            freshness: register.freshness.keys.iter().map(wire_key).collect(),
            former: register
                .former
                .iter()
                .map(|(key, since)| wire::FormerKey {
                    key_id: Bytes::copy_from_slice(key.as_bytes()),
                    compromised_since_ms: since.as_millis(),
                })
                .collect(),
        }
    }
}

impl TryFrom<wire::Register> for Register {
    type Error = RegisterError;

    fn try_from(wire: wire::Register) -> Result<Self, Self::Error> {
        let wire::Register {
            federation,
            epoch,
            previous,
            development,
            threshold,
            governance,
            authorities,
            issued_at_ms,
            freshness_threshold,
            freshness,
            former,
        } = wire;
        const OF: &str = "register";
        let federation: FederationId = federation.parse().map_err(|_| field(OF, "federation"))?;
        let previous = if previous.is_empty() {
            None
        } else {
            Some(Digest::from_slice(&previous).ok_or_else(|| field(OF, "previous"))?)
        };
        if epoch == 0 || (epoch == 1) != previous.is_none() {
            return Err(field(OF, "epoch"));
        }
        if authorities.len() > MAX_AUTHORITIES || governance.len() > MAX_KEYS {
            return Err(field(OF, "authorities"));
        }
        if freshness.len() > MAX_KEYS {
            return Err(field(OF, "freshness"));
        }
        let register = Self {
            governance: federation_keys(governance, KeyUse::Governance)?,
            freshness: FreshnessKeys {
                threshold: freshness_threshold,
                keys: federation_keys(freshness, KeyUse::Freshness)?,
            },
            authorities: members(authorities, &federation)?,
            former: former_keys(former)?,
            federation,
            epoch,
            previous,
            development,
            threshold,
            issued_at: Timestamp::from_millis(issued_at_ms),
        };
        check_threshold(&register)?;
        check_unique(&register)?;
        check_former(&register)?;
        check_anchors(&register)?;
        Ok(register)
    }
}

/// Reads the keys of the federation itself for one use.
fn federation_keys(keys: Vec<wire::Key>, usage: KeyUse) -> Result<Vec<PublicKey>, RegisterError> {
    keys.into_iter()
        .map(|key| {
            let key = registered_key(key, usage.name())?;
            if key.public.usage() != usage {
                return Err(field(usage.name(), "key use"));
            }
            // A federation key ends when a register no longer lists it.
            match key.standing() {
                KeyStanding::InForce => Ok(key.public),
                KeyStanding::RetiredSince(_) | KeyStanding::CompromisedSince(_) => {
                    Err(field(usage.name(), "key end"))
                }
            }
        })
        .collect()
}

fn members(
    authorities: Vec<wire::Authority>,
    federation: &FederationId,
) -> Result<BTreeMap<AuthorityId, Authority>, RegisterError> {
    let mut members = BTreeMap::new();
    for wire in authorities {
        let authority = Authority::from_wire(wire, federation)?;
        let id = authority.id.clone();
        if members.insert(id.clone(), authority).is_some() {
            return Err(RegisterError::Twice {
                what: "authority",
                value: id.to_string(),
            });
        }
    }
    Ok(members)
}

fn check_threshold(register: &Register) -> Result<(), RegisterError> {
    can_be_met("governance", register.threshold, register.governance.len())?;
    let FreshnessKeys { threshold, keys } = &register.freshness;
    if *threshold == 0 && keys.is_empty() {
        return Ok(());
    }
    can_be_met("freshness", *threshold, keys.len())
}

fn can_be_met(of: &'static str, threshold: u32, keys: usize) -> Result<(), RegisterError> {
    if (1..=keys).contains(&usize::try_from(threshold).unwrap_or(usize::MAX)) {
        return Ok(());
    }
    Err(RegisterError::Threshold {
        of,
        threshold,
        keys,
    })
}

/// Checks that no id, name, address or key occurs twice in the federation.
fn check_unique(register: &Register) -> Result<(), RegisterError> {
    let mut seen = BTreeSet::new();
    let mut once = |what: &'static str, value: String| {
        if seen.insert((what, value.clone())) {
            Ok(())
        } else {
            Err(RegisterError::Twice { what, value })
        }
    };
    for (_, node) in register.nodes() {
        once("node", node.id.to_string())?;
        once("DNS name", node.dns_name.clone())?;
        once("endpoint", node.endpoint.clone())?;
        for key in &node.keys {
            // The bytes are compared, not the id: the same bytes for two uses would be two ids.
            once(
                "key",
                data_encoding::HEXLOWER.encode(&key.public.to_bytes()),
            )?;
        }
    }
    for key in register.governance.iter().chain(&register.freshness.keys) {
        once("key", data_encoding::HEXLOWER.encode(&key.to_bytes()))?;
    }
    Ok(())
}

fn former_keys(keys: Vec<wire::FormerKey>) -> Result<BTreeMap<KeyId, Timestamp>, RegisterError> {
    const OF: &str = "former keys";
    if keys.len() > MAX_FORMER {
        return Err(field(OF, "number"));
    }
    let mut former = BTreeMap::new();
    for key in keys {
        let wire::FormerKey {
            key_id,
            compromised_since_ms,
        } = key;
        let id = KeyId::from_slice(&key_id).ok_or_else(|| field(OF, "key id"))?;
        let since = Timestamp::from_wire(compromised_since_ms).ok_or_else(|| field(OF, "time"))?;
        if former.insert(id, since).is_some() {
            let value = id.to_string();
            return Err(RegisterError::Twice {
                what: "former key",
                value,
            });
        }
    }
    Ok(former)
}

/// Checks that no key of a present member is among the former keys: it states its own end.
fn check_former(register: &Register) -> Result<(), RegisterError> {
    let mut present = register.nodes().flat_map(|(_, node)| &node.keys);
    match present.find(|key| register.former.contains_key(&key.public.id())) {
        None => Ok(()),
        Some(key) => Err(RegisterError::Twice {
            what: "key of a node and former key",
            value: key.public.id().to_string(),
        }),
    }
}

/// Checks that no two authorities share a trust anchor: an authority's own CA vouches for no other.
fn check_anchors(register: &Register) -> Result<(), RegisterError> {
    let mut owners = BTreeMap::new();
    for (authority, node) in register.nodes() {
        let owner = owners.entry(&node.trust_anchor).or_insert(&authority.id);
        if *owner != &authority.id {
            return Err(RegisterError::Twice {
                what: "trust anchor of node",
                value: node.id.to_string(),
            });
        }
    }
    Ok(())
}
