-- Groups and rooms. A chat's name says what it is: `#name` is a public room, `+` and 12 hexadecimal digits a private group.
-- `phase` 5: this account is not in it any more; the history stays.

-- What the members call it, and what it is about.
ALTER TABLE chats ADD COLUMN title TEXT;
ALTER TABLE chats ADD COLUMN topic TEXT;

-- Accounts that have said that they leave a group, until a member has committed it.
CREATE TABLE wishes_to_leave (
    chat INTEGER NOT NULL REFERENCES chats,
    username TEXT NOT NULL,
    wish BLOB NOT NULL,
    PRIMARY KEY (chat, username)
) STRICT, WITHOUT ROWID;

-- Identity keys that groups' members have brought along: good for judging what happens in those groups, and no pins.
CREATE TABLE shown_identities (
    username TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    identity_key BLOB NOT NULL,
    PRIMARY KEY (username, fingerprint)
) STRICT, WITHOUT ROWID;

-- Whether this account, which is new, still has to come into the server's default room.
ALTER TABLE own ADD COLUMN default_room_due INTEGER NOT NULL DEFAULT 0;
