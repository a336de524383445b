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

-- The keys of a pack's sections, 32 bytes each and zero where one was erased, sealed under the
-- pack's key, which is wrapped.
CREATE TABLE pack_key (
    n       INTEGER PRIMARY KEY,
    wrapped BLOB NOT NULL,
    sealed  BLOB NOT NULL
) STRICT;
