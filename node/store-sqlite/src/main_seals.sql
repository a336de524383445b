-- Format 12: seals of rows (seals.rs). What seals them is computed when the file is opened.

-- The MAC of each row of a sealed table. `row` is its key: the one value, or all of them encoded.
CREATE TABLE row_seal (
    tbl     INTEGER NOT NULL,
    row     ANY NOT NULL,
    version INTEGER NOT NULL,
    mac     BLOB NOT NULL,
    PRIMARY KEY (tbl, row)
) STRICT, WITHOUT ROWID;

-- Counts and sums of all sealed tables, and the head of the chain, encrypted.
CREATE TABLE seal_root (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    salt   BLOB NOT NULL,
    sealed BLOB NOT NULL
) STRICT;

-- The chain over acts, ledger and receipts: a salt and the leaf, for each row that was written.
CREATE TABLE leaf (
    n      INTEGER PRIMARY KEY,
    tbl    INTEGER NOT NULL,
    row    ANY NOT NULL,
    salted BLOB NOT NULL
) STRICT;
