-- The main database, format 1. No body and no selector value stands here in clear.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Every record id that was ever met: what is said about a record outlives the record.
CREATE TABLE known (
    n  INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 32)
) STRICT;

-- Signed statements of originators, each once; `tag` is the first 8 bytes of the signature.
CREATE TABLE statement (
    n         INTEGER PRIMARY KEY,
    tag       INTEGER NOT NULL,
    payload   BLOB NOT NULL,
    key_id    BLOB NOT NULL,
    signature BLOB NOT NULL
) STRICT;
CREATE INDEX statement_by_tag ON statement (tag);

-- What decided: policy ids as a JSON list, the bundle's digest or nothing.
CREATE TABLE decision (
    n        INTEGER PRIMARY KEY,
    policies TEXT NOT NULL,
    bundle   BLOB NOT NULL,
    UNIQUE (policies, bundle)
) STRICT;

-- Records in the form held. `source` is the peer that delivered it first, NULL: made here.
CREATE TABLE record (
    n           INTEGER PRIMARY KEY REFERENCES known,
    received_at INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    form        INTEGER NOT NULL,
    statement   INTEGER NOT NULL REFERENCES statement,
    leaf        INTEGER NOT NULL,
    origin      TEXT NOT NULL,
    source      TEXT,
    blind       BLOB NOT NULL,
    path        BLOB NOT NULL,
    header      BLOB NOT NULL
) STRICT;
CREATE INDEX record_by_time ON record (received_at);
CREATE INDEX record_by_kind ON record (kind, received_at);

-- Sections: slot = record * 64 + index, `key` in keys.db, `channel` the peer it came by.
CREATE TABLE section (
    slot    INTEGER PRIMARY KEY,
    key     INTEGER NOT NULL,
    channel TEXT,
    sealed  BLOB NOT NULL
) STRICT;

-- The blind index of records.
CREATE TABLE record_token (
    token  BLOB NOT NULL,
    record INTEGER NOT NULL REFERENCES known,
    PRIMARY KEY (token, record)
) STRICT, WITHOUT ROWID;

-- The record log: a record stands in it again when sections were added.
CREATE TABLE log (
    lane     TEXT NOT NULL,
    own      INTEGER NOT NULL CHECK (own IN (0, 1)),
    sequence INTEGER NOT NULL,
    record   INTEGER NOT NULL REFERENCES known,
    PRIMARY KEY (lane, own, sequence)
) STRICT, WITHOUT ROWID;

-- Records that are not taken again.
CREATE TABLE tombstone (
    record  INTEGER PRIMARY KEY REFERENCES known,
    outcome TEXT NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

-- What peers delivered and was answered.
CREATE TABLE arrival (
    record   INTEGER NOT NULL REFERENCES known,
    peer     TEXT NOT NULL,
    form     INTEGER NOT NULL,
    outcome  TEXT NOT NULL,
    reason   TEXT,
    decision INTEGER NOT NULL REFERENCES decision,
    at       INTEGER NOT NULL,
    PRIMARY KEY (record, peer, form)
) STRICT, WITHOUT ROWID;

-- Items that wait for a person.
CREATE TABLE held (
    n         INTEGER PRIMARY KEY,
    record    INTEGER NOT NULL REFERENCES known,
    peer      TEXT NOT NULL,
    form      INTEGER NOT NULL,
    rule      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    statement INTEGER NOT NULL REFERENCES statement,
    key       INTEGER NOT NULL,
    sealed    BLOB NOT NULL,
    UNIQUE (record, peer, form)
) STRICT;

-- The receipts of peers, whole: an encoded Receipt.
CREATE TABLE receipt (
    n       INTEGER PRIMARY KEY,
    peer    TEXT NOT NULL,
    lane    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    receipt BLOB NOT NULL
) STRICT;

-- The disclosure ledger: a row for each form; the newest decision has the highest ordinal.
CREATE TABLE disclosure (
    record      INTEGER NOT NULL REFERENCES known,
    peer        TEXT NOT NULL,
    form        INTEGER NOT NULL,
    ordinal     INTEGER NOT NULL,
    withheld    INTEGER NOT NULL,
    state       TEXT NOT NULL,
    reason      TEXT,
    decision    INTEGER NOT NULL REFERENCES decision,
    decided_at  INTEGER NOT NULL,
    answered_at INTEGER,
    receipt     INTEGER REFERENCES receipt,
    PRIMARY KEY (record, peer, form)
) STRICT, WITHOUT ROWID;

-- How far dispatch is.
CREATE TABLE dispatch (
    peer   TEXT NOT NULL,
    lane   TEXT NOT NULL,
    cursor INTEGER NOT NULL,
    PRIMARY KEY (peer, lane)
) STRICT, WITHOUT ROWID;

-- What the cursor passed without a final answer.
CREATE TABLE exception (
    peer         TEXT NOT NULL,
    lane         TEXT NOT NULL,
    record       INTEGER NOT NULL REFERENCES known,
    next_attempt INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    ends_at      INTEGER NOT NULL,
    PRIMARY KEY (peer, lane, record)
) STRICT, WITHOUT ROWID;
CREATE INDEX exception_by_time ON exception (peer, lane, next_attempt);

-- The authority's own consignments.
CREATE TABLE consignment (
    n         INTEGER PRIMARY KEY,
    reference TEXT NOT NULL UNIQUE,
    at        INTEGER NOT NULL,
    arriving  INTEGER NOT NULL CHECK (arriving IN (0, 1)),
    key       INTEGER NOT NULL,
    sealed    BLOB NOT NULL
) STRICT;
CREATE TABLE consignment_token (
    token       BLOB NOT NULL,
    consignment INTEGER NOT NULL REFERENCES consignment,
    PRIMARY KEY (token, consignment)
) STRICT, WITHOUT ROWID;
CREATE INDEX consignment_token_by_consignment ON consignment_token (consignment);

CREATE TABLE score (
    reference TEXT PRIMARY KEY,
    points    REAL NOT NULL,
    at        INTEGER NOT NULL,
    key       INTEGER NOT NULL,
    sealed    BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX score_by_points ON score (points);

CREATE TABLE register (
    epoch    INTEGER PRIMARY KEY,
    register BLOB NOT NULL
) STRICT;

CREATE TABLE person (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    role        TEXT NOT NULL,
    public_key  BLOB NOT NULL,
    enrolled_at INTEGER NOT NULL,
    enrolled_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- `digest` names the statement, so that it is carried out once.
CREATE TABLE act (
    n         INTEGER PRIMARY KEY,
    at        INTEGER NOT NULL,
    action    TEXT NOT NULL,
    person    TEXT NOT NULL,
    uid       INTEGER,
    concerns  TEXT NOT NULL,
    digest    BLOB UNIQUE,
    payload   BLOB,
    key_id    BLOB,
    signature BLOB
) STRICT;

CREATE TABLE event (
    n      INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    peer   TEXT,
    detail TEXT NOT NULL
) STRICT;

-- Keys of what was replaced: destroyed in keys.db with the next commit.
CREATE TABLE retired_key (
    key INTEGER PRIMARY KEY
) STRICT;

-- ---- positions (position.rs) ----

-- This node's own position with each peer, in the present generation.
CREATE TABLE sent_position (
    peer          TEXT NOT NULL,
    lane          TEXT NOT NULL,
    next_sequence INTEGER NOT NULL,
    chain         BLOB NOT NULL CHECK (length(chain) = 32),
    PRIMARY KEY (peer, lane)
) STRICT, WITHOUT ROWID;

-- What each peer claimed last, and the frames answered since: 48 bytes each. `whole` is 0 while
-- this node may have answered frames that it does not know of.
CREATE TABLE witness (
    peer             TEXT NOT NULL,
    lane             TEXT NOT NULL,
    generation       BLOB NOT NULL CHECK (length(generation) = 16),
    settled_sequence INTEGER NOT NULL,
    chain            BLOB NOT NULL CHECK (length(chain) = 32),
    answered         BLOB NOT NULL,
    whole            INTEGER NOT NULL CHECK (whole IN (0, 1)),
    since            INTEGER NOT NULL,
    statement        BLOB NOT NULL,
    PRIMARY KEY (peer, lane)
) STRICT, WITHOUT ROWID;

-- Generations that peers have left.
CREATE TABLE past_generation (
    n          INTEGER PRIMARY KEY AUTOINCREMENT,
    peer       TEXT NOT NULL,
    lane       TEXT NOT NULL,
    generation BLOB NOT NULL,
    UNIQUE (peer, lane, generation)
) STRICT;

-- Evidence of forks: two encoded statements that one peer signed.
CREATE TABLE fork (
    n      INTEGER PRIMARY KEY,
    peer   TEXT NOT NULL,
    lane   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    known  BLOB NOT NULL,
    forked BLOB NOT NULL
) STRICT;
CREATE INDEX fork_by_peer ON fork (peer);
