-- Format 4: reconciliation (channel.rs).

-- What comparing the channels with a peer brought to light of a record: `owed`, the peer lost it and
-- it is sent again; `gone`, the peer lost it for good; `withdrawn`, the peer says that it withdrew
-- it.
CREATE TABLE channel_note (
    peer   TEXT NOT NULL,
    record INTEGER NOT NULL,
    what   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (peer, record)
) STRICT, WITHOUT ROWID;
CREATE INDEX channel_note_by_what ON channel_note (peer, what);

-- When the channel to each peer was compared last, in which generations, and what that repaired.
CREATE TABLE reconciled (
    peer      TEXT PRIMARY KEY,
    own       BLOB NOT NULL CHECK (length(own) = 16),
    theirs    BLOB NOT NULL CHECK (length(theirs) = 16),
    at        INTEGER NOT NULL,
    owed      INTEGER NOT NULL,
    learned   INTEGER NOT NULL,
    withdrawn INTEGER NOT NULL,
    recovered INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Places in the log whose keys are destroyed with the next commit: their records were withdrawn.
CREATE TABLE erasure (
    place INTEGER PRIMARY KEY
) STRICT;
