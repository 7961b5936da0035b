-- A welcome once, however many inboxes refer to it.
CREATE TABLE IF NOT EXISTS welcome (
    conversation BINARY(16) NOT NULL,
    seq BIGINT NOT NULL,
    commits BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    payload MEDIUMBLOB NOT NULL,
    PRIMARY KEY (conversation, seq),
    KEY welcome_time (time_ms)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
