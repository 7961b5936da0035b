-- The segments of the backups; device stored it last. Whoever changes an account's segments locks its account's row first.
CREATE TABLE IF NOT EXISTS segment (
    account BIGINT NOT NULL,
    id BINARY(16) NOT NULL,
    device BINARY(16) NOT NULL,
    size BIGINT NOT NULL,
    stored_ms BIGINT NOT NULL,
    payload MEDIUMBLOB NOT NULL,
    PRIMARY KEY (account, id),
    KEY segment_size (account, size)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
