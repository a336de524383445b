//! The writes of a sequence, in terms that mean the same to both stores.

use portcullis_protocol::{
    body::SelectorKind,
    digest::Digest,
    frame::{Answer, FramePosition, Generation, Lane, Outcome},
    identifiers::NodeId,
    keys::{KeyUse, SigningKey},
    reconcile::Entry,
    record::{Form, RecordId},
    rules::Rule,
    seal::SealedRecord,
    statement::{SignedStatement, StatementType},
    time::Timestamp,
    verify::VerifiedRecord,
};
use portcullis_store::{
    Act, ActAnswer, Backfill, BackfillMove, BadItem, ConsignmentRow, DecisionNote, Effects, Fact,
    FactKind, Found, HeldDecision, Intake, IntakeItem, Intend, Judgement, LedgerEntry,
    NewGeneration, NodeEvent, Part, PersonRow, ReconciliationRow, Repair, Retry, ScoreRow, Settle,
    Write,
};
use portcullis_tests::sim::cast::{Cast, InForce, Policy};

use super::side::Side;

/// Container that every record and consignment is about.
pub(super) const CONTAINER: &str = "CSQU3054383";
/// Goods of every consignment, as an HS code.
pub(super) const GOODS: &str = "080390";

enum TestStatement {}

impl StatementType for TestStatement {
    const PAYLOAD_TYPE: &'static str = "application/vnd.portcullis.test.v1";
    const KEY_USE: KeyUse = KeyUse::Hop;
}

/// Returns a signed statement of this number.
pub(super) fn statement(number: u64) -> SignedStatement {
    let key = SigningKey::from_seed(KeyUse::Hop, [9; 32]);
    let payload = number.to_be_bytes().to_vec();
    SignedStatement::sign::<TestStatement>(payload.into(), &key).unwrap()
}

/// One write. Records and peers are named by their numbers in [`Stage`].
#[derive(Debug, Clone)]
pub(super) enum Step {
    Publish(Vec<usize>),
    Intake(usize, Lane, Box<FramePosition>, Part, Vec<Item>),
    Decide(usize, Vec<Item>),
    Intend(Box<Plan>),
    Settle(Box<Answered>),
    StartGeneration(Generation, Generation),
    Act(u64, Option<String>),
    Consignment(String, bool, u64),
    Score(String, u64, u64),
    Remove(String),
    Event(u64),
    Fact(FactKind, String, Option<u8>),
    Register(usize),
    AnswersReady(usize),
    Repair(usize, Box<Mended>),
    Reconciled(usize, Found),
    Withdraw(Vec<usize>),
    Recover(Vec<(usize, Form)>),
    Meet(Vec<usize>),
    Backfill(usize, Timestamp, Timestamp),
    Retry(usize, usize, Option<Timestamp>),
    Quarantine(usize, Vec<usize>),
    /// Drops the item at this position of the list.
    DropBad(usize),
}

/// An item of an arriving frame, with the judgement of it.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) record: usize,
    pub(super) form: Form,
    pub(super) judged: Judged,
}

#[derive(Debug, Clone)]
pub(super) enum Judged {
    Admit(Form),
    /// Another record than the item names. This is our own fault, and it ends the job.
    Mistaken(usize),
    Refuse,
    RefuseForNow,
    Hold,
}

/// Decisions of dispatch, before a frame is sent.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) peer: usize,
    pub(super) lane: Lane,
    pub(super) first_sequence: Option<u64>,
    pub(super) entries: Vec<Decided>,
    /// Line of the log to which the cursor moves.
    pub(super) cursor: Option<usize>,
    pub(super) filled: Option<Filled>,
}

/// An entry of the ledger: its line in the log, if it has one, its record and its form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decided {
    pub(super) line: Option<(Lane, usize)>,
    pub(super) record: usize,
    pub(super) form: Form,
}

/// Progress of the peer's next range of older records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filled {
    /// Lane of the log and line to which the range moves; `None`: it moves to its end and is over.
    pub(super) to: Option<(Lane, usize)>,
    pub(super) looked_at: u64,
    pub(super) sent: u64,
}

/// Answers of a peer to a frame.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub(super) peer: usize,
    pub(super) lane: Lane,
    pub(super) generation: Generation,
    pub(super) first_sequence: u64,
    pub(super) answers: Vec<(usize, Form, Outcome)>,
    pub(super) cursor: Option<usize>,
    pub(super) retry_ms: i64,
    pub(super) filled: Option<Filled>,
}

/// Findings of a comparison of channels.
#[derive(Debug, Clone)]
pub(super) struct Mended {
    pub(super) owed: Vec<usize>,
    pub(super) learned: Vec<(usize, Form)>,
    pub(super) withdrawn: Vec<usize>,
}

/// The records and peers that steps name.
pub(super) struct Stage {
    pub(super) records: Vec<VerifiedRecord>,
    /// Number of records, at the beginning of the list, that are the authority's own.
    pub(super) own: usize,
    pub(super) peers: Vec<NodeId>,
}

impl Stage {
    pub(super) fn new() -> Self {
        let cast = Cast::get();
        let of = |member: usize| {
            let batches = cast.batches(member).iter().take(6);
            batches
                .flat_map(|batch| batch.records.clone())
                .collect::<Vec<_>>()
        };
        let own = of(0);
        Self {
            own: own.len(),
            records: [own, of(1), of(2)].concat(),
            peers: (1..4).map(|member| cast.node(member).clone()).collect(),
        }
    }

    pub(super) fn record(&self, id: &RecordId) -> Option<usize> {
        self.records.iter().position(|record| record.id() == *id)
    }

    fn ids(&self, records: &[usize]) -> Vec<RecordId> {
        records.iter().map(|at| self.records[*at].id()).collect()
    }

    /// Returns the write that a step means for one of the stores.
    pub(super) fn write(&self, step: &Step, side: &dyn Side, now: Timestamp) -> Write {
        match step.clone() {
            Step::Publish(records) => Write::Publish {
                records: records.iter().map(|at| self.records[*at].clone()).collect(),
                now,
            },
            Step::Intake(peer, lane, place, part, items) => Write::Intake(Intake {
                peer: self.peers[peer].clone(),
                lane,
                statement: statement(place.first_sequence),
                place: *place,
                part,
                now,
                items: items.iter().map(|item| self.intake_item(item)).collect(),
            }),
            Step::Decide(peer, items) => Write::Decide(HeldDecision {
                peer: self.peers[peer].clone(),
                now,
                items: items.iter().map(|item| self.intake_item(item)).collect(),
            }),
            Step::Intend(plan) => Write::Intend(self.intend(&plan, side, now)),
            Step::Settle(answered) => Write::Settle(self.settle(&answered, side, now)),
            Step::StartGeneration(instead_of, generation) => {
                Write::StartGeneration(NewGeneration {
                    shown: None,
                    instead_of,
                    generation,
                    at: now,
                    why: "restored".to_owned(),
                })
            }
            Step::Act(number, person) => Write::Act(act(number, person, now)),
            Step::Consignment(reference, arriving, number) => {
                Write::Consignments(vec![consignment(reference, arriving, number, now)])
            }
            Step::Score(reference, points, records) => Write::Scores(vec![ScoreRow {
                reference,
                points: f64::from(u32::try_from(points).unwrap()),
                at: now,
                summary: b"{}".to_vec(),
                records,
            }]),
            Step::Remove(reference) => Write::RemoveConsignments(vec![reference]),
            Step::Event(number) => Write::Event(NodeEvent {
                at: now,
                kind: "frame-refused".to_owned(),
                peer: None,
                detail: number.to_string(),
            }),
            Step::Fact(kind, subject, content) => Write::Fact(Fact {
                kind,
                subject,
                content: content.map(|byte| vec![byte]),
                at: now,
            }),
            Step::Register(epoch) => {
                let policy = Policy::Baseline;
                let decider = Cast::get().decider(0, InForce { epoch, policy });
                Write::Register(decider.verified_register().signed().clone())
            }
            Step::AnswersReady(peer) => Write::AnswersReady {
                peer: self.peers[peer].clone(),
                now,
            },
            Step::Repair(peer, mended) => Write::Repair(self.repair(peer, &mended, now)),
            Step::Reconciled(peer, found) => Write::Reconciled(ReconciliationRow {
                peer: self.peers[peer].clone(),
                own: Generation::from_bytes([1; 16]),
                theirs: Generation::from_bytes([2; 16]),
                at: now,
                found,
            }),
            Step::Withdraw(records) => Write::Withdraw {
                records: self.ids(&records),
                outcome: "recalled".to_owned(),
                at: now,
            },
            Step::Recover(records) => Write::Recover {
                records: records
                    .iter()
                    .map(|(at, form)| self.records[*at].withhold(*form).unwrap())
                    .collect(),
                now,
            },
            Step::Meet(peers) => {
                Write::Meet(peers.iter().map(|at| self.peers[*at].clone()).collect())
            }
            Step::Backfill(peer, since, until) => Write::Backfill(Backfill {
                peer: self.peers[peer].clone(),
                since,
                until,
                now,
            }),
            Step::Retry(peer, record, delete_at) => Write::Retry(Retry {
                peer: self.peers[peer].clone(),
                record: self.records[record].id(),
                now,
                delete_at,
            }),
            Step::Quarantine(peer, records) => Write::Quarantine(
                records
                    .iter()
                    .map(|at| BadItem {
                        peer: self.peers[peer].clone(),
                        sealed: on_the_wire(&self.records[*at]),
                        rule: Rule::SealingKey,
                        detail: format!("number {at}"),
                        at: now,
                    })
                    .collect(),
            ),
            Step::DropBad(place) => {
                let listed = side.bad_items();
                Write::DropBad(vec![listed.get(place).map_or(i64::MAX, |row| row.n)])
            }
        }
    }

    fn intend(&self, plan: &Plan, side: &dyn Side, now: Timestamp) -> Intend {
        let peer = &self.peers[plan.peer];
        let decided = |entry: &Decided| LedgerEntry {
            sequence: entry.line.map(|(lane, line)| {
                let sequence = side.lines().sequence(lane, line);
                sequence.unwrap()
            }),
            record: self.records[entry.record].id(),
            form: entry.form,
            withheld: 4 - entry.form.len(),
            note: note(entry.record),
        };
        Intend {
            peer: peer.clone(),
            lane: plan.lane,
            now,
            generation: side.store().generation().unwrap(),
            first_sequence: plan.first_sequence,
            entries: plan.entries.iter().map(decided).collect(),
            cursor: cursor(side, plan.lane, plan.cursor),
            filled: plan.filled.map(|filled| filled.of(side, peer)),
            awaits: Vec::new(),
        }
    }

    fn settle(&self, answered: &Answered, side: &dyn Side, now: Timestamp) -> Settle {
        let peer = &self.peers[answered.peer];
        let first = answered.first_sequence;
        let answers = answered.answers.iter();
        let expires = answers.clone().filter_map(|(record, ..)| {
            let record = &self.records[*record];
            Some((record.id(), record.header().marking.delete_at?))
        });
        Settle {
            peer: peer.clone(),
            lane: answered.lane,
            now,
            generation: answered.generation,
            frame: Digest::labelled("test frame", &[&first.to_be_bytes()]),
            first_sequence: first,
            next_sequence: first + answered.answers.len() as u64,
            receipt: statement(first),
            expires: expires.collect(),
            answers: answers
                .map(|(record, form, outcome)| self.answer(*record, *form, *outcome))
                .collect(),
            cursor: cursor(side, answered.lane, answered.cursor),
            retry_at: now.plus_millis(answered.retry_ms),
            filled: answered.filled.map(|filled| filled.of(side, peer)),
        }
    }

    fn repair(&self, peer: usize, mended: &Mended, now: Timestamp) -> Repair {
        let learned = mended.learned.iter().map(|(record, form)| Entry {
            id: self.records[*record].id(),
            form: *form,
        });
        Repair {
            peer: self.peers[peer].clone(),
            at: now,
            owed: self.ids(&mended.owed),
            learned: learned.collect(),
            withdrawn: self.ids(&mended.withdrawn),
        }
    }

    fn intake_item(&self, item: &Item) -> IntakeItem {
        let record = &self.records[item.record];
        let judgement = match item.judged {
            Judged::Admit(form) => Judgement::Admit {
                record: record.withhold(form).unwrap(),
                note: note(1),
            },
            Judged::Mistaken(other) => Judgement::Admit {
                record: self.records[other].clone(),
                note: note(1),
            },
            Judged::Refuse => Judgement::Refuse {
                rule: Rule::PolicyDenied,
                note: note(2),
            },
            Judged::RefuseForNow => Judgement::RefuseForNow {
                rule: Rule::SealingKey,
            },
            Judged::Hold => Judgement::Hold {
                record: record.withhold(item.form).unwrap(),
                rule: Rule::PolicyHeld,
                note: note(3),
            },
        };
        IntakeItem {
            id: record.id(),
            form: item.form,
            judgement,
        }
    }

    fn answer(&self, record: usize, form: Form, outcome: Outcome) -> Answer {
        let reason = (!outcome.is_admitted()).then(|| "PO-01".to_owned());
        Answer {
            record: self.records[record].id(),
            form,
            outcome,
            reason,
        }
    }
}

impl Filled {
    /// Returns the move in a store's own numbers.
    fn of(self, side: &dyn Side, peer: &NodeId) -> BackfillMove {
        let row = side.next_backfill(peer).unwrap();
        let next = self
            .to
            .map(|(lane, line)| side.lines().sequence(lane, line).unwrap());
        BackfillMove {
            n: row.n,
            next: next.unwrap_or(row.last),
            looked_at: self.looked_at,
            sent: self.sent,
            ended: next.is_none(),
        }
    }
}

fn cursor(side: &dyn Side, lane: Lane, line: Option<usize>) -> Option<u64> {
    line.map(|line| side.lines().sequence(lane, line).unwrap())
}

/// Returns a record as a frame carries it.
pub(super) fn on_the_wire(record: &VerifiedRecord) -> SealedRecord {
    SealedRecord::new(record.to_wire(0), record.statement().clone())
}

fn note(number: usize) -> DecisionNote {
    DecisionNote {
        policies: vec![format!("policy-{}", number % 3)],
        bundle: None,
    }
}

fn act(number: u64, person: Option<String>, now: Timestamp) -> Act {
    Act {
        action: "publish".to_owned(),
        person: "ada".to_owned(),
        uid: None,
        at: now,
        statement: Some(statement(number)),
        concerns: String::new(),
        effects: match number % 3 {
            0 => Effects::Nothing,
            1 => Effects::Following,
            _ => Effects::InJob(ActAnswer::new(move |written| {
                format!("{number}: {written:?}").into_bytes()
            })),
        },
        enrols: person.map(|id| PersonRow {
            id,
            name: "Ada Example".to_owned(),
            role: "analyst".to_owned(),
            public_key: vec![7; 32],
            enrolled_at: now,
            enrolled_by: String::new(),
        }),
    }
}

fn consignment(reference: String, arriving: bool, number: u64, now: Timestamp) -> ConsignmentRow {
    ConsignmentRow {
        reference,
        at: now,
        arriving,
        body: number.to_be_bytes().to_vec(),
        selectors: vec![
            (SelectorKind::Container, CONTAINER.to_owned()),
            (SelectorKind::HsCode, GOODS.to_owned()),
        ],
    }
}
