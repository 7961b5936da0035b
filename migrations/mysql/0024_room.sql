-- One row for each group or room; a private group has no name here.
CREATE TABLE IF NOT EXISTS room (
    conversation BINARY(16) NOT NULL PRIMARY KEY,
    name VARCHAR(32) NULL,
    UNIQUE KEY room_name (name)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
