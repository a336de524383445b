use crate::{NodeEvent, Repair, Written};
use std::sync::{Mutex, mpsc as std_mpsc};

use portcullis_protocol::{record::RecordId, time::Timestamp};

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_617_235_200_000 + millis)
}

/// A store that only notes the writes. It enters each commit when the test permits it.
struct Gated {
    entered: std_mpsc::Sender<()>,
    /// Guards the receiver of the test's permissions, one permission for each commit.
    permits: Mutex<std_mpsc::Receiver<()>>,
    /// Guards the record of the writes: the details of the events of each commit.
    groups: Mutex<Vec<Vec<String>>>,
    failure: Option<StoreError>,
}

impl Sink for Gated {
    fn commit_group(&self, next: &mut dyn FnMut() -> Option<Vec<Write>>) -> Vec<Reply> {
        self.entered.send(()).unwrap();
        self.permits.lock().unwrap().recv().unwrap();
        let mut group = Vec::new();
        let mut replies = Vec::new();
        while let Some(job) = next() {
            group.extend(job.iter().map(detail));
            replies.push(match &self.failure {
                Some(error) => Err(error.clone()),
                None => Ok(job.iter().map(|_| Written::Done).collect()),
            });
        }
        self.groups.lock().unwrap().push(group);
        replies
    }

    fn log_end(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
}

fn detail(write: &Write) -> String {
    match write {
        Write::Event(event) => event.detail.clone(),
        Write::Consignments(rows) => format!("{} consignments", rows.len()),
        Write::Publish { .. } => "alert".to_owned(),
        Write::Repair(repair) => format!(
            "{} owed, {} learned, {} withdrawn",
            repair.owed.len(),
            repair.learned.len(),
            repair.withdrawn.len()
        ),
        Write::Intake(_)
        | Write::Intend(_)
        | Write::Settle(_)
        | Write::Register(_)
        | Write::Fact(_)
        | Write::Act(_)
        | Write::ActOutcome(_)
        | Write::Scores(_)
        | Write::RemoveConsignments(_)
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
        | Write::Recover { .. } => panic!("not used here"),
    }
}

/// The test's side of a gated store and the writer in front of it.
struct Gate {
    store: Arc<Gated>,
    entered: std_mpsc::Receiver<()>,
    permits: std_mpsc::Sender<()>,
    writer: Writer,
    handle: WriterHandle,
}

/// Slices of zero length hold one piece each. The jobs that follow an alert are awaited as long as
/// it takes.
const PATIENT: Pace = Pace {
    slice: Duration::ZERO,
    follow_up: Duration::from_secs(3600),
};

impl Gate {
    fn new(failure: Option<StoreError>, on_disk_failure: OnDiskFailure) -> Self {
        let (entered_sender, entered) = std_mpsc::channel();
        let (permits, permits_receiver) = std_mpsc::channel();
        let store = Arc::new(Gated {
            entered: entered_sender,
            permits: Mutex::new(permits_receiver),
            groups: Mutex::default(),
            failure,
        });
        let (writer, handle) =
            Writer::start_with(Arc::clone(&store), on_disk_failure, PATIENT).unwrap();
        Self {
            store,
            entered,
            permits,
            writer,
            handle,
        }
    }

    fn quiet() -> Self {
        Self::new(None, Box::new(|error| panic!("{error}")))
    }

    /// Queues a job without waiting for it.
    fn queue(&self, priority: Priority, writes: Vec<Write>) -> oneshot::Receiver<Reply> {
        let (reply, answer) = oneshot::channel();
        let job = Job { writes, reply };
        assert!(self.handle.queue(priority).try_send(job).is_ok());
        answer
    }

    /// Waits until the writer stands at the gate.
    fn wait_until_entered(&self) {
        self.entered.recv().unwrap();
    }

    fn let_in(&self, commits: usize) {
        (0..commits).for_each(|_| self.permits.send(()).unwrap());
    }

    fn groups(&self) -> Vec<Vec<String>> {
        self.store.groups.lock().unwrap().clone()
    }
}

fn event(detail: &str) -> Write {
    Write::Event(NodeEvent {
        at: at(0),
        kind: "test".to_owned(),
        peer: None,
        detail: detail.to_owned(),
    })
}

fn consignments(count: usize) -> Write {
    let row = crate::ConsignmentRow {
        reference: "x".to_owned(),
        at: at(0),
        arriving: true,
        body: vec![],
        selectors: vec![],
    };
    Write::Consignments(vec![row; count])
}

#[test]
fn urgent_jobs_get_in_between_the_pieces_of_a_bulk_job() {
    let gate = Gate::quiet();
    let long = gate.queue(Priority::Bulk, vec![consignments(150)]);
    gate.wait_until_entered();
    let later = gate.queue(Priority::Bulk, vec![event("later")]);
    let alert = gate.queue(Priority::Urgent, vec![event("alert")]);
    gate.let_in(7);
    for answer in [long, later, alert] {
        assert_eq!(answer.blocking_recv().unwrap().unwrap(), [Written::Done]);
    }
    // The alert came after the transaction had begun: it joins the transaction and ends it.
    let expected = [
        "alert",
        "32 consignments",
        "32 consignments",
        "32 consignments",
        "32 consignments",
        "22 consignments",
        "later",
    ];
    assert_eq!(
        gate.groups(),
        expected.map(|detail| vec![detail.to_owned()])
    );
}

/// Attack S8: a peer that claims to have lost everything had one transaction read 4,096 packs.
#[test]
fn urgent_jobs_get_in_between_the_pieces_of_a_repair() {
    let gate = Gate::quiet();
    let id = RecordId::of_header(b"a record");
    let repair = Repair {
        peer: "hub-1".parse().unwrap(),
        at: Timestamp::from_millis(1),
        owed: vec![id; 70],
        learned: Vec::new(),
        withdrawn: vec![id; 33],
    };
    let long = gate.queue(Priority::Bulk, vec![Write::Repair(repair)]);
    gate.wait_until_entered();
    let alert = gate.queue(Priority::Urgent, vec![event("alert")]);
    gate.let_in(6);
    for answer in [long, alert] {
        assert_eq!(answer.blocking_recv().unwrap().unwrap(), [Written::Done]);
    }
    let expected = [
        "alert",
        "32 owed, 0 learned, 0 withdrawn",
        "32 owed, 0 learned, 0 withdrawn",
        "6 owed, 0 learned, 0 withdrawn",
        "0 owed, 0 learned, 32 withdrawn",
        "0 owed, 0 learned, 1 withdrawn",
    ];
    assert_eq!(
        gate.groups(),
        expected.map(|detail| vec![detail.to_owned()])
    );
}

#[test]
fn urgent_jobs_that_wait_are_one_transaction() {
    let gate = Gate::quiet();
    let first = gate.queue(Priority::Urgent, vec![event("1")]);
    gate.wait_until_entered();
    let rest = ["2", "3"].map(|detail| gate.queue(Priority::Urgent, vec![event(detail)]));
    gate.let_in(1);
    first.blocking_recv().unwrap().unwrap();
    for answer in rest {
        answer.blocking_recv().unwrap().unwrap();
    }
    assert_eq!(gate.groups(), [["1", "2", "3"]]);
}

#[test]
fn a_job_of_several_writes_is_not_cut() {
    let gate = Gate::quiet();
    let job = gate.queue(Priority::Bulk, vec![consignments(65), event("with it")]);
    gate.let_in(1);
    assert_eq!(
        job.blocking_recv().unwrap().unwrap(),
        [Written::Done, Written::Done]
    );
    assert_eq!(gate.groups(), [["65 consignments", "with it"]]);
}

#[test]
fn a_write_of_nothing_is_answered() {
    let gate = Gate::quiet();
    let nothing = gate.queue(Priority::Bulk, vec![consignments(0)]);
    gate.let_in(1);
    assert_eq!(nothing.blocking_recv().unwrap().unwrap(), [Written::Done]);
    let no_write = gate.queue(Priority::Bulk, vec![]);
    gate.let_in(1);
    assert_eq!(no_write.blocking_recv().unwrap().unwrap(), []);
}

#[test]
fn stopping_takes_what_was_queued_and_nothing_more() {
    let gate = Gate::quiet();
    let jobs = ["1", "2", "3"].map(|detail| gate.queue(Priority::Bulk, vec![event(detail)]));
    gate.wait_until_entered();
    let Gate {
        store,
        permits,
        writer,
        handle,
        entered: _entered,
    } = gate;
    (0..3).for_each(|_| permits.send(()).unwrap());
    writer.stop();
    for job in jobs {
        assert_eq!(job.blocking_recv().unwrap().unwrap(), [Written::Done]);
    }
    assert_eq!(store.groups.lock().unwrap().concat(), ["1", "2", "3"]);
    let late = handle.commit_blocking(Priority::Urgent, vec![event("late")]);
    assert!(matches!(late, Err(StoreError::Stopped)));
}

#[test]
fn a_full_queue_makes_its_senders_wait_and_not_those_of_the_other() {
    let gate = Gate::quiet();
    let _first = gate.queue(Priority::Bulk, vec![event("0")]);
    gate.wait_until_entered();
    let waiting: Vec<_> = (0..QUEUE)
        .map(|_| gate.queue(Priority::Bulk, vec![event("more")]))
        .collect();
    let (reply, _answer) = oneshot::channel();
    let job = Job {
        writes: vec![],
        reply,
    };
    assert!(gate.handle.queue(Priority::Bulk).try_send(job).is_err());
    drop(gate.queue(Priority::Urgent, vec![event("urgent")]));
    gate.let_in(QUEUE + 2);
    for answer in waiting {
        answer.blocking_recv().unwrap().unwrap();
    }
}

#[test]
fn a_transaction_that_publishes_is_kept_open_for_what_follows() {
    let gate = Gate::quiet();
    let mut told = gate.handle.logged(Lane::Urgent);
    told.borrow_and_update();
    let bulk = gate.queue(Priority::Bulk, vec![event("bulk")]);
    gate.wait_until_entered();
    let _followers = [gate.handle.follow(), gate.handle.follow()];
    let alert = Write::Publish {
        records: vec![],
        now: at(0),
    };
    let alert = gate.queue(Priority::Urgent, vec![alert]);
    gate.let_in(2);
    while !told.has_changed().unwrap() {
        std::thread::yield_now();
    }
    let intended = ["one", "other"].map(|peer| gate.queue(Priority::Urgent, vec![event(peer)]));
    for answer in [bulk, alert].into_iter().chain(intended) {
        answer.blocking_recv().unwrap().unwrap();
    }
    let together = ["alert", "one", "other"].map(str::to_owned);
    assert!(gate.groups().contains(&together.to_vec()));
}

#[test]
fn nobody_is_waited_for_who_does_not_follow() {
    let gate = Gate::quiet();
    drop(gate.handle.follow());
    let alert = Write::Publish {
        records: vec![],
        now: at(0),
    };
    let alert = gate.queue(Priority::Urgent, vec![alert]);
    gate.let_in(1);
    // The patience is an hour, so that waiting for a follower would leave this unanswered.
    alert.blocking_recv().unwrap().unwrap();
}

fn database(is_fatal: bool) -> StoreError {
    StoreError::Database {
        file: "store.db",
        source: Arc::new(std::io::Error::other("fsync")),
        is_fatal,
    }
}

fn disk_failure() -> StoreError {
    database(true)
}

#[test]
fn a_failed_fsync_takes_the_abort_path_before_any_answer() {
    let (failed, failure) = std_mpsc::channel();
    let hook = Box::new(move |error: &StoreError| failed.send(error.to_string()).unwrap());
    let gate = Gate::new(Some(disk_failure()), hook);
    let job = gate.queue(Priority::Urgent, vec![event("1")]);
    gate.let_in(1);
    assert!(job.blocking_recv().unwrap().is_err());
    // The hook, which in production ends the process, ran before the job was answered.
    assert!(failure.try_recv().unwrap().contains("store.db"));
}

#[test]
fn a_refused_job_is_no_failure_of_the_disk() {
    let gate = Gate::new(
        Some(StoreError::Replayed),
        Box::new(|error| panic!("{error}")),
    );
    let job = gate.queue(Priority::Urgent, vec![event("1")]);
    gate.let_in(1);
    assert!(matches!(job.blocking_recv(), Ok(Err(StoreError::Replayed))));
    assert!(!database(false).is_fatal());
    assert!(disk_failure().is_fatal());
}

/// A sink whose next commit is told by the test: it succeeds, fails, or panics.
struct Told(Mutex<std_mpsc::Receiver<Option<Result<(), StoreError>>>>);

impl Sink for Told {
    fn commit_group(&self, next: &mut dyn FnMut() -> Option<Vec<Write>>) -> Vec<Reply> {
        let told = self.0.lock().unwrap().recv().unwrap();
        let mut replies = Vec::new();
        while let Some(job) = next() {
            let told = told.clone().expect("a test");
            replies.push(told.map(|()| job.iter().map(|_| Written::Done).collect()));
        }
        replies
    }

    fn log_end(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
}

/// Attack HM2, H4: the handle tells of a writer that cannot write until it can again, and of one
/// whose thread died. An error of the caller is no fault of the writer.
#[test]
fn a_writer_that_cannot_write_or_whose_thread_died_has_a_fault() {
    let (tell, told) = std_mpsc::channel();
    let store = Arc::new(Told(Mutex::new(told)));
    let (writer, handle) = Writer::start_with(store, Box::new(|_| {}), PATIENT).unwrap();
    let commit = |told| {
        tell.send(told).unwrap();
        let event = Write::Event(NodeEvent {
            at: at(0),
            kind: "test".to_owned(),
            peer: None,
            detail: String::new(),
        });
        handle
            .commit_blocking(Priority::Urgent, vec![event])
            .is_ok()
    };
    assert!(commit(Some(Ok(()))) && handle.fault().is_none());
    assert!(!commit(Some(Err(StoreError::Replayed))));
    assert!(handle.fault().is_none());
    let full = StoreError::File {
        path: "store.db".to_owned(),
        source: Arc::new(std::io::Error::other("no space")),
    };
    assert!(!commit(Some(Err(full))));
    assert!(matches!(handle.fault(), Some(WriterFault::Failing(_))));
    assert!(commit(Some(Ok(()))) && handle.fault().is_none());
    assert!(!commit(None), "the thread panics");
    writer.stop();
    assert!(matches!(handle.fault(), Some(WriterFault::Gone)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(handle.gone());
}
