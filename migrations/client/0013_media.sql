-- What files look like, how long they last, and that they are found by their names.

-- By their senders' word: pixels, milliseconds, a small JPEG.
ALTER TABLE files ADD COLUMN width INTEGER;
ALTER TABLE files ADD COLUMN height INTEGER;
ALTER TABLE files ADD COLUMN duration_ms INTEGER;
ALTER TABLE files ADD COLUMN thumbnail BLOB;

-- A file's name, by which its message is found as by its caption.
ALTER TABLE messages ADD COLUMN title TEXT;
ALTER TABLE messages ADD COLUMN searched TEXT AS
    (CASE WHEN title IS NULL THEN text WHEN text = '' THEN title ELSE text || char(10) || title END) VIRTUAL;

DROP TRIGGER message_indexed;
DROP TRIGGER message_unindexed;
DROP TRIGGER message_reindexed;
DROP VIEW searchable;
UPDATE messages SET title = (SELECT name FROM files f WHERE f.chat = messages.chat AND f.author = messages.author AND f.id = messages.id)
    WHERE kind = 40;

CREATE VIEW searchable AS
    SELECT position, searched AS text, 'c' || chat AS chat, 'a' || hex(author) AS author,
           'm' || strftime('%Y%m', min(sent_at, received_at) / 1000, 'unixepoch') AS month
    FROM messages WHERE kind IN (0, 40);
INSERT INTO words (rowid, text, chat, author, month)
    SELECT position, searched, 'c' || chat, 'a' || hex(author),
           'm' || strftime('%Y%m', min(sent_at, received_at) / 1000, 'unixepoch')
    FROM messages WHERE kind = 40;

CREATE TRIGGER message_indexed AFTER INSERT ON messages WHEN new.kind IN (0, 40) BEGIN
    INSERT INTO words (rowid, text, chat, author, month)
    VALUES (new.position, new.searched, 'c' || new.chat, 'a' || hex(new.author),
            'm' || strftime('%Y%m', min(new.sent_at, new.received_at) / 1000, 'unixepoch'));
    -- Its file may be here before it. What is in the index is what is taken out of it again, so this comes second.
    UPDATE messages SET title = (SELECT name FROM files f WHERE f.chat = new.chat AND f.author = new.author AND f.id = new.id)
        WHERE position = new.position AND kind = 40;
END;
CREATE TRIGGER message_unindexed AFTER DELETE ON messages WHEN old.kind IN (0, 40) BEGIN
    INSERT INTO words (words, rowid, text, chat, author, month)
    VALUES ('delete', old.position, old.searched, 'c' || old.chat, 'a' || hex(old.author),
            'm' || strftime('%Y%m', min(old.sent_at, old.received_at) / 1000, 'unixepoch'));
END;
CREATE TRIGGER message_reindexed AFTER UPDATE OF position, chat, author, sent_at, received_at, kind, text, title ON messages BEGIN
    INSERT INTO words (words, rowid, text, chat, author, month)
    SELECT 'delete', old.position, old.searched, 'c' || old.chat, 'a' || hex(old.author),
           'm' || strftime('%Y%m', min(old.sent_at, old.received_at) / 1000, 'unixepoch') WHERE old.kind IN (0, 40);
    INSERT INTO words (rowid, text, chat, author, month)
    SELECT new.position, new.searched, 'c' || new.chat, 'a' || hex(new.author),
           'm' || strftime('%Y%m', min(new.sent_at, new.received_at) / 1000, 'unixepoch') WHERE new.kind IN (0, 40);
END;
CREATE TRIGGER file_named AFTER INSERT ON files BEGIN
    UPDATE messages SET title = NEW.name WHERE chat = NEW.chat AND author = NEW.author AND id = NEW.id AND kind = 40;
END;

-- A file that is deleted leaves the backup, as a text does.
DROP TRIGGER message_deleted;
DROP TRIGGER message_changed;
CREATE TRIGGER message_deleted AFTER DELETE ON messages WHEN old.seq IS NOT NULL AND old.kind IN (0, 1, 40) BEGIN
    INSERT OR IGNORE INTO backup_changes VALUES (old.chat, old.era, old.seq);
END;
CREATE TRIGGER message_changed AFTER UPDATE OF text, kind ON messages WHEN old.seq IS NOT NULL AND old.kind IN (0, 1, 40) BEGIN
    INSERT OR IGNORE INTO backup_changes VALUES (old.chat, old.era, old.seq);
END;

-- Files of this account whose messages are gone: from `due_at` on (milliseconds since 1970) the server need not keep them.
CREATE TABLE dropped_files (
    attachment BLOB PRIMARY KEY,
    due_at INTEGER NOT NULL,
    -- Where the message was in a direct chat, and its lifetime: once the other has read it, it is due that much later.
    chat INTEGER,
    era INTEGER,
    seq INTEGER,
    lifetime INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX dropped_files_due ON dropped_files (due_at);
