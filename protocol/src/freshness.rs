//! Freshness statements: keys that are online state again and again that a register is the newest.
//!
//! A register says nothing about its successor, so a node that is kept from hearing of a new epoch
//! would trust a removed member for ever. A freshness statement names an epoch and its digest and
//! holds for 48 hours at most. The keys that sign it can do nothing else: a thief of such a key can
//! hide a new epoch from nodes that he cuts off, and change nothing. A register was the newest when
//! it was issued, so it vouches for itself for the first 48 hours.
//!
//! Refuses a statement about a register other than the one in force, one with impossible times, and
//! one with too few signatures of the keys that this register lists. [`Stage`] tells what happens
//! to a node without a statement: it never stops receiving, verifying or recalling.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;

use crate::{
    digest::Digest,
    frame::check_count,
    identifiers::FederationId,
    keys::{KeyId, KeyUse, SigningKey},
    register::VerifiedRegister,
    rules::Rule,
    shape,
    statement::{SignatureError, StatementType, sign_detached, verify_detached},
    time::Timestamp,
    verify::{MAX_CLOCK_AHEAD_MS, Refusal},
    wire,
};

const HOUR_MS: i64 = 3_600_000;

/// Longest validity of a statement, and of a register without one, in milliseconds.
pub const MAX_VALIDITY_MS: i64 = 48 * HOUR_MS;
/// Remaining validity below which the node warns, in milliseconds.
pub const WARN_BEFORE_MS: i64 = 24 * HOUR_MS;
/// Time after the end of validity in which bulk records are still released, in milliseconds.
pub const BULK_AFTER_MS: i64 = 7 * 24 * HOUR_MS;

/// The most bytes of an encoded statement with its signatures.
pub const MAX_FRESHNESS_BYTES: usize = 16 << 10;
const MAX_SIGNATURES: usize = 64;
/// The number of the repeated field in gossip.proto.
const SIGNATURES: u64 = 2;

/// A freshness key's statement.
enum FreshnessType {}

impl StatementType for FreshnessType {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.freshness.v1";
    const KEY_USE: KeyUse = KeyUse::Freshness;
}

/// Content of a freshness statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// The federation.
    pub federation: FederationId,
    /// The epoch that is the newest.
    pub epoch: u64,
    /// The digest of that epoch.
    pub register: Digest,
    /// Time of signing.
    pub issued_at: Timestamp,
    /// End of validity.
    pub valid_until: Timestamp,
}

impl Freshness {
    /// Returns the statement that a register is the newest now, with the longest validity allowed.
    #[must_use]
    pub fn of(register: &VerifiedRegister, now: Timestamp) -> Self {
        Self {
            federation: register.register().federation.clone(),
            epoch: register.register().epoch,
            register: register.digest(),
            issued_at: now,
            valid_until: now.plus_millis(MAX_VALIDITY_MS),
        }
    }
}

/// A statement as it is passed around: its bytes and the signatures collected so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedFreshness {
    payload: Bytes,
    signatures: Vec<(KeyId, [u8; 64])>,
}

impl SignedFreshness {
    /// The statement without a signature.
    #[must_use]
    pub fn unsigned(freshness: &Freshness) -> Self {
        let wire = wire::Freshness {
            federation: freshness.federation.to_string(),
            epoch: freshness.epoch,
            register: Bytes::copy_from_slice(freshness.register.as_bytes()),
            issued_at_ms: freshness.issued_at.as_millis(),
            valid_until_ms: freshness.valid_until.as_millis(),
        };
        Self {
            payload: wire.encode_to_vec().into(),
            signatures: Vec::new(),
        }
    }

    /// Adds a signature, once per key.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if the key is no freshness key.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), SignatureError> {
        let signature = sign_detached::<FreshnessType>(&self.payload, key)?;
        self.signatures.retain(|(id, _)| *id != key.id());
        self.signatures.push((key.id(), signature));
        Ok(())
    }

    /// Reads the file or message that carries a statement; nothing is verified.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under FR-01.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_FRESHNESS_BYTES {
            return Err(unreadable("it is larger than allowed"));
        }
        check_count(bytes, SIGNATURES, MAX_SIGNATURES)
            .map_err(|_| unreadable("it has too many signatures"))?;
        let wire =
            wire::SignedFreshness::decode(bytes).map_err(|_| unreadable("it cannot be decoded"))?;
        let signatures = wire
            .signatures
            .iter()
            .map(|signature| {
                let id = KeyId::from_slice(&signature.key_id)?;
                Some((id, signature.signature.as_ref().try_into().ok()?))
            })
            .collect::<Option<_>>()
            .ok_or_else(|| unreadable("a signature or its key id has the wrong length"))?;
        Ok(Self {
            payload: wire.payload,
            signatures,
        })
    }

    /// Writes the file or message that carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::SignedFreshness {
            payload: self.payload.clone(),
            signatures: self
                .signatures
                .iter()
                .map(|(id, signature)| wire::Signature {
                    key_id: Bytes::copy_from_slice(id.as_bytes()),
                    signature: Bytes::copy_from_slice(signature),
                })
                .collect(),
        }
        .encode_to_vec()
    }

    /// Returns the content without checking any signature. It is for display; nothing may act on
    /// it.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under FR-01.
    pub fn unverified(&self) -> Result<Freshness, Refusal> {
        let wire::Freshness {
            federation,
            epoch,
            register,
            issued_at_ms,
            valid_until_ms,
        } = shape::read(&self.payload)
            .map_err(|error| error.refused(Rule::TrustLater, unreadable("it cannot be decoded")))?;
        Ok(Freshness {
            federation: federation
                .parse()
                .map_err(|_| unreadable("it names no federation"))?,
            epoch,
            register: Digest::from_slice(&register)
                .ok_or_else(|| unreadable("it names no register"))?,
            issued_at: Timestamp::from_millis(issued_at_ms),
            valid_until: Timestamp::from_millis(valid_until_ms),
        })
    }

    /// The keys whose signatures are attached; none of them is checked.
    pub fn signers(&self) -> impl Iterator<Item = KeyId> {
        self.signatures.iter().map(|(id, _)| *id)
    }

    /// Checks the statement against the register in force.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under the first of FR-01 to FR-05 that it breaks.
    pub fn verify(
        self,
        register: &VerifiedRegister,
        now: Timestamp,
    ) -> Result<VerifiedFreshness, Refusal> {
        let freshness = self.unverified()?;
        let present = register.register();
        if freshness.federation != present.federation {
            let detail = format!("it is of `{}`", freshness.federation);
            return Err(Refusal::new(Rule::FreshnessFederation, detail));
        }
        self.require_signatures(register)?;
        if freshness.epoch != present.epoch || freshness.register != register.digest() {
            let detail = format!(
                "it is for epoch {}, epoch {} is in force",
                freshness.epoch, present.epoch
            );
            return Err(Refusal::new(Rule::FreshnessRegister, detail));
        }
        check_times(&freshness, now)?;
        Ok(VerifiedFreshness {
            freshness,
            signed: self,
        })
    }

    fn require_signatures(&self, register: &VerifiedRegister) -> Result<(), Refusal> {
        let keys = &register.register().freshness;
        let signed: BTreeSet<KeyId> = self
            .signatures
            .iter()
            .filter(|(id, signature)| {
                let key = keys.keys.iter().find(|key| key.id() == *id);
                key.is_some_and(|key| {
                    verify_detached::<FreshnessType>(&self.payload, signature, key).is_ok()
                })
            })
            .map(|(id, _)| *id)
            .collect();
        let needed = usize::try_from(keys.threshold).unwrap_or(usize::MAX);
        if needed > 0 && signed.len() >= needed {
            return Ok(());
        }
        let detail = if needed == 0 {
            "the register lists no freshness keys".to_owned()
        } else {
            format!("{} of {needed} signatures", signed.len())
        };
        Err(Refusal::new(Rule::FreshnessSignatures, detail))
    }
}

fn unreadable(detail: &str) -> Refusal {
    Refusal::new(Rule::FreshnessUnreadable, detail)
}

fn check_times(freshness: &Freshness, now: Timestamp) -> Result<(), Refusal> {
    let validity = freshness.valid_until.millis_since(freshness.issued_at);
    let possible = (0..=MAX_VALIDITY_MS).contains(&validity)
        && freshness.issued_at.millis_since(now) <= MAX_CLOCK_AHEAD_MS;
    if possible {
        return Ok(());
    }
    let detail = format!(
        "issued at {}, valid until {}, it is {now}",
        freshness.issued_at, freshness.valid_until
    );
    Err(Refusal::new(Rule::FreshnessTime, detail))
}

/// A statement that was checked against the register it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedFreshness {
    freshness: Freshness,
    signed: SignedFreshness,
}

impl VerifiedFreshness {
    /// Returns the content.
    #[must_use]
    pub const fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// Returns the statement with its signatures, to pass on.
    #[must_use]
    pub const fn signed(&self) -> &SignedFreshness {
        &self.signed
    }
}

/// Returns the time until which a register counts as the newest, by its own issue and the given
/// statement; `None` if it lists no freshness keys.
#[must_use]
pub fn fresh_until(
    register: &VerifiedRegister,
    statement: Option<&VerifiedFreshness>,
) -> Option<Timestamp> {
    let register_itself = register.register();
    if register_itself.freshness.threshold == 0 {
        return None;
    }
    let by_issue = register_itself.issued_at.plus_millis(MAX_VALIDITY_MS);
    let by_statement = statement
        .map(VerifiedFreshness::freshness)
        .filter(|freshness| freshness.register == register.digest())
        .map(|freshness| freshness.valid_until);
    Some(by_statement.map_or(by_issue, |until| until.max(by_issue)))
}

/// Stage of a node by the freshness of its register. Each stage narrows what is released; none
/// touches receipt, verification or recall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The register lists no freshness keys.
    Unused,
    /// The register is the newest, until this time.
    Fresh(Timestamp),
    /// The register is the newest until this time, but no new statement came in the last day; a
    /// warning is shown.
    Ending(Timestamp),
    /// Nobody has confirmed the register since this time; a warning is shown.
    Stale(Timestamp),
    /// Nobody has confirmed the register for more than seven days after this time: bulk records are
    /// not released.
    BulkStopped(Timestamp),
}

impl Stage {
    /// Returns the stage at `now` of a register that counts as the newest until `until`.
    #[must_use]
    pub const fn at(until: Option<Timestamp>, now: Timestamp) -> Self {
        let Some(until) = until else {
            return Self::Unused;
        };
        let left = until.millis_since(now);
        if left > WARN_BEFORE_MS {
            Self::Fresh(until)
        } else if left > 0 {
            Self::Ending(until)
        } else if left > -BULK_AFTER_MS {
            Self::Stale(until)
        } else {
            Self::BulkStopped(until)
        }
    }

    /// Returns the time until which the register is or was fresh.
    #[must_use]
    pub const fn until(self) -> Option<Timestamp> {
        match self {
            Self::Unused => None,
            Self::Fresh(until)
            | Self::Ending(until)
            | Self::Stale(until)
            | Self::BulkStopped(until) => Some(until),
        }
    }

    /// Returns whether bulk records may be released.
    #[must_use]
    pub const fn releases_bulk(self) -> bool {
        match self {
            Self::Unused | Self::Fresh(_) | Self::Ending(_) | Self::Stale(_) => true,
            Self::BulkStopped(_) => false,
        }
    }

    /// Its name, as `status` prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Fresh(_) => "fresh",
            Self::Ending(_) => "ending",
            Self::Stale(_) => "stale",
            Self::BulkStopped(_) => "bulk-stopped",
        }
    }
}
