-- Format 2: when what waits for a person waits no longer. What waits already waits six days.

ALTER TABLE held ADD COLUMN ends_at INTEGER NOT NULL DEFAULT 0;
UPDATE held SET ends_at = at + 518400000;
CREATE INDEX held_by_end ON held (ends_at);
