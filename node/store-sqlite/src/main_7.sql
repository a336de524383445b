-- Format 7: a range of older records that a person ended before all of it was looked through.

ALTER TABLE backfill ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;
