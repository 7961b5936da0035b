-- Devices come and go, accounts end, devices let themselves into conversations, and backups are kept.

-- An ended account keeps its row, emptied, so that its name is never given out again.
ALTER TABLE account ADD COLUMN deleted_ms INTEGER;
-- The statements about former identities, a CBOR list.
ALTER TABLE account ADD COLUMN rotations BLOB;

-- Rows of removed devices go, and their ids must not come back: entries refer to them for as long as they stay.
CREATE TABLE new_device (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    public_id          BLOB NOT NULL UNIQUE CHECK (length(public_id) = 16),
    account            INTEGER NOT NULL REFERENCES account,
    authentication_key BLOB NOT NULL CHECK (length(authentication_key) = 32),
    -- The last inbox seq given out: it never falls, whatever is deleted.
    inbox_seq          INTEGER NOT NULL DEFAULT 0,
    created_ms         INTEGER NOT NULL
) STRICT;
INSERT INTO new_device SELECT id, public_id, account, authentication_key, inbox_seq, created_ms FROM device;

-- The creator is named by its public id, since a conversation may outlive it.
CREATE TABLE new_conversation (
    id             INTEGER PRIMARY KEY CHECK (id > 0 AND id < 2147483648),
    public_id      BLOB NOT NULL UNIQUE CHECK (length(public_id) = 16),
    -- The sorted pair of a direct conversation; the same account twice is the notes to oneself.
    pair_low       INTEGER REFERENCES account,
    pair_high      INTEGER REFERENCES account,
    creator        BLOB NOT NULL CHECK (length(creator) = 16),
    -- The seq that its creation was answered with.
    created_seq    INTEGER NOT NULL,
    created_ms     INTEGER NOT NULL,
    head           INTEGER NOT NULL,
    commits        INTEGER NOT NULL,
    last_commit_ms INTEGER,
    UNIQUE (pair_low, pair_high)
) STRICT;
INSERT INTO new_conversation SELECT c.id, c.public_id, c.pair_low, c.pair_high, d.public_id, c.created_seq, c.created_ms,
    c.head, c.commits, c.last_commit_ms FROM conversation c JOIN device d ON d.id = c.creator;
DROP TABLE conversation;
ALTER TABLE new_conversation RENAME TO conversation;
DROP TABLE device;
ALTER TABLE new_device RENAME TO device;
CREATE INDEX device_account ON device (account);

-- The group after the newest commit, sealed by the client that made it. A table of its own: conversations' rows are
-- written with every entry.
CREATE TABLE group_info (
    conversation INTEGER PRIMARY KEY REFERENCES conversation,
    sealed       BLOB NOT NULL
) STRICT;

-- Set where the device let itself in: SHA-256 of that commit, which is at start + 1, and its time.
ALTER TABLE member ADD COLUMN join_digest BLOB;
ALTER TABLE member ADD COLUMN join_ms INTEGER;

-- Either a welcome, or the news that `username` has version `list_version` of its device list, or that the device `asker`
-- of `username` asks to be let into `conversation`.
CREATE TABLE new_inbox (
    device       INTEGER NOT NULL REFERENCES device,
    seq          INTEGER NOT NULL,
    time_ms      INTEGER NOT NULL,
    welcome      INTEGER REFERENCES welcome,
    username     TEXT,
    list_version INTEGER,
    conversation BLOB,
    asker        BLOB,
    PRIMARY KEY (device, seq),
    CHECK ((welcome IS NULL) = (username IS NOT NULL)
       AND (username IS NOT NULL) = ((list_version IS NULL) <> (asker IS NULL))
       AND (conversation IS NULL) = (asker IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO new_inbox SELECT device, seq, time_ms, welcome, username, list_version, NULL, NULL FROM inbox;
DROP TABLE inbox;
ALTER TABLE new_inbox RENAME TO inbox;
CREATE INDEX inbox_welcome ON inbox (welcome) WHERE welcome IS NOT NULL;
CREATE UNIQUE INDEX inbox_asked ON inbox (asker, conversation, device) WHERE asker IS NOT NULL;

-- Those from before have no time and count as too old: their devices fill up again.
ALTER TABLE key_package ADD COLUMN stored_ms INTEGER NOT NULL DEFAULT 0;

-- A backup's manifest; the version stays when it is deleted.
CREATE TABLE manifest (
    account INTEGER PRIMARY KEY REFERENCES account,
    version INTEGER NOT NULL,
    payload BLOB
) STRICT;

-- The segments of the backups. `device` (its public id) stored it last.
CREATE TABLE segment (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    account   INTEGER NOT NULL REFERENCES account,
    public_id BLOB NOT NULL CHECK (length(public_id) = 16),
    device    BLOB NOT NULL,
    size      INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL,
    UNIQUE (account, public_id)
) STRICT;
CREATE INDEX segment_size ON segment (account, size);

-- Payloads apart, so that segments are counted and let go without reading them. Those whose segments are gone are named
-- in dropped_segment, and deleted a few at a time.
CREATE TABLE segment_payload (
    segment INTEGER PRIMARY KEY,
    payload BLOB NOT NULL
) STRICT;
CREATE TABLE dropped_segment (segment INTEGER PRIMARY KEY) STRICT;
