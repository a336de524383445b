-- Format 3: older records that a peer is owed once they are permitted (backfill.rs). `log` is the
-- lane of the record log that is looked through; `next` and `last` are places in it.

CREATE TABLE backfill (
    n          INTEGER PRIMARY KEY,
    peer       TEXT NOT NULL,
    log        TEXT NOT NULL,
    since      INTEGER NOT NULL,
    until      INTEGER NOT NULL,
    next       INTEGER NOT NULL,
    last       INTEGER NOT NULL,
    looked_at  INTEGER NOT NULL DEFAULT 0,
    sent       INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT;
CREATE INDEX backfill_by_peer ON backfill (peer, ended_at);
