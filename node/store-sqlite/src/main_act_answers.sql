-- What an act was answered, kept with the act: whoever sends the same act again is answered the same.
-- Ids, counts and names of nodes, in JSON.

ALTER TABLE act ADD COLUMN answer BLOB;
