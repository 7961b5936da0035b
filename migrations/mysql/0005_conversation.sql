-- Whoever changes anything of a conversation (its log, memberships, receipts) locks its row here first.
-- created_seq: 1 if a handshake created it, else 0. tail: the oldest seq that is still there, head + 1 if none is.
CREATE TABLE IF NOT EXISTS conversation (
    id BINARY(16) NOT NULL PRIMARY KEY,
    creator BINARY(16) NOT NULL,
    created_seq BIGINT NOT NULL,
    head BIGINT NOT NULL,
    tail BIGINT NOT NULL,
    commits BIGINT NOT NULL,
    committed_ms BIGINT NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
