-- kind: 0 application message, 1 commit. size: the payload's length, so that a page is measured without reading it.
CREATE TABLE IF NOT EXISTS entry (
    conversation BINARY(16) NOT NULL,
    seq BIGINT NOT NULL,
    sender BINARY(16) NOT NULL,
    number BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    size BIGINT NOT NULL,
    payload MEDIUMBLOB NOT NULL,
    PRIMARY KEY (conversation, seq),
    KEY entry_time (time_ms)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
