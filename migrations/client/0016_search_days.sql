-- A search between two days looks at those days alone, and at whole months between them.

DROP TRIGGER message_indexed;
DROP TRIGGER message_unindexed;
DROP TRIGGER message_reindexed;
DROP VIEW searchable;
CREATE VIEW searchable AS
    SELECT position, searched AS text, 'c' || chat AS chat, 'a' || hex(author) AS author,
           strftime('m%Y%m d%Y%m%d', min(sent_at, received_at) / 1000, 'unixepoch') AS month
    FROM messages WHERE kind IN (0, 40);

-- The index of words anew. Of beginnings up to four letters it has lists of their own; longer ones are put together from all
-- words that begin so. Behind the month stands the day.
DROP TABLE words;
CREATE VIRTUAL TABLE words USING fts5 (
    text, chat, author, month,
    content = 'searchable', content_rowid = 'position',
    tokenize = 'unicode61 remove_diacritics 2', prefix = '1 2 3 4'
);
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
INSERT INTO words (words) VALUES ('rebuild');

CREATE TRIGGER message_indexed AFTER INSERT ON messages WHEN new.kind IN (0, 40) BEGIN
    INSERT INTO words (rowid, text, chat, author, month)
    VALUES (new.position, new.searched, 'c' || new.chat, 'a' || hex(new.author),
            strftime('m%Y%m d%Y%m%d', min(new.sent_at, new.received_at) / 1000, 'unixepoch'));
    -- Its file may be here before it. What is in the index is what is taken out of it again, so this comes second.
    UPDATE messages SET title = (SELECT name FROM files f WHERE f.chat = new.chat AND f.author = new.author AND f.id = new.id)
        WHERE position = new.position AND kind = 40;
END;
CREATE TRIGGER message_unindexed AFTER DELETE ON messages WHEN old.kind IN (0, 40) BEGIN
    INSERT INTO words (words, rowid, text, chat, author, month)
    VALUES ('delete', old.position, old.searched, 'c' || old.chat, 'a' || hex(old.author),
            strftime('m%Y%m d%Y%m%d', min(old.sent_at, old.received_at) / 1000, 'unixepoch'));
END;
CREATE TRIGGER message_reindexed AFTER UPDATE OF position, chat, author, sent_at, received_at, kind, text, title ON messages BEGIN
    INSERT INTO words (words, rowid, text, chat, author, month)
    SELECT 'delete', old.position, old.searched, 'c' || old.chat, 'a' || hex(old.author),
           strftime('m%Y%m d%Y%m%d', min(old.sent_at, old.received_at) / 1000, 'unixepoch') WHERE old.kind IN (0, 40);
    INSERT INTO words (rowid, text, chat, author, month)
    SELECT new.position, new.searched, 'c' || new.chat, 'a' || hex(new.author),
           strftime('m%Y%m d%Y%m%d', min(new.sent_at, new.received_at) / 1000, 'unixepoch') WHERE new.kind IN (0, 40);
END;

-- The months that messages are of: a search between two days asks for those between them, and goes through none of the others.
-- A month without messages is no harm.
CREATE TABLE months (month TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO months
    SELECT DISTINCT strftime('%Y%m', min(sent_at, received_at) / 1000, 'unixepoch') FROM messages WHERE kind IN (0, 40);
CREATE TRIGGER month_begun AFTER INSERT ON messages WHEN new.kind IN (0, 40) BEGIN
    INSERT OR IGNORE INTO months VALUES (strftime('%Y%m', min(new.sent_at, new.received_at) / 1000, 'unixepoch'));
END;
CREATE TRIGGER month_changed AFTER UPDATE OF sent_at, received_at, kind ON messages WHEN new.kind IN (0, 40) BEGIN
    INSERT OR IGNORE INTO months VALUES (strftime('%Y%m', min(new.sent_at, new.received_at) / 1000, 'unixepoch'));
END;
