-- Groups and rooms: conversations of any number of accounts.

-- One row for each of them; a private group has no name here.
CREATE TABLE room (
    conversation INTEGER PRIMARY KEY REFERENCES conversation,
    name         TEXT UNIQUE
) STRICT;

-- The signed wish of `username` to leave `conversation`, by its device `asker`; null if that one asks to be let in.
ALTER TABLE inbox ADD COLUMN wish BLOB;
DROP INDEX inbox_asked;
CREATE UNIQUE INDEX inbox_asked ON inbox (asker, conversation, device) WHERE asker IS NOT NULL AND wish IS NULL;
