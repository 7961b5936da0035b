-- Devices come and go, and a chat may pass through several conversations.

-- `phase` 4: our join may be at the server; its answer is not here. `creation` holds it then, as it was sent.
-- Counts the conversations that the chat has gone through; `cursor` and all else here is the present one's.
ALTER TABLE chats ADD COLUMN era INTEGER NOT NULL DEFAULT 0;
-- What a device of ours lets itself in by; kept when the group is gone.
ALTER TABLE chats ADD COLUMN join_key BLOB;
-- Whether the group has to be compared with the device lists.
ALTER TABLE chats ADD COLUMN unsettled INTEGER NOT NULL DEFAULT 1;
-- Whether entries before the cursor expired, and nothing was read since: commits may be among them.
ALTER TABLE chats ADD COLUMN gap INTEGER NOT NULL DEFAULT 0;
-- When this device's keys in the group are due to be replaced.
ALTER TABLE chats ADD COLUMN update_at INTEGER NOT NULL DEFAULT 0;

-- The conversations that a chat has left behind, each frozen at its last entry that was handled.
CREATE TABLE former_conversations (
    chat INTEGER NOT NULL REFERENCES chats,
    era INTEGER NOT NULL,
    conversation BLOB NOT NULL,
    cursor INTEGER NOT NULL,
    PRIMARY KEY (chat, era)
) STRICT, WITHOUT ROWID;

-- A commit of ours as it leaves, until the log says what became of it. It has a number among the chat's sends.
CREATE TABLE commits (
    chat INTEGER PRIMARY KEY REFERENCES chats,
    number INTEGER NOT NULL,
    request BLOB NOT NULL
) STRICT;

-- Devices that cannot read a chat and asked to be added again.
CREATE TABLE asked_to_join (
    chat INTEGER NOT NULL REFERENCES chats,
    username TEXT NOT NULL,
    device BLOB NOT NULL,
    PRIMARY KEY (chat, username, device)
) STRICT, WITHOUT ROWID;

-- The statements (CBOR) by which an account's former identities vouched for the present one; those who read commits need them.
CREATE TABLE rotations (
    username TEXT PRIMARY KEY,
    statements BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- A message's seq is its conversation's.
ALTER TABLE messages ADD COLUMN era INTEGER NOT NULL DEFAULT 0;
DROP INDEX messages_by_seq;
DROP INDEX messages_by_place;
DROP INDEX messages_on_the_way;
CREATE UNIQUE INDEX messages_by_seq ON messages (chat, era, seq) WHERE seq IS NOT NULL;
CREATE INDEX messages_by_place ON messages (chat, era, place, position);
CREATE INDEX messages_on_the_way ON messages (chat, era, seq) WHERE state = 1;
