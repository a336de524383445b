//! The simulation: many seeds hold every invariant, and every planted fault is noticed.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use portcullis_tests::sim::{Coverage, Mutant, RunResult, lying::LIES, run};

/// Seeds of the ordinary run.
const SEEDS: u64 = 1_000;

/// Reads the number in an environment variable.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("`{name}` is no number: `{text}`")),
    )
}

fn replay(seed: u64) -> String {
    format!("replay it with `make simulate SEED={seed}`")
}

/// Runs seeds on all cores until one fails.
fn run_all(seeds: u64) -> (Coverage, Option<(u64, RunResult)>) {
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut coverage = Coverage::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return (coverage, None);
            }
            let outcome = run(seed, None, false);
            coverage.add(&outcome.coverage);
            if outcome.violation.is_some() {
                next.store(seeds, Ordering::Relaxed);
                return (coverage, Some((seed, outcome)));
            }
        }
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut coverage = Coverage::default();
    let mut failed = None;
    for (seen, failure) in results {
        coverage.add(&seen);
        failed = failed.or(failure);
    }
    (coverage, failed)
}

#[test]
fn a_thousand_seeds_hold_every_invariant() {
    if let Some(seed) = number("PORTCULLIS_SEED") {
        return one_seed(seed);
    }
    let (coverage, failed) = run_all(number("PORTCULLIS_SEEDS").unwrap_or(SEEDS));
    println!("{coverage}");
    if let Some((seed, outcome)) = failed {
        panic!(
            "seed {seed}: {}; {}",
            outcome.violation.unwrap(),
            replay(seed)
        );
    }
    assert!(
        coverage.missing().is_empty(),
        "never seen: {:?}",
        coverage.missing()
    );
}

/// Runs one seed and prints its trace.
fn one_seed(seed: u64) {
    let outcome = run(seed, None, true);
    for line in &outcome.trace {
        println!("{line}");
    }
    println!("{} events", outcome.events);
    assert!(
        outcome.violation.is_none(),
        "seed {seed}: {:?}",
        outcome.violation
    );
}

#[test]
fn what_a_liar_tries_is_in_the_table_of_behaviours() {
    let table = include_str!("../../../docs/validation.md");
    for lie in LIES {
        let row = format!("| {} |", lie.hp);
        assert!(table.contains(&row), "`{}` is no behaviour", lie.hp);
    }
}

#[test]
fn a_seed_runs_the_same_twice() {
    for seed in [3, 14, 15] {
        let (one, other) = (run(seed, None, true), run(seed, None, true));
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert!(one.events > 100, "seed {seed}");
    }
}

/// Seeds within which a planted fault must be detected by the invariant it is made for.
const MUTANT_SEEDS: u64 = 400;

/// Runs seeds until the right invariant detects the fault and returns that seed. Panics if an
/// invariant detects it that must not.
fn catch(mutant: Mutant) -> u64 {
    for seed in 0..MUTANT_SEEDS {
        let Some(violation) = run(seed, Some(mutant), false).violation else {
            continue;
        };
        println!("{mutant}: seed {seed}: {violation}");
        assert!(
            mutant.may_be_noticed_by(violation.invariant),
            "`{mutant}` is made for {:?}, and {:?} notices it in seed {seed} by accident",
            mutant.made_for(),
            violation.invariant
        );
        if violation.invariant == mutant.made_for() {
            return seed;
        }
    }
    panic!(
        "`{mutant}` is not noticed by {:?} in {MUTANT_SEEDS} seeds",
        mutant.made_for()
    );
}

#[test]
fn every_mutant_is_caught_by_the_invariant_that_it_is_made_for() {
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        while let Some(mutant) = Mutant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            catch(*mutant);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}
