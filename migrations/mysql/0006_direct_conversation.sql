-- One per pair of accounts, the lower id first; both the same for the notes to oneself.
CREATE TABLE IF NOT EXISTS direct_conversation (
    low_account BIGINT NOT NULL,
    high_account BIGINT NOT NULL,
    conversation BINARY(16) NOT NULL,
    PRIMARY KEY (low_account, high_account)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
