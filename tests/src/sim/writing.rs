//! The shell of the only writer: urgent jobs first, bulk jobs in pieces, as store/writer.rs does.

use std::collections::VecDeque;

use portcullis_protocol::{record::Kind, verify::VerifiedRecord};
use portcullis_store::{Store as _, StoreError, Write, Written, writer::Priority};

use super::{
    cast::MemberNumber,
    coverage::Seen,
    happening::{Passage, Task},
    mutant::Mutant,
    node::{Asked, Asker, Committing, Job},
    store::{Reply, State},
    world::World,
};

impl World {
    pub(super) fn enqueue_publication(
        &mut self,
        member: MemberNumber,
        records: Vec<VerifiedRecord>,
    ) {
        let urgent = records
            .iter()
            .any(|record| record.header().kind == Kind::Alert);
        let priority = if urgent {
            Priority::Urgent
        } else {
            Priority::Bulk
        };
        let publish = Write::Publish {
            records,
            now: self.now,
        };
        self.enqueue(member, priority, vec![publish], Asker::Nobody);
    }

    /// Puts a job into the writer's queue.
    pub(super) fn enqueue(
        &mut self,
        member: MemberNumber,
        priority: Priority,
        writes: Vec<Write>,
        asker: Asker,
    ) {
        let pieces = match priority {
            Priority::Urgent => VecDeque::from([writes]),
            Priority::Bulk => pieces(writes, self.profile.piece),
        };
        let writer = &mut self.node(member).writer;
        let idle = writer.committing.is_none();
        writer.queue(priority).push_back(Job {
            pieces,
            result: Vec::new(),
            asker,
            passed_over: 0,
        });
        let waiting = writer.urgent.len() + writer.bulk.len();
        self.check_queue(member, waiting);
        if self.pass(member, Passage::Queued).is_some() && idle {
            self.after(member, 0, Task::Turn);
        }
    }

    /// Begins a transaction with jobs from the queues.
    pub(super) fn turn(&mut self, member: MemberNumber) {
        let (slice, mutant) = (self.profile.slice, self.mutant);
        let writer = &mut self.node(member).writer;
        if writer.committing.is_some() {
            return;
        }
        let bulk_first = mutant == Some(Mutant::BulkFirst) && !writer.bulk.is_empty();
        let (taken, unfinished) = if writer.urgent.is_empty() || bulk_first {
            take_slice(&mut writer.bulk, slice)
        } else {
            (take_all(&mut writer.urgent), None)
        };
        if taken.is_empty() {
            return;
        }
        for job in &mut writer.urgent {
            job.passed_over += 1;
        }
        let longest = writer.urgent.iter().map(|job| job.passed_over).max();
        self.check_urgent_waits(member, longest.unwrap_or(0));
        self.begin(member, taken, unfinished);
    }

    fn begin(
        &mut self,
        member: MemberNumber,
        taken: Vec<(Vec<Write>, Share)>,
        unfinished: Option<Job>,
    ) {
        let (groups, mut shares): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
        let fails = !self.healed && self.random.chance(self.profile.store_failure);
        let store = &self.node(member).store;
        let mut groups = groups.into_iter();
        let (state, results) = if fails {
            let (_, worked_out) = store.prepare(&mut || groups.next());
            (store.durable(), worked_out)
        } else {
            store.prepare(&mut || groups.next())
        };
        let ignored = self.mutant == Some(Mutant::FailedCommitIgnored);
        let results: Vec<Reply> = results
            .into_iter()
            .map(|result| {
                if fails && !ignored {
                    Err(StoreError::Stopped)
                } else {
                    result
                }
            })
            .collect();
        if fails {
            self.coverage.count(Seen::CommitFailed);
            self.say(|| format!("a commit of {member} fails"));
        }
        let mut replies = Vec::new();
        // Results of the present job's pieces in this transaction.
        let mut given: Reply = Ok(Vec::new());
        for (share, result) in shares.drain(..).zip(results) {
            given = given.and_then(|all| merged(all, result));
            if let Share::Last(asker, earlier) = share {
                let gave = std::mem::replace(&mut given, Ok(Vec::new()));
                replies.push((asker, merged(earlier, gave)));
            }
        }
        let goes_on = unfinished.and_then(|mut job| match given {
            Ok(more) => {
                merge(&mut job.result, more);
                Some(job)
            }
            Err(error) => {
                // An error ends the job; its durable pieces stay.
                replies.push((job.asker, Err(error)));
                None
            }
        });
        let replies = self.too_early(member, replies);
        let sync = self.random.between(1, self.profile.sync_ms + 1);
        let writer = &mut self.node(member).writer;
        if let Some(job) = goes_on {
            writer.bulk.push_front(job);
        }
        writer.committing = Some(Committing { state, replies });
        self.after(member, sync, Task::Synced);
    }

    /// Sends the replies that some mutants give before the disk has the transaction; returns the
    /// others.
    fn too_early(
        &mut self,
        member: MemberNumber,
        replies: Vec<(Asker, Reply)>,
    ) -> Vec<(Asker, Reply)> {
        let mutant = self.mutant;
        let early = |asker: &Asker| match asker {
            Asker::Stream(..) => mutant == Some(Mutant::ReceiptBeforeSync),
            Asker::Driver(_, asked) => {
                mutant == Some(Mutant::SendBeforeIntended) && *asked == Asked::Intended
            }
            Asker::Comparison(..) | Asker::Nobody => false,
        };
        let (early, rest): (Vec<_>, Vec<_>) =
            replies.into_iter().partition(|(asker, _)| early(asker));
        for (asker, reply) in early {
            self.after(member, 0, Task::Replied(asker, reply));
        }
        rest
    }

    /// Installs the transaction that is now on disk and sends its replies.
    pub(super) fn synced(&mut self, member: MemberNumber) {
        let Some(Committing { state, replies }) = self.node(member).writer.committing.take() else {
            return;
        };
        let end = self.node(member).store.log_end().unwrap();
        self.install(member, state);
        if self.mutant == Some(Mutant::SourceForgotten) {
            self.damage(member);
        }
        if self.pass(member, Passage::Durable).is_none() {
            return;
        }
        for (asker, reply) in replies {
            let later = self.random.between(0, 3);
            self.after(member, later, Task::Replied(asker, reply));
        }
        if self.node(member).store.log_end().unwrap() > end {
            self.log_grew(member);
        }
        self.after(member, 0, Task::Turn);
    }

    /// Installs a state as that of the disk and checks the changes.
    pub(super) fn install(&mut self, member: MemberNumber, state: State) {
        let before = self.node(member).store.durable();
        self.node(member).store.install(state);
        self.check_state(member, &before);
    }

    pub(super) fn replied(&mut self, member: MemberNumber, asker: Asker, reply: Reply) {
        match asker {
            Asker::Driver(key, asked) => self.driver_replied(member, key, asked, &reply),
            Asker::Stream(link, frame, decider) => {
                self.stream_replied(member, link, &frame, &decider, reply);
            }
            Asker::Comparison(peer, turn) => self.comparison_replied(member, peer, turn, &reply),
            Asker::Nobody => {}
        }
    }
}

/// Role of a piece of a job within a transaction.
enum Share {
    /// The last piece: the asker gets its result together with the earlier results.
    Last(Asker, Vec<Written>),
    /// More pieces follow.
    Part,
}

fn take_all(queue: &mut VecDeque<Job>) -> Vec<(Vec<Write>, Share)> {
    let jobs = queue.drain(..);
    jobs.flat_map(|mut job| {
        let piece = job.pieces.pop_front()?;
        Some((piece, Share::Last(job.asker, job.result)))
    })
    .collect()
}

/// Takes up to `slice` pieces; returns them and the job that is not finished.
fn take_slice(queue: &mut VecDeque<Job>, slice: usize) -> (Vec<(Vec<Write>, Share)>, Option<Job>) {
    let mut taken = Vec::new();
    while taken.len() < slice {
        let Some(mut job) = queue.pop_front() else {
            break;
        };
        while let Some(piece) = job.pieces.pop_front() {
            if job.pieces.is_empty() {
                taken.push((piece, Share::Last(job.asker, job.result)));
                break;
            }
            taken.push((piece, Share::Part));
            if taken.len() == slice {
                return (taken, Some(job));
            }
        }
    }
    (taken, None)
}

/// Returns the results of earlier pieces of a job together with those of the last one.
fn merged(mut earlier: Vec<Written>, last: Reply) -> Reply {
    merge(&mut earlier, last?);
    Ok(earlier)
}

fn merge(all: &mut Vec<Written>, more: Vec<Written>) {
    match (all.first_mut(), more.into_iter().next()) {
        (Some(Written::Answers(answers)), Some(Written::Answers(further))) => {
            answers.extend(further);
        }
        (
            Some(whole @ Written::Answers(_)),
            Some(refused @ (Written::Refused(_) | Written::OutOfSequence(_))),
        ) => {
            *whole = refused;
        }
        (Some(_), _) | (None, None) => {}
        (None, Some(more)) => all.push(more),
    }
}

/// Cuts a bulk job of one long write into pieces.
fn pieces(mut writes: Vec<Write>, piece: usize) -> VecDeque<Vec<Write>> {
    if writes.len() != 1 {
        return VecDeque::from([writes]);
    }
    match writes.remove(0) {
        Write::Publish { records, now } => records
            .chunks(piece)
            .map(|records| {
                vec![Write::Publish {
                    records: records.to_vec(),
                    now,
                }]
            })
            .collect(),
        Write::Intake(intake) => singly(intake.parts(piece), Write::Intake),
        Write::Repair(repair) => singly(repair.parts(piece), Write::Repair),
        whole @ (Write::Intend(_)
        | Write::Settle(_)
        | Write::Register(_)
        | Write::Act(_)
        | Write::ActOutcome(_)
        | Write::Consignments(_)
        | Write::Scores(_)
        | Write::RemoveConsignments(_)
        | Write::Event(_)
        | Write::Fact(_)
        | Write::StartGeneration(_)
        | Write::Quarantine(_)
        | Write::DropBad(_)
        | Write::Meet(_)
        | Write::Backfill(_)
        | Write::CancelBackfills(_)
        | Write::Retry(_)
        | Write::Decide(_)
        | Write::AnswersReady { .. }
        | Write::GiveBack(_)
        | Write::Withdraw { .. }
        | Write::Reconciled(_)
        | Write::Recover { .. }) => VecDeque::from([vec![whole]]),
    }
}

/// Makes a piece of each part.
fn singly<T>(parts: Vec<T>, write: impl Fn(T) -> Write) -> VecDeque<Vec<Write>> {
    let pieces = parts.into_iter().map(|part| vec![write(part)]);
    pieces.collect()
}
