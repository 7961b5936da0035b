-- A device sees entries beyond start_seq, up to left_at once it was removed; sent is its highest accepted send number.
CREATE TABLE IF NOT EXISTS membership (
    conversation BINARY(16) NOT NULL,
    device BINARY(16) NOT NULL,
    start_seq BIGINT NOT NULL,
    cursor_seq BIGINT NOT NULL,
    sent BIGINT NOT NULL,
    left_at BIGINT NULL,
    PRIMARY KEY (conversation, device),
    KEY membership_device (device, conversation)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
