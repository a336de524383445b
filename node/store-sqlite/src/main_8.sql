-- Format 8: the refused items of each peer have places, of which the oldest gives way; an act that
-- is logged before it is carried out gets its end.

ALTER TABLE act ADD COLUMN outcome TEXT;

CREATE TABLE refusal (
    peer   TEXT NOT NULL,
    place  INTEGER NOT NULL,
    record INTEGER NOT NULL,
    form   INTEGER NOT NULL,
    PRIMARY KEY (peer, place)
) STRICT, WITHOUT ROWID;

-- The place that a peer's next refused item takes.
CREATE TABLE refusal_turn (
    peer TEXT PRIMARY KEY,
    next INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Few rows are about records that were met and never logged.
CREATE INDEX exception_unlogged ON exception (record) WHERE record < 0;
CREATE INDEX undelivered_unlogged ON undelivered (record) WHERE record < 0;
CREATE INDEX channel_note_unlogged ON channel_note (record) WHERE record < 0;

-- Of the refusals that an earlier format kept, the newest 65,536 of each peer get places.
INSERT INTO refusal (peer, place, record, form)
    SELECT peer, of - newest, record, form
    FROM (SELECT peer, record, form,
              row_number() OVER (PARTITION BY peer ORDER BY at DESC, record) AS newest,
              min(count(*) OVER (PARTITION BY peer), 65536) AS of
          FROM arrival WHERE outcome IN ('refused', 'refused-for-now')
          GROUP BY peer, record, form)
    WHERE newest <= 65536;
INSERT INTO refusal_turn (peer, next)
    SELECT peer, (max(place) + 1) % 65536 FROM refusal GROUP BY peer;
CREATE UNIQUE INDEX refusal_by_record ON refusal (record, peer, form);
DELETE FROM arrival
    WHERE outcome IN ('refused', 'refused-for-now')
    AND NOT EXISTS (SELECT 1 FROM refusal AS r
        WHERE r.record = arrival.record AND r.peer = arrival.peer AND r.form = arrival.form);
DELETE FROM known
    WHERE n < 0 AND place IS NULL
    AND n NOT IN (SELECT record FROM arrival) AND n NOT IN (SELECT record FROM held)
    AND n NOT IN (SELECT record FROM tombstone) AND n NOT IN (SELECT record FROM disclosure)
    AND n NOT IN (SELECT record FROM exception) AND n NOT IN (SELECT record FROM undelivered)
    AND n NOT IN (SELECT record FROM channel_note);
