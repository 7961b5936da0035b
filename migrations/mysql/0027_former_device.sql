-- Devices that are gone and of which entries may wait: whose they were.
CREATE TABLE IF NOT EXISTS former_device (
    id BINARY(16) NOT NULL PRIMARY KEY,
    account BIGINT NOT NULL,
    KEY former_device_account (account)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
