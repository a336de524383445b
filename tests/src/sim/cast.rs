//! The participants and their data: members, keys from fixed seeds, register epochs, policy
//! bundles, records.
//!
//! Making a policy engine and sealing records are expensive. Both are done once in a process and
//! shared by all seeds: a decider is immutable, and it returns remembered decisions unchanged.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use portcullis_kernel::decide::Decider;
use portcullis_policy::{Bundle, Engine};
use portcullis_protocol::{
    body::{Assessment, Body, Selector, SelectorKind, Subject, Window},
    evaluation::Evaluation,
    identifiers::{AuthorityId, FederationId, NodeId},
    keys::{KeyUse, SigningKey},
    marking::{HandlingCodes, Marking, Purpose, Tlp},
    record::{Kind, RecordId},
    register::{
        Authority, AuthorityKind, FreshnessKeys, LegalRegime, Node, Register, RegisteredKey,
        SignedRegister, VerifiedRegister,
    },
    seal::{Draft, Sealer},
    time::Timestamp,
    verify::{Occasion, VerifiedRecord, Verifier},
};

use super::{expect::Made, random::Random};

/// Time at which every simulation begins: 2021-04-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_millis(1_617_235_200_000);

/// The federation's id.
pub const FEDERATION: &str = "sim";

/// Index of a member in [`MEMBERS`]. As the number of a process it may also be a copy of a member's
/// node, which is that index plus the number of members.
pub type MemberNumber = usize;

/// Returns the number of the process that is a copy of a member's node.
#[must_use]
pub const fn copy_of(member: MemberNumber) -> MemberNumber {
    who(member) + MEMBERS.len()
}

/// Returns the member to which a process belongs.
#[must_use]
pub const fn who(process: MemberNumber) -> MemberNumber {
    process % MEMBERS.len()
}

/// Every member of the register: name, kind, legal regime.
pub const MEMBERS: [(&str, AuthorityKind, LegalRegime); 6] = [
    ("rotterdam", AuthorityKind::Customs, LegalRegime::Both),
    ("antwerp", AuthorityKind::Customs, LegalRegime::Both),
    ("police", AuthorityKind::Police, LegalRegime::Led),
    (
        "terminal",
        AuthorityKind::PrivateOperator,
        LegalRegime::Gdpr,
    ),
    ("hub", AuthorityKind::Hub, LegalRegime::Both),
    ("second-hub", AuthorityKind::Hub, LegalRegime::Both),
];

/// The member that gets a second sealing key with [`SECOND_KEY_EPOCH`].
pub const ROTTERDAM: MemberNumber = 0;
/// The member that leaves the community with [`TERMINAL_LEAVES_EPOCH`].
pub const TERMINAL: MemberNumber = 3;
/// The police.
pub const POLICE: MemberNumber = 2;

/// Epoch from which Rotterdam's second sealing key is listed.
pub const SECOND_KEY_EPOCH: usize = 2;
/// Epoch from which the terminal shares no community with anybody.
pub const TERMINAL_LEAVES_EPOCH: usize = 3;
/// Newest epoch.
pub const NEWEST_EPOCH: usize = 3;

/// A tighter bundle: it releases no narrative to the police and no alerts to private operators, and
/// it admits no source section of an indicator.
const TIGHT: &str = r#"
// No narrative to the police.
@id("no-narrative-to-police")
forbid (principal, action in [Portcullis::Action::"release", Portcullis::Action::"relay"], resource)
when { principal.kind == Portcullis::AuthorityKind::"police" &&
       context.section.tag == Portcullis::SectionTag::"narrative" };
// No alerts to private operators.
@id("no-alerts-to-operators")
forbid (principal, action in [Portcullis::Action::"release", Portcullis::Action::"relay"], resource)
when { principal.kind == Portcullis::AuthorityKind::"private-operator" &&
       resource.kind == Portcullis::RecordKind::"alert" };
// No sources of indicators are taken in.
@id("no-sources-in")
forbid (principal, action == Portcullis::Action::"admit", resource)
when { resource.kind == Portcullis::RecordKind::"indicator" &&
       context.section.tag == Portcullis::SectionTag::"source" };
"#;

/// Policies of an authority of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// No policies of its own.
    Baseline,
    /// Policies tighter than the baseline.
    Tight,
}

/// Register and policy that a node has in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InForce {
    /// The register's epoch, from 1.
    pub epoch: usize,
    /// The policy.
    pub policy: Policy,
}

/// Marking and kind of a record: everything that decides who may have which of its sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// TLP:GREEN for customs, police and the port.
    Green,
    /// An alert, marked like [`Self::Green`].
    GreenAlert,
    /// TLP:AMBER, not for the port.
    Amber,
    /// TLP:AMBER+STRICT, not for the port; no hub gets it.
    AmberStrict,
    /// TLP:RED for customs and police by name.
    Red,
    /// H3, released to customs and police by name; every receiver holds it for a decision by a
    /// person.
    Restricted,
    /// TLP:GREEN, to be deleted soon after the start.
    ShortLived,
}

impl Likeness {
    /// Every likeness.
    pub const ALL: [Self; 7] = [
        Self::Green,
        Self::GreenAlert,
        Self::Amber,
        Self::AmberStrict,
        Self::Red,
        Self::Restricted,
        Self::ShortLived,
    ];

    /// Returns the time at which such a record is to be deleted, if any.
    #[must_use]
    pub const fn delete_at(self) -> Option<Timestamp> {
        match self {
            Self::ShortLived => Some(START.plus_millis(90_000)),
            Self::Green
            | Self::GreenAlert
            | Self::Amber
            | Self::AmberStrict
            | Self::Red
            | Self::Restricted => None,
        }
    }

    fn draft(self) -> Draft {
        let wide = [
            Purpose::CustomsControl,
            Purpose::LawEnforcement,
            Purpose::PortSecurity,
        ];
        let narrow = [Purpose::CustomsControl, Purpose::LawEnforcement];
        let named = || Some(NAMED.map(|name| name.parse().unwrap()).into());
        let mut marking = match self {
            Self::Green | Self::GreenAlert | Self::ShortLived => Marking::new(Tlp::Green, wide),
            Self::Amber => Marking::new(Tlp::Amber, narrow),
            Self::AmberStrict => Marking::new(Tlp::AmberStrict, narrow),
            Self::Red => Marking::new(Tlp::Red, narrow),
            Self::Restricted => Marking::new(Tlp::Green, narrow),
        };
        match self {
            Self::Red => marking.release_to = named(),
            Self::Restricted => {
                marking.release_to = named();
                marking.handling = HandlingCodes {
                    h3: Some("ask before use".to_owned()),
                    ..HandlingCodes::NONE
                };
            }
            Self::ShortLived => marking.delete_at = self.delete_at(),
            Self::Green | Self::GreenAlert | Self::Amber | Self::AmberStrict => {}
        }
        let kind = match self {
            Self::GreenAlert => Kind::Alert,
            Self::Green
            | Self::Amber
            | Self::AmberStrict
            | Self::Red
            | Self::Restricted
            | Self::ShortLived => Kind::Indicator,
        };
        Draft::new(kind, marking, Evaluation::default(), bodies())
    }
}

/// Members on release lists.
pub const NAMED: [&str; 3] = ["rotterdam", "antwerp", "police"];

/// Bodies of the sections: 0 subject, 1 assessment, 2 narrative, 3 source.
fn bodies() -> Vec<Body> {
    let window = Window {
        from: START.plus_millis(-86_400_000),
        until: START.plus_millis(86_400_000),
    };
    let container = Selector::new(SelectorKind::Container, "CSQU3054383", Some(window)).unwrap();
    let subject = Subject {
        selectors: vec![container],
        title: "a box".to_owned(),
        generated: false,
    };
    let assessment = Assessment {
        threat: "narcotics".to_owned(),
        finding: None,
        text: String::new(),
    };
    vec![
        Body::Subject(subject),
        Body::Assessment(assessment),
        Body::Narrative("the story".to_owned()),
        Body::Source("an informant".to_owned()),
    ]
}

/// Records that are published together.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The records.
    pub records: Vec<VerifiedRecord>,
    /// Epoch from which the key of the batch is listed.
    pub epoch: usize,
}

/// Everything that is made once in a process.
pub struct Cast {
    nodes: Vec<NodeId>,
    hop_keys: Vec<SigningKey>,
    authorities: Vec<AuthorityId>,
    registers: Vec<VerifiedRegister>,
    /// Deciders made so far. The lock is held while one is looked up or made.
    deciders: Mutex<BTreeMap<(MemberNumber, InForce), Arc<Decider>>>,
    batches: BTreeMap<MemberNumber, Vec<Batch>>,
    made: BTreeMap<RecordId, Made>,
    /// Every record as it was sealed, by its id.
    sealed: BTreeMap<RecordId, VerifiedRecord>,
}

impl Cast {
    /// Returns the cast of this process, made at the first call.
    pub fn get() -> &'static Self {
        static CAST: OnceLock<Cast> = OnceLock::new();
        CAST.get_or_init(Self::make)
    }

    fn make() -> Self {
        let registers = registers();
        let newest = registers.last().unwrap().register();
        let mut random = Random::new(1);
        let mut all = BTreeMap::new();
        let mut batches = BTreeMap::new();
        let mut sealed = BTreeMap::new();
        for (member, (name, kind, _)) in MEMBERS.iter().enumerate() {
            if *kind == AuthorityKind::Hub {
                continue;
            }
            let made = batches_of(member, newest, &mut random);
            for (likes, batch) in &made {
                for (like, record) in likes.iter().zip(&batch.records) {
                    assert_eq!(record.header().origin.as_str(), *name);
                    let made = Made {
                        like: *like,
                        origin: member,
                        epoch: batch.epoch,
                    };
                    all.insert(record.id(), made);
                    sealed.insert(record.id(), record.clone());
                }
            }
            batches.insert(member, made.into_iter().map(|(_, batch)| batch).collect());
        }
        Self {
            nodes: MEMBERS
                .map(|(name, ..)| format!("{name}-1").parse().unwrap())
                .to_vec(),
            hop_keys: (0..MEMBERS.len())
                .map(|member| key(member, KeyUse::Hop, 0))
                .collect(),
            authorities: MEMBERS.map(|(name, ..)| name.parse().unwrap()).to_vec(),
            registers,
            deciders: Mutex::default(),
            batches,
            made: all,
            sealed,
        }
    }

    /// Returns the id of a member's node.
    #[must_use]
    pub fn node(&self, member: MemberNumber) -> &NodeId {
        &self.nodes[who(member)]
    }

    /// Returns the hop key of a member's node.
    #[must_use]
    pub fn hop_key(&self, member: MemberNumber) -> &SigningKey {
        &self.hop_keys[who(member)]
    }

    /// Returns the authority id of a member.
    #[must_use]
    pub fn authority(&self, member: MemberNumber) -> &AuthorityId {
        &self.authorities[who(member)]
    }

    /// Returns the member that has this node.
    #[must_use]
    pub fn member(&self, node: &NodeId) -> MemberNumber {
        self.nodes.iter().position(|of| of == node).unwrap()
    }

    /// Returns the likeness and the origin of a record.
    #[must_use]
    pub fn made(&self, record: &RecordId) -> Option<Made> {
        self.made.get(record).copied()
    }

    /// Returns a record as it was sealed.
    #[must_use]
    pub fn sealed(&self, record: &RecordId) -> Option<&VerifiedRecord> {
        self.sealed.get(record)
    }

    /// Returns the batches that a member has to publish.
    #[must_use]
    pub fn batches(&self, member: MemberNumber) -> &[Batch] {
        self.batches.get(&who(member)).map_or(&[], Vec::as_slice)
    }

    /// Returns the decider of a member's node.
    #[must_use]
    pub fn decider(&self, member: MemberNumber, in_force: InForce) -> Arc<Decider> {
        let member = who(member);
        let mut deciders = self.deciders.lock().unwrap_or_else(PoisonError::into_inner);
        let made = deciders
            .entry((member, in_force))
            .or_insert_with(|| Arc::new(self.make_decider(member, in_force)));
        Arc::clone(made)
    }

    fn make_decider(&self, member: MemberNumber, in_force: InForce) -> Decider {
        let bundle = match in_force.policy {
            Policy::Baseline => Bundle::empty(),
            Policy::Tight => {
                let files = [("tight.cedar".to_owned(), TIGHT.to_owned())];
                Bundle::from_files(&files.into()).unwrap()
            }
        };
        let engine = Engine::new(bundle, NonZeroUsize::new(65_536).unwrap()).unwrap();
        let register = self.registers[in_force.epoch - 1].clone();
        Decider::new(register, engine, self.authorities[member].clone()).unwrap()
    }
}

/// Returns a member's key for one use; `second` is 1 for the key it gets later, otherwise 0.
#[must_use]
pub fn key(member: MemberNumber, usage: KeyUse, second: u8) -> SigningKey {
    let number = match usage {
        KeyUse::Sealing => 1,
        KeyUse::Hop => 2,
        KeyUse::Log => 3,
        KeyUse::Agreement => 4,
        KeyUse::Governance => 5,
        KeyUse::Person => 6,
        KeyUse::Freshness => 7,
    };
    let member = u8::try_from(member).unwrap();
    SigningKey::from_seed(usage, [member * 20 + number * 2 + second + 1; 32])
}

/// A number that no member has; the governance key is derived from it.
const GOVERNANCE: MemberNumber = 9;

fn authority(member: MemberNumber, epoch: usize) -> Authority {
    let (name, kind, regime) = MEMBERS[member];
    let mut keys = [KeyUse::Sealing, KeyUse::Hop, KeyUse::Log]
        .map(|usage| RegisteredKey::in_force(key(member, usage, 0).public()))
        .to_vec();
    if member == ROTTERDAM && epoch >= SECOND_KEY_EPOCH {
        keys.push(RegisteredKey::in_force(
            key(member, KeyUse::Sealing, 1).public(),
        ));
    }
    let community = if member == TERMINAL && epoch >= TERMINAL_LEAVES_EPOCH {
        "yards"
    } else {
        "ports"
    };
    let number = u8::try_from(member).unwrap();
    Authority {
        id: name.parse().unwrap(),
        name: name.to_owned(),
        kind,
        country: "NL".parse().unwrap(),
        group: format!("group-{member}"),
        regime,
        communities: vec![community.to_owned()],
        clients: Vec::new(),
        nodes: vec![Node {
            id: format!("{name}-1").parse().unwrap(),
            dns_name: format!("{name}.example"),
            endpoint: format!("127.0.0.1:{}", 4000 + u16::from(number)),
            trust_anchor: vec![number + 1],
            keys,
        }],
        contact: String::new(),
    }
}

/// Returns every epoch, ascending.
fn registers() -> Vec<VerifiedRegister> {
    let governance = key(GOVERNANCE, KeyUse::Governance, 0);
    let mut verified: Vec<VerifiedRegister> = Vec::new();
    for epoch in 1..=NEWEST_EPOCH {
        let members = (0..MEMBERS.len()).map(|member| authority(member, epoch));
        let register = Register {
            federation: FEDERATION.parse().unwrap(),
            epoch: epoch as u64,
            previous: verified.last().map(VerifiedRegister::digest),
            development: true,
            threshold: 1,
            governance: vec![governance.public()],
            freshness: FreshnessKeys::default(),
            authorities: members.map(|member| (member.id.clone(), member)).collect(),
            issued_at: START,
            former: BTreeMap::new(),
        };
        let mut signed = SignedRegister::unsigned(&register).unwrap();
        signed.sign(&governance).unwrap();
        let next = match verified.last() {
            Some(before) => before.next(signed).unwrap(),
            None => {
                let pin = signed.digest();
                VerifiedRegister::first(signed, &pin).unwrap()
            }
        };
        verified.push(next);
    }
    verified
}

/// Returns the batches of a member: bulk batches of one to three records, and alerts on their own.
fn batches_of(
    member: MemberNumber,
    register: &Register,
    random: &mut Random,
) -> Vec<(Vec<Likeness>, Batch)> {
    let mut made = Vec::new();
    for number in 0..30 {
        let second = u8::from(member == ROTTERDAM && number % 4 == 0);
        let likes: Vec<Likeness> = if number % 5 == 1 {
            vec![Likeness::GreenAlert]
        } else {
            let bulk = |like: &Likeness| *like != Likeness::GreenAlert;
            let choices: Vec<Likeness> = Likeness::ALL.into_iter().filter(bulk).collect();
            let count = 1 + random.index(3);
            (0..count).map(|_| *random.pick(&choices)).collect()
        };
        let epoch = if second == 1 { SECOND_KEY_EPOCH } else { 1 };
        let records = seal(member, second, &likes, register, random);
        made.push((likes, Batch { records, epoch }));
    }
    made
}

fn seal(
    member: MemberNumber,
    second: u8,
    likes: &[Likeness],
    register: &Register,
    random: &mut Random,
) -> Vec<VerifiedRecord> {
    let federation: FederationId = FEDERATION.parse().unwrap();
    let sealer = Sealer {
        federation: &federation,
        origin: &MEMBERS[member].0.parse().unwrap(),
        key: &key(member, KeyUse::Sealing, second),
        now: START.plus_millis(-3_600_000),
    };
    let drafts = likes.iter().map(|like| like.draft()).collect();
    let verifier = Verifier {
        federation: &federation,
        keys: register,
        now: START,
        occasion: Occasion::Held { first_seen: START },
    };
    let sealed = sealer.seal(drafts, random).unwrap();
    sealed
        .iter()
        .map(|record| verifier.verify(record).unwrap())
        .collect()
}
