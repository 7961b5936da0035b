-- What a device was told about its last sends: a ring, slot = number modulo 256, so that it never grows.
CREATE TABLE IF NOT EXISTS receipt (
    conversation BINARY(16) NOT NULL,
    device BINARY(16) NOT NULL,
    slot BIGINT NOT NULL,
    number BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    PRIMARY KEY (conversation, device, slot)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
