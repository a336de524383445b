//! The SQLite store and an independent model of it give the same answers to the same writes.
//!
//! Random sequences of writes go to both, and every question is asked of both in between. The
//! process ends at random times, by a crash or in order. The model was written from the trait's
//! documentation, so a difference is a fault of one of them. The sequence numbers of the log may
//! differ between the stores; entries are compared by their lines.

mod crash;
mod reference;
mod seen;
mod side;
mod step;
mod writing;

use std::{
    collections::BTreeSet,
    panic::catch_unwind,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use portcullis_store::{Store as _, StoreError, Write, Written};
use portcullis_store_sqlite::SqliteStore;
use portcullis_tests::sim::{ModelStore, Mutant, store::State};

use self::{
    crash::{Before, End, copy_killed, copy_torn},
    reference::Reference,
    seen::compare,
    side::{Reply, Side, Sqlite},
    step::Step,
    writing::Writing,
};

/// Number of sequences in the ordinary run.
const SEQUENCES: u64 = 200;
/// Seeds beyond the ordinary run that once showed a fault.
const SHOWED_A_FAULT: [u64; 2] = [839, 908];
/// Groups of writes in a sequence.
const GROUPS: usize = 36;
/// Number of groups after which the stores are compared.
const COMPARED: usize = 6;

fn key() -> [u8; 32] {
    [3; 32]
}

/// Both stores, and the folder with the files of the SQLite store.
struct Pair {
    root: tempfile::TempDir,
    folder: PathBuf,
    lives: u32,
    sqlite: Sqlite,
    model: Reference,
}

impl Pair {
    fn new(mutant: Option<Mutant>) -> Self {
        let root = fast_folder();
        let folder = root.path().join("0");
        std::fs::create_dir(&folder).unwrap();
        let store = SqliteStore::create(&folder, &key()).unwrap();
        let state = State::new(store.generation().unwrap());
        Self {
            model: Reference::new(ModelStore::holding(state, mutant, u32::MAX)),
            sqlite: Sqlite::new(store),
            root,
            folder,
            lives: 0,
        }
    }

    /// Commits the jobs to both and compares the replies; `false` if a job failed.
    #[track_caller]
    fn commit(&mut self, writing: &Writing, jobs: &[Vec<Step>]) -> bool {
        let (stage, now) = (&writing.stage, writing.now);
        let writes = |side: &dyn Side| -> Vec<Vec<Write>> {
            let job = |job: &Vec<Step>| {
                let steps = job.iter();
                steps.map(|step| stage.write(step, side, now)).collect()
            };
            jobs.iter().map(job).collect()
        };
        let ours = writes(&self.sqlite);
        let theirs = writes(&self.model);
        let ours = self.sqlite.commit(ours, now).into_iter().map(named);
        let theirs = self.model.commit(theirs, now).into_iter().map(named);
        let (ours, theirs): (Vec<_>, Vec<_>) = (ours.collect(), theirs.collect());
        assert_eq!(ours, theirs, "{jobs:#?}");
        theirs.iter().all(Result::is_ok)
    }

    fn another_folder(&mut self) -> PathBuf {
        self.lives += 1;
        self.root.path().join(self.lives.to_string())
    }

    /// Continues with the files in this folder.
    fn reopen(&mut self, folder: PathBuf) {
        self.sqlite
            .reopen(|| SqliteStore::open(&folder, &key()).unwrap());
        self.folder = folder;
    }
}

/// Returns a folder in memory where there is one: the disk is not tested here.
fn fast_folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// Replaces an error by its text, and a fault by its kind alone, because the stores word faults
/// differently.
fn named(reply: Reply) -> Result<Vec<Written>, String> {
    reply.map_err(|error| {
        if matches!(error, StoreError::Fault(_)) {
            "fault".to_owned()
        } else {
            error.to_string()
        }
    })
}

/// Kinds of events in a sequence, to find those that never happen.
type Happened = BTreeSet<&'static str>;

/// Events that must happen in some sequence of the ordinary run.
const WANTED: [&str; 14] = [
    "a closed store",
    "a killed process",
    "a lost commit",
    "a failed job",
    "a fork",
    "a held item",
    "an extended record",
    "a withdrawn record",
    "an exception",
    "an undelivered record",
    "a record owed again",
    "a range that ended",
    "an item set apart",
    "another generation",
];

/// Runs one sequence of writes against both stores.
fn compare_run(seed: u64, mutant: Option<Mutant>) -> Happened {
    let mut pair = Pair::new(mutant);
    let mut writing = Writing::new(seed);
    let mut happened = Happened::new();
    let first = pair.model.model.generation().unwrap();
    for group in 0..GROUPS {
        let end = end_of(&mut writing);
        happened.extend(step(&mut pair, &mut writing, end));
        if group % COMPARED == COMPARED - 1 || end.is_some() {
            compare(&pair.sqlite, &pair.model, &writing.stage, writing.now);
            happened.extend(pair.model.happened(first));
        }
    }
    happened
}

fn end_of(writing: &mut Writing) -> Option<End> {
    if !writing.chance(150) {
        return None;
    }
    Some(match writing.below(4) {
        0 => End::Closed,
        1 => End::Killed,
        _ => End::Torn,
    })
}

/// Writes a group, and ends the process after it or within it.
fn step(pair: &mut Pair, writing: &mut Writing, end: Option<End>) -> Happened {
    let mut happened = Happened::new();
    let before = (end == Some(End::Torn)).then(|| {
        let saved = (pair.model.save(), pair.sqlite.lines.clone());
        (Before::of(&pair.folder), saved, writing.remember())
    });
    let jobs = writing.group(&pair.model);
    if !pair.commit(writing, &jobs) {
        // A frame whose ledger rows were not kept is not sent, and therefore never receipted.
        writing.give_up_frames();
        happened.insert("a failed job");
    }
    let Some(end) = end else { return happened };
    writing.give_up_frames();
    let next = pair.another_folder();
    if let Some((files, (model, lines), remembered)) = before {
        let part = writing.below(u64::MAX);
        if copy_torn(&pair.folder, &files, part, &next) {
            pair.model.put_back(model);
            pair.sqlite.lines = lines;
            writing.go_back(remembered);
            happened.insert("a lost commit");
        }
        pair.reopen(next);
    } else if end == End::Closed {
        let folder = pair.folder.clone();
        pair.reopen(folder);
        happened.insert("a closed store");
    } else {
        copy_killed(&pair.folder, &next);
        pair.reopen(next);
        happened.insert("a killed process");
    }
    happened
}

/// Reads the number in an environment variable.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("`{name}` is no number: `{text}`")),
    )
}

/// Runs seeds on all cores; returns the events and the lowest failed seed with which the stores
/// differ.
fn run_all(seeds: u64) -> (Happened, Option<u64>) {
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut happened = Happened::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return (happened, None);
            }
            match catch_unwind(|| compare_run(seed, None)) {
                Ok(more) => happened.extend(more),
                Err(_) => {
                    next.store(seeds, Ordering::Relaxed);
                    return (happened, Some(seed));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut happened = Happened::new();
        let mut first: Option<u64> = None;
        for worker in workers {
            let (more, differs) = worker.join().unwrap();
            happened.extend(more);
            first = first.into_iter().chain(differs).min();
        }
        (happened, first)
    })
}

/// Runs the seed that the environment names, the number of seeds that it names, or those of the
/// ordinary run.
pub(crate) fn compare_stores() {
    if let Some(seed) = number("PORTCULLIS_STORE_SEED") {
        println!("{:#?}", compare_run(seed, None));
        return;
    }
    let seeds = number("PORTCULLIS_STORE_SEEDS").unwrap_or(SEQUENCES);
    let (happened, differs) = run_all(seeds);
    if let Some(seed) = differs {
        panic!("the stores differ with seed {seed}; replay it with `make stores SEED={seed}`");
    }
    for wanted in WANTED {
        assert!(happened.contains(wanted), "there never was {wanted}");
    }
}

#[test]
fn two_hundred_sequences_give_the_same_answers_in_both_stores() {
    compare_stores();
}

#[test]
fn sequences_that_once_showed_a_fault_give_the_same_answers_in_both_stores() {
    for seed in SHOWED_A_FAULT {
        compare_run(seed, None);
    }
}

/// Sequences within which a planted fault must be detected.
const MUTANT_SEQUENCES: u64 = 40;

/// Plants faults in the model and checks that each is detected.
pub(crate) fn plant_faults() {
    for mutant in [
        Mutant::FinalOverwritten,
        Mutant::TemporaryMadeFinal,
        Mutant::DuplicateById,
        Mutant::ExtensionNotLogged,
        Mutant::TombstoneIgnored,
        Mutant::RetryForEver,
    ] {
        let noticed = (0..MUTANT_SEQUENCES)
            .find(|seed| catch_unwind(|| compare_run(*seed, Some(mutant))).is_err());
        assert!(noticed.is_some(), "`{mutant}` is not noticed");
    }
}

#[test]
fn a_fault_planted_in_the_model_is_noticed() {
    plant_faults();
}
