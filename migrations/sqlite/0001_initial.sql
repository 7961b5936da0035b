-- Rows refer to each other by small integers; the 16-byte ids of the wire stand once each, as public_id.
-- Times are milliseconds since 1970.

PRAGMA application_id = 1466005623; -- "Waxw"

CREATE TABLE server (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    incarnation BLOB NOT NULL CHECK (length(incarnation) = 16)
) STRICT;

CREATE TABLE invite (
    code_hash  BLOB PRIMARY KEY CHECK (length(code_hash) = 32),
    uses_left  INTEGER NOT NULL CHECK (uses_left >= 0),
    expires_ms INTEGER,
    note       TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    id              INTEGER PRIMARY KEY,
    username        TEXT NOT NULL UNIQUE,
    full_name       BLOB,
    email_lookup    BLOB,
    email           BLOB,
    kdf_salt        BLOB NOT NULL,
    kdf_memory_kib  INTEGER NOT NULL,
    kdf_iterations  INTEGER NOT NULL,
    kdf_parallelism INTEGER NOT NULL,
    password_hash   BLOB NOT NULL,
    recovery_hash   BLOB NOT NULL,
    vault           BLOB NOT NULL,
    password_wrap   BLOB NOT NULL,
    recovery_wrap   BLOB NOT NULL,
    identity_key    BLOB NOT NULL,
    backup_key      BLOB NOT NULL,
    device_list     BLOB NOT NULL,
    list_version    INTEGER NOT NULL,
    created_ms      INTEGER NOT NULL
) STRICT;
CREATE INDEX account_email ON account (email_lookup) WHERE email_lookup IS NOT NULL;

CREATE TABLE device (
    id                 INTEGER PRIMARY KEY,
    public_id          BLOB NOT NULL UNIQUE CHECK (length(public_id) = 16),
    account            INTEGER NOT NULL REFERENCES account,
    authentication_key BLOB NOT NULL CHECK (length(authentication_key) = 32),
    -- The last inbox seq given out: it never falls, whatever is deleted.
    inbox_seq          INTEGER NOT NULL DEFAULT 0,
    created_ms         INTEGER NOT NULL
) STRICT;
CREATE INDEX device_account ON device (account);

CREATE TABLE key_package (
    id          INTEGER PRIMARY KEY,
    device      INTEGER NOT NULL REFERENCES device,
    last_resort INTEGER NOT NULL CHECK (last_resort IN (0, 1)),
    payload     BLOB NOT NULL
) STRICT;
CREATE INDEX key_package_device ON key_package (device, last_resort);

CREATE TABLE conversation (
    id             INTEGER PRIMARY KEY CHECK (id > 0 AND id < 2147483648),
    public_id      BLOB NOT NULL UNIQUE CHECK (length(public_id) = 16),
    -- The sorted pair of a direct conversation; the same account twice is the notes to oneself.
    pair_low       INTEGER REFERENCES account,
    pair_high      INTEGER REFERENCES account,
    creator        INTEGER NOT NULL REFERENCES device,
    -- The seq that its creation was answered with.
    created_seq    INTEGER NOT NULL,
    created_ms     INTEGER NOT NULL,
    head           INTEGER NOT NULL,
    commits        INTEGER NOT NULL,
    last_commit_ms INTEGER,
    UNIQUE (pair_low, pair_high)
) STRICT;

-- The accounts that are in a conversation, with or without a device.
CREATE TABLE roster (
    conversation INTEGER NOT NULL REFERENCES conversation,
    account      INTEGER NOT NULL REFERENCES account,
    PRIMARY KEY (conversation, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX roster_account ON roster (account);

-- The devices that are in a conversation. Each sees the entries after `start`.
CREATE TABLE member (
    conversation INTEGER NOT NULL REFERENCES conversation,
    device       INTEGER NOT NULL REFERENCES device,
    start        INTEGER NOT NULL,
    cursor       INTEGER NOT NULL,
    sent         INTEGER NOT NULL,
    -- The seq of the commit that removed the device: the last one that it may still fetch.
    left_at      INTEGER,
    PRIMARY KEY (conversation, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX member_device ON member (device);

-- The logs. One integer, conversation * 2^32 + seq, orders them: a single tree with the payloads in its leaves, which
-- a key of two columns would need either a second tree or WITHOUT ROWID (whose 1-KiB rows spill into overflow pages) for.
CREATE TABLE entry (
    place        INTEGER PRIMARY KEY,
    conversation INTEGER GENERATED ALWAYS AS (place >> 32) VIRTUAL,
    seq          INTEGER GENERATED ALWAYS AS (place & 4294967295) VIRTUAL,
    time_ms      INTEGER NOT NULL,
    is_commit    INTEGER NOT NULL CHECK (is_commit IN (0, 1)),
    sender       INTEGER NOT NULL,
    number       INTEGER NOT NULL,
    payload      BLOB NOT NULL
) STRICT;

-- What each device's last 256 send numbers became; `slot` is the number modulo 256, so a new one replaces the oldest.
CREATE TABLE sent (
    conversation INTEGER NOT NULL,
    device       INTEGER NOT NULL,
    slot         INTEGER NOT NULL,
    number       INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    time_ms      INTEGER NOT NULL,
    PRIMARY KEY (conversation, device, slot)
) STRICT, WITHOUT ROWID;

-- One welcome is for many devices.
CREATE TABLE welcome (
    id           INTEGER PRIMARY KEY,
    conversation BLOB NOT NULL,
    seq          INTEGER NOT NULL,
    commits      INTEGER NOT NULL,
    payload      BLOB NOT NULL
) STRICT;

-- Either a welcome, or the news that `username` has version `list_version` of its device list.
CREATE TABLE inbox (
    device       INTEGER NOT NULL REFERENCES device,
    seq          INTEGER NOT NULL,
    time_ms      INTEGER NOT NULL,
    welcome      INTEGER REFERENCES welcome,
    username     TEXT,
    list_version INTEGER,
    PRIMARY KEY (device, seq),
    CHECK ((welcome IS NULL) = (username IS NOT NULL) AND (username IS NULL) = (list_version IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX inbox_welcome ON inbox (welcome) WHERE welcome IS NOT NULL;
