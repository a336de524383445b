//! Input and output of dispatch: one task per peer and lane carries out what its machine asks for.
//!
//! Plans, commits and the checks of receipts run in parallel: while frames are on their way, the
//! next one is planned and the last ones are settled. The machine decides what may overlap. The
//! driver answers each of its requests with one event and reports every other occurrence as it
//! happens.
//!
//! Each lane has a connection of its own, so that neither a flood nor a slow peer in one lane
//! delays the other, and no peer delays another.

use crate::dispatch::error::PlanError;
use std::{future::Future, sync::Arc, time::Duration};

use portcullis_protocol::{
    frame::{Answer, FrameAnswer, Generation, Lane, MAX_ITEMS},
    identifiers::NodeId,
    rules::Rule,
    seal::Entropy as _,
    time::Timestamp,
};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    link::{Link, LinkError, Receipted},
    load::{self, Loaded},
    machine::{Effect, Event, FailedAt, Machine},
    plan::{Footing, Outgoing, Planner, relays},
};
use portcullis_home::clock::SystemEntropy;
use portcullis_kernel::{Kernel, calls::Call, decide::Decider};
use portcullis_store::{NewGeneration, Settle, StoreError, Write};

/// Longest time that a machine rests when nothing wakes it, before it looks again.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Items of a bulk frame while urgent work goes on.
const SMALL_FRAME: usize = 256;

/// Reason for which nothing could be planned.
#[derive(Debug, thiserror::Error)]
enum NotPlanned {
    #[error(transparent)]
    Failed(#[from] PlanError),
    #[error("the register lists the peer no more")]
    Unknown,
    #[error("planning was cut short")]
    CutShort,
}

/// Result of work that ran beside the driver.
enum Finished {
    Planned(Result<Loaded, NotPlanned>),
    Intended(Result<(), StoreError>),
    Settled(Result<(), StoreError>, Vec<Answer>),
    Started(Result<(), StoreError>),
}

/// Delivers one lane to one peer until `shutdown`.
pub async fn run(kernel: Arc<Kernel>, peer: NodeId, lane: Lane, shutdown: CancellationToken) {
    let driver = Driver {
        machine: Machine::new(peer.clone(), lane, kernel.retry()),
        log: kernel.logged(lane),
        calls: kernel.dispatch_calls(),
        kernel,
        peer,
        lane,
        link: None,
        work: Stages::default(),
        wake_at: None,
        awaits: None,
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = driver.run() => {}
    }
}

/// Work under way, each with the stage that fails if it is cut short. No request of the machine
/// stays without its event.
#[derive(Default)]
struct Stages {
    tasks: JoinSet<Finished>,
    stages: Vec<(Id, FailedAt)>,
}

impl Stages {
    fn start(&mut self, stage: FailedAt, work: impl Future<Output = Finished> + Send + 'static) {
        let id = self.tasks.spawn(work).id();
        self.stages.push((id, stage));
    }

    /// Waits for the next work to end. The error names the stage of work that was cut short.
    async fn next(&mut self) -> Option<Result<Finished, FailedAt>> {
        let ended = self.tasks.join_next_with_id().await?;
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let at = self.stages.iter().position(|(known, _)| *known == id);
        let stage = at.map_or(FailedAt::Plan, |at| self.stages.swap_remove(at).1);
        Some(ended.map(|(_, finished)| finished).map_err(|_| stage))
    }
}

struct Driver {
    kernel: Arc<Kernel>,
    peer: NodeId,
    lane: Lane,
    machine: Machine,
    link: Option<Link>,
    /// Plans and commits under way, at most one of each.
    work: Stages,
    log: watch::Receiver<u64>,
    calls: watch::Receiver<u64>,
    wake_at: Option<Timestamp>,
    /// The least version of the protocol for which a record of the latest plan waits.
    awaits: Option<u32>,
}

impl Driver {
    async fn run(mut self) {
        // Connects in advance, so that a first alert does not wait for a handshake.
        match Link::open(&self.kernel, &self.peer).await {
            Ok(link) => self.link = Some(link),
            Err(error) => {
                tracing::debug!(peer = %self.peer, %error, "not connected yet");
                self.not_reached(&error);
            }
        }
        let mut event = Event::Wake;
        loop {
            let effects = self.machine.handle(event, self.kernel.now());
            event = match self.carry_out(effects).await {
                Some(event) => event,
                None => self.next().await,
            };
        }
    }

    /// Carries out effects in order. If a frame does not leave, the event that says so is returned
    /// after all effects are carried out.
    async fn carry_out(&mut self, effects: Vec<Effect>) -> Option<Event> {
        let mut event = None;
        for effect in effects {
            match effect {
                Effect::Plan(footing) => self.plan(footing),
                Effect::Intend(intend) => {
                    self.awaits = intend.awaits.iter().map(|one| one.version).min();
                    let writes = vec![Write::Intend(*intend)];
                    self.commit(FailedAt::Intend, writes, Finished::Intended);
                }
                Effect::Send(outgoing) => event = self.send(*outgoing).await,
                Effect::Settle(settles) => self.settle(settles),
                Effect::StartGeneration {
                    instead_of,
                    shown,
                    why,
                } => self.start_generation(instead_of, shown, why),
                Effect::Disconnect => self.link = None,
                Effect::Trouble(rule) => self.kernel.delivery_stopped(&self.peer, rule),
                Effect::WakeAt(time) => self.wake_at = Some(time),
            }
        }
        event
    }

    fn plan(&mut self, footing: Option<Footing>) {
        let (kernel, peer, lane) = (Arc::clone(&self.kernel), self.peer.clone(), self.lane);
        let planning = self.kernel.work().run(lane, move || {
            let decider = kernel.decider();
            plan(&kernel, &decider, &peer, lane, footing)
        });
        self.work.start(FailedAt::Plan, async move {
            Finished::Planned(planning.await.unwrap_or(Err(NotPlanned::CutShort)))
        });
    }

    fn commit(
        &mut self,
        stage: FailedAt,
        writes: Vec<Write>,
        outcome: impl FnOnce(Result<(), StoreError>) -> Finished + Send + 'static,
    ) {
        let (kernel, lane) = (Arc::clone(&self.kernel), self.lane);
        self.work.start(stage, async move {
            outcome(kernel.commit(lane.into(), writes).await.map(|_| ()))
        });
    }

    fn settle(&mut self, settles: Vec<Settle>) {
        let answers = settles
            .iter()
            .flat_map(|settle| settle.answers.iter().cloned())
            .collect();
        let writes = settles.into_iter().map(Write::Settle).collect();
        self.commit(FailedAt::Settle, writes, |result| {
            Finished::Settled(result, answers)
        });
    }

    fn start_generation(&mut self, instead_of: Generation, shown: Generation, why: String) {
        let mut drawn = [0; 16];
        SystemEntropy::default().fill(&mut drawn);
        let new = NewGeneration {
            instead_of,
            generation: Generation::from_bytes(drawn),
            shown: Some(shown),
            at: self.kernel.now(),
            why,
        };
        tracing::warn!(peer = %self.peer, why = %new.why, "this node starts a new generation");
        let writes = vec![Write::StartGeneration(new)];
        self.commit(FailedAt::Generation, writes, Finished::Started);
    }

    async fn send(&mut self, outgoing: Outgoing) -> Option<Event> {
        match self.deliver(outgoing).await {
            Ok(()) => None,
            Err(LinkError::Superseded) => Some(Event::Superseded),
            Err(error) => Some(self.link_failed(&error)),
        }
    }

    async fn deliver(&mut self, outgoing: Outgoing) -> Result<(), LinkError> {
        let link = match &mut self.link {
            Some(link) => link,
            None => self
                .link
                .insert(Link::open(&self.kernel, &self.peer).await?),
        };
        // Connecting takes time, so the permits are checked last.
        let frame = outgoing
            .release(&self.kernel.decider())
            .ok_or(LinkError::Superseded)?;
        // A gate may have been closed meanwhile as well.
        if let Some(closed) = self.kernel.closed(&self.peer, self.lane) {
            return Err(LinkError::Gate(closed));
        }
        link.send(frame).await
    }

    fn not_reached(&self, error: &LinkError) {
        if let Some(why) = error.unreached() {
            self.kernel.not_reached(&self.peer, why);
        }
    }

    fn link_failed(&mut self, error: &LinkError) -> Event {
        self.link = None;
        self.not_reached(error);
        let why = error.to_string();
        tracing::warn!(peer = %self.peer, lane = %self.lane, why, "a frame was not receipted");
        self.kernel.delivery_failed(&self.peer, &why);
        Event::Failed(FailedAt::Link)
    }

    /// Waits for the next event. An idle urgent lane plans at once what is published, so the writer
    /// may wait for the ledger rows of that plan.
    async fn next(&mut self) -> Event {
        let follows = self.lane == Lane::Urgent && self.link.is_some() && self.machine.is_idle();
        let _follower = follows.then(|| self.kernel.writer().follow());
        loop {
            let rest = self.rest();
            tokio::select! {
                Some(done) = self.work.next() => return match done {
                    Ok(outcome) => self.outcome(outcome),
                    Err(stage) => {
                        tracing::error!(peer = %self.peer, lane = %self.lane, ?stage, "work was cut short");
                        Event::Failed(stage)
                    }
                },
                receipt = received(&mut self.link) => match receipt {
                    Ok(receipt) => return self.receipted(receipt),
                    // An idle connection has ended. The next frame opens another.
                    Err(error) if self.machine.in_flight() == 0 => {
                        tracing::debug!(peer = %self.peer, %error, "the connection ended");
                        self.link = None;
                        return Event::Parted;
                    }
                    Err(error) => return self.link_failed(&error),
                },
                () = tokio::time::sleep(rest) => {
                    self.wake_at = None;
                    return Event::Wake;
                }
                changed = self.log.changed() => match changed {
                    Ok(()) => return Event::Wake,
                    Err(_) => std::future::pending().await,
                },
                changed = self.calls.changed() => match changed {
                    Ok(()) => return Event::Wake,
                    Err(_) => std::future::pending().await,
                },
            }
        }
    }

    /// Returns the time to wait: until the time that the machine named, and at most
    /// [`LONGEST_REST`].
    fn rest(&self) -> Duration {
        self.wake_at.map_or(LONGEST_REST, |time| {
            let wait = time.millis_since(self.kernel.now()).max(0);
            Duration::from_millis(u64::try_from(wait).unwrap_or(0)).min(LONGEST_REST)
        })
    }

    fn outcome(&self, outcome: Finished) -> Event {
        match outcome {
            Finished::Planned(Ok(Loaded::Planned(plan))) => Event::Planned(plan),
            Finished::Planned(Ok(Loaded::Outdated)) => Event::Outdated,
            Finished::Planned(Err(error)) => {
                tracing::error!(peer = %self.peer, %error, "nothing can be planned");
                Event::Failed(FailedAt::Plan)
            }
            Finished::Intended(Ok(())) => {
                // The peer may have stated its version while the plan was on its way.
                let version = self.kernel.spoken(&self.peer).version;
                if self.awaits.is_some_and(|awaited| awaited <= version) {
                    self.kernel.look_again(&self.peer);
                }
                Event::Intended
            }
            Finished::Intended(Err(error)) => self.not_stored(&error, FailedAt::Intend),
            Finished::Settled(Ok(()), answers) => {
                self.kernel.settled(&self.peer, &answers);
                Event::Settled
            }
            Finished::Settled(Err(error), _) => self.not_stored(&error, FailedAt::Settle),
            Finished::Started(Ok(())) => {
                self.kernel.call_to_compare(Call::All);
                Event::GenerationStarted
            }
            Finished::Started(Err(error)) => self.not_stored(&error, FailedAt::Generation),
        }
    }

    fn not_stored(&self, error: &StoreError, stage: FailedAt) -> Event {
        tracing::error!(peer = %self.peer, %error, "a ledger entry was not stored");
        Event::Failed(stage)
    }

    fn receipted(&self, receipted: Receipted) -> Event {
        let Receipted { receipt, forgotten } = receipted;
        self.kernel.heard_epoch(&self.peer, receipt.register_epoch);
        if let FrameAnswer::RefusedWhole(rule) = &receipt.verdict {
            let title = rule.parse::<Rule>().map_or("", Rule::title);
            let why = format!("it refuses the frame under {rule} {title}");
            tracing::warn!(peer = %self.peer, lane = %self.lane, why, "a frame was refused");
            self.kernel.delivery_failed(&self.peer, &why);
        }
        match forgotten {
            Some(shown) => Event::Forgotten(Box::new(receipt), shown),
            None => Event::Answered(Box::new(receipt)),
        }
    }
}

/// Waits for the next receipt; without a connection it waits forever.
async fn received(link: &mut Option<Link>) -> Result<Receipted, LinkError> {
    match link {
        Some(link) => link.receipt().await,
        None => std::future::pending().await,
    }
}

/// Returns the number of items that a frame may take. While alerts come, bulk frames are small, so
/// that they hold nobody up.
fn portion(kernel: &Kernel, lane: Lane) -> usize {
    match lane {
        Lane::Bulk if kernel.writer().is_urgent_lately() => SMALL_FRAME,
        Lane::Bulk | Lane::Urgent => MAX_ITEMS,
    }
}

fn plan(
    kernel: &Kernel,
    decider: &Arc<Decider>,
    peer: &NodeId,
    lane: Lane,
    footing: Option<Footing>,
) -> Result<Loaded, NotPlanned> {
    let me = kernel.me();
    let register = decider.register();
    let (authority, _) = register.node(peer).ok_or(NotPlanned::Unknown)?;
    let own_kind = register
        .authorities
        .get(&me.authority)
        .map(|authority| authority.kind)
        .ok_or(NotPlanned::Unknown)?;
    let key = kernel.hop_key();
    let planner = Planner {
        decider,
        sender: &me.node,
        authority,
        peer,
        lane,
        key: &key,
        now: kernel.now(),
        most: portion(kernel, lane),
        spoken: kernel.spoken(peer),
    };
    Ok(load::plan(
        planner,
        kernel.store().as_ref(),
        relays(own_kind),
        footing,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attack HL8: work that panics gives the event of its own stage, so that the lane does not wait
    /// for it for ever.
    #[tokio::test]
    async fn work_that_is_cut_short_fails_at_its_own_stage() {
        let mut work = Stages::default();
        work.start(FailedAt::Settle, std::future::pending());
        work.start(FailedAt::Intend, async { panic!("a test") });
        let cut = work.next().await;
        assert!(matches!(cut, Some(Err(FailedAt::Intend))));
        work.start(FailedAt::Plan, async { Finished::Intended(Ok(())) });
        let done = work.next().await;
        assert!(matches!(done, Some(Ok(Finished::Intended(Ok(()))))));
        assert_eq!(work.stages.len(), 1);
    }
}
