-- The log of each chat's present conversation as this device read it, entry after entry without a gap, up to the newest.
-- `digest` stands for all of the log up to there; while it is not known, `hash` stands for the entry alone.
CREATE TABLE log_digests (
    chat INTEGER NOT NULL REFERENCES chats,
    seq INTEGER NOT NULL,
    hash BLOB,
    digest BLOB,
    PRIMARY KEY (chat, seq)
) STRICT, WITHOUT ROWID;

-- Users to whom the server showed another log than here, and where it was noticed first. `missing` 0: another order.
CREATE TABLE order_doubts (
    chat INTEGER NOT NULL REFERENCES chats,
    era INTEGER NOT NULL,
    username TEXT NOT NULL,
    seq INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    noticed_at INTEGER NOT NULL,
    PRIMARY KEY (chat, era, username)
) STRICT, WITHOUT ROWID;

-- What this device has asked the members of a chat for: entries that it could not read.
CREATE TABLE history_asks (
    chat INTEGER NOT NULL REFERENCES chats,
    era INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    asked_at INTEGER NOT NULL,
    PRIMARY KEY (chat, era, first, last)
) STRICT, WITHOUT ROWID;

-- What other devices have asked for: to be told from `due_at` on if nobody else has done so; `told_at` once it was.
CREATE TABLE history_owed (
    chat INTEGER NOT NULL REFERENCES chats,
    era INTEGER NOT NULL,
    device BLOB NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    told_at INTEGER,
    PRIMARY KEY (chat, era, device, first)
) STRICT, WITHOUT ROWID;

-- Who told what a message says, if this device could not read its entry itself.
ALTER TABLE messages ADD COLUMN told_by TEXT;
