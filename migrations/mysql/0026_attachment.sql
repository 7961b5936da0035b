-- The attachments, whose chunks lie outside of the database. A row stays until its chunks are deleted; dropped: 0 or 1.
CREATE TABLE IF NOT EXISTS attachment (
    id BINARY(32) NOT NULL,
    account BIGINT NOT NULL,
    size BIGINT NOT NULL,
    begun_ms BIGINT NOT NULL,
    finished_ms BIGINT NULL,
    dropped BIGINT NOT NULL,
    PRIMARY KEY (id),
    KEY attachment_size (account, size),
    KEY attachment_dropped (dropped, finished_ms)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
