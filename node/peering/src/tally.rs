//! A count per key with a ceiling. A place is given back when its holder is dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Places held per key, each key up to the same ceiling.
#[derive(Debug, Clone)]
pub struct Tally<K: Ord> {
    ceiling: usize,
    // Guards the counts alone. Held for one map operation, and never across an await.
    counts: Arc<Mutex<BTreeMap<K, usize>>>,
}

/// A place taken; dropping it gives it back.
#[derive(Debug)]
pub struct Seat<K: Ord> {
    key: K,
    counts: Arc<Mutex<BTreeMap<K, usize>>>,
}

impl<K: Ord + Clone> Tally<K> {
    /// A tally with so many seats for each key.
    #[must_use]
    pub fn new(ceiling: usize) -> Self {
        Self {
            ceiling,
            counts: Arc::default(),
        }
    }

    /// Takes a place for `key`; nothing if it holds as many as it may.
    pub fn take(&self, key: K) -> Option<Seat<K>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let held = counts.get(&key).copied().unwrap_or(0);
        if held >= self.ceiling {
            return None;
        }
        counts.insert(key.clone(), held.saturating_add(1));
        Some(Seat {
            key,
            counts: self.counts.clone(),
        })
    }
}

impl<K: Ord> Drop for Seat<K> {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = counts.get_mut(&self.key) else {
            return;
        };
        *held = held.saturating_sub(1);
        if *held == 0 {
            counts.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_at_its_ceiling_leaves_the_others_alone() {
        let tally = Tally::new(1);
        let _first = tally.take("a").unwrap();
        assert!(tally.take("a").is_none());
        assert!(tally.take("b").is_some());
    }

    #[test]
    fn a_place_given_back_is_free_and_its_key_forgotten() {
        let tally = Tally::new(2);
        let (first, second) = (tally.take("a").unwrap(), tally.take("a").unwrap());
        drop(first);
        assert!(tally.take("a").is_some());
        drop(second);
        assert!(tally.counts.lock().unwrap().is_empty());
    }
}
