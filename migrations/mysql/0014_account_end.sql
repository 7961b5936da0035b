-- An ended account keeps its row, emptied, so that its name is never given out again. rotations: the statements about
-- former identities, a CBOR list.
ALTER TABLE account ADD COLUMN deleted_ms BIGINT NULL, ADD COLUMN rotations MEDIUMBLOB NULL
