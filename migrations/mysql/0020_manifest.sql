-- A backup's manifest; the version stays when it is deleted.
CREATE TABLE IF NOT EXISTS manifest (
    account BIGINT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    payload MEDIUMBLOB NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
