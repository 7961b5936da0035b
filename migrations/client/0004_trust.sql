-- What all devices of the account share; seals the names of devices. None until this profile has met the vault again.
ALTER TABLE own ADD COLUMN account_key BLOB;

-- The identity that the user has verified (its fingerprint), and what the server showed instead of the pinned one.
ALTER TABLE contacts ADD COLUMN verified BLOB;
ALTER TABLE contacts ADD COLUMN changed_key BLOB;
ALTER TABLE contacts ADD COLUMN changed_list BLOB;

-- Identities that vouched for the ones that took their place, one's own too: leaves may still be certified by them.
CREATE TABLE former_identities (
    username TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    identity_key BLOB NOT NULL,
    PRIMARY KEY (username, fingerprint)
) STRICT, WITHOUT ROWID;
