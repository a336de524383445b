-- The main database, format 1. No body and no selector value stands here in clear.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

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

-- Records, up to 32 in a pack, in the order in which they came: the record log. A record's place
-- is 32 * n + its slot. `source` is the peer that delivered them, NULL: made here. `ids` are 32
-- bytes each; `directory` (pack.rs) is what is looked up, `body` the headers and sealed sections.
-- A pack that extends brings sections of records that stand in earlier ones.
CREATE TABLE pack (
    n           INTEGER PRIMARY KEY,
    lane        TEXT NOT NULL,
    own         INTEGER NOT NULL CHECK (own IN (0, 1)),
    extends     INTEGER NOT NULL CHECK (extends IN (0, 1)),
    kind        TEXT NOT NULL,
    source      TEXT,
    received_at INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    ids         BLOB NOT NULL,
    directory   BLOB NOT NULL,
    body        BLOB NOT NULL
) STRICT;
CREATE INDEX pack_by_lane ON pack (lane, own);
CREATE INDEX pack_by_kind ON pack (kind) WHERE extends = 0;

-- Where sections were added to a record.
CREATE TABLE extension (
    record INTEGER NOT NULL,
    place  INTEGER NOT NULL,
    PRIMARY KEY (record, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX extension_by_place ON extension (place);

-- Finds records by the first 8 bytes of their ids, and by their selectors' tokens. What came last
-- is not in it yet (index.rs); meta `indexed` says up to which pack all is.
CREATE TABLE id_index (
    id    INTEGER NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (id, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE token_index (
    token INTEGER NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (token, place)
) STRICT, WITHOUT ROWID;

-- Record ids that were met before a record with them was kept, and where it was kept later: what
-- is said about a record does not need the record. In every other table a record is named by its
-- number: `n` here, which is below 0, or else its place.
CREATE TABLE known (
    n     INTEGER PRIMARY KEY,
    id    BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
    place INTEGER
) STRICT;
CREATE INDEX known_by_place ON known (place) WHERE place IS NOT NULL;

-- Records that are not taken again.
CREATE TABLE tombstone (
    record  INTEGER PRIMARY KEY,
    outcome TEXT NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

-- What peers delivered and was answered, unless it was admitted: a pack's directory says that.
CREATE TABLE arrival (
    record   INTEGER NOT NULL,
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
    record    INTEGER NOT NULL,
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

-- The disclosure ledger: a row for what was decided on before one frame (sent.rs), with the places
-- in the log that it covers. `sequence` is the frame's first; NULL: everything was denied. What
-- was answered with something else than `accepted` has a row in `disclosure` as well. Ordinals
-- `n` are those of `disclosure`.
CREATE TABLE sent (
    n           INTEGER PRIMARY KEY,
    peer        TEXT NOT NULL,
    lane        TEXT NOT NULL,
    first       INTEGER NOT NULL,
    last        INTEGER NOT NULL,
    sequence    INTEGER,
    decided_at  INTEGER NOT NULL,
    answered_at INTEGER,
    receipt     INTEGER REFERENCES receipt,
    items       BLOB NOT NULL
) STRICT;
CREATE INDEX sent_by_place ON sent (peer, lane, last, first);
CREATE INDEX sent_unanswered ON sent (peer, lane, sequence) WHERE answered_at IS NULL;

-- The disclosure ledger of single records: a row for each form; the newest decision has the
-- highest ordinal. A row stands before what `sent` says of the same record, peer and form.
CREATE TABLE disclosure (
    peer        TEXT NOT NULL,
    record      INTEGER NOT NULL,
    form        INTEGER NOT NULL,
    ordinal     INTEGER NOT NULL,
    withheld    INTEGER NOT NULL,
    state       TEXT NOT NULL,
    reason      TEXT,
    decision    INTEGER NOT NULL REFERENCES decision,
    decided_at  INTEGER NOT NULL,
    answered_at INTEGER,
    receipt     INTEGER REFERENCES receipt,
    PRIMARY KEY (peer, record, form)
) STRICT, WITHOUT ROWID;
CREATE INDEX disclosure_by_record ON disclosure (record);

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
    record       INTEGER NOT NULL,
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
    token       INTEGER NOT NULL,
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

-- ---- what is not tried again (exceptions.rs), and what waits for a person by peer ----

CREATE INDEX exception_by_end ON exception (peer, lane, ends_at);
CREATE TABLE undelivered (
    peer     TEXT NOT NULL,
    lane     TEXT NOT NULL,
    record   INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    PRIMARY KEY (peer, lane, record)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_by_peer ON held (peer);

-- Freshness, suspensions, blocks and stops: one row for each subject of a kind.
CREATE TABLE trust_fact (
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    content BLOB NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;
