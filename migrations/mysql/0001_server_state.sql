-- One row: which life of the database this is. There are no foreign keys in this schema: they would take shared locks on
-- parents in an order of their own, and the server orders its locks itself (accounts, conversations by id, devices by id).
CREATE TABLE IF NOT EXISTS server_state (
    id BIGINT NOT NULL PRIMARY KEY,
    incarnation BINARY(16) NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
