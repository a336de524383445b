//! Records, frames and answers for the tests, made with the protocol crate.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_protocol::{
    body::{Assessment, Attachment, Body, Finding, Selector, SelectorKind, Subject, Window},
    digest::Digest,
    evaluation::{Evaluation, InformationCode, SourceCode},
    frame::{Answer, Chain, FramePosition, Generation, Lane, Outcome},
    identifiers::{AuthorityId, FederationId, NodeId},
    keys::{KeyId, KeyUse, PublicKey, SigningKey},
    marking::{Marking, Purpose, Tlp},
    record::{Form, Kind, RecordId},
    seal::{Draft, DraftSection, Entropy, SealedRecord, Sealer},
    statement::{SignedStatement, StatementType},
    time::Timestamp,
    verify::{KeyStanding, Occasion, Refusal, SealingKeys, VerifiedRecord, Verifier},
};

use portcullis_store::{
    DecisionNote, DispatchPosition, HeldItem, HeldRecord, Intake, IntakeItem, Intend, Judgement,
    LedgerEntry, Part, Settle, Store, Write, Written,
};

pub(crate) const CONTAINER: &str = "CSQU3054383";
pub(crate) const SHIP: &str = "9074729";
pub(crate) const GOODS: &str = "080390";
/// Free text that must never be found on disk.
pub(crate) const STORY: &str = "hidden behind the bananas";

/// Statements that take the main database of a new store back to format 8, as far as it has no
/// consignments.
pub(crate) const BACK_TO_8: &str = "
    DROP TABLE score; DROP TABLE consignment_token; DROP TABLE consignment;
    CREATE TABLE consignment (
        n INTEGER PRIMARY KEY, reference TEXT NOT NULL UNIQUE, at INTEGER NOT NULL,
        arriving INTEGER NOT NULL, key INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT;
    CREATE TABLE consignment_token (
        token INTEGER NOT NULL, consignment INTEGER NOT NULL REFERENCES consignment,
        PRIMARY KEY (token, consignment)) STRICT, WITHOUT ROWID;
    CREATE INDEX consignment_token_by_consignment ON consignment_token (consignment);
    CREATE TABLE score (
        reference TEXT PRIMARY KEY, points REAL NOT NULL, at INTEGER NOT NULL,
        key INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX score_by_points ON score (points);
    ALTER TABLE act DROP COLUMN answer;
    ALTER TABLE exception DROP COLUMN awaits;
    DROP TABLE row_seal; DROP TABLE seal_root; DROP TABLE leaf;
    PRAGMA user_version = 8;";

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_614_585_600_000 + millis)
}

pub(crate) fn peer(name: &str) -> NodeId {
    name.parse().unwrap()
}

pub(crate) fn form(indexes: &[u8]) -> Form {
    indexes.iter().copied().collect()
}

/// Pseudorandom bytes that are the same in every run, mixed as in SplitMix64.
pub(crate) struct Seeded(u64);

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = mixed.to_be_bytes()[0];
        }
    }
}

/// An authority that seals records.
pub(crate) struct Originator {
    federation: FederationId,
    origin: AuthorityId,
    key: SigningKey,
    public: PublicKey,
    entropy: Seeded,
}

impl SealingKeys for Originator {
    fn sealing_key(&self, origin: &AuthorityId, key: &KeyId) -> Option<(&PublicKey, KeyStanding)> {
        let known = *origin == self.origin && *key == self.key.id();
        known.then_some((&self.public, KeyStanding::InForce))
    }
}

impl Originator {
    pub(crate) fn new(seed: u8) -> Self {
        let key = SigningKey::from_seed(KeyUse::Sealing, [seed; 32]);
        Self {
            federation: "test".parse().unwrap(),
            origin: format!("authority-{seed}").parse().unwrap(),
            public: key.public(),
            key,
            entropy: Seeded(u64::from(seed)),
        }
    }

    pub(crate) fn origin(&self) -> &AuthorityId {
        &self.origin
    }

    pub(crate) fn verify(&self, sealed: &SealedRecord) -> Result<VerifiedRecord, Refusal> {
        let verifier = Verifier {
            federation: &self.federation,
            keys: self,
            now: at(0),
            occasion: Occasion::Held { first_seen: at(0) },
        };
        verifier.verify(sealed)
    }

    /// Seals the drafts as one batch.
    pub(crate) fn batch(&mut self, drafts: Vec<Draft>) -> Vec<VerifiedRecord> {
        let sealer = Sealer {
            federation: &self.federation,
            origin: &self.origin,
            key: &self.key,
            now: at(0),
        };
        let sealed = sealer.seal(drafts, &mut self.entropy).unwrap();
        sealed
            .iter()
            .map(|record| self.verify(record).unwrap())
            .collect()
    }

    /// Returns a record with sections 0 subject, 1 assessment, 2 narrative and 3 source.
    pub(crate) fn record(&mut self, kind: Kind) -> VerifiedRecord {
        self.batch(vec![draft(kind)]).remove(0)
    }
}

pub(crate) fn draft(kind: Kind) -> Draft {
    let window = Window {
        from: at(0),
        until: at(1_000),
    };
    let selectors = [
        (SelectorKind::Container, CONTAINER, Some(window)),
        (SelectorKind::Imo, SHIP, None),
        (SelectorKind::HsCode, GOODS, None),
    ];
    let subject = Subject {
        selectors: selectors
            .into_iter()
            .map(|(kind, text, window)| Selector::new(kind, text, window).unwrap())
            .collect(),
        title: "a box".to_owned(),
        generated: false,
    };
    let assessment = Assessment {
        threat: "narcotics".to_owned(),
        finding: (kind == Kind::Outcome).then_some(Finding::Found),
        text: String::new(),
    };
    Draft::new(
        kind,
        Marking::new(Tlp::Green, [Purpose::CustomsControl]),
        Evaluation::new(SourceCode::A, InformationCode::One),
        vec![
            Body::Subject(subject),
            Body::Assessment(assessment),
            Body::Narrative(STORY.to_owned()),
            Body::Source("an officer".to_owned()),
        ],
    )
}

/// Returns the same draft, about nothing but its container.
pub(crate) fn about_a_container(kind: Kind) -> Draft {
    let mut draft = draft(kind);
    for section in &mut draft.sections {
        if let Body::Subject(subject) = &mut section.body {
            subject.selectors.truncate(1);
        }
    }
    draft
}

enum TestReceipt {}

impl StatementType for TestReceipt {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.test.v1";
    const KEY_USE: KeyUse = KeyUse::Hop;
}

/// Returns a signed statement over these bytes.
pub(crate) fn statement(payload: &'static [u8]) -> SignedStatement {
    let key = SigningKey::from_seed(KeyUse::Hop, [9; 32]);
    SignedStatement::sign::<TestReceipt>(Bytes::from_static(payload), &key).unwrap()
}

pub(crate) fn note(policy: &str) -> DecisionNote {
    DecisionNote {
        policies: vec![policy.to_owned()],
        bundle: None,
    }
}

pub(crate) fn admit(record: &VerifiedRecord) -> Judgement {
    Judgement::Admit {
        record: record.clone(),
        note: note("admit"),
    }
}

/// Publishes records.
pub(crate) fn publish(store: &dyn Store, records: &[VerifiedRecord]) {
    let publish = Write::Publish {
        records: records.to_vec(),
        now: at(1),
    };
    assert_eq!(store.commit(vec![publish]).unwrap(), [Written::Done]);
}

/// Returns a place at which nothing is settled yet.
pub(crate) fn place(first_sequence: u64, items: u64) -> FramePosition {
    FramePosition {
        generation: Generation::from_bytes([0; 16]),
        first_sequence,
        next_sequence: first_sequence + items,
        settled_sequence: 1,
        chain: Chain::START,
        digest: Digest::labelled("test frame", &[&first_sequence.to_be_bytes()]),
    }
}

pub(crate) fn intake(from: &str, items: Vec<(RecordId, Form, Judgement)>) -> Write {
    Write::Intake(Intake {
        peer: peer(from),
        lane: Lane::Bulk,
        place: place(1, items.len() as u64),
        statement: statement(b"frame"),
        part: Part::First,
        now: at(2),
        items: items
            .into_iter()
            .map(|(id, form, judgement)| IntakeItem {
                id,
                form,
                judgement,
            })
            .collect(),
    })
}

/// Delivers items and returns the answers.
pub(crate) fn deliver(
    store: &dyn Store,
    from: &str,
    items: Vec<(RecordId, Form, Judgement)>,
) -> Vec<Answer> {
    match store.commit(vec![intake(from, items)]).unwrap().remove(0) {
        Written::Answers(answers) => answers,
        other @ (Written::Done
        | Written::Destroyed(_)
        | Written::Refused(_)
        | Written::OutOfSequence(_)) => {
            panic!("{other:?}")
        }
    }
}

/// Delivers one record in its form, admitted whole, and returns the outcome.
pub(crate) fn accept(store: &dyn Store, from: &str, record: &VerifiedRecord) -> Outcome {
    deliver(
        store,
        from,
        vec![(record.id(), record.form(), admit(record))],
    )[0]
    .outcome
}

pub(crate) fn outcomes(answers: &[Answer]) -> Vec<Outcome> {
    answers.iter().map(|answer| answer.outcome).collect()
}

pub(crate) fn entry(record: RecordId, form: Form) -> LedgerEntry {
    LedgerEntry {
        sequence: None,
        record,
        form,
        withheld: 4 - form.len(),
        note: note("release"),
    }
}

pub(crate) fn intend(
    store: &dyn Store,
    to: &str,
    entries: Vec<LedgerEntry>,
    cursor: Option<u64>,
    now: Timestamp,
) {
    let intend = Write::Intend(Intend {
        peer: peer(to),
        lane: Lane::Bulk,
        now,
        generation: store.generation().unwrap(),
        first_sequence: None,
        entries,
        cursor,
        filled: None,
        awaits: Vec::new(),
    });
    store.commit(vec![intend]).unwrap();
}

pub(crate) fn answer(record: RecordId, form: Form, outcome: Outcome) -> Answer {
    let reason = match outcome {
        Outcome::Accepted | Outcome::Extended | Outcome::Duplicate => None,
        Outcome::Refused | Outcome::RefusedForNow => Some("EX-07".to_owned()),
        Outcome::Held => Some("PO-03".to_owned()),
    };
    Answer {
        record,
        form,
        outcome,
        reason,
    }
}

/// The digest of every frame that is settled in these tests.
pub(crate) const SETTLED: Digest = Digest::from_bytes([5; 32]);

/// Settles answers. Items without a final answer are retried an hour later.
pub(crate) fn settle(
    store: &dyn Store,
    from: &str,
    answers: Vec<Answer>,
    cursor: Option<u64>,
    now: Timestamp,
) {
    let position = store.position(&peer(from), Lane::Bulk).unwrap();
    store
        .commit(vec![settling(from, answers, position, cursor, now)])
        .unwrap();
}

/// Settles answers to a frame that was sent at this position.
pub(crate) fn settle_at(
    store: &dyn Store,
    from: &str,
    answers: Vec<Answer>,
    position: DispatchPosition,
) {
    store
        .commit(vec![settling(from, answers, position, None, at(1))])
        .unwrap();
}

fn settling(
    from: &str,
    answers: Vec<Answer>,
    position: DispatchPosition,
    cursor: Option<u64>,
    now: Timestamp,
) -> Write {
    Write::Settle(Settle {
        peer: peer(from),
        lane: Lane::Bulk,
        now,
        generation: position.generation,
        frame: SETTLED,
        first_sequence: position.next_sequence,
        next_sequence: position.next_sequence + answers.len().max(1) as u64,
        answers,
        receipt: statement(b"receipt"),
        cursor,
        retry_at: now.plus_millis(3_600_000),
        expires: Vec::new(),
        filled: None,
    })
}

pub(crate) fn ids(records: &[HeldRecord]) -> Vec<RecordId> {
    records.iter().map(|held| held.sealed.id()).collect()
}

/// Returns true if two records share one statement in memory.
pub(crate) fn shares_statement(first: &HeldRecord, second: &HeldRecord) -> bool {
    Arc::ptr_eq(first.sealed.statement(), second.sealed.statement())
}

/// Opens everything that waits for a person, the oldest first.
pub(crate) fn held_items(store: &dyn Store) -> Vec<HeldItem> {
    let keys = store.held_keys(None, u32::MAX).unwrap();
    keys.iter()
        .filter_map(|key| store.held_item(key).unwrap())
        .collect()
}

/// Returns a record with a file of this many bytes.
pub(crate) fn with_file(police: &mut Originator, kind: Kind, bytes: usize) -> VerifiedRecord {
    let mut draft = draft(kind);
    draft.sections.push(DraftSection {
        body: Body::Attachments(vec![Attachment {
            name: "scan".to_owned(),
            media_type: "image/png".to_owned(),
            content: vec![7; bytes].into(),
        }]),
        stricter: None,
    });
    police.batch(vec![draft]).remove(0)
}
