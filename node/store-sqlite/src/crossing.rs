//! The selectors of arriving consignments, as the tokens by which records name them.
//!
//! The indexes of records and of consignments have nothing in common on disk. To tell which records
//! concern a consignment without opening every record, the tokens that the consignments' selectors
//! would have as a record's are kept in memory. They are read once, when they are needed first, and
//! follow each import.
//!
//! A token too many is harmless: its records are opened and found to concern nothing. One too few
//! would lose a match. While they are read nothing is therefore taken away.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use portcullis_store::StoreError;

use super::crypt::Token;

/// The tokens in memory: as many as arriving consignments have identifiers.
#[derive(Default)]
pub(super) struct Crossing {
    /// Guards the tokens; held for the moment of a lookup or a change.
    known: Mutex<Known>,
    /// Held by the one who reads them.
    reading: Mutex<()>,
}

#[derive(Default)]
enum Known {
    /// Nobody has read them yet.
    #[default]
    Unread,
    /// They are being read; these were added since.
    Reading(Vec<Token>),
    /// All of them, each with the number of selectors that have it.
    Read(BTreeMap<Token, u32>),
}

/// Change of the tokens by a transaction.
#[derive(Default)]
pub(super) struct CrossingChange {
    /// Tokens of consignments that were kept.
    pub(super) added: Vec<Token>,
    /// Tokens of consignments that they replaced.
    pub(super) gone: Vec<Token>,
}

impl Crossing {
    /// Reads the tokens unless that was done. `read` begins to look at the store when it is called.
    pub(super) fn learn(
        &self,
        read: impl FnOnce() -> Result<Vec<Token>, StoreError>,
    ) -> Result<(), StoreError> {
        if self.is_read() {
            return Ok(());
        }
        let _one = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_read() {
            return Ok(());
        }
        // What becomes durable from here on is added, whether or not `read` sees it.
        *self.known() = Known::Reading(Vec::new());
        let found = read();
        let mut known = self.known();
        let added = match std::mem::take(&mut *known) {
            Known::Reading(added) => added,
            Known::Unread | Known::Read(_) => Vec::new(),
        };
        let mut all = BTreeMap::new();
        count(&mut all, found?.iter().chain(&added));
        *known = Known::Read(all);
        Ok(())
    }

    /// Follows a change that is durable now.
    pub(super) fn follow(&self, change: &CrossingChange) {
        let CrossingChange { added, gone } = change;
        if added.is_empty() && gone.is_empty() {
            return;
        }
        match &mut *self.known() {
            Known::Unread => {}
            Known::Reading(since) => since.extend(added),
            Known::Read(all) => {
                count(all, added);
                gone.iter().for_each(|token| take(all, *token));
            }
        }
    }

    /// Returns true if a record with this token may concern an arriving consignment.
    pub(super) fn concerns(&self, token: Token) -> bool {
        match &*self.known() {
            Known::Unread | Known::Reading(_) => true,
            Known::Read(all) => all.contains_key(&token),
        }
    }

    fn is_read(&self) -> bool {
        matches!(&*self.known(), Known::Read(_))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count<'a>(all: &mut BTreeMap<Token, u32>, tokens: impl IntoIterator<Item = &'a Token>) {
    for token in tokens {
        let count = all.entry(*token).or_default();
        *count = count.saturating_add(1);
    }
}

/// Takes one of this token away.
fn take(all: &mut BTreeMap<Token, u32>, token: Token) {
    if let std::collections::btree_map::Entry::Occupied(mut of) = all.entry(token) {
        match of.get().checked_sub(1) {
            Some(0) | None => drop(of.remove()),
            Some(left) => *of.get_mut() = left,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(added: &[Token], gone: &[Token]) -> CrossingChange {
        CrossingChange {
            added: added.to_vec(),
            gone: gone.to_vec(),
        }
    }

    #[test]
    fn what_is_added_while_the_tokens_are_read_is_not_lost() {
        let crossing = Crossing::default();
        crossing.follow(&change(&[1], &[]));
        assert!(
            crossing.concerns(7),
            "nothing is left out before all is known"
        );
        crossing
            .learn(|| {
                // The store may be seen before this or after it.
                crossing.follow(&change(&[2], &[3]));
                assert!(crossing.concerns(7));
                Ok(vec![3])
            })
            .unwrap();
        crossing.follow(&change(&[4], &[]));
        let known = [1, 2, 3, 4, 7].map(|token| crossing.concerns(token));
        assert_eq!(known, [false, true, true, true, false]);
    }

    #[test]
    fn a_token_stays_for_as_long_as_one_consignment_has_it() {
        let crossing = Crossing::default();
        crossing.learn(|| Ok(vec![1, 1, 2])).unwrap();
        for (gone, left) in [([1], true), ([1], false), ([1], false)] {
            crossing.follow(&change(&[], &gone));
            assert_eq!(crossing.concerns(1), left);
        }
        assert!(crossing.concerns(2));
    }

    #[test]
    fn a_failure_leaves_the_tokens_to_be_read_again() {
        let crossing = Crossing::default();
        assert!(crossing.learn(|| Err(StoreError::Stopped)).is_err());
        assert!(crossing.concerns(7));
        crossing.learn(|| Ok(Vec::new())).unwrap();
        assert!(!crossing.concerns(7));
    }
}
