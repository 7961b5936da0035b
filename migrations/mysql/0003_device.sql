-- inbox_seq is the last number given out in the device's inbox; it never falls, whatever is deleted there.
CREATE TABLE IF NOT EXISTS device (
    id BINARY(16) NOT NULL PRIMARY KEY,
    account BIGINT NOT NULL,
    authentication_key BINARY(32) NOT NULL,
    last_resort MEDIUMBLOB NULL,
    inbox_seq BIGINT NOT NULL,
    enrolled_ms BIGINT NOT NULL,
    KEY device_account (account)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
