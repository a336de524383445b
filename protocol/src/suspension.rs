//! Suspensions: one governance key excludes a member for a while, without waiting for the others.
//!
//! While a suspension lasts, nothing is released to the authority and its connections are closed.
//! Records that it delivers or made are refused for now, so that nothing is lost when the
//! suspension ends. A suspension can only narrow: it states an authority, a time span and a reason,
//! and anything more makes it unreadable.
//!
//! One key suspends an authority once in an epoch, for 72 hours at most. A longer exclusion needs a
//! new register, signed by enough of the governance. A node takes a suspension up in the epoch that
//! it names; from then on it holds to its end while its key is of the governance. Of two by the
//! same key, the one that ends first counts everywhere, whichever was heard of first: the signer
//! can shorten a suspension and never prolong it.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use crate::{
    digest::Digest,
    identifiers::{AuthorityId, FederationId},
    keys::{KeyId, KeyUse, SigningKey},
    register::Register,
    rules::Rule,
    statement::{SignatureError, SignedStatement, StatementType},
    time::Timestamp,
    verify::{MAX_CLOCK_AHEAD_MS, Refusal},
    wire,
};

/// Longest duration of a suspension, in milliseconds.
pub const MAX_SUSPENSION_MS: i64 = 72 * 3_600_000;
/// The most bytes of an encoded suspension with its signature.
pub const MAX_SUSPENSION_BYTES: usize = 2 << 10;
/// The most suspensions that a node holds.
pub const MAX_SUSPENSIONS: usize = 1024;
const LONGEST_REASON: usize = 256;

/// A governance key's statement over a suspension.
enum SuspensionType {}

impl StatementType for SuspensionType {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.suspension.v1";
    const KEY_USE: KeyUse = KeyUse::Governance;
}

/// Content of a suspension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// The federation.
    pub federation: FederationId,
    /// The suspended authority.
    pub authority: AuthorityId,
    /// The epoch of the register at the time of signing.
    pub epoch: u64,
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// Reason, for display.
    pub reason: String,
}

impl Suspension {
    /// Signs it with a governance key.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if the key is no governance key.
    pub fn sign(&self, key: &SigningKey) -> Result<SignedStatement, SignatureError> {
        SignedStatement::sign::<SuspensionType>(self.to_wire().encode_to_vec().into(), key)
    }

    fn to_wire(&self) -> wire::Suspension {
        wire::Suspension {
            federation: self.federation.to_string(),
            authority: self.authority.to_string(),
            epoch: self.epoch,
            from_ms: self.from.as_millis(),
            until_ms: self.until.as_millis(),
            reason: self.reason.clone(),
        }
    }
}

/// Writes a signed suspension for a file or message.
#[must_use]
pub fn encode(statement: &SignedStatement) -> Vec<u8> {
    wire::SignedStatement::from(statement).encode_to_vec()
}

/// A suspension whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSuspension {
    suspension: Suspension,
    key: KeyId,
    encoded: Bytes,
}

impl VerifiedSuspension {
    /// Checks a suspension by itself: it can be read, holds nothing more, lasts no longer than
    /// allowed, and is signed by a governance key of the register in force.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under the first of SU-01 to SU-04 that it breaks.
    pub fn verify(bytes: &[u8], register: &Register) -> Result<Self, Refusal> {
        if bytes.len() > MAX_SUSPENSION_BYTES {
            return Err(unreadable("it is larger than allowed"));
        }
        let wire =
            wire::SignedStatement::decode(bytes).map_err(|_| unreadable("it cannot be decoded"))?;
        let statement = SignedStatement::try_from(wire)
            .map_err(|_| unreadable("the signature or its key id has the wrong length"))?;
        let suspension = read(statement.unverified_payload())?;
        if suspension.federation != register.federation {
            let detail = format!("it is of `{}`", suspension.federation);
            return Err(Refusal::new(Rule::SuspensionFederation, detail));
        }
        let unsigned = |detail: String| Refusal::new(Rule::SuspensionSignature, detail);
        let key = register
            .governance
            .iter()
            .find(|key| key.id() == statement.key_id())
            .ok_or_else(|| unsigned(format!("`{}` is not listed", statement.key_id())))?;
        statement
            .verify::<SuspensionType>(key)
            .map_err(|error| unsigned(error.to_string()))?;
        let lasts = suspension.until.millis_since(suspension.from);
        if !(1..=MAX_SUSPENSION_MS).contains(&lasts) {
            let detail = format!("from {} until {}", suspension.from, suspension.until);
            return Err(Refusal::new(Rule::SuspensionTime, detail));
        }
        Ok(Self {
            suspension,
            key: key.id(),
            encoded: Bytes::copy_from_slice(bytes),
        })
    }

    /// Returns the content.
    #[must_use]
    pub const fn suspension(&self) -> &Suspension {
        &self.suspension
    }

    /// Returns the suspension with its signature, to pass on.
    #[must_use]
    pub const fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// Returns the id of the signing key.
    #[must_use]
    pub const fn key(&self) -> KeyId {
        self.key
    }

    fn slot(&self) -> Slot {
        (
            self.key,
            self.suspension.authority.clone(),
            self.suspension.epoch,
        )
    }

    /// Returns the sort key by which the narrower of two is found, the same on every node.
    fn order(&self) -> (Timestamp, Digest) {
        (self.suspension.until, self.digest())
    }

    fn digest(&self) -> Digest {
        Digest::labelled("portcullis suspension v1", &[&self.encoded])
    }
}

fn unreadable(detail: &str) -> Refusal {
    Refusal::new(Rule::SuspensionUnreadable, detail)
}

/// Reads a payload that holds the fields of a suspension and nothing else. A field unknown to this
/// version might ask for more than a narrowing.
fn read(payload: &Bytes) -> Result<Suspension, Refusal> {
    let wire::Suspension {
        federation,
        authority,
        epoch,
        from_ms,
        until_ms,
        reason,
    } = wire::Suspension::decode(payload.clone())
        .map_err(|_| unreadable("it cannot be decoded"))?;
    if reason.len() > LONGEST_REASON || reason.chars().any(char::is_control) {
        return Err(unreadable("its reason is not one short line"));
    }
    let suspension = Suspension {
        federation: federation
            .parse()
            .map_err(|_| unreadable("it names no federation"))?,
        authority: authority
            .parse()
            .map_err(|_| unreadable("it names no authority"))?,
        epoch,
        from: Timestamp::from_millis(from_ms),
        until: Timestamp::from_millis(until_ms),
        reason,
    };
    if suspension.to_wire().encode_to_vec() != payload.as_ref() {
        return Err(unreadable("it says more than who and until when"));
    }
    Ok(suspension)
}

type Slot = (KeyId, AuthorityId, u64);

/// Result of offering a suspension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It was not known before.
    New,
    /// It is held already.
    Known,
}

/// The suspensions that a node knows. Ended ones of this epoch are kept, so that a key that has
/// used its turn cannot make another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suspensions(BTreeMap<Slot, VerifiedSuspension>);

impl Suspensions {
    /// Takes up a suspension that is offered now.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under SU-01 to SU-05.
    pub fn offer(
        &mut self,
        bytes: &[u8],
        register: &Register,
        now: Timestamp,
    ) -> Result<Offered, Refusal> {
        let offered = VerifiedSuspension::verify(bytes, register)?;
        let slot = offered.slot();
        if self.0.get(&slot) == Some(&offered) {
            return Ok(Offered::Known);
        }
        check_occasion(&offered.suspension, register, now)?;
        if let Some(held) = self.0.get(&slot)
            && held.order() <= offered.order()
        {
            let detail = format!(
                "`{}` has suspended `{}` in epoch {} from {} until {}",
                offered.key, slot.1, slot.2, held.suspension.from, held.suspension.until
            );
            return Err(Refusal::new(Rule::SuspensionRepeated, detail));
        }
        if self.0.len() >= MAX_SUSPENSIONS && !self.0.contains_key(&slot) {
            let detail = format!("{MAX_SUSPENSIONS} suspensions are held");
            return Err(Refusal::new(Rule::SuspensionRepeated, detail));
        }
        self.0.insert(slot, offered);
        Ok(Offered::New)
    }

    /// Takes up a suspension again that the node held before its start.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under SU-01 to SU-04, for instance if its key is no longer of the governance.
    pub fn restore(&mut self, bytes: &[u8], register: &Register) -> Result<(), Refusal> {
        let held = VerifiedSuspension::verify(bytes, register)?;
        self.0.insert(held.slot(), held);
        Ok(())
    }

    /// Returns the authorities that are suspended now, each with the end of its suspension.
    #[must_use]
    pub fn in_force(
        &self,
        register: &Register,
        now: Timestamp,
    ) -> BTreeMap<AuthorityId, Timestamp> {
        let mut out = BTreeMap::new();
        for held in self.0.values() {
            let Suspension {
                authority,
                from,
                until,
                ..
            } = &held.suspension;
            let governs = register.governance.iter().any(|key| key.id() == held.key);
            if governs && from.millis_since(now) <= MAX_CLOCK_AHEAD_MS && *until > now {
                let end = out.entry(authority.clone()).or_insert(*until);
                *end = (*end).max(*until);
            }
        }
        out
    }

    /// Removes suspensions that have ended and whose epoch has passed: they cannot be made again.
    pub fn forget_spent(&mut self, register: &Register, now: Timestamp) {
        self.0
            .retain(|(_, _, epoch), held| *epoch >= register.epoch || held.suspension.until > now);
    }

    /// All suspensions held, in an order that is the same on every node.
    pub fn all(&self) -> impl Iterator<Item = &VerifiedSuspension> {
        self.0.values()
    }

    /// Suspensions that another node may still take up: those of this epoch that have not ended.
    pub fn current(
        &self,
        register: &Register,
        now: Timestamp,
    ) -> impl Iterator<Item = &VerifiedSuspension> {
        let epoch = register.epoch;
        self.0
            .values()
            .filter(move |held| held.suspension.epoch == epoch && held.suspension.until > now)
    }

    /// Returns a digest over the current suspensions, by which two sets are compared without being
    /// sent.
    #[must_use]
    pub fn digest(&self, register: &Register, now: Timestamp) -> Digest {
        let current = self.current(register, now);
        let each: Vec<Digest> = current.map(VerifiedSuspension::digest).collect();
        let parts: Vec<&[u8]> = each
            .iter()
            .map(|digest| digest.as_bytes().as_slice())
            .collect();
        Digest::labelled("portcullis suspensions v1", &parts)
    }
}

fn check_occasion(
    suspension: &Suspension,
    register: &Register,
    now: Timestamp,
) -> Result<(), Refusal> {
    let wrong = |detail: String| Err(Refusal::new(Rule::SuspensionTime, detail));
    if suspension.epoch != register.epoch {
        return wrong(format!(
            "it names epoch {}, epoch {} is in force",
            suspension.epoch, register.epoch
        ));
    }
    if suspension.from.millis_since(now) > MAX_CLOCK_AHEAD_MS || suspension.until <= now {
        return wrong(format!(
            "from {} until {}, it is {now}",
            suspension.from, suspension.until
        ));
    }
    if !register.authorities.contains_key(&suspension.authority) {
        return wrong(format!("`{}` is no member", suspension.authority));
    }
    Ok(())
}
