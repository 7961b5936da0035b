-- Which entries of each log this device has read, itself or from a backup: everything between `first` and `last`.
CREATE TABLE coverage (
    chat INTEGER NOT NULL REFERENCES chats,
    era INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (chat, era, first)
) STRICT, WITHOUT ROWID;

-- How this profile's backup stands.
CREATE TABLE backup (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    enabled INTEGER NOT NULL DEFAULT 1,
    -- The newest manifest that was seen, and the server's database that showed it.
    version INTEGER NOT NULL DEFAULT 0,
    hash BLOB,
    incarnation BLOB,
    generation INTEGER,
    -- When everything was in it last, and when what is missing was first missed.
    stored_at INTEGER,
    waiting_since INTEGER,
    used INTEGER NOT NULL DEFAULT 0,
    quota INTEGER NOT NULL DEFAULT 0,
    -- SHA-256 of the account's state as it is stored.
    state_digest BLOB,
    -- The device list and identity before the present ones, until a manifest is known that a device of today has signed.
    former_list BLOB,
    former_identity BLOB,
    -- How many messages the restoring began with.
    restoring INTEGER NOT NULL DEFAULT 0,
    -- Why the last try failed, in words for users; and whether only its user can go on.
    error TEXT,
    blocked INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO backup (id) VALUES (1);

CREATE TRIGGER own_list_changed AFTER UPDATE OF device_list ON own WHEN old.device_list IS NOT new.device_list BEGIN
    UPDATE backup SET former_list = old.device_list, former_identity = old.identity_key;
END;

-- Generation keys, with the wrapped seeds by which the account's next devices find them.
CREATE TABLE backup_keys (
    generation INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    wrapped BLOB
) STRICT;

-- What the newest manifest names. `restored`: 0 to be fetched, 1 its messages are here, 2 refused.
CREATE TABLE backup_segments (
    id BLOB PRIMARY KEY,
    generation INTEGER NOT NULL,
    name TEXT NOT NULL,
    conversation BLOB NOT NULL,
    era INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    newest INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    restored INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX backup_segments_by_log ON backup_segments (conversation, first);

CREATE TABLE backup_state (
    id BLOB PRIMARY KEY,
    generation INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    restored INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Uploaded, but not in a manifest yet.
CREATE TABLE backup_uploads (
    id BLOB PRIMARY KEY,
    generation INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    -- SHA-256 of what is in it.
    digest BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Messages that were changed or deleted since they were stored.
CREATE TABLE backup_changes (
    chat INTEGER NOT NULL,
    era INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (chat, era, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER message_deleted AFTER DELETE ON messages WHEN old.seq IS NOT NULL AND old.kind IN (0, 1) BEGIN
    INSERT OR IGNORE INTO backup_changes VALUES (old.chat, old.era, old.seq);
END;
CREATE TRIGGER message_changed AFTER UPDATE OF text, kind ON messages WHEN old.seq IS NOT NULL AND old.kind IN (0, 1) BEGIN
    INSERT OR IGNORE INTO backup_changes VALUES (old.chat, old.era, old.seq);
END;
