-- The keys of everything sealed in the main database, format 1, each wrapped with AES-KWP.
-- Committed before the main database: a key without its thing is harmless, a thing without its
-- key cannot come to be. Numbers are never used twice.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE wrapped_key (
    n       INTEGER PRIMARY KEY AUTOINCREMENT,
    wrapped BLOB NOT NULL
) STRICT;
