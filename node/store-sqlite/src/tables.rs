//! The tables of the main database, and what keeps the rows of each from being changed unnoticed.
//!
//! A table that is not listed fails a test, so that whoever adds one decides. Columns are all of a
//! table's, except those left out with a reason.

/// Protection of a table's rows against who writes to the disk without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Each row has a seal, and all rows of the table a sealed count and digest.
    Sealed,
    /// As [`Guard::Sealed`]; a leaf of the chain is added for each row that is written.
    Chained,
    /// The content is signed, and whoever reads it verifies it.
    Signed,
    /// The rows are computed from others and can be computed again.
    Derived,
    /// The rows are what seals the others.
    Seals,
}

/// A table of the main database.
#[derive(Debug)]
pub(super) struct Table {
    /// Number of the table in seals. It is never given to another table.
    pub(super) id: u8,
    /// Name of the table.
    pub(super) name: &'static str,
    /// Protection of its rows.
    pub(super) guard: Guard,
    /// Columns of its primary key.
    pub(super) key: &'static [&'static str],
    /// Columns that its seals leave out: content that is bound to its own key.
    pub(super) left_out: &'static [&'static str],
    /// Condition that a row must fulfil to be sealed, with `{row}` before each column.
    pub(super) only: &'static str,
    /// Format since which its rows are sealed: [`SEALS`] or a later one.
    pub(super) since: u32,
}

impl Table {
    /// Returns true if its rows are sealed.
    pub(super) const fn is_sealed(&self) -> bool {
        matches!(self.guard, Guard::Sealed | Guard::Chained)
    }
}

const ALL_ROWS: &str = "1";

/// The format in which seals came.
pub(super) const SEALS: u32 = 12;

const fn sealed(id: u8, name: &'static str, key: &'static [&'static str]) -> Table {
    Table {
        id,
        name,
        guard: Guard::Sealed,
        key,
        left_out: &[],
        only: ALL_ROWS,
        since: SEALS,
    }
}

const fn chained(id: u8, name: &'static str, key: &'static [&'static str]) -> Table {
    Table {
        guard: Guard::Chained,
        ..sealed(id, name, key)
    }
}

const fn other(name: &'static str, guard: Guard) -> Table {
    Table {
        guard,
        ..sealed(0, name, &[])
    }
}

/// Number of the table of packs in seals.
pub(super) const PACK: u8 = 2;

/// Every table of the main database.
pub(super) const TABLES: &[Table] = &[
    Table {
        // The mark of a restore is written without the key; how far the index is, is derived.
        only: "{row}.name NOT IN ('restored', 'indexed')",
        ..sealed(1, "meta", &["name"])
    },
    Table {
        // The keys of a pack are bound to its ids, and those of its sections to its body.
        left_out: &["ids", "body"],
        ..sealed(PACK, "pack", &["n"])
    },
    sealed(3, "decision", &["n"]),
    sealed(4, "extension", &["record", "place"]),
    sealed(5, "known", &["n"]),
    sealed(6, "tombstone", &["record"]),
    sealed(7, "arrival", &["record", "peer", "form"]),
    Table {
        left_out: &["sealed"],
        ..sealed(8, "held", &["n"])
    },
    chained(9, "receipt", &["n"]),
    chained(10, "sent", &["n"]),
    chained(11, "disclosure", &["peer", "record", "form"]),
    sealed(12, "dispatch", &["peer", "lane"]),
    sealed(13, "exception", &["peer", "lane", "record"]),
    sealed(14, "undelivered", &["peer", "lane", "record"]),
    Table {
        left_out: &["sealed"],
        ..sealed(15, "consignment", &["n"])
    },
    sealed(16, "person", &["id"]),
    chained(17, "act", &["n"]),
    sealed(18, "event", &["n"]),
    sealed(19, "retired_key", &["key"]),
    sealed(20, "sent_position", &["peer", "lane"]),
    sealed(21, "witness", &["peer", "lane"]),
    sealed(22, "past_generation", &["n"]),
    sealed(23, "fork", &["n"]),
    sealed(24, "trust_fact", &["kind", "subject"]),
    sealed(25, "backfill", &["n"]),
    sealed(26, "channel_note", &["peer", "record"]),
    sealed(27, "reconciled", &["peer"]),
    sealed(28, "erasure", &["place"]),
    Table {
        left_out: &["sealed"],
        ..sealed(29, "bad_item", &["n"])
    },
    sealed(30, "refusal", &["peer", "place"]),
    sealed(31, "refusal_turn", &["peer"]),
    // Signed as well; a missing epoch would bring back a member that has left.
    sealed(32, "register", &["epoch"]),
    Table {
        left_out: &["sealed"],
        since: 13,
        ..sealed(33, "score", &["name"])
    },
    // Statements of originators and of the governance: verified when they are read.
    other("statement", Guard::Signed),
    // From the directories of the packs.
    other("id_index", Guard::Derived),
    other("token_index", Guard::Derived),
    // From the sealed consignments.
    other("consignment_token", Guard::Derived),
    other("row_seal", Guard::Seals),
    other("seal_root", Guard::Seals),
    other("leaf", Guard::Seals),
];

/// Returns the tables whose rows are sealed.
pub(super) fn sealed_tables() -> impl Iterator<Item = &'static Table> {
    TABLES.iter().filter(|table| table.is_sealed())
}
