//! Who is there: a node under attack, an honest peer of it, and the hostile one, who is a customs
//! authority and a hub at once.

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

/// Who takes part; the last two do not run.
const MEMBERS: [Member; 4] = [
    ("antwerp", AuthorityKind::Customs),
    ("rotterdam", AuthorityKind::Customs),
    ("mallory", AuthorityKind::Customs),
    ("hub", AuthorityKind::Hub),
];

/// The most memory that the process may have gained over a whole layer, in KiB: both nodes and the
/// attacker are in it.
const MOST_GAINED_KIB: u64 = 300 << 10;

/// A member whose keys are in the wrong hands.
pub struct Mallory {
    /// Its node's id and its authority's.
    pub name: &'static str,
    /// Its keys.
    pub keyring: Keyring,
    /// The certificate it shows.
    pub chain: Vec<u8>,
}

impl Mallory {
    fn take(federation: &Federation, name: &'static str) -> Self {
        let home = federation.home(name);
        let passphrase = federation.folder().join(format!("{name}.passphrase"));
        Self {
            name,
            keyring: Keyring::load(&home, &KeySource::PassphraseFile(passphrase)).unwrap(),
            chain: std::fs::read(home.certificate()).unwrap(),
        }
    }

    /// The identity it shows in a handshake.
    #[must_use]
    pub fn identity(&self) -> OwnIdentity {
        let key = self.keyring.tls_key_pem().unwrap();
        OwnIdentity::from_pem(&self.chain, key.as_bytes()).unwrap()
    }
}

/// The stage of an attack.
pub struct Stage {
    /// Everybody's homes and certification authorities.
    pub federation: Federation,
    /// The node under attack.
    pub target: Running,
    /// Its honest peer.
    pub honest: Running,
    /// The hostile peer as a customs authority.
    pub mallory: Mallory,
    /// The hostile peer as a hub, which may pass on what others made.
    pub hub: Mallory,
    /// The target may hold these of the hostile peer's records.
    pub allowed: BTreeSet<RecordId>,
    /// Where the hostile peer listens, if it does.
    pub listens_at: Site,
    /// A good certificate of mallory's that its authority has revoked.
    pub revoked: NodeCertificate,
    /// The hostile peer's server, once it was needed.
    pub receiver: Option<Receiver>,
    began_kib: u64,
    published: usize,
}

/// A sealing key of mallory's that was retired.
#[must_use]
pub fn retired_key() -> SigningKey {
    SigningKey::from_seed(KeyUse::Sealing, [91; 32])
}

/// The federation's one freshness key.
#[must_use]
pub fn online_key() -> SigningKey {
    SigningKey::from_seed(KeyUse::Freshness, [92; 32])
}

impl Stage {
    /// Makes everybody and starts the target and its honest peer.
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

    /// An honest record arrives, and nothing is held that should not be.
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

    /// Publishes a record at the honest peer, waits until the target has it, and gives it.
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

    /// How often a record stands among what the target holds.
    #[must_use]
    pub fn times_held(&self, id: &RecordId) -> usize {
        let held = self.target.kernel.store().records(&RecordFilter::default());
        let held = held.unwrap();
        held.iter().filter(|held| held.sealed.id() == *id).count()
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.target.kernel.now()
    }

    /// Stops everybody; memory has not grown without bound.
    pub async fn end(self) {
        let gained = resident_kib().saturating_sub(self.began_kib);
        assert!(gained < MOST_GAINED_KIB, "{gained} KiB more are resident");
        self.target.stop().await;
        self.honest.stop().await;
    }
}

/// Issues a certificate for mallory's node, and has the target know that it was revoked.
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

/// A record that a node holds.
#[must_use]
pub fn of(kernel: &Kernel, id: &RecordId) -> VerifiedRecord {
    let held = kernel.store().record(id).unwrap().unwrap();
    kernel.decider().verify_held(&held, kernel.now()).unwrap()
}

/// A draft with four sections that every member admits.
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

/// What this process has resident, in KiB.
#[must_use]
pub fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}
