//! One delivery stream at the receiving end. Frames are judged in parallel, and committed and
//! answered in order.
//!
//! ```text
//! read ─▶ judge (beside one another) ─▶ commit (in order) ─▶ sign (in order) ─▶ receipt
//! ```
//!
//! What is kept for inspection (bad items, events) is written beside the stages; no receipt waits for
//! it.
//!
//! Stages are joined by queues of a few places: while receipts are not taken or the disk is slow,
//! the stream is not read. A receipt is signed only after its commit is durable. Verification,
//! decisions and signatures run off the runtime's threads.
//!
//! A frame that cannot be answered item by item is refused whole. The stream goes on, because the
//! next frame may be better. A frame beyond the granted window, or from a peer that is shut out, is
//! refused without being read (EX-15).

use std::sync::{Arc, Mutex, PoisonError};

use portcullis_protocol::{
    frame::{
        Answer, Answering, FrameError, Hop, Lane, MAX_ITEMS, ReceivedFrame, RefusedFrame, WINDOW,
        claimed_lane,
    },
    identifiers::NodeId,
    keys::SigningKey,
    rules::Rule,
    statement::SignedStatement,
    time::Timestamp,
    verify::Refusal,
    wire,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{
    allowance::{Allowance, Grant},
    charges::Charges,
    conduct::Conduct,
    quota::{Quota, TurnedAway},
};
use portcullis_kernel::{
    Admitted, Kernel, connected::Way, decide::Decider, intake::Judge, quarantine, work::Running,
};
use portcullis_store::{
    BadItem, Intake, Judgement, NodeEvent, StoreError, Write, Written,
    writer::{Pending, Priority},
};

/// Frames that wait between two stages.
const WAITING: usize = WINDOW;

/// Most items of a frame that are urgent work: more are verified beside bulk, and made durable part
/// by part.
const URGENT_ITEMS: usize = 32;

/// Bulk frames that may be on their way while urgent work goes on.
const FEW_FRAMES: u32 = 2;

/// Channel for the receipts of a stream, or for the status that ends it.
pub(super) type Receipts = mpsc::Sender<Result<wire::Receipt, Status>>;

/// One delivery stream of one peer.
pub(super) struct Reception {
    kernel: Arc<Kernel>,
    conduct: Arc<Conduct>,
    quota: Arc<Quota>,
    peer: NodeId,
    /// Window of frames that the peer may send; held for a moment only.
    allowance: Mutex<Allowance>,
}

/// A frame that is being judged, or the end of the stream.
enum Read {
    Frame(Running<Result<Judged, FrameError>>),
    Ended(Status),
}

/// Outcome of judging a frame, before the store saw it.
enum Judged {
    Refused(Box<Refused>),
    Items(Box<Items>),
}

struct Refused {
    receipt: wire::Receipt,
    credit: u32,
    rule: Rule,
    detail: String,
}

struct Items {
    frame: ReceivedFrame,
    intake: Intake,
    charges: Charges,
    bad: Vec<BadItem>,
    turn: FrameAtHand,
}

/// A frame whose answer is at hand or whose commit is pending, or the end of the stream.
enum Answerable {
    Refused(Box<Refused>),
    Committing(Box<Committing>),
    Ended(Status),
}

struct Committing {
    frame: ReceivedFrame,
    turn: FrameAtHand,
    admitted: Vec<Admitted>,
    charges: Charges,
    bad: Vec<BadItem>,
    /// Answers to the parts of the frame that are durable already.
    before: Vec<Answer>,
    last: LastPart,
}

/// The commit of the last part of a frame.
enum LastPart {
    /// It is under way.
    Pending(Result<Pending, StoreError>),
    /// It is not made, because this came of an earlier part.
    Ended(Result<Vec<Written>, StoreError>),
}

/// Something kept for inspection, of which no answer depends.
enum Aside {
    Bad(Vec<BadItem>),
    Event(NodeEvent),
}

/// A receipt, and the credit that it grants.
type Granted = (wire::Receipt, u32);

impl Reception {
    pub(super) fn new(
        kernel: Arc<Kernel>,
        (conduct, quota): (Arc<Conduct>, Arc<Quota>),
        peer: NodeId,
    ) -> Arc<Self> {
        Arc::new(Self {
            kernel,
            conduct,
            quota,
            peer,
            allowance: Mutex::new(Allowance::new()),
        })
    }

    /// Answers the frames of the stream until it ends, the peer goes away or `stop` is cancelled.
    pub(super) async fn receive(
        self: Arc<Self>,
        frames: Streaming<wire::Frame>,
        receipts: Receipts,
        stop: CancellationToken,
    ) {
        let _connected = self.kernel.connected(&self.peer, Way::FromPeer);
        let (judging, judged) = mpsc::channel(WAITING);
        let (committing, committed) = mpsc::channel(WAITING);
        let (aside, kept) = mpsc::channel(WAITING);
        tokio::join!(
            self.read(frames, judging, stop),
            self.commit(judged, committing),
            self.answer(committed, receipts, aside),
            self.keep(kept),
        );
    }

    async fn read(
        self: &Arc<Self>,
        mut frames: Streaming<wire::Frame>,
        judging: mpsc::Sender<Read>,
        stop: CancellationToken,
    ) {
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = judging.closed() => return,
                next = frames.message() => next,
            };
            let read = match next {
                Ok(Some(frame)) => {
                    let turn = self.turn();
                    let grant = self.allowance().take();
                    let lane = self.work_of(&frame, turn.now);
                    let judging = move || turn.judge(frame, grant);
                    Read::Frame(self.kernel.work().run(lane, judging))
                }
                Ok(None) => return,
                Err(status) => {
                    tracing::debug!(peer = %self.peer, %status, "a delivery stream ended");
                    Read::Ended(status)
                }
            };
            let ended = matches!(read, Read::Ended(_));
            if judging.send(read).await.is_err() || ended {
                return;
            }
        }
    }

    /// Returns the lane in whose pool a frame is verified. What a peer brings as urgent is urgent work
    /// up to a measure, duplicates included, so that no other peer's alert waits behind it.
    fn work_of(&self, frame: &wire::Frame, now: Timestamp) -> Lane {
        let items = frame.records.len();
        match claimed_lane(frame) {
            Lane::Urgent if items <= URGENT_ITEMS => {
                self.conduct
                    .urgent_work(&self.peer, (items, bytes(frame)), now)
            }
            Lane::Urgent | Lane::Bulk => Lane::Bulk,
        }
    }

    fn turn(self: &Arc<Self>) -> FrameAtHand {
        FrameAtHand {
            stream: Arc::clone(self),
            decider: self.kernel.decider(),
            key: self.kernel.hop_key(),
            now: self.kernel.now(),
        }
    }

    fn allowance(&self) -> std::sync::MutexGuard<'_, Allowance> {
        self.allowance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands frames to the writer in the order of their arrival.
    async fn commit(&self, mut judged: mpsc::Receiver<Read>, committing: mpsc::Sender<Answerable>) {
        while let Some(read) = judged.recv().await {
            let answerable = match read {
                Read::Ended(status) => Answerable::Ended(status),
                Read::Frame(judging) => match judging.await {
                    Ok(Ok(Judged::Refused(refused))) => Answerable::Refused(refused),
                    Ok(Ok(Judged::Items(items))) => self.submit(*items).await,
                    Ok(Err(error)) => Answerable::Ended(internal(&error)),
                    Err(error) => Answerable::Ended(internal(&error)),
                },
            };
            if committing.send(answerable).await.is_err() {
                return;
            }
        }
    }

    async fn submit(&self, items: Items) -> Answerable {
        let Items {
            frame,
            intake,
            charges,
            bad,
            turn,
        } = items;
        let admitted = admitted(&intake);
        let (before, last) = self.submit_parts(intake).await;
        Answerable::Committing(Box::new(Committing {
            frame,
            turn,
            admitted,
            charges,
            bad,
            before,
            last,
        }))
    }

    /// Hands the parts of an urgent frame to the writer one after the other, so that what is urgent
    /// at another peer waits for one part at most. A bulk frame is cut by the writer itself.
    async fn submit_parts(&self, intake: Intake) -> (Vec<Answer>, LastPart) {
        let priority = intake.lane.into();
        let most = match intake.lane {
            Lane::Urgent => URGENT_ITEMS,
            Lane::Bulk => MAX_ITEMS,
        };
        let mut parts = intake.parts(most);
        let last = parts.pop().map(Write::Intake);
        let mut before = Vec::new();
        for part in parts {
            let written = self
                .kernel
                .commit(priority, vec![Write::Intake(part)])
                .await;
            match written.as_deref() {
                Ok([Written::Answers(answers)]) => before.extend(answers.iter().cloned()),
                Ok(_) | Err(_) => return (before, LastPart::Ended(written)),
            }
        }
        let writes = last.into_iter().collect();
        let pending = self.kernel.writer().submit(priority, writes).await;
        (before, LastPart::Pending(pending))
    }

    async fn answer(
        &self,
        mut committed: mpsc::Receiver<Answerable>,
        receipts: Receipts,
        aside: mpsc::Sender<Aside>,
    ) {
        while let Some(answerable) = committed.recv().await {
            let granted = match answerable {
                Answerable::Refused(refused) => {
                    let Refused {
                        receipt,
                        credit,
                        rule,
                        detail,
                    } = *refused;
                    self.tell_refused(rule, &detail, &aside);
                    Ok((receipt, credit))
                }
                Answerable::Committing(committing) => self.committed(*committing, &aside).await,
                Answerable::Ended(status) => Err(status),
            };
            let ended = granted.is_err();
            // The peer may send on as soon as it has the receipt.
            let receipt = granted.map(|(receipt, credit)| {
                self.allowance().answer(credit);
                receipt
            });
            if receipts.send(receipt).await.is_err() || ended {
                return;
            }
        }
    }

    async fn committed(
        &self,
        committing: Committing,
        aside: &mpsc::Sender<Aside>,
    ) -> Result<Granted, Status> {
        let Committing {
            frame,
            turn,
            admitted,
            charges,
            bad,
            mut before,
            last,
        } = committing;
        let written = match last {
            LastPart::Pending(Ok(pending)) => pending.durable().await,
            LastPart::Pending(Err(error)) => Err(error),
            LastPart::Ended(written) => written,
        };
        let answers = match written.as_deref() {
            Ok([Written::Answers(answers)]) => {
                before.extend(answers.iter().cloned());
                before
            }
            Ok([Written::Refused(rule)]) => {
                self.tell_refused(*rule, &rule.to_string(), aside);
                return turn.refuse(frame, *rule).await;
            }
            Ok([Written::OutOfSequence(shown)]) => {
                let rule = Rule::Sequence;
                self.tell_refused(rule, &rule.to_string(), aside);
                return turn.show_forgotten(frame, (**shown).clone()).await;
            }
            Ok(_) => return Err(Status::internal("the store answered something else")),
            Err(error) => {
                tracing::error!(%error, "a frame could not be stored");
                return turn.refuse(frame, Rule::Busy).await;
            }
        };
        self.kernel.received(&self.peer, &answers, admitted);
        if !bad.is_empty() {
            self.lay_aside(aside, Aside::Bad(bad));
        }
        for event in self.account(&charges, &answers, frame.head.lane, turn.now) {
            self.lay_aside(aside, Aside::Event(event));
        }
        turn.answer(frame, answers).await
    }

    /// Counts what the answers left on the disk, and what was refused. Returns what is to be told.
    fn account(
        &self,
        charges: &Charges,
        answers: &[Answer],
        lane: Lane,
        now: Timestamp,
    ) -> Vec<NodeEvent> {
        let unverified = self
            .conduct
            .unverified(&self.peer, charges.unverified(), now);
        let mut events: Vec<NodeEvent> = unverified.into_iter().collect();
        for spent in charges.spent(answers) {
            let [added, again] = charges.accounts(&spent.cause);
            let counted = [(added, spent.added), (again, spent.again)];
            for (account, bytes) in counted.into_iter().filter(|(_, bytes)| *bytes > 0) {
                let used_up = self
                    .quota
                    .spend(&self.peer, (account, spent.lane, bytes), now);
                if let Some(event) = used_up {
                    tracing::warn!(peer = %self.peer, detail = event.detail, "a quota is used up");
                    events.push(event);
                }
            }
            let refused = (&spent.cause, spent.refused);
            events.extend(
                self.conduct
                    .records_refused((&self.peer, lane), refused, now),
            );
        }
        events
    }

    /// Hands on what is kept for inspection. If much waits already it is left out, because no peer
    /// may hold up receipts by what it brings.
    fn lay_aside(&self, aside: &mpsc::Sender<Aside>, kept: Aside) {
        if aside.try_send(kept).is_err() {
            tracing::warn!(peer = %self.peer, "more is refused than can be kept for inspection");
        }
    }

    /// Keeps what was laid aside, until the stream has ended.
    async fn keep(&self, mut kept: mpsc::Receiver<Aside>) {
        while let Some(aside) = kept.recv().await {
            match aside {
                Aside::Bad(bad) => self.set_apart(bad).await,
                Aside::Event(event) => self.kernel.note(event).await,
            }
        }
    }

    /// Keeps the records that failed verification. Their refusal does not depend on it, so an error
    /// is only logged.
    async fn set_apart(&self, bad: Vec<BadItem>) {
        let count = bad.len() as u64;
        match self
            .kernel
            .commit(Priority::Bulk, vec![Write::Quarantine(bad)])
            .await
        {
            Ok(_) => {
                self.kernel.metrics().items_quarantined.inc_by(count);
            }
            Err(error) => tracing::error!(%error, "bad items were not set apart"),
        }
    }

    fn tell_refused(&self, rule: Rule, detail: &str, aside: &mpsc::Sender<Aside>) {
        self.kernel.metrics().frames_refused.inc();
        let now = self.kernel.now();
        if let Some(event) = self.conduct.frame_refused(&self.peer, rule, detail, now) {
            tracing::warn!(peer = %self.peer, detail, "a frame is refused");
            self.lay_aside(aside, Aside::Event(event));
        }
    }

    /// Returns the number of frames that may be on their way. It is 0 while the peer is shut out
    /// and 1 while the peer is slowed, or while the writer has little room; bulk gets [`FEW_FRAMES`] while urgent work goes on.
    fn credit(&self, lane: Lane, now: Timestamp) -> u32 {
        if self.conduct.is_shut_out((&self.peer, lane), now) {
            return 0;
        }
        if self.conduct.is_slowed(&self.peer, now) || self.kernel.writer().is_crowded(lane.into()) {
            return 1;
        }
        if lane == Lane::Bulk && self.kernel.writer().is_urgent_lately() {
            return FEW_FRAMES;
        }
        u32::try_from(WINDOW).unwrap_or(1)
    }
}

/// Returns the bytes of a frame's headers and bodies.
fn bytes(frame: &wire::Frame) -> usize {
    let of = |record: &wire::Record| {
        let bodies = record.sections.iter().map(|section| section.body.len());
        bodies.fold(record.header.len(), usize::saturating_add)
    };
    frame.records.iter().map(of).fold(0, usize::saturating_add)
}

/// Reports an error of this node's own. The peer learns only that it should try again later.
fn internal(error: &impl std::error::Error) -> Status {
    tracing::error!(%error, "a frame could not be answered");
    Status::unavailable("the frame could not be answered; try again later")
}

/// Returns the records that policy admits; watchers are told of them once they are durable.
fn admitted(intake: &Intake) -> Vec<Admitted> {
    let admitted = intake
        .items
        .iter()
        .filter_map(|item| match &item.judgement {
            Judgement::Admit { record, note: _ } => Some(Admitted {
                id: record.id(),
                kind: record.header().kind,
                origin: record.header().origin.clone(),
            }),
            Judgement::Refuse { .. } | Judgement::RefuseForNow { .. } | Judgement::Hold { .. } => {
                None
            }
        });
    admitted.collect()
}

/// One frame, judged under one register and one policy.
struct FrameAtHand {
    stream: Arc<Reception>,
    decider: Arc<Decider>,
    /// Key that signs the receipt.
    key: Arc<SigningKey>,
    now: Timestamp,
}

impl FrameAtHand {
    fn judge(self, frame: wire::Frame, grant: Grant) -> Result<Judged, FrameError> {
        let stream = Arc::clone(&self.stream);
        if let Some(why) = self.unread(&frame, grant) {
            let refused = RefusedFrame::unread(&frame, Refusal::new(Rule::Busy, why.to_owned()));
            return self.unanswerable(&refused);
        }
        let register = self.decider.register();
        let hop = self.hop();
        if frame.records.len() > MAX_ITEMS {
            tracing::warn!(peer = %stream.peer, "a frame has too many items");
        }
        let frame = match ReceivedFrame::verify(frame, hop, |key| {
            register.hop_key(hop.peer, key, self.now)
        }) {
            Ok(frame) => frame,
            Err(refused) => return self.unanswerable(&refused),
        };
        stream
            .kernel
            .heard_epoch(&stream.peer, frame.head.register_epoch);
        let Some((authority, node)) = register.node(&stream.peer) else {
            let credit = 0;
            return Ok(Judged::Refused(Box::new(Refused {
                receipt: frame.refuse(Rule::FrameSender, self.signing(credit))?,
                credit,
                rule: Rule::FrameSender,
                detail: "the register lists the peer no more".to_owned(),
            })));
        };
        let gates = stream.kernel.gates();
        if let Some(cut) = gates.cut(&authority.id, &node.id) {
            let credit = 0;
            return Ok(Judged::Refused(Box::new(Refused {
                receipt: frame.refuse(cut.rule(), self.signing(credit))?,
                credit,
                rule: cut.rule(),
                detail: format!("the peer is {cut}"),
            })));
        }
        let mut intake = Judge {
            decider: &self.decider,
            first_seen: &|record| stream.kernel.first_seen(record),
            gates: &gates,
            own: &stream.kernel.me().authority,
            peer: &stream.peer,
            exercises: stream.kernel.exercises(),
            now: self.now,
        }
        .judge(&frame);
        let charges = Charges::of(&intake, &frame.records, (register, &authority.id));
        let shut_out = stream
            .conduct
            .shut_out_by((&stream.peer, frame.head.lane), self.now);
        for (item, (cause, _)) in intake.items.iter_mut().zip(charges.causes()) {
            if shut_out.contains(cause) {
                item.judgement = Judgement::RefuseForNow { rule: Rule::Busy };
            }
        }
        let space = stream.kernel.space_now();
        if stream.quota.judge(&mut intake, &charges, space) == TurnedAway::OwnFrame {
            let credit = 0;
            return Ok(Judged::Refused(Box::new(Refused {
                receipt: frame.refuse(Rule::Busy, self.signing(credit))?,
                credit,
                rule: Rule::Busy,
                detail: "its originator has added as much as it may for now".to_owned(),
            })));
        }
        let bad = quarantine::bad_items(&self.decider, &stream.peer, &frame, &intake);
        Ok(Judged::Items(Box::new(Items {
            frame,
            intake,
            charges,
            bad,
            turn: self,
        })))
    }

    /// Returns the reason to refuse a frame unread, if there is one.
    fn unread(&self, frame: &wire::Frame, grant: Grant) -> Option<&'static str> {
        let stream = &self.stream;
        let lane = claimed_lane(frame);
        match grant {
            Grant::Beyond => Some("it was sent beyond what the receipts granted"),
            Grant::Within if stream.conduct.is_shut_out((&stream.peer, lane), self.now) => {
                Some("too many records were refused within a minute")
            }
            Grant::Within if !stream.kernel.space_now().takes(lane) => {
                Some("the disk has no room for it")
            }
            Grant::Within => None,
        }
    }

    fn unanswerable(&self, refused: &RefusedFrame) -> Result<Judged, FrameError> {
        let credit = self.stream.credit(Lane::Bulk, self.now);
        Ok(Judged::Refused(Box::new(Refused {
            receipt: refused.answer(self.hop(), self.signing(credit))?,
            credit,
            rule: refused.refusal.rule,
            detail: refused.refusal.to_string(),
        })))
    }

    fn hop(&self) -> Hop<'_> {
        Hop {
            federation: &self.decider.register().federation,
            receiver: &self.stream.kernel.me().node,
            peer: &self.stream.peer,
        }
    }

    fn signing(&self, credit: u32) -> Answering<'_> {
        Answering {
            key: &self.key,
            now: self.now,
            register_epoch: self.decider.register().epoch,
            credit,
        }
    }

    async fn refuse(self, frame: ReceivedFrame, rule: Rule) -> Result<Granted, Status> {
        // If the store has no room now, the peer is not invited to send again at once.
        let credit = if rule == Rule::Busy { 0 } else { 1 };
        self.signed(frame.head.lane, credit, move |signing| {
            frame.refuse(rule, signing)
        })
        .await
    }

    /// Refuses a frame as out of sequence and shows its sender what it forgot.
    async fn show_forgotten(
        self,
        frame: ReceivedFrame,
        shown: SignedStatement,
    ) -> Result<Granted, Status> {
        self.signed(frame.head.lane, 1, move |signing| {
            frame.refuse_forgotten(&shown, signing)
        })
        .await
    }

    async fn answer(self, frame: ReceivedFrame, answers: Vec<Answer>) -> Result<Granted, Status> {
        let credit = self.stream.credit(frame.head.lane, self.now);
        self.signed(frame.head.lane, credit, move |signing| {
            frame.answer(answers, signing)
        })
        .await
    }

    async fn signed(
        self,
        lane: Lane,
        credit: u32,
        sign: impl FnOnce(Answering<'_>) -> Result<wire::Receipt, FrameError> + Send + 'static,
    ) -> Result<Granted, Status> {
        let work = Arc::clone(&self.stream);
        let signing = move || sign(self.signing(credit));
        work.kernel
            .work()
            .run(lane, signing)
            .await
            .map_err(|error| internal(&error))?
            .map(|receipt| (receipt, credit))
            .map_err(|error| internal(&error))
    }
}
