//! The participants of an attack: the node under attack, its honest peer, and the hostile peer,
//! which is both a customs authority and a hub.

use std::collections::BTreeSet;

use portcullis_certs_dev::{NodeCertificate, NodeNames, revocation_list_pem};
use portcullis_home::{keyring::Keyring, secret::KeySource};
use portcullis_kernel::Kernel;
use portcullis_peering::identity::OwnIdentity;
use portcullis_protocol::{
    body::{Assessment, Body, Selector, SelectorKind, Subject, Window},
    evaluation::Evaluation,
    keys::{KeyUse, SigningKey},
    marking::{Marking, Purpose, Tlp},
    record::{Kind, RecordId},
    register::{AuthorityKind, FreshnessKeys, RegisteredKey},
    seal::Draft,
    time::Timestamp,
    verify::VerifiedRecord,
};
use portcullis_store::{DisclosureState, RecordFilter};

use super::receipts::Receiver;
use crate::{
    faults::cast::quick,
    federation::{FEDERATION, Federation, Member, Running, Site, eventually, write_lists},
};

/// Members of the federation; no node runs for the last two.
const MEMBERS: [Member; 4] = [
    ("antwerp", AuthorityKind::Customs),
    ("rotterdam", AuthorityKind::Customs),
    ("mallory", AuthorityKind::Customs),
    ("hub", AuthorityKind::Hub),
];

/// Most memory that the process may gain over a whole layer, in KiB. It covers both nodes and the
/// attacker.
const MOST_GAINED_KIB: u64 = 300 << 10;

/// A member whose keys are in the hands of the attacker.
pub struct Mallory {
    /// Id of its node and of its authority.
    pub name: &'static str,
    /// Its keys.
    pub keyring: Keyring,
    /// Certificate chain that it shows, in PEM.
    pub chain: Vec<u8>,
}

impl Mallory {
    /// Takes the keys and the certificate of a member.
    #[must_use]
    pub fn take(federation: &Federation, name: &'static str) -> Self {
        let home = federation.home(name);
        let passphrase = federation.folder().join(format!("{name}.passphrase"));
        Self {
            name,
            keyring: Keyring::load(&home, &KeySource::PassphraseFile(passphrase)).unwrap(),
            chain: std::fs::read(home.certificate()).unwrap(),
        }
    }

    /// Returns the identity that it shows in a handshake.
    #[must_use]
    pub fn identity(&self) -> OwnIdentity {
        let key = self.keyring.tls_key_pem().unwrap();
        OwnIdentity::from_pem(&self.chain, key.as_bytes()).unwrap()
    }
}

/// The participants of an attack and the bounds they are checked against.
pub struct Theatre {
    /// The federation, with all homes and certification authorities.
    pub federation: Federation,
    /// The node under attack.
    pub target: Running,
    /// Its honest peer.
    pub honest: Running,
    /// The hostile peer as a customs authority.
    pub mallory: Mallory,
    /// The hostile peer as a hub, which may relay the records of others.
    pub hub: Mallory,
    /// Records of the hostile peer that the target may hold.
    pub allowed: BTreeSet<RecordId>,
    /// Address on which the hostile peer listens once its server is started.
    pub listens_at: Site,
    /// A certificate of mallory's, valid except that its authority has revoked it.
    pub revoked: NodeCertificate,
    /// The hostile peer's server, started when it is first needed.
    pub receiver: Option<Receiver>,
    began_kib: u64,
    published: usize,
}

/// Returns a sealing key of mallory's that was retired.
#[must_use]
pub fn retired_key() -> SigningKey {
    SigningKey::from_seed(KeyUse::Sealing, [91; 32])
}

/// Returns the federation's only freshness key.
#[must_use]
pub fn online_key() -> SigningKey {
    SigningKey::from_seed(KeyUse::Freshness, [92; 32])
}

impl Theatre {
    /// Makes all homes and starts the target and its honest peer.
    pub async fn start() -> Self {
        let listens_at = Site::free();
        let federation = Federation::altered(
            &MEMBERS,
            |name| {
                if name == "mallory" {
                    listens_at
                } else {
                    Site::free()
                }
            },
            |register| {
                register.freshness = FreshnessKeys {
                    threshold: 1,
                    keys: vec![online_key().public()],
                };
                let mallory = register.authorities.get_mut(&"mallory".parse().unwrap());
                let node = mallory.unwrap().nodes.first_mut().unwrap();
                node.keys.push(RegisteredKey {
                    retired_at: Some(register.issued_at.plus_millis(-86_400_000)),
                    ..RegisteredKey::in_force(retired_key().public())
                });
            },
        );
        for (name, _) in MEMBERS {
            quick(&federation.home(name).config());
        }
        let revoked = revoked(&federation);
        let target = Running::start(federation.home("antwerp")).await;
        let honest = Running::start(federation.home("rotterdam")).await;
        let mut stage = Self {
            mallory: Mallory::take(&federation, "mallory"),
            hub: Mallory::take(&federation, "hub"),
            allowed: BTreeSet::new(),
            federation,
            target,
            honest,
            listens_at,
            revoked,
            receiver: None,
            began_kib: 0,
            published: 0,
        };
        stage.still_serves().await;
        stage.began_kib = resident_kib();
        stage
    }

    /// Checks that an honest record arrives and that the target holds nothing that it should not.
    pub async fn still_serves(&mut self) {
        self.honest_record(draft(Kind::Indicator)).await;
        let held = self.target.kernel.store().records(&RecordFilter::default());
        for held in held.unwrap() {
            let id = held.sealed.id();
            let of_honest = held.source == Some("rotterdam".parse().unwrap());
            let own = held.source.is_none();
            assert!(
                of_honest || own || self.allowed.contains(&id),
                "the target holds {id} of {:?}",
                held.source
            );
        }
    }

    /// Publishes a record at the honest peer, waits until the target has it and returns it.
    pub async fn honest_record(&mut self, draft: Draft) -> VerifiedRecord {
        self.published += 1;
        let kernel = &self.honest.kernel;
        let id = kernel.publish(vec![draft]).await.unwrap()[0];
        eventually(kernel, || {
            let row = kernel.store().disclosure(&id, &"antwerp".parse().unwrap());
            matches!(
                row.unwrap().map(|row| row.state),
                Some(DisclosureState::Answered(outcome)) if outcome.is_admitted()
            )
        })
        .await;
        of(kernel, &id)
    }

    /// Returns how many times a record occurs among those that the target holds.
    #[must_use]
    pub fn times_held(&self, id: &RecordId) -> usize {
        let held = self.target.kernel.store().records(&RecordFilter::default());
        let held = held.unwrap();
        held.iter().filter(|held| held.sealed.id() == *id).count()
    }

    /// Returns the current time of the target.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.target.kernel.now()
    }

    /// Checks that memory has not grown beyond the bound, and stops both nodes.
    pub async fn end(self) {
        let gained = resident_kib().saturating_sub(self.began_kib);
        assert!(gained < MOST_GAINED_KIB, "{gained} KiB more are resident");
        self.target.stop().await;
        self.honest.stop().await;
    }
}

/// Issues a certificate for mallory's node and writes a revocation list that names it into the
/// target's home.
fn revoked(federation: &Federation) -> NodeCertificate {
    let ca = federation.ca("mallory");
    let names = NodeNames::new(FEDERATION, "mallory", "mallory.example").unwrap();
    let now = jiff::Timestamp::now();
    let issued = ca.issue(&names, now).unwrap();
    let list = ca
        .revocation_list(2, std::slice::from_ref(&issued.serial), now)
        .unwrap();
    let lists = [("mallory".to_owned(), revocation_list_pem(&list))];
    write_lists(&federation.home("antwerp"), &lists);
    issued
}

/// Returns a record that a node holds.
#[must_use]
pub fn of(kernel: &Kernel, id: &RecordId) -> VerifiedRecord {
    let held = kernel.store().record(id).unwrap().unwrap();
    kernel.decider().verify_held(&held, kernel.now()).unwrap()
}

/// Returns a draft with four sections that every member admits.
#[must_use]
pub fn draft(kind: Kind) -> Draft {
    let window = Window {
        from: "2021-01-01".parse().unwrap(),
        until: "2031-01-01".parse().unwrap(),
    };
    let container = Selector::new(SelectorKind::Container, "CSQU3054383", Some(window)).unwrap();
    let marking = Marking::new(
        Tlp::Green,
        [
            Purpose::CustomsControl,
            Purpose::LawEnforcement,
            Purpose::PortSecurity,
        ],
    );
    Draft::new(
        kind,
        marking,
        Evaluation::default(),
        vec![
            Body::Subject(Subject {
                selectors: vec![container],
                title: "a box".to_owned(),
                generated: false,
            }),
            Body::Assessment(Assessment {
                threat: "narcotics".to_owned(),
                finding: None,
                text: String::new(),
            }),
            Body::Narrative("the story".to_owned()),
            Body::Source("an informant".to_owned()),
        ],
    )
}

/// Returns the resident memory of this process, in KiB.
#[must_use]
pub fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}
