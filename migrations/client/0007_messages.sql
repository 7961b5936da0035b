-- Replies, and what is done to messages after they were written.

-- The message that one answers, by its author and id.
ALTER TABLE messages ADD COLUMN reply_author TEXT;
ALTER TABLE messages ADD COLUMN reply_id BLOB;
-- Whether `changes` has anything about it.
ALTER TABLE messages ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
-- Whether it speaks to the user by name, or answers the user.
ALTER TABLE messages ADD COLUMN mention INTEGER NOT NULL DEFAULT 0;
-- For how many seconds it is kept once it was sent (if it is mine) or read, and when that is over. Such messages are in no backup.
-- Further values of `kind`: 10 deleted by its author, 11 the chat's timer was set (`text`: seconds, or nothing).
-- A further value of `state`: 5 read by the other.
ALTER TABLE messages ADD COLUMN lifetime INTEGER;
ALTER TABLE messages ADD COLUMN expires_at INTEGER;
CREATE INDEX messages_that_expire ON messages (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX messages_to_run_out ON messages (chat, position) WHERE lifetime IS NOT NULL AND expires_at IS NULL;
CREATE INDEX messages_to_the_user ON messages (chat, position) WHERE mention = 1;
CREATE INDEX messages_to_be_read ON messages (chat, era, seq) WHERE state = 2;

-- What was done to messages, whether they are here (yet) or not: of one kind by one user the last counts.
CREATE TABLE changes (
    chat INTEGER NOT NULL REFERENCES chats,
    -- Which message.
    author TEXT NOT NULL,
    id BLOB NOT NULL,
    -- 1 edited, 2 deleted, 3 reacted to, 4 pinned
    kind INTEGER NOT NULL,
    -- Who has done it.
    by TEXT NOT NULL,
    -- Where in the chat's logs; what waits for the server is behind everything.
    era INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    -- An edit's text while its message is not here; reactions, one a line; 1 if it is pinned, else 0.
    value TEXT NOT NULL,
    PRIMARY KEY (chat, author, id, kind, by)
) STRICT, WITHOUT ROWID;
CREATE INDEX pins ON changes (chat, era, seq) WHERE kind = 4;

-- Whether what waits is as good in the chat's next conversation.
ALTER TABLE outbox ADD COLUMN lasting INTEGER NOT NULL DEFAULT 0;

-- Up to which entry the others were told that the user has read.
ALTER TABLE chats ADD COLUMN read_receipted INTEGER NOT NULL DEFAULT 0;
-- The lifetime of the chat's next messages, in seconds.
ALTER TABLE chats ADD COLUMN timer INTEGER;
-- What the user has begun to write.
ALTER TABLE chats ADD COLUMN draft TEXT;

-- What the user has set, on all devices of the account; of two values the later one counts.
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
