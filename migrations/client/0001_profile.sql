-- One profile: one device of one account. Ids are blobs of 16 bytes, times are milliseconds since 1970.

CREATE TABLE own (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    username TEXT NOT NULL,
    full_name TEXT,
    server TEXT NOT NULL,
    device BLOB NOT NULL,
    authentication_key BLOB NOT NULL,
    mls_key BLOB NOT NULL,
    credential BLOB NOT NULL,
    identity_key BLOB NOT NULL,
    device_list BLOB NOT NULL,
    incarnation BLOB,
    -- The last message that `receive` acknowledged.
    received INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Pinned at first contact. `changed` holds the fingerprint that the server showed instead.
CREATE TABLE contacts (
    username TEXT PRIMARY KEY,
    identity_key BLOB NOT NULL,
    device_list BLOB NOT NULL,
    full_name TEXT,
    changed BLOB
) STRICT, WITHOUT ROWID;

CREATE TABLE chats (
    chat INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    conversation BLOB UNIQUE,
    -- 0 new, 1 creating, 2 waiting for the welcome, 3 active
    phase INTEGER NOT NULL DEFAULT 0,
    -- The last entry of the log that was handled, and the commits up to it.
    cursor INTEGER NOT NULL DEFAULT 0,
    commits INTEGER NOT NULL DEFAULT 0,
    -- The last send number that was given out.
    number INTEGER NOT NULL DEFAULT 0,
    -- The newest entry of somebody else, and up to where the others were told that it arrived.
    others INTEGER NOT NULL DEFAULT 0,
    receipted INTEGER NOT NULL DEFAULT 0,
    -- Whether the other side was told our name.
    introduced INTEGER NOT NULL DEFAULT 0,
    -- The last message (by position) that was shown.
    read INTEGER NOT NULL DEFAULT 0,
    -- The creation as it was sent, until the server answered.
    creation BLOB
) STRICT;

CREATE TABLE messages (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    chat INTEGER NOT NULL REFERENCES chats,
    id BLOB NOT NULL,
    author TEXT NOT NULL,
    mine INTEGER NOT NULL,
    seq INTEGER,
    -- Where it is shown: its seq; behind everything while it waits; where it failed if it failed.
    place INTEGER NOT NULL,
    sent_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    -- 0 text, 1 of a newer version, 2 unreadable (the text says why)
    kind INTEGER NOT NULL,
    text TEXT NOT NULL,
    -- 0 queued, 1 sent, 2 delivered, 3 failed (`failure` says why), 4 received
    state INTEGER NOT NULL,
    failure TEXT
) STRICT;
CREATE UNIQUE INDEX messages_by_seq ON messages (chat, seq) WHERE seq IS NOT NULL;
CREATE INDEX messages_by_place ON messages (chat, place, position);
CREATE INDEX messages_by_id ON messages (id);
CREATE INDEX messages_of_others ON messages (position) WHERE mine = 0;
CREATE INDEX messages_on_the_way ON messages (chat, seq) WHERE state = 1;

-- What is to be sent, in order. `number`, `commits` and `wire` are set together, before the bytes leave.
CREATE TABLE outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    chat INTEGER NOT NULL REFERENCES chats,
    content BLOB NOT NULL,
    message INTEGER,
    number INTEGER,
    commits INTEGER,
    wire BLOB
) STRICT;
CREATE INDEX outbox_by_chat ON outbox (chat, position);
CREATE UNIQUE INDEX outbox_by_number ON outbox (chat, number) WHERE number IS NOT NULL;
