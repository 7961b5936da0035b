-- Entries lie in the order of their arrival, and an index finds them by their place in a log. A tree that is ordered by
-- place grows in as many spots as there are busy conversations: each new row opens a page of its own there, and now and then
-- its neighbours, which all have to be written. At its end rows of all conversations share pages.
CREATE TABLE entry_in_order (
    id           INTEGER PRIMARY KEY,
    -- conversation * 2^32 + seq
    place        INTEGER NOT NULL UNIQUE,
    conversation INTEGER GENERATED ALWAYS AS (place >> 32) VIRTUAL,
    seq          INTEGER GENERATED ALWAYS AS (place & 4294967295) VIRTUAL,
    time_ms      INTEGER NOT NULL,
    is_commit    INTEGER NOT NULL CHECK (is_commit IN (0, 1)),
    sender       INTEGER NOT NULL,
    number       INTEGER NOT NULL,
    payload      BLOB NOT NULL
) STRICT;
INSERT INTO entry_in_order (place, time_ms, is_commit, sender, number, payload)
    SELECT place, time_ms, is_commit, sender, number, payload FROM entry ORDER BY place;
DROP TABLE entry;
ALTER TABLE entry_in_order RENAME TO entry;
