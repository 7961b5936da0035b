-- The group after the newest commit, sealed by the client that made it. A table of its own: conversations' rows are
-- written with every entry.
CREATE TABLE IF NOT EXISTS group_info (
    conversation BINARY(16) NOT NULL PRIMARY KEY,
    sealed MEDIUMBLOB NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
