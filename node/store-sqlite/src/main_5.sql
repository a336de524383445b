-- Format 5: items that failed verification, sealed and set apart (quarantine.rs): nothing else in
-- the store refers to them.

CREATE TABLE bad_item (
    n      INTEGER PRIMARY KEY AUTOINCREMENT,
    peer   TEXT NOT NULL,
    id     BLOB NOT NULL CHECK (length(id) = 32),
    rule   TEXT NOT NULL,
    detail TEXT NOT NULL,
    at     INTEGER NOT NULL,
    bytes  INTEGER NOT NULL,
    key    INTEGER NOT NULL,
    sealed BLOB NOT NULL
) STRICT;
CREATE INDEX bad_item_by_peer ON bad_item (peer, n);
