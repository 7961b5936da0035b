-- One-time key packages; the last-resort one stands with its device.
CREATE TABLE IF NOT EXISTS key_package (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    device BINARY(16) NOT NULL,
    payload MEDIUMBLOB NOT NULL,
    KEY key_package_device (device)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
