-- Set where the device let itself in: SHA-256 of that commit, which is at start_seq + 1, and its time.
ALTER TABLE membership ADD COLUMN join_digest BINARY(32) NULL, ADD COLUMN join_ms BIGINT NULL
