-- One-time codes that wait to be used, where several servers share this database; times by the database's clock.
CREATE TABLE IF NOT EXISTS code (
    request BINARY(32) NOT NULL,
    hash BINARY(32) NOT NULL,
    until_ms BIGINT NOT NULL,
    again_ms BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    PRIMARY KEY (request),
    KEY code_by_time (until_ms)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
