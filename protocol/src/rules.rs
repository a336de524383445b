//! Rules by which nodes refuse something from each other, each with an id.
//!
//! Receipts, log lines and `portcullis explain` name the id. `docs/validation.md` lists the same
//! table, and a test keeps the two equal. An id never changes its meaning and is never used again.

use std::{fmt, str::FromStr};

macro_rules! rules {
    ($( $(#[$meta:meta])* $variant:ident = $id:literal, $title:literal, $remedy:literal; )+) => {
        /// A rule of the protocol that refuses something.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $( $(#[$meta])* #[doc = $title] $variant, )+ }

        impl Rule {
            /// Every rule, in the order of the table.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// The id, for instance `EX-07`.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $( Self::$variant => $id, )+ }
            }

            /// Returns a few words on the thing refused.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $( Self::$variant => $title, )+ }
            }

            /// Returns the remedy, and the party that has to act.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $( Self::$variant => $remedy, )+ }
            }
        }
    };
}

rules! {
    // ---- the record: refusals by verification ----
    RecordHeader = "RE-01", "unreadable header or unknown version",
        "the originator's software writes another format; update the older side";
    RecordFederation = "RE-02", "record of another federation",
        "the record was not made for this federation; it is never admitted here";
    RecordKind = "RE-03", "kind that is not in use",
        "the kind is reserved; update this node once the kind is in use";
    SectionTable = "RE-04", "malformed section table",
        "the originator made a table with repeated, unordered or too many indexes; report it to the originator";
    SectionNotListed = "RE-05", "section that is not in the table",
        "a section was added on the way; look at who delivered it";
    SectionOrder = "RE-06", "repeated or unordered section",
        "a section was repeated on the way; look at who delivered it";
    SaltLength = "RE-07", "salt of another length",
        "a salt has 16 bytes; look at who delivered it";
    LooserSection = "RE-08", "section marked looser than its record",
        "the originator must mark the record as its most open section; report it to the originator";
    NothingOpened = "RE-09", "record with no section opened",
        "a delivery opens at least one section; look at who delivered it";
    GroupCut = "RE-10", "group of sections cut apart",
        "the deliverer withheld part of what must travel together; look at who delivered it";
    SectionDigest = "RE-11", "section that does not match its digest",
        "the section or its salt was changed after sealing; look at who delivered it";
    SectionBody = "RE-12", "unreadable section body",
        "the body does not hold what its section is for, or a value in it is invalid; report it to the originator";
    PathShape = "RE-13", "batch path of the wrong shape",
        "the path is longer or shorter than the batch's tree is high; look at who delivered it";
    PathRoot = "RE-14", "record that is not in its batch",
        "header, blind or path was changed, or the record is not in this batch; look at who delivered it";
    BatchStatement = "RE-15", "malformed batch statement",
        "the statement cannot be read or its tree size is not allowed; report it to the originator";
    BatchMismatch = "RE-16", "header and batch statement disagree",
        "federation, origin, key or time differ between the two; report it to the originator";
    KindSections = "RE-17", "sections that do not fit the kind",
        "each kind has sections it needs and sections it may have (docs/validation.md); report it to the originator";
    ContradictoryMarking = "RE-19", "marking that contradicts itself",
        "for instance TLP:RED without named recipients; report it to the originator";
    LaterVersion = "RE-20", "record of a later version",
        "it holds what this node does not know; update this node, the sender tries again by itself";
    TooManyElements = "RE-21", "more elements than a record may have",
        "the originator put more into a list than any receiver takes; report it to the originator";

    // ---- the hop: refusals of a frame or receipt ----
    FrameUnreadable = "EX-01", "unreadable frame",
        "the frame cannot be read or has no items or too many; update the older side";
    FrameFederation = "EX-02", "frame of another federation",
        "check that both nodes name the same federation in their configuration";
    FrameReceiver = "EX-03", "frame for another node",
        "the sender's register or endpoint is wrong, or a frame was redirected; look at who sent it";
    FrameSender = "EX-04", "frame whose sender is not the peer of the connection",
        "a frame was replayed by someone else; look at who sent it";
    FrameSignature = "EX-05", "frame signature that does not verify",
        "the sender's hop key is not the one in the register, or bytes were changed; check `portcullis federation show`";
    FrameItems = "EX-06", "frame whose items do not match its signed root",
        "items were added, removed or changed in transit; look at the path between the nodes";
    SealingKey = "EX-07", "unknown sealing key",
        "the register lists no such sealing key for the originator; renew the register, then the sender tries again";
    BatchSignature = "EX-08", "batch signature that does not verify",
        "the originator's signature is wrong; the record was forged or damaged";
    KeyEnded = "EX-09", "sealing key that has ended",
        "the key was retired before the record was first seen; a person decides, or the originator seals it again with its present key";
    Sequence = "EX-10", "frame out of sequence",
        "the sender forgot what it had settled, its store was rolled back; it starts a new generation by itself";
    Fork = "EX-11", "fork within a generation",
        "two nodes run with one node's keys, or its history was forged; stop the one that should not run, restore the other from a backup";
    Oversized = "EX-12", "message over the size limit",
        "split it: a frame has at most 1,024 items and 8 MiB";
    ReceiptSignature = "EX-13", "receipt signature that does not verify",
        "the receiver's hop key is not the one in the register, or bytes were changed";
    ReceiptMismatch = "EX-14", "receipt for something that was not sent",
        "the receipt names another frame, or answers other items; look at who answered";
    Busy = "EX-15", "receiver busy or unable to store",
        "temporary; the sender tries again by itself";
    FutureSeal = "EX-16", "record sealed in the future",
        "the originator's clock is ahead of this node's by more than 10 minutes; check both clocks";
    Withdrawn = "EX-17", "record that was withdrawn",
        "its originator withdrew it or it was erased here; it is not taken again";
    Expired = "EX-18", "record past its date of deletion",
        "its marking told everyone to delete it; it is not taken any more";
    OwnRecord = "EX-19", "own record coming back",
        "nothing goes back to where it came from; the sender's dispatch is at fault";
    Exercise = "EX-20", "exercise record outside of an exercise",
        "this node does not take part in exercises; set `exercises = true` if it should";
    KeyCompromised = "EX-21", "sealing key that is compromised",
        "it was first seen since somebody else may have used the key: never believed; the originator seals it again with its present key";
    LaneOfKind = "EX-22", "item in a lane that is not for its kind",
        "the urgent lane is for alerts alone; the sender's dispatch is at fault";
    HopLater = "EX-23", "frame or receipt of a later version",
        "it holds what the receiver of it does not know; update the older side, the sender tries again by itself";

    // ---- policy ----
    PolicyDenied = "PO-01", "denied by the receiver's policy",
        "the receiver's rules do not admit it; agree on it with the receiver";
    PolicyError = "PO-02", "policy that failed to evaluate",
        "an error in a policy counts as a denial; run `portcullis policy check` at the receiver";
    PolicyHeld = "PO-03", "held for a person's decision",
        "the record carries H3 or another restriction that a person must read; a final answer follows";
    HeldDropped = "PO-04", "declined by a person of the receiver",
        "a person has read what was held and does not take it in; agree on it with the receiver";
    HeldEnded = "PO-05", "held, and not decided on in time",
        "nobody at the receiver decided on it within six days; agree on it with the receiver, then publish it again";

    // ---- the register ----
    RegisterUnreadable = "RG-01", "unreadable register",
        "the file is not a register or is damaged; fetch it again from a member";
    RegisterFederation = "RG-02", "register of another federation",
        "check the federation's id in the configuration";
    RegisterSignatures = "RG-03", "register with too few signatures",
        "collect more governance signatures with `portcullis federation sign`";
    RegisterEpoch = "RG-04", "register that skips or repeats an epoch",
        "steps are of exactly one: apply the epochs between first, one after the other";
    RegisterChain = "RG-05", "register that does not follow the one held",
        "it names another predecessor: someone signed a fork; do not apply it, call the governance";
    RegisterPin = "RG-06", "first register that is not the pinned one",
        "compare its digest with the one you were given by another way";
    RegisterContent = "RG-07", "register whose content contradicts itself",
        "an id, key, address or certificate stands twice or is malformed; correct it and sign again";
    RequestSignatures = "RG-08", "membership request without proof of its keys",
        "each key in a request signs it; make the request again with `portcullis federation request`";
    DevelopmentKeys = "RG-09", "worthless development keys outside of a development federation",
        "make real keys with `portcullis init` and a certificate of the authority's own CA";

    RolledBack = "RG-10", "register older than one this node has seen",
        "the newest epochs are missing from `register/`: put them back, or fetch them from a member and apply them";

    // ---- trust data exchanged between members ----
    TrustUnreadable = "TR-01", "unreadable question or answer about trust",
        "it cannot be read; update the older side";
    TrustFederation = "TR-02", "question about trust in another federation",
        "check that both nodes name the same federation in their configuration";
    TrustLater = "TR-03", "trust data of a later version",
        "it holds what this node does not know; update this node, it asks again by itself";
    ReconcileUnreadable = "RC-01", "unreadable question or answer about a channel",
        "it cannot be read; update the older side";
    ReconcileFederation = "RC-02", "question about a channel in another federation",
        "check that both nodes name the same federation in their configuration";
    ReconcileRecord = "RC-03", "record given back that was not asked for or is not one's own",
        "the peer gave back what this authority did not make or did not ask for; look at who answered";
    ReconcileClaims = "RC-04", "more disclosures claimed than a peer may teach",
        "the peer claims records that the ledger does not tell of, a million by now; look at who operates it, and cut it off with `portcullis peer block` if nothing was restored here";
    FreshnessUnreadable = "FR-01", "unreadable freshness statement",
        "the statement is damaged; make it again with `portcullis federation freshness`";
    FreshnessFederation = "FR-02", "freshness statement of another federation",
        "it was made for another federation; look at who passed it on";
    FreshnessSignatures = "FR-03", "freshness statement with too few signatures",
        "enough of the freshness keys that the register lists must sign it";
    FreshnessRegister = "FR-04", "freshness statement for another register",
        "it speaks of another epoch than the one in force here; fetch the newest register, or make the statement again";
    FreshnessTime = "FR-05", "freshness statement whose time cannot be",
        "it is valid for at most 48 hours from its issue, which must not lie ahead; check the clock of who signed it";
    SuspensionUnreadable = "SU-01", "unreadable suspension",
        "it is damaged, or says more than a suspension can say; make it again with `portcullis federation suspend`";
    SuspensionFederation = "SU-02", "suspension in another federation",
        "it was made for another federation; look at who passed it on";
    SuspensionSignature = "SU-03", "suspension not signed by a governance key",
        "one of the governance keys that the register lists must sign it";
    SuspensionTime = "SU-04", "suspension whose time or epoch does not hold",
        "it lasts 72 hours at most, begins now and names the epoch in force; make it again";
    SuspensionRepeated = "SU-05", "suspension repeated by the same key",
        "a key suspends an authority once in an epoch; for longer, enough of the governance must sign a new register";
    Suspended = "SU-06", "what a suspended authority delivers or made",
        "temporary: the sender tries again by itself, and is heard once the suspension has ended";

    // ---- the connection ----
    PeerCertificate = "TL-01", "peer certificate that does not fit the register",
        "its names or its issuer are not those of the register's node; renew the certificate or the register";
    PeerRevoked = "TL-02", "peer certificate that is revoked or whose revocation is unknown",
        "renew the certificate, or the CRL if it has expired";
    PeerBlocked = "TL-03", "peer that an administrator has blocked",
        "an administrator of this node cut it off; `portcullis peer unblock` lets it in again";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id(), self.title())
    }
}

/// Error for a text that names no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no rule has the id `{0}`; `portcullis explain` lists them all")]
pub struct UnknownRule(String);

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|rule| rule.id().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownRule(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_rules_share_an_id() {
        let ids: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        assert_eq!(ids.len(), Rule::ALL.len());
    }

    #[test]
    fn an_id_finds_its_rule() {
        assert_eq!("ex-07".parse(), Ok(Rule::SealingKey));
        assert!("EX-99".parse::<Rule>().is_err());
    }
}
