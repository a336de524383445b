//! Summary of a set of records in 40 bytes: the count of its records and the sum of their ids.
//!
//! Ids are SHA-256 digests. Two sets with the same count and sum are therefore the same set, unless
//! someone searched for a collision, which nobody does here. The sum is updated while records are
//! published, so it costs the sender no memory per record.

use portcullis_protocol::record::RecordId;
use serde::{Deserialize, Serialize};

use portcullis_store::{Store, StoreError};

/// Hex digits of the prefixes by which a store's ids are listed: 4,096 lists.
const PREFIX: usize = 3;

/// A set of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// Number of records.
    pub count: u64,
    sum: [u64; 4],
}

impl Census {
    /// Counts a record.
    pub fn add(&mut self, id: &RecordId) {
        self.count = self.count.wrapping_add(1);
        let (words, _) = id.as_bytes().as_chunks::<8>();
        for (sum, word) in self.sum.iter_mut().zip(words) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
        }
    }

    /// Adds the records of another census.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.wrapping_add(other.count);
        for (sum, more) in self.sum.iter_mut().zip(other.sum) {
            *sum = sum.wrapping_add(more);
        }
    }

    /// Returns the census of the records that a store holds, each id once.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    pub fn of_store(store: &dyn Store) -> Result<Self, StoreError> {
        let mut census = Self::default();
        for number in 0..16_u32.pow(3) {
            let prefix = format!("{number:0PREFIX$x}");
            for id in store.ids_with_prefix(&prefix, u32::MAX)? {
                census.add(&id);
            }
        }
        Ok(census)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(header: &[u8]) -> RecordId {
        RecordId::of_header(header)
    }

    fn census(headers: &[&[u8]]) -> Census {
        let mut census = Census::default();
        headers.iter().for_each(|header| census.add(&id(header)));
        census
    }

    #[test]
    fn the_order_does_not_matter_and_one_other_record_does() {
        assert_eq!(census(&[b"a", b"b", b"c"]), census(&[b"c", b"a", b"b"]));
        assert_ne!(census(&[b"a", b"b", b"c"]), census(&[b"a", b"b", b"d"]));
        assert_ne!(census(&[b"a", b"b"]), census(&[b"a", b"b", b"b"]));
        let mut merged = census(&[b"a"]);
        merged.merge(&census(&[b"b"]));
        assert_eq!(merged, census(&[b"a", b"b"]));
    }
}
