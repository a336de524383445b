//! Register and policy in force, as one unit that verifies a record and decides on it.
//!
//! A [`Decider`] is immutable; a reload makes another. Batch statements that were verified under
//! its register are remembered in a bounded cache, compared by the whole statement. The signature
//! of a batch is therefore checked once, and not per record.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;
use portcullis_policy::{Engine, Facts, FormDecision, Heard, Holding, Permit, Roster, Speaker};
use portcullis_protocol::{
    identifiers::{AuthorityId, NodeId},
    merkle::KnownNodes,
    record::{Form, Header, RecordId},
    register::{Archive, AuthorityKind, Register, VerifiedRegister},
    rules::Rule,
    seal::SealedRecord,
    statement::SignedStatement,
    time::Timestamp,
    verify::{Excerpt, Occasion, Refusal, SealingKeys, VerifiedBatch, VerifiedRecord, Verifier},
};

use portcullis_store::{DecisionNote, HeldExcerpt, HeldRecord};

/// Verified batch statements that are remembered; each stands for up to 1,024 records.
const BATCHES: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// The register and the policy in force.
pub struct Decider {
    register: VerifiedRegister,
    roster: Roster,
    archive: Archive,
    engine: Arc<Engine>,
    own: AuthorityId,
    /// Locked only for a lookup; verification happens outside of the lock.
    batches: Mutex<LruCache<[u8; 64], Remembered>>,
}

#[derive(Clone)]
struct Remembered {
    batch: Arc<VerifiedBatch>,
    statement: Arc<SignedStatement>,
}

/// Reason for which register and policy do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum DeciderError {
    /// The register does not list this authority.
    #[error(
        "the register, epoch {epoch}, does not list authority `{own}`; have its request admitted and apply the new epoch"
    )]
    NotListed {
        /// This authority.
        own: AuthorityId,
        /// The register's epoch.
        epoch: u64,
    },
}

impl Decider {
    /// Joins a register and a policy.
    ///
    /// # Errors
    ///
    /// [`DeciderError::NotListed`] if this authority is no member.
    pub fn new(
        register: VerifiedRegister,
        engine: impl Into<Arc<Engine>>,
        own: AuthorityId,
    ) -> Result<Self, DeciderError> {
        if !register.register().authorities.contains_key(&own) {
            return Err(DeciderError::NotListed {
                own,
                epoch: register.register().epoch,
            });
        }
        Ok(Self {
            roster: Roster::of(register.register()),
            archive: Archive::of([register.register()]),
            register,
            engine: engine.into(),
            own,
            batches: Mutex::new(LruCache::new(BATCHES)),
        })
    }

    /// Adds the keys of earlier epochs: records admitted under them stay verifiable.
    #[must_use]
    pub fn with_archive(mut self, earlier: Archive) -> Self {
        let mut archive = earlier;
        archive.add(self.register.register());
        self.archive = archive;
        self
    }

    /// Returns the sealing keys of every epoch up to this one.
    #[must_use]
    pub const fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Returns the register in force.
    #[must_use]
    pub const fn register(&self) -> &Register {
        self.register.register()
    }

    /// Returns the register in force with its signatures.
    #[must_use]
    pub const fn verified_register(&self) -> &VerifiedRegister {
        &self.register
    }

    /// Returns the policy in force.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the policy in force, for a decider of another epoch. Its cache is keyed by all
    /// inputs of a question, the members' facts included, so it may be shared.
    #[must_use]
    pub fn shared_engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine)
    }

    /// Returns the members' facts as policy sees them.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Returns what may be heard from an authority, as policy says of its kind: a look into a table.
    /// An authority that the register does not list is not heard.
    #[must_use]
    pub fn heard(&self, authority: &AuthorityId) -> Heard {
        let member = self.register().authorities.get(authority);
        let speaker = member.map(|member| Speaker {
            is_own: *authority == self.own,
            kind: member.kind,
            regime: member.regime,
        });
        let voices = self.engine.voices();
        speaker.map_or_else(Heard::default, |speaker| voices.of(speaker).clone())
    }

    /// Returns the authority whose node this is.
    #[must_use]
    pub const fn own(&self) -> &AuthorityId {
        &self.own
    }

    /// Describes a record for a question to policy. `source` is the node that delivered it; `None`
    /// if it was made here or its deliverer is no longer a member.
    #[must_use]
    pub fn holding<'a>(
        &'a self,
        record: &'a VerifiedRecord,
        source: Option<&NodeId>,
        now: Timestamp,
    ) -> Holding<'a> {
        self.described((record.id(), record.form()), record.header(), source, now)
    }

    /// Describes a record of which only some sections were opened, as [`Self::holding`] does: the
    /// question is about all sections that are held.
    #[must_use]
    pub fn holding_of<'a>(
        &'a self,
        excerpt: &'a Excerpt,
        source: Option<&NodeId>,
        now: Timestamp,
    ) -> Holding<'a> {
        let record = (excerpt.id(), excerpt.form());
        self.described(record, excerpt.header(), source, now)
    }

    fn described<'a>(
        &'a self,
        (record, form): (RecordId, Form),
        header: &'a Header,
        source: Option<&NodeId>,
        now: Timestamp,
    ) -> Holding<'a> {
        let via = source
            .and_then(|node| self.register().node(node))
            .map_or(&header.origin, |(authority, _)| &authority.id);
        Holding {
            roster: &self.roster,
            here: &self.own,
            record,
            header,
            form,
            via,
            facts: Facts::at(&header.marking, now),
        }
    }

    /// Decides on the sections of a record that are sent to a member.
    #[must_use]
    pub fn release(
        &self,
        record: &VerifiedRecord,
        source: Option<&NodeId>,
        receiver: &AuthorityId,
        now: Timestamp,
    ) -> Release {
        let holding = self.holding(record, source, now);
        match holding.towards(receiver) {
            Ok(request) => Release::of(self.engine.decide(&request)),
            Err(unknown) => {
                tracing::warn!(%unknown, "a record is not released");
                Release::denied()
            }
        }
    }

    /// Returns the policies by which a peer may not have a record that it delivers; `None` if it may.
    /// The originator and hubs may have what they bring. Anybody else is asked about as if the
    /// originator released the record to it. A peer that may not have a record hears the same
    /// answer if it is held here and if it is not.
    fn stranger(
        &self,
        record: &VerifiedRecord,
        peer: &NodeId,
        now: Timestamp,
    ) -> Option<DecisionNote> {
        let origin = &record.header().origin;
        let (authority, _) = self.register().node(peer)?;
        if authority.id == *origin || authority.kind == AuthorityKind::Hub {
            return None;
        }
        let holding = Holding {
            here: origin,
            ..self.holding(record, None, now)
        };
        match holding.towards(&authority.id) {
            Ok(request) => {
                let decision = self.engine.decide(&request);
                (decision.rule() == Some(Rule::PolicyDenied)).then(|| note(&decision))
            }
            // An originator that has left is judged by the other rules.
            Err(_) => None,
        }
    }

    /// Decides on the sections of a record delivered by `peer` that are taken in.
    #[must_use]
    pub fn admit(
        &self,
        record: VerifiedRecord,
        peer: &NodeId,
        now: Timestamp,
        approval: Approval,
    ) -> Admission {
        if let Some(note) = self.stranger(&record, peer, now) {
            return Admission::Denied {
                rule: Rule::PolicyDenied,
                note,
            };
        }
        let mut holding = self.holding(&record, Some(peer), now);
        holding.facts.approved = approval == Approval::Given;
        match holding.admission().map(|asked| self.engine.decide(&asked)) {
            Ok(decision) => admission(record, &decision),
            Err(unknown) => {
                tracing::warn!(%unknown, "a record is not admitted");
                Admission::Denied {
                    rule: Rule::PolicyDenied,
                    note: DecisionNote::default(),
                }
            }
        }
    }

    /// Begins to verify records one after the other.
    #[must_use]
    pub const fn verification(&self, now: Timestamp) -> Verification<'_> {
        Verification {
            decider: self,
            now,
            met: Vec::new(),
        }
    }

    /// Verifies a record that arrives.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] under the first rule it breaks.
    pub fn verify_arriving(
        &self,
        sealed: &SealedRecord,
        now: Timestamp,
    ) -> Result<VerifiedRecord, Refusal> {
        self.verification(now).arriving(sealed)
    }

    /// Verifies a held record. Its key may have ended since it was admitted, or its originator may
    /// have left. A record first seen after its key was compromised is refused (EX-21).
    ///
    /// # Errors
    ///
    /// The [`Refusal`] under the first rule it breaks.
    pub fn verify_held(
        &self,
        held: &HeldRecord,
        now: Timestamp,
    ) -> Result<VerifiedRecord, Refusal> {
        self.verify_seen(&held.sealed, held.received_at, now)
    }

    /// Verifies an excerpt of a held record as [`Self::verify_held`] does, as far as it was opened.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] under the first rule it breaks.
    pub fn verify_excerpt(&self, held: &HeldExcerpt, now: Timestamp) -> Result<Excerpt, Refusal> {
        self.verification(now).excerpt(held)
    }

    /// Verifies a record that was first seen at the given time.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] under the first rule it breaks.
    pub fn verify_seen(
        &self,
        sealed: &SealedRecord,
        first_seen: Timestamp,
        now: Timestamp,
    ) -> Result<VerifiedRecord, Refusal> {
        self.verification(now).seen(sealed, first_seen)
    }

    /// Returns the verified batch of a statement, from the cache if it is there. A cached batch may
    /// have been verified on an occasion of either kind, and arrivals are judged more strictly. It
    /// is therefore checked again for this occasion, which is cheap.
    fn batch(
        &self,
        statement: &Arc<SignedStatement>,
        verifier: &Verifier<'_>,
    ) -> Result<Arc<VerifiedBatch>, Refusal> {
        if let Some(batch) = self.remembered(statement) {
            verifier.check_again(&batch)?;
            return Ok(batch);
        }
        let batch = Arc::new(verifier.batch(statement)?);
        let remembered = Remembered {
            batch: Arc::clone(&batch),
            statement: Arc::clone(statement),
        };
        self.lock().put(*statement.signature(), remembered);
        Ok(batch)
    }

    fn remembered(&self, statement: &Arc<SignedStatement>) -> Option<Arc<VerifiedBatch>> {
        let found = self.lock().get(statement.signature()).cloned()?;
        (found.statement == *statement).then_some(found.batch)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<[u8; 64], Remembered>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Batches remembered while records are verified one after the other.
const BATCHES_MET: usize = 8;

/// Verification of several records, one after the other, under one register and at one time. Facts
/// that one record proves about its batch are not checked again for the next.
pub struct Verification<'a> {
    decider: &'a Decider,
    now: Timestamp,
    /// Batches met last, the newest at the end.
    met: Vec<Met>,
}

/// A batch whose signature was checked, and the known nodes of its tree.
struct Met {
    statement: Arc<SignedStatement>,
    batch: Arc<VerifiedBatch>,
    nodes: KnownNodes,
}

impl<'a> Verification<'a> {
    /// Verifies a record that arrives.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] under the first rule it breaks.
    pub fn arriving(&mut self, sealed: &SealedRecord) -> Result<VerifiedRecord, Refusal> {
        self.record(sealed, Occasion::Arriving)
    }

    /// Verifies a record that was first seen at the given time.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] under the first rule it breaks.
    pub fn seen(
        &mut self,
        sealed: &SealedRecord,
        first_seen: Timestamp,
    ) -> Result<VerifiedRecord, Refusal> {
        self.record(sealed, Occasion::Held { first_seen })
    }

    /// Verifies an excerpt of a held record, as far as it was opened.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] under the first rule it breaks.
    pub fn excerpt(&mut self, held: &HeldExcerpt) -> Result<Excerpt, Refusal> {
        let verifier = self.verifier(Occasion::Held {
            first_seen: held.received_at,
        });
        let met = self.met(held.opened.statement(), &verifier)?;
        verifier.excerpt_among(&held.opened, held.form, &met.batch, &mut met.nodes)
    }

    /// Checks again a record that was verified before: the key of its batch must still stand.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] under the rule it breaks now.
    pub fn again(&mut self, record: &VerifiedRecord, first_seen: Timestamp) -> Result<(), Refusal> {
        let verifier = self.verifier(Occasion::Held { first_seen });
        self.met(record.statement(), &verifier).map(|_| ())
    }

    fn record(
        &mut self,
        sealed: &SealedRecord,
        occasion: Occasion,
    ) -> Result<VerifiedRecord, Refusal> {
        let verifier = self.verifier(occasion);
        let met = self.met(sealed.statement(), &verifier)?;
        verifier.record_among(sealed, &met.batch, &mut met.nodes)
    }

    /// Only the register in force lets records in. The archive holds the keys of records that were
    /// let in before.
    fn verifier(&self, occasion: Occasion) -> Verifier<'a> {
        let keys: &dyn SealingKeys = match occasion {
            Occasion::Arriving => self.decider.register(),
            Occasion::Held { .. } => &self.decider.archive,
        };
        Verifier {
            federation: &self.decider.register().federation,
            keys,
            now: self.now,
            occasion,
        }
    }

    fn met(
        &mut self,
        statement: &Arc<SignedStatement>,
        verifier: &Verifier<'_>,
    ) -> Result<&mut Met, Refusal> {
        let is_it = |met: &Met| Arc::ptr_eq(&met.statement, statement);
        let at = if let Some(at) = self.met.iter().rposition(is_it) {
            at
        } else {
            let met = self.meet(statement, verifier)?;
            if self.met.len() >= BATCHES_MET {
                self.met.remove(0);
            }
            self.met.push(met);
            self.met.len() - 1
        };
        // The index is valid: the batch was found or pushed just now.
        let lost = || Refusal::new(Rule::BatchStatement, "it was lost while it was checked");
        let met = self.met.get_mut(at).ok_or_else(lost)?;
        verifier.check_again(&met.batch)?;
        Ok(met)
    }

    fn meet(
        &self,
        statement: &Arc<SignedStatement>,
        verifier: &Verifier<'_>,
    ) -> Result<Met, Refusal> {
        let batch = self.decider.batch(statement, verifier)?;
        Ok(Met {
            statement: Arc::clone(statement),
            nodes: batch.nodes(),
            batch,
        })
    }
}

/// Decision on sending a record to a member.
#[derive(Debug)]
pub struct Release {
    permit: Option<Permit>,
    note: DecisionNote,
}

impl Release {
    fn of(decision: FormDecision) -> Self {
        Self {
            permit: decision.permit(),
            note: note(&decision),
        }
    }

    fn denied() -> Self {
        Self {
            permit: None,
            note: DecisionNote::default(),
        }
    }

    /// Returns the sections that may be sent; empty if the record is denied.
    #[must_use]
    pub fn form(&self) -> Form {
        self.permit.as_ref().map_or(Form::EMPTY, Permit::form)
    }

    /// Returns the decision as noted in the ledger.
    #[must_use]
    pub fn note(&self) -> DecisionNote {
        self.note.clone()
    }

    /// Returns the record in the form that may be sent to `receiver`, or `None` if nothing may be
    /// sent. The permit is checked once more against the record that is about to leave.
    #[must_use]
    pub fn apply(
        &self,
        record: &Arc<VerifiedRecord>,
        receiver: &AuthorityId,
    ) -> Option<Arc<VerifiedRecord>> {
        let released = if self.form() == record.form() {
            Arc::clone(record)
        } else {
            Arc::new(record.withhold(self.form()).ok()?)
        };
        let covered = self
            .permit
            .as_ref()
            .is_some_and(|permit| permit.covers(&released.id(), receiver, released.form()));
        covered.then_some(released)
    }
}

/// State of a person's approval of a record that policy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// Nobody was asked yet.
    Open,
    /// A person has read and approved it.
    Given,
}

/// Decision on taking a record in.
#[derive(Debug)]
pub enum Admission {
    /// The record is taken in, in this form.
    Admitted {
        /// The record without the sections that are not taken in.
        record: Box<VerifiedRecord>,
        /// The decision as noted.
        note: DecisionNote,
    },
    /// The record is not taken in.
    Denied {
        /// Rule under which it is denied.
        rule: Rule,
        /// The decision as noted.
        note: DecisionNote,
    },
    /// A person has to decide.
    Held {
        /// The record as it was delivered.
        record: Box<VerifiedRecord>,
        /// The decision as noted.
        note: DecisionNote,
    },
}

fn admission(record: VerifiedRecord, decision: &FormDecision) -> Admission {
    let note = note(decision);
    match decision.rule() {
        None => admitted(record, decision.opened(), note),
        Some(Rule::PolicyHeld) => Admission::Held {
            record: Box::new(record),
            note,
        },
        Some(rule) => Admission::Denied { rule, note },
    }
}

fn admitted(record: VerifiedRecord, form: Form, note: DecisionNote) -> Admission {
    let admitted = if form == record.form() {
        Ok(record)
    } else {
        record.withhold(form)
    };
    match admitted {
        Ok(record) => Admission::Admitted {
            record: Box::new(record),
            note,
        },
        Err(_) => Admission::Denied {
            rule: Rule::PolicyError,
            note,
        },
    }
}

fn note(decision: &FormDecision) -> DecisionNote {
    DecisionNote {
        policies: decision
            .policies()
            .iter()
            .map(|id| id.as_str().to_owned())
            .collect(),
        bundle: Some(decision.rules()),
    }
}
