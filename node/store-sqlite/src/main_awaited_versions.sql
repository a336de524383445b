-- The version of the protocol that a record needs and its peer does not have; 0: it waits for something
-- else.

ALTER TABLE exception ADD COLUMN awaits INTEGER NOT NULL DEFAULT 0;
