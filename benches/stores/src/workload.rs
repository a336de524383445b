//! The data written: records that do not compress, and index keys in random order.

/// Bytes of one record.
pub(crate) const RECORD: usize = 600;
/// Records of one durable commit.
pub(crate) const PER_COMMIT: u64 = 1024;

/// The way in which the records of a commit become rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One row holds the records of one commit.
    Batch,
    /// As `Batch`, with two rows for each record in tables keyed by 32 random bytes.
    BatchIndexed,
    /// One row for each record, in order.
    Row,
    /// As `Row`, with two rows for each record in tables keyed by 32 random bytes.
    RowIndexed,
}

impl Shape {
    pub(crate) const ALL: [Self; 4] =
        [Self::Batch, Self::BatchIndexed, Self::Row, Self::RowIndexed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::BatchIndexed => "batch+2",
            Self::Row => "row",
            Self::RowIndexed => "row+2",
        }
    }

    fn one_row_a_record(self) -> bool {
        matches!(self, Self::Row | Self::RowIndexed)
    }

    fn indexed(self) -> bool {
        matches!(self, Self::BatchIndexed | Self::RowIndexed)
    }
}

/// A key of an index.
pub(crate) type Key = [u8; 32];

/// Content of one durable commit.
pub(crate) struct Commit {
    /// Rows of the log, by position.
    pub(crate) log: Vec<(u64, Vec<u8>)>,
    /// Entries of the two indexes, each sorted by key: the record's position under its key.
    pub(crate) indexes: [Vec<(Key, u64)>; 2],
}

/// Makes the `number`th commit; the same number gives the same commit.
///
/// The seed is mixed first: with neighbouring seeds the generator would give one sequence, shifted.
pub(crate) fn commit(shape: Shape, number: u64) -> Commit {
    let mut random = Random(Random(number).next());
    let first = number.saturating_mul(PER_COMMIT);
    let log = if shape.one_row_a_record() {
        (0..PER_COMMIT)
            .map(|offset| (first.saturating_add(offset), random.bytes(RECORD)))
            .collect()
    } else {
        vec![(
            first,
            (0..PER_COMMIT).flat_map(|_| random.bytes(RECORD)).collect(),
        )]
    };
    let mut index = || {
        let mut entries: Vec<(Key, u64)> = Vec::new();
        if shape.indexed() {
            entries
                .extend((0..PER_COMMIT).map(|offset| (random.key(), first.saturating_add(offset))));
            entries.sort_unstable();
        }
        entries
    };
    Commit {
        indexes: [index(), index()],
        log,
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): enough to defeat compression, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length.div_ceil(8))
            .flat_map(|_| self.next().to_le_bytes())
            .take(length)
            .collect()
    }

    fn key(&mut self) -> Key {
        let mut key = [0; 32];
        for part in key.chunks_exact_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes());
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_index_key_occurs_twice() {
        let commits: Vec<Commit> = (0..8)
            .map(|number| commit(Shape::BatchIndexed, number))
            .collect();
        let keys: Vec<Key> = commits
            .iter()
            .flat_map(|commit| commit.indexes.iter().flatten().map(|(key, _)| *key))
            .collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    }

    #[test]
    fn both_shapes_write_the_same_number_of_bytes() {
        for shape in Shape::ALL {
            let bytes: usize = commit(shape, 1).log.iter().map(|(_, row)| row.len()).sum();
            assert_eq!(bytes, 1024 * 600);
        }
    }

    /// First outputs of the reference implementation for seed 1234567 (Vigna, `splitmix64.c`).
    #[test]
    fn the_generator_is_splitmix64() {
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }
}
