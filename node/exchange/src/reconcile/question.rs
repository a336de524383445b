//! One comparison with one peer: questions over a connection of its own, and the repair.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use portcullis_protocol::{
    frame::Generation,
    identifiers::NodeId,
    reconcile::{Answer, Ask, Entry, MAX_ANSWER_BYTES, MAX_WANTED, MAX_WITHDRAWN, Page, Question},
    record::RecordId,
    verify::{Refusal, VerifiedRecord},
};
use tonic::{Code, transport::Channel};

use super::{
    claims::Claims,
    machine::{End, Event},
    recovery, summary,
    walk::{Findings, Next, Walk},
};
use portcullis_kernel::Kernel;
use portcullis_peering::{
    connector::{self, ConnectError},
    rpc::exchange_client::ExchangeClient,
    unreached::{Unreached, answered},
};
use portcullis_store::{
    ChannelPage, ChannelSide, DisclosureState, Found, ReconciliationRow, Repair, StoreError, Write,
    writer::Priority,
};

/// Time limit for connecting and for one question. The peer looks through all that was delivered to
/// it.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after the peer answered that it is busy. The question is asked [`BUSY_TRIES`] times in
/// all.
const BUSY_PAUSE: Duration = Duration::from_secs(4);
const BUSY_TRIES: u32 = 30;
/// Bytes that gRPC adds to an answer.
const ENCODING_SLACK: usize = 64 << 10;
/// Largest number of own entries read for a page.
const OWN_ENTRIES: usize = 65_536;
/// Largest number of records owed to a peer before more are added: exceptions are bounded.
const MOST_OWED: u64 = 8_192;
/// Pause between two looks at what is owed and not delivered yet. There are at most [`OWED_TRIES`]
/// looks.
const OWED_PAUSE: Duration = Duration::from_secs(2);
const OWED_TRIES: u32 = 300;
/// Time limit of a comparison, because it holds a place that other peers wait for. What it repaired
/// stays, and the next comparison finds the rest.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// Number of questions for lost records in a row that may give nothing: a peer gives back nothing that
/// is past its date of deletion, and of old records most are.
const MOST_MISSES: u32 = 64;

/// Error that kept a comparison from its end.
#[derive(Debug, thiserror::Error)]
enum CompareError {
    #[error("{}", Unreached::of(.0))]
    Connect(#[from] ConnectError),
    #[error("{}", Unreached::of(.0))]
    Transport(#[from] tonic::transport::Error),
    #[error("{}", answered(.0))]
    Status(Box<tonic::Status>),
    #[error("no answer within {TIMEOUT:?}")]
    TimedOut,
    #[error("TLS cannot be configured: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the register lists the peer no more, or it is cut off")]
    Unknown,
    #[error("the answer does not count: {0}")]
    Answer(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("what is owed to the peer is not delivered")]
    Undelivered,
    #[error("it was not compared to its end within {LONGEST:?}")]
    TooLong,
    #[error("the work was cut short")]
    CutShort,
}

/// Compares the channel to a peer and returns the event for the machine.
pub(super) async fn compare(kernel: Arc<Kernel>, peer: NodeId) -> Event {
    match Comparison::run(Arc::clone(&kernel), peer.clone()).await {
        Ok(found) if found.is_nothing() => Event::Compared {
            peer,
            end: End::Level,
        },
        Ok(found) => {
            tracing::warn!(%peer, %found, "the channel to a peer was repaired");
            kernel.metrics().count_repairs(&found);
            Event::Compared {
                peer,
                end: End::Repaired,
            }
        }
        Err(error @ (CompareError::Answer(_) | CompareError::Store(_) | CompareError::TooLong)) => {
            tracing::warn!(%peer, %error, "the channel to a peer was not compared");
            Event::Failed(peer)
        }
        Err(error) => {
            tracing::debug!(%peer, %error, "the channel to a peer was not compared");
            Event::Failed(peer)
        }
    }
}

struct Comparison {
    kernel: Arc<Kernel>,
    peer: NodeId,
    client: ExchangeClient<Channel>,
    own: Generation,
    theirs: Option<Generation>,
    found: Found,
    misses: u32,
    claims: Claims,
}

impl Comparison {
    async fn run(kernel: Arc<Kernel>, peer: NodeId) -> Result<Found, CompareError> {
        let reading = Arc::clone(&kernel);
        let own = portcullis_store::apart::spawn(move || reading.store().generation())
            .await
            .map_err(|_| CompareError::CutShort)??;
        let client = tokio::time::timeout(TIMEOUT, connect(&kernel, &peer))
            .await
            .map_err(|_| CompareError::TimedOut)??;
        let mut comparison = Self {
            kernel,
            peer,
            client,
            own,
            theirs: None,
            found: Found::default(),
            misses: 0,
            claims: Claims::default(),
        };
        let learned = comparison
            .reading(|kernel, peer| kernel.store().learned(peer))
            .await?;
        comparison.claims = Claims::after(learned);
        let walked = tokio::time::timeout(LONGEST, comparison.walk()).await;
        comparison.tell_of_claims().await;
        walked.map_err(|_| CompareError::TooLong)??;
        comparison.note().await?;
        Ok(comparison.found)
    }

    async fn walk(&mut self) -> Result<(), CompareError> {
        let own = self
            .reading(|kernel, peer| summary(kernel.store().as_ref(), peer, ChannelSide::Sent))
            .await?;
        let mut walk = Walk::new(own);
        loop {
            match walk.step() {
                Next::Digests(ranges) => {
                    let answer = self.ask(Question::Digests(ranges)).await?;
                    walk.digests(&answer.ranges)?;
                }
                Next::Page(page) => {
                    // Own entries are read before the peer is asked: whatever was confirmed by
                    // then, the peer had answered by then.
                    let own = self.own_entries(page).await?;
                    let theirs = self.ask(Question::Page(page)).await?;
                    let findings = walk.page(page, &own, &theirs)?;
                    self.repair(findings).await?;
                }
                Next::Done => return Ok(()),
            }
        }
    }

    async fn own_entries(&self, page: Page) -> Result<Vec<Entry>, CompareError> {
        let page = ChannelPage {
            of: page.of,
            after: page.after,
            most: OWN_ENTRIES,
        };
        self.reading(move |kernel, peer| kernel.store().channel(peer, ChannelSide::Sent, &page))
            .await
    }

    /// Reads from the store, off the runtime's threads.
    async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Kernel, &NodeId) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, CompareError> {
        let (kernel, peer) = (Arc::clone(&self.kernel), self.peer.clone());
        let read = portcullis_store::apart::spawn(move || read(&kernel, &peer)).await;
        Ok(read.map_err(|_| CompareError::CutShort)??)
    }

    async fn ask(&mut self, question: Question) -> Result<Answer, CompareError> {
        let ask = Ask {
            generation: self.own,
            question,
        }
        .to_wire(&self.kernel.me().federation);
        for _ in 0..BUSY_TRIES {
            let asking = self.client.reconcile(ask.clone());
            let answer = tokio::time::timeout(TIMEOUT, asking)
                .await
                .map_err(|_| CompareError::TimedOut)?;
            match answer {
                Ok(answer) => {
                    let answer = Answer::read(answer.into_inner())?;
                    self.theirs = Some(answer.generation);
                    return Ok(answer);
                }
                Err(status) if status.code() == Code::ResourceExhausted => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Err(status) => return Err(CompareError::Status(Box::new(status))),
            }
        }
        Err(CompareError::TimedOut)
    }

    async fn repair(&mut self, findings: Findings) -> Result<(), CompareError> {
        let Findings {
            missing,
            unknown,
            withdrawn_there,
            withdrawn_here,
        } = findings;
        let mut learned = self
            .reading(move |kernel, peer| forgotten(kernel, peer, unknown))
            .await?;
        self.claims.admit(&mut learned);
        self.await_room(&missing).await?;
        self.found.owed += missing.len() as u64;
        self.found.learned += learned.len() as u64;
        self.found.withdrawn += (withdrawn_there.len() + withdrawn_here.len()) as u64;
        let lost = learned.iter().map(|entry| entry.id).collect();
        let owes = !missing.is_empty();
        let repair = Repair {
            peer: self.peer.clone(),
            at: self.kernel.now(),
            owed: missing,
            learned,
            withdrawn: withdrawn_there,
        };
        self.kernel
            .commit(Priority::Bulk, vec![Write::Repair(repair)])
            .await?;
        if owes {
            self.kernel.call_dispatch();
        }
        for ids in withdrawn_here.chunks(MAX_WITHDRAWN) {
            self.ask(Question::Withdrawn(ids.to_vec())).await?;
        }
        self.recover(lost).await
    }

    /// Waits until fewer than [`MOST_OWED`] records are owed to the peer.
    async fn await_room(&self, missing: &[RecordId]) -> Result<(), CompareError> {
        if missing.is_empty() {
            return Ok(());
        }
        for _ in 0..OWED_TRIES {
            let owed = self
                .reading(|kernel, peer| kernel.store().owed(peer))
                .await?;
            if owed < MOST_OWED {
                return Ok(());
            }
            tokio::time::sleep(OWED_PAUSE).await;
        }
        Err(CompareError::Undelivered)
    }

    /// Asks back what this node lost of its own records. A peer that returns nothing several times
    /// in a row is not asked again.
    async fn recover(&mut self, lost: Vec<RecordId>) -> Result<(), CompareError> {
        let lost = self
            .reading(move |kernel, _| not_held(kernel, lost))
            .await?;
        for ids in lost.chunks(MAX_WANTED) {
            let mut left: Vec<RecordId> = ids.to_vec();
            // An answer is bounded in bytes. Records that did not fit are asked for again.
            while !left.is_empty() && self.misses < MOST_MISSES {
                let answer = self.ask(Question::Wanted(left.clone())).await?;
                let records = self.checked(answer, &left).await;
                if records.is_empty() {
                    self.misses += 1;
                    break;
                }
                self.misses = 0;
                self.found.recovered += records.len() as u64;
                let given: BTreeSet<RecordId> = records.iter().map(VerifiedRecord::id).collect();
                left.retain(|id| !given.contains(id));
                let now = self.kernel.now();
                self.kernel
                    .commit(Priority::Bulk, vec![Write::Recover { records, now }])
                    .await?;
            }
        }
        Ok(())
    }

    /// Returns the records of an answer that count, and notes an event for each record refused.
    async fn checked(&self, answer: Answer, wanted: &[RecordId]) -> Vec<VerifiedRecord> {
        let wanted: BTreeSet<RecordId> = wanted.iter().copied().collect();
        let decider = self.kernel.decider();
        let own = &self.kernel.me().authority;
        let mut records = Vec::new();
        // Verified as of now: the record may have been made with a key after that key was
        // compromised.
        let now = self.kernel.now();
        for sealed in answer.records {
            let verified = decider
                .verify_seen(&sealed, now, now)
                .and_then(|record| recovery::check(&record, own, &wanted, now).map(|()| record));
            match verified {
                Ok(record) => records.push(record),
                Err(refusal) => {
                    let event = portcullis_store::NodeEvent {
                        at: self.kernel.now(),
                        kind: "recovery-refused".to_owned(),
                        peer: Some(self.peer.clone()),
                        detail: refusal.to_string(),
                    };
                    self.kernel.note(event).await;
                }
            }
        }
        records
    }

    /// Raises an alarm if the peer claimed more than it may teach.
    async fn tell_of_claims(&self) {
        let Some(refusal) = self.claims.refusal() else {
            return;
        };
        tracing::error!(peer = %self.peer, %refusal, "a peer claims disclosures without end");
        let event = portcullis_store::NodeEvent {
            at: self.kernel.now(),
            kind: "claims-refused".to_owned(),
            peer: Some(self.peer.clone()),
            detail: refusal.to_string(),
        };
        self.kernel.note(event).await;
    }

    async fn note(&self) -> Result<(), CompareError> {
        let row = ReconciliationRow {
            peer: self.peer.clone(),
            own: self.own,
            theirs: self.theirs.unwrap_or(self.own),
            at: self.kernel.now(),
            found: self.found,
        };
        self.kernel
            .commit(Priority::Bulk, vec![Write::Reconciled(row)])
            .await?;
        Ok(())
    }
}

async fn connect(kernel: &Kernel, peer: &NodeId) -> Result<ExchangeClient<Channel>, CompareError> {
    let decider = kernel.decider();
    let (authority, node) = decider.register().node(peer).ok_or(CompareError::Unknown)?;
    if kernel.gates().cut(&authority.id, &node.id).is_some() {
        return Err(CompareError::Unknown);
    }
    let channel: Channel = connector::endpoint(&node.endpoint)?
        .connect_with_connector(kernel.connector(peer)?)
        .await?;
    Ok(ExchangeClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES + ENCODING_SLACK))
}

/// Returns those of the peer's entries of which the ledger has no row. Entries on their way are
/// left out, because they are receipted anyway.
fn forgotten(
    kernel: &Kernel,
    peer: &NodeId,
    unknown: Vec<Entry>,
) -> Result<Vec<Entry>, StoreError> {
    let mut forgotten = Vec::new();
    for entry in unknown {
        let history = kernel.store().disclosure_history(&entry.id, peer)?;
        let told = history.iter().any(|row| match row.state {
            DisclosureState::Intended => entry.form.is_within(row.form),
            DisclosureState::Answered(outcome) => {
                outcome.is_admitted() && entry.form.is_within(row.form)
            }
            DisclosureState::Denied => false,
        });
        if !told {
            forgotten.push(entry);
        }
    }
    Ok(forgotten)
}

/// Returns those of these records that are not held here.
fn not_held(kernel: &Kernel, ids: Vec<RecordId>) -> Result<Vec<RecordId>, StoreError> {
    let mut lost = Vec::new();
    for id in ids {
        if kernel.store().record(&id)?.is_none() {
            lost.push(id);
        }
    }
    Ok(lost)
}
