-- Consignments are found by tokens of their own, and by their references sealed (`name`); points of
-- scores are sealed. tokens_apart.rs fills these tables from the former ones. Scores are computed
-- anew. In packs written from here on, headers are sealed as well.

DROP INDEX consignment_token_by_consignment;
DROP TABLE consignment_token;
ALTER TABLE consignment RENAME TO former_consignment;

CREATE TABLE consignment (
    n        INTEGER PRIMARY KEY,
    name     BLOB NOT NULL UNIQUE,
    at       INTEGER NOT NULL,
    arriving INTEGER NOT NULL CHECK (arriving IN (0, 1)),
    key      INTEGER NOT NULL,
    sealed   BLOB NOT NULL
) STRICT;
CREATE TABLE consignment_token (
    token       INTEGER NOT NULL,
    consignment INTEGER NOT NULL REFERENCES consignment,
    PRIMARY KEY (token, consignment)
) STRICT, WITHOUT ROWID;
CREATE INDEX consignment_token_by_consignment ON consignment_token (consignment);

INSERT INTO retired_key (key) SELECT key FROM score;
DROP INDEX score_by_points;
DROP TABLE score;
CREATE TABLE score (
    name   BLOB PRIMARY KEY,
    points BLOB NOT NULL,
    at     INTEGER NOT NULL,
    key    INTEGER NOT NULL,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
