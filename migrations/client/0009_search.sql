-- The index of words. Chat, author and month are words too, each in its own column, so that a search within one looks at
-- nothing else. The month (UTC) is when it was written, but not later than it came.

CREATE VIEW searchable AS
    SELECT position, text, 'c' || chat AS chat, 'a' || hex(author) AS author,
           'm' || strftime('%Y%m', min(sent_at, received_at) / 1000, 'unixepoch') AS month
    FROM messages WHERE kind = 0;

CREATE VIRTUAL TABLE words USING fts5 (
    text, chat, author, month,
    content = 'searchable', content_rowid = 'position',
    tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);
-- What leaves the index leaves it at once, not at the next merge.
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
INSERT INTO words (words) VALUES ('rebuild');

CREATE TRIGGER message_indexed AFTER INSERT ON messages WHEN new.kind = 0 BEGIN
    INSERT INTO words (rowid, text, chat, author, month)
    VALUES (new.position, new.text, 'c' || new.chat, 'a' || hex(new.author),
            'm' || strftime('%Y%m', min(new.sent_at, new.received_at) / 1000, 'unixepoch'));
END;
CREATE TRIGGER message_unindexed AFTER DELETE ON messages WHEN old.kind = 0 BEGIN
    INSERT INTO words (words, rowid, text, chat, author, month)
    VALUES ('delete', old.position, old.text, 'c' || old.chat, 'a' || hex(old.author),
            'm' || strftime('%Y%m', min(old.sent_at, old.received_at) / 1000, 'unixepoch'));
END;
CREATE TRIGGER message_reindexed AFTER UPDATE OF position, chat, author, sent_at, received_at, kind, text ON messages BEGIN
    INSERT INTO words (words, rowid, text, chat, author, month)
    SELECT 'delete', old.position, old.text, 'c' || old.chat, 'a' || hex(old.author),
           'm' || strftime('%Y%m', min(old.sent_at, old.received_at) / 1000, 'unixepoch') WHERE old.kind = 0;
    INSERT INTO words (rowid, text, chat, author, month)
    SELECT new.position, new.text, 'c' || new.chat, 'a' || hex(new.author),
           'm' || strftime('%Y%m', min(new.sent_at, new.received_at) / 1000, 'unixepoch') WHERE new.kind = 0;
END;
