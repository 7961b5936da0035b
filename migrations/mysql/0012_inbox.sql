-- kind: 0 welcome (conversation and welcome_seq name it), 1 a new device list (username and list_version).
CREATE TABLE IF NOT EXISTS inbox (
    device BINARY(16) NOT NULL,
    seq BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    conversation BINARY(16) NULL,
    welcome_seq BIGINT NULL,
    username VARCHAR(32) NULL,
    list_version BIGINT NULL,
    time_ms BIGINT NOT NULL,
    size BIGINT NOT NULL,
    PRIMARY KEY (device, seq),
    KEY inbox_welcome (conversation, welcome_seq),
    KEY inbox_time (time_ms)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
