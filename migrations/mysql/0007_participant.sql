CREATE TABLE IF NOT EXISTS participant (
    conversation BINARY(16) NOT NULL,
    account BIGINT NOT NULL,
    PRIMARY KEY (conversation, account),
    KEY participant_account (account)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
