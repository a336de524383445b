//! The check after every scenario: reads the files that the stopped nodes left behind.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_home::{Home, config::Config, keyring::Keyring};
use portcullis_node::kept;
use portcullis_protocol::{frame::Outcome, record::RecordId};
use portcullis_store::{DisclosureState, RecordFilter, Store as _};
use portcullis_store_sqlite::SqliteStore;

use super::cast::{Cast, Stopped};

/// Counts of records that were handled wrongly; every count but the first should be 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Findings {
    /// Records that the sender acknowledged.
    pub acknowledged: usize,
    /// Acknowledged records that the sender or, once receipted, a receiver does not hold.
    pub lost: usize,
    /// Records that a receiver admitted twice, or that occur twice in a log.
    pub duplicates: usize,
    /// Records that the sender holds and a receiver does not.
    pub missing: usize,
    /// Damage found in a store's files.
    pub damaged: usize,
}

impl Findings {
    /// Returns whether nothing went wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        let Self {
            acknowledged: _,
            lost,
            duplicates,
            missing,
            damaged,
        } = *self;
        lost == 0 && duplicates == 0 && missing == 0 && damaged == 0
    }
}

/// Stops a cast and judges the files that it leaves behind.
pub async fn judge(cast: Cast) -> Findings {
    judge_stopped(cast.stop().await).await
}

/// Judges the files that stopped nodes left behind.
pub async fn judge_stopped(stopped: Stopped) -> Findings {
    tokio::task::spawn_blocking(move || verdict(&stopped))
        .await
        .unwrap()
}

fn verdict(stopped: &Stopped) -> Findings {
    let mut homes = stopped.homes.iter().map(open);
    let sender = homes.next().unwrap();
    let mut verdict = Findings {
        acknowledged: stopped.acknowledged.len(),
        damaged: damage(&sender),
        ..Findings::default()
    };
    let own = held(&sender, &mut verdict);
    let acknowledged: Vec<RecordId> = stopped
        .acknowledged
        .iter()
        .map(|id| id.parse().unwrap())
        .collect();
    verdict.lost += acknowledged.iter().filter(|id| !own.contains(id)).count();
    let receipted: BTreeSet<RecordId> = sender
        .disclosures(None)
        .unwrap()
        .into_iter()
        .filter(
            |row| matches!(row.state, DisclosureState::Answered(outcome) if outcome.is_admitted()),
        )
        .map(|row| row.record)
        .collect();
    for receiver in homes {
        verdict.damaged += damage(&receiver);
        let there = held(&receiver, &mut verdict);
        verdict.lost += receipted.difference(&there).count();
        verdict.missing += own.difference(&there).count();
        verdict.duplicates += admitted_twice(&receiver);
    }
    verdict
}

fn open(home: &Home) -> SqliteStore {
    let config = Config::load(&home.config()).unwrap();
    let keyring = Keyring::load(home, &config.key).unwrap();
    kept::open(home, &keyring).unwrap()
}

fn damage(store: &SqliteStore) -> usize {
    let findings = store.verify_files().unwrap();
    for finding in &findings {
        eprintln!("damage: {finding}");
    }
    findings.len()
}

/// Ids of the records in a store; a record that occurs twice is counted as a duplicate.
fn held(store: &SqliteStore, verdict: &mut Findings) -> BTreeSet<RecordId> {
    let records = store.records(&RecordFilter::default()).unwrap();
    let all: BTreeSet<RecordId> = records.iter().map(|held| held.sealed.id()).collect();
    verdict.duplicates += records.len() - all.len();
    all
}

/// Counts records that were accepted more than once, from one peer or in several forms.
fn admitted_twice(store: &SqliteStore) -> usize {
    let mut accepted: BTreeMap<RecordId, usize> = BTreeMap::new();
    for row in store.arrivals(None).unwrap() {
        if row.answer.outcome == Outcome::Accepted {
            *accepted.entry(row.answer.record).or_default() += 1;
        }
    }
    accepted.values().filter(|times| **times > 1).count()
}
