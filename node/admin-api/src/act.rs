//! Acts: a person's instructions to the node, each a statement signed with the person's key.
//!
//! The statement names the node, the action, its parameters and the digest of the body that travels
//! beside it. None of these can be exchanged, and the statement can neither be sent to another node
//! nor be sent twice. The signature alone identifies the person. The table of roles tells what each
//! role may do.
//!
//! Pure: the time and the nonce are arguments.

use std::collections::BTreeMap;

use bytes::Bytes;
use data_encoding::BASE64;
use portcullis_protocol::{
    digest::Digest,
    identifiers::{FederationId, NodeId},
    keys::{KeyId, KeyUse, PublicKey, SigningKey},
    statement::{SignatureError, SignedStatement, StatementType},
    time::Timestamp,
    wire,
};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::v1::act::EnrolView;

/// Largest distance between the statement's time and the node's that is accepted, in milliseconds.
pub const FRESH_MS: i64 = 10 * 60 * 1000;

/// Most records that one act publishes: they become durable in one transaction, for which alerts
/// wait.
pub const MOST_DRAFTS: usize = 4_096;

/// A person as the node knows them: who signs, in which role, with which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Their id, a short name.
    pub id: String,
    /// Their role's name.
    pub role: String,
    /// Their public key, 32 bytes.
    pub public_key: Vec<u8>,
}

/// Statement type of an act: signed with a person's key.
pub enum PersonAct {}

impl StatementType for PersonAct {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.act.v1+json";
    const KEY_USE: KeyUse = KeyUse::Person;
}

macro_rules! named {
    ($(#[$meta:meta])* $type:ident { $( $(#[$variant_meta:meta])* $variant:ident = $name:literal, )+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $type { $( $(#[$variant_meta])* $variant, )+ }

        impl $type {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// Returns the name of the value.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )+ }
            }

            /// Returns the value with this name; `None` if there is none.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }
        }
    };
}

named! {
    /// Action that a person can have the node carry out.
    Action {
        /// Publish indicators and outcomes.
        Publish = "publish",
        /// Raise an alert.
        Alert = "alert",
        /// Publish an advisory.
        Advisory = "advisory",
        /// Import the authority's own consignments.
        ImportConsignments = "import-consignments",
        /// Close a consignment with the result of its control.
        CloseConsignment = "close-consignment",
        /// Remove consignments of past days, with their scores.
        PruneConsignments = "prune-consignments",
        /// Publish the authority's risk profile.
        PublishProfile = "publish-profile",
        /// Enrol a person.
        Enrol = "enrol",
        /// End a person: their key counts no more.
        PersonEnd = "person-end",
        /// Give a person another key.
        PersonRekey = "person-rekey",
        /// Give a person another role.
        PersonRole = "person-role",
        /// Second what another person proposed about a person.
        PersonSecond = "person-second",
        /// Withdraw what was proposed about a person, or a recovery.
        PersonWithdraw = "person-withdraw",
        /// Load register, policy, certificate and revocation lists again.
        Reload = "reload",
        /// Accept the trust settings that lie in the node's home.
        AcceptSettings = "accept-settings",
        /// Cut a peer off.
        PeerBlock = "peer-block",
        /// Let a blocked peer in again.
        PeerUnblock = "peer-unblock",
        /// Send nothing more to a peer, or to anyone.
        ReleaseStop = "release-stop",
        /// Resume the release to a peer, or to everyone, after a stop.
        ReleaseResume = "release-resume",
        /// Admit held items, unless something else forbids it.
        HoldRelease = "hold-release",
        /// Refuse held items.
        HoldDrop = "hold-drop",
        /// Retry a record that was given up or waits for its next try.
        DispatchRetry = "dispatch-retry",
        /// Send a peer older records.
        Backfill = "backfill",
        /// Send no more of the older records that a peer is owed.
        BackfillCancel = "backfill-cancel",
        /// Confirm that the clock is right after it was set.
        ConfirmClock = "confirm-clock",
        /// Destroy items that failed verification.
        QuarantineDrop = "quarantine-drop",
        /// Copy the node's state and its sealed keys to folders of this machine.
        Backup = "backup",
        /// Read the log of events or acts.
        ReadLog = "read-log",
    }
}

named! {
    /// Role of a person, which determines the actions that the person may have carried out.
    Role {
        /// Works with records and scores.
        Analyst = "analyst",
        /// Analyst who is responsible for others.
        Supervisor = "supervisor",
        /// Watches over personal data.
        DataProtection = "data-protection",
        /// Runs the node.
        Administrator = "administrator",
        /// Reads the logs.
        Auditor = "auditor",
    }
}

impl Action {
    /// Returns the roles that may have the action carried out.
    #[must_use]
    pub const fn roles(self) -> &'static [Role] {
        match self {
            Self::Publish
            | Self::Alert
            | Self::Advisory
            | Self::ImportConsignments
            | Self::CloseConsignment
            | Self::PublishProfile => &[Role::Analyst, Role::Supervisor],
            Self::Enrol
            | Self::PersonEnd
            | Self::PersonRekey
            | Self::PersonRole
            | Self::Reload
            | Self::AcceptSettings
            | Self::PeerBlock
            | Self::PeerUnblock
            | Self::ConfirmClock
            | Self::Backup => &[Role::Administrator],
            Self::ReleaseStop
            | Self::ReleaseResume
            | Self::BackfillCancel
            | Self::QuarantineDrop
            | Self::PersonSecond
            | Self::PersonWithdraw => {
                &[Role::Administrator, Role::Supervisor, Role::DataProtection]
            }
            Self::ReadLog => &[Role::Auditor, Role::DataProtection],
            Self::DispatchRetry => &[Role::Administrator, Role::Supervisor],
            Self::HoldRelease | Self::HoldDrop | Self::Backfill | Self::PruneConsignments => {
                &[Role::Supervisor, Role::DataProtection]
            }
        }
    }
}

/// Payload of the statement, as JSON, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActView {
    version: u32,
    federation: String,
    node: String,
    action: String,
    parameters: BTreeMap<String, String>,
    body: String,
    at: String,
    nonce: String,
}

/// Request for an act, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The federation.
    pub federation: &'a str,
    /// The node that is to carry out the act.
    pub node: &'a str,
    /// The action to carry out.
    pub action: Action,
    /// Parameters of the action.
    pub parameters: BTreeMap<String, String>,
    /// Body that travels beside the statement.
    pub body: &'a [u8],
    /// The present time.
    pub at: Timestamp,
    /// 16 random bytes. They make the same request, sent twice, two acts.
    pub nonce: [u8; 16],
}

/// Error of a statement that is not acted on. The caller has to correct it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// The statement cannot be read.
    #[error("the signed act cannot be read; use a command line of the node's version")]
    Unreadable,
    /// The key belongs to no enrolled person.
    #[error("the key `{0:.12}` is no enrolled person's")]
    Nobody(String),
    /// The signature does not count.
    #[error("the act's signature does not count: {0}")]
    Signature(#[from] SignatureError),
    /// The statement is for another node or federation.
    #[error("the act is for node `{named}` of `{federation}`, not for this one")]
    OtherNode {
        /// The node it names.
        named: String,
        /// The federation it names.
        federation: String,
    },
    /// The body is not the one that was signed for.
    #[error("the act was signed for another content than the one that came with it")]
    OtherBody,
    /// The time of the statement is more than [`FRESH_MS`] from the node's.
    #[error(
        "the act was signed at {0}, too far from the node's time; set the clock and sign again"
    )]
    Stale(Timestamp),
    /// The role of the person does not permit the action.
    #[error("`{person}` has the role `{role}`, which may not `{action}`; it is for: {allowed}")]
    Role {
        /// Id of the person who signed.
        person: String,
        /// Role of that person.
        role: String,
        /// Name of the action asked for.
        action: &'static str,
        /// Names of the roles that may have it carried out, separated by commas.
        allowed: String,
    },
}

/// Signs a request and returns the encoded statement, in base 64.
///
/// # Errors
///
/// [`SignatureError`] if the key is not a person's key.
pub fn sign(request: &Request<'_>, key: &SigningKey) -> Result<String, SignatureError> {
    let view = ActView {
        version: 1,
        federation: request.federation.to_owned(),
        node: request.node.to_owned(),
        action: request.action.name().to_owned(),
        parameters: request.parameters.clone(),
        body: body_digest(request.body).to_string(),
        at: request.at.to_string(),
        nonce: data_encoding::HEXLOWER.encode(&request.nonce),
    };
    // A struct of texts and numbers always serialises.
    let payload = serde_json::to_vec(&view).map_err(|_| SignatureError::Malformed)?;
    let statement = SignedStatement::sign::<PersonAct>(payload.into(), key)?;
    Ok(BASE64.encode(&wire::SignedStatement::from(&statement).encode_to_vec()))
}

/// Returns the digest of a body, as a statement names it.
pub(crate) fn body_digest(body: &[u8]) -> Digest {
    Digest::labelled("portcullis act body v1", &[body])
}

/// Returns the id of an act: the digest of its key and payload. Signing the same payload again
/// makes no new act.
#[must_use]
pub fn id(statement: &SignedStatement) -> Digest {
    Digest::labelled(
        "portcullis act v1",
        &[
            statement.key_id().as_bytes(),
            statement.unverified_payload(),
        ],
    )
}

/// Returns the key that a statement claims to enrol, if that very key signed it. Nothing is
/// verified yet. `contents` are bodies by their digests.
pub(crate) fn unverified_enrolment(
    statement: &SignedStatement,
    contents: &BTreeMap<String, &EnrolView>,
) -> Option<PublicKey> {
    let view: ActView = serde_json::from_slice(statement.unverified_payload()).ok()?;
    let named = view.parameters.get("public-key");
    let of_body = || contents.get(&view.body).map(|content| &content.public_key);
    let bytes = data_encoding::HEXLOWER_PERMISSIVE
        .decode(named.or_else(of_body)?.as_bytes())
        .ok()?;
    let key = PublicKey::from_slice(KeyUse::Person, &bytes).ok()?;
    (key.id() == statement.key_id()).then_some(key)
}

/// Returns the person whom a statement would have ended or given another key, and its time, though
/// it does not hold.
pub(crate) fn unverified_end(statement: &SignedStatement) -> Option<(String, Timestamp)> {
    let view: ActView = serde_json::from_slice(statement.unverified_payload()).ok()?;
    let closes = [Action::PersonEnd, Action::PersonRekey];
    let closes = Action::named(&view.action).is_some_and(|action| closes.contains(&action));
    let at = view.at.parse().ok()?;
    closes
        .then(|| view.parameters.get("id").cloned())?
        .map(|id| (id, at))
}

/// Returns the time at which a statement says that it was signed; nothing of it is verified.
pub(crate) fn unverified_time(statement: &SignedStatement) -> Option<Timestamp> {
    let view: ActView = serde_json::from_slice(statement.unverified_payload()).ok()?;
    view.at.parse().ok()
}

/// A statement of the log that was verified again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedAct {
    /// The action that was carried out.
    pub(crate) action: Action,
    /// Parameters of the action.
    pub(crate) parameters: BTreeMap<String, String>,
    /// Digest of the body that came with it.
    pub(crate) body: String,
    /// Time at which it was signed.
    pub(crate) at: Timestamp,
}

/// A statement that was checked: the person, the action and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAct {
    /// The person who signed.
    pub person: Enrolled,
    /// The action to carry out.
    pub action: Action,
    /// Parameters of the action.
    pub parameters: BTreeMap<String, String>,
    /// Time at which it was signed.
    pub at: Timestamp,
    /// The statement as it was signed.
    pub statement: SignedStatement,
}

impl VerifiedAct {
    /// Checks once more that the key which signed is an enrolled person's whose role permits the
    /// action. Between the check of the statement and its turn to be carried out lie the time in which
    /// its body comes and the acts of others.
    ///
    /// # Errors
    ///
    /// [`ActError::Nobody`] or [`ActError::Role`].
    pub fn stands(&self, persons: &[Enrolled]) -> Result<(), ActError> {
        let (person, _) = signer(&self.statement, persons)?;
        check_role(person, self.action)
    }
}

/// A statement that was checked without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncedAct {
    act: VerifiedAct,
    /// Digest of the body that the person signed.
    body: String,
}

impl AnnouncedAct {
    /// Compares the body that came with the statement.
    ///
    /// # Errors
    ///
    /// [`ActError::OtherBody`] if it is another than the person signed.
    pub fn with(self, body: &[u8]) -> Result<VerifiedAct, ActError> {
        if self.body == body_digest(body).to_string() {
            Ok(self.act)
        } else {
            Err(ActError::OtherBody)
        }
    }
}

/// Federation, node and time against which a statement is checked.
#[derive(Debug, Clone, Copy)]
pub struct ActVerifier<'a> {
    /// The federation.
    pub federation: &'a FederationId,
    /// The node.
    pub node: &'a NodeId,
    /// The present time.
    pub now: Timestamp,
}

impl ActVerifier<'_> {
    /// Checks a statement against the enrolled persons and the body that came with it. It is the
    /// store that refuses a statement which was carried out before.
    ///
    /// # Errors
    ///
    /// [`ActError`].
    pub fn verify(
        &self,
        text: &str,
        body: &[u8],
        persons: &[Enrolled],
    ) -> Result<VerifiedAct, ActError> {
        self.announced(text, persons)?.with(body)
    }

    /// Checks a statement as far as that can be done before its body has come, so that nobody has a node read the body
    /// of an act that it would refuse anyhow.
    ///
    /// # Errors
    ///
    /// [`ActError`].
    pub fn announced(&self, text: &str, persons: &[Enrolled]) -> Result<AnnouncedAct, ActError> {
        let statement = read(text)?;
        let (person, key) = signer(&statement, persons)?;
        let payload = statement.verify::<PersonAct>(&key)?;
        let view: ActView = serde_json::from_slice(payload).map_err(|_| ActError::Unreadable)?;
        let (action, at) = self.check(&view)?;
        check_role(person, action)?;
        let act = VerifiedAct {
            person: person.clone(),
            action,
            parameters: view.parameters,
            at,
            statement,
        };
        Ok(AnnouncedAct {
            act,
            body: view.body,
        })
    }

    /// Verifies a statement of the log again: by its key, and for this node. It was fresh, and came
    /// with its body, when it was carried out.
    pub(crate) fn logged(
        &self,
        statement: &SignedStatement,
        key: &PublicKey,
    ) -> Result<LoggedAct, ActError> {
        let payload = statement.verify::<PersonAct>(key)?;
        let view: ActView = serde_json::from_slice(payload).map_err(|_| ActError::Unreadable)?;
        self.check_place(&view)?;
        Ok(LoggedAct {
            action: Action::named(&view.action).ok_or(ActError::Unreadable)?,
            parameters: view.parameters,
            body: view.body,
            at: view.at.parse().map_err(|_| ActError::Unreadable)?,
        })
    }

    fn check_place(&self, view: &ActView) -> Result<(), ActError> {
        let here = view.node == self.node.as_str() && view.federation == self.federation.as_str();
        if !here {
            return Err(ActError::OtherNode {
                named: view.node.clone(),
                federation: view.federation.clone(),
            });
        }
        if view.version != 1 {
            return Err(ActError::Unreadable);
        }
        Ok(())
    }

    fn check(&self, view: &ActView) -> Result<(Action, Timestamp), ActError> {
        self.check_place(view)?;
        let at: Timestamp = view.at.parse().map_err(|_| ActError::Unreadable)?;
        if at.millis_since(self.now).saturating_abs() > FRESH_MS {
            return Err(ActError::Stale(at));
        }
        let action = Action::named(&view.action).ok_or(ActError::Unreadable)?;
        Ok((action, at))
    }
}

fn read(text: &str) -> Result<SignedStatement, ActError> {
    let bytes = BASE64
        .decode(text.as_bytes())
        .map_err(|_| ActError::Unreadable)?;
    let wire = wire::SignedStatement::decode(Bytes::from(bytes));
    Ok(wire.map_err(|_| ActError::Unreadable)?.try_into()?)
}

/// Returns the id of the key that an encoded statement claims; nothing is verified.
#[must_use]
pub fn key_of(text: &str) -> Option<KeyId> {
    read(text).ok().map(|statement| statement.key_id())
}

fn signer<'p>(
    statement: &SignedStatement,
    persons: &'p [Enrolled],
) -> Result<(&'p Enrolled, PublicKey), ActError> {
    let id = statement.key_id();
    persons
        .iter()
        .filter_map(|person| {
            let key = PublicKey::from_slice(KeyUse::Person, &person.public_key).ok()?;
            (key.id() == id).then_some((person, key))
        })
        .next()
        .ok_or_else(|| ActError::Nobody(id.to_string()))
}

fn check_role(person: &Enrolled, action: Action) -> Result<(), ActError> {
    let allowed = action.roles();
    if Role::named(&person.role).is_some_and(|role| allowed.contains(&role)) {
        return Ok(());
    }
    let names: Vec<_> = allowed.iter().map(|role| role.name()).collect();
    Err(ActError::Role {
        person: person.id.clone(),
        role: person.role.clone(),
        action: action.name(),
        allowed: names.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_614_585_600_000);

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(KeyUse::Person, [seed; 32])
    }

    fn person(id: &str, role: Role, key: &SigningKey) -> Enrolled {
        Enrolled {
            id: id.to_owned(),
            role: role.name().to_owned(),
            public_key: key.public().to_bytes().to_vec(),
        }
    }

    fn request(action: Action) -> Request<'static> {
        Request {
            federation: "ports",
            node: "rotterdam-1",
            action,
            parameters: BTreeMap::new(),
            body: b"body",
            at: NOW,
            nonce: [7; 16],
        }
    }

    fn verify(request: &Request<'_>, body: &[u8]) -> Result<VerifiedAct, ActError> {
        let analyst = person("anna", Role::Analyst, &key(1));
        let statement = sign(request, &key(1)).unwrap();
        verify_text(&statement, body, &[analyst])
    }

    fn verify_text(text: &str, body: &[u8], persons: &[Enrolled]) -> Result<VerifiedAct, ActError> {
        let (federation, node) = ("ports".parse().unwrap(), "rotterdam-1".parse().unwrap());
        let verifier = ActVerifier {
            federation: &federation,
            node: &node,
            now: NOW,
        };
        verifier.verify(text, body, persons)
    }

    #[test]
    fn who_acts_is_said_by_the_signature() {
        let act = verify(&request(Action::Publish), b"body").unwrap();
        assert_eq!(act.person.id, "anna");
        assert_eq!(act.action, Action::Publish);
    }

    #[test]
    fn another_body_node_federation_or_time_does_not_count() {
        let good = request(Action::Publish);
        assert_eq!(verify(&good, b"JsonBody"), Err(ActError::OtherBody));
        let node = Request {
            node: "antwerp-1",
            ..good.clone()
        };
        let federation = Request {
            federation: "other",
            ..good.clone()
        };
        for elsewhere in [node, federation] {
            let refused = verify(&elsewhere, b"body");
            assert!(matches!(refused, Err(ActError::OtherNode { .. })));
        }
        for far in [FRESH_MS + 1, -FRESH_MS - 1] {
            let at = NOW.plus_millis(far);
            let refused = verify(&Request { at, ..good.clone() }, b"body");
            assert_eq!(refused, Err(ActError::Stale(at)));
        }
    }

    #[test]
    fn a_key_that_is_nobodys_does_not_count() {
        let statement = sign(&request(Action::Publish), &key(2)).unwrap();
        let anna = person("anna", Role::Analyst, &key(1));
        let refused = verify_text(&statement, b"body", &[anna]);
        assert!(matches!(refused, Err(ActError::Nobody(_))));
    }

    #[test]
    fn any_flipped_bit_of_the_statement_is_refused() {
        let anna = person("anna", Role::Analyst, &key(1));
        let text = sign(&request(Action::Publish), &key(1)).unwrap();
        let bytes = BASE64.decode(text.as_bytes()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let text = BASE64.encode(&flipped);
            let read = verify_text(&text, b"body", std::slice::from_ref(&anna));
            assert!(read.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn each_action_is_for_its_roles_alone() {
        for &action in Action::ALL {
            for &role in Role::ALL {
                let actor = person("anna", role, &key(1));
                let statement = sign(&request(action), &key(1)).unwrap();
                let allowed = verify_text(&statement, b"body", &[actor]).is_ok();
                let analysts = [Role::Analyst, Role::Supervisor].contains(&role);
                let runs_the_node = [
                    Action::Enrol,
                    Action::PersonEnd,
                    Action::PersonRekey,
                    Action::PersonRole,
                    Action::Reload,
                    Action::AcceptSettings,
                    Action::PeerBlock,
                    Action::PeerUnblock,
                    Action::ConfirmClock,
                    Action::Backup,
                ];
                let stops = [
                    Action::ReleaseStop,
                    Action::ReleaseResume,
                    Action::BackfillCancel,
                    Action::QuarantineDrop,
                    Action::PersonSecond,
                    Action::PersonWithdraw,
                ];
                let decides = [
                    Action::HoldRelease,
                    Action::HoldDrop,
                    Action::Backfill,
                    Action::PruneConsignments,
                ];
                let expected = if runs_the_node.contains(&action) {
                    role == Role::Administrator
                } else if stops.contains(&action) {
                    ![Role::Analyst, Role::Auditor].contains(&role)
                } else if action == Action::ReadLog {
                    [Role::Auditor, Role::DataProtection].contains(&role)
                } else if action == Action::DispatchRetry {
                    [Role::Administrator, Role::Supervisor].contains(&role)
                } else if decides.contains(&action) {
                    [Role::Supervisor, Role::DataProtection].contains(&role)
                } else {
                    analysts
                };
                assert_eq!(allowed, expected, "{} {}", role.name(), action.name());
            }
        }
    }

    #[test]
    fn an_act_stands_while_its_key_and_role_are_those_of_somebody_who_may() {
        let act = verify(&request(Action::Publish), b"body").unwrap();
        let stands = |role, seed| act.stands(&[person("anna", role, &key(seed))]);
        assert_eq!(stands(Role::Supervisor, 1), Ok(()));
        assert!(matches!(
            stands(Role::Auditor, 1),
            Err(ActError::Role { .. })
        ));
        assert!(matches!(stands(Role::Analyst, 2), Err(ActError::Nobody(_))));
        assert!(matches!(act.stands(&[]), Err(ActError::Nobody(_))));
    }

    #[test]
    fn a_key_of_another_use_signs_no_act() {
        let sealing = SigningKey::from_seed(KeyUse::Sealing, [1; 32]);
        assert!(sign(&request(Action::Publish), &sealing).is_err());
    }
}
