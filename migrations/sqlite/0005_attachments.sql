-- The attachments, whose chunks lie outside of the database. A row stays until its chunks are deleted.
CREATE TABLE attachment (
    id BLOB PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account (id),
    size INTEGER NOT NULL,
    begun_ms INTEGER NOT NULL,
    -- Null while chunks are missing.
    finished_ms INTEGER,
    -- Nobody finds it any more.
    dropped INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX attachment_of_account ON attachment (account, size);
CREATE INDEX dropped_attachment ON attachment (id) WHERE dropped;
