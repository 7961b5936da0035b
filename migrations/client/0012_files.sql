-- Files. A further value of `messages.kind`: 40 a file (`text`: its caption).

-- What a message's file is, and what opens it.
CREATE TABLE files (
    chat INTEGER NOT NULL REFERENCES chats,
    -- Of which message.
    author TEXT NOT NULL,
    id BLOB NOT NULL,
    -- As its sender wrote them.
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    -- Bytes, in clear and sealed.
    size INTEGER NOT NULL,
    sealed INTEGER NOT NULL,
    -- Where the server has it, what opens it, and the SHA-256 of what the server has.
    attachment BLOB NOT NULL,
    key BLOB NOT NULL,
    digest BLOB NOT NULL,
    -- Where this device has saved it last.
    saved TEXT,
    PRIMARY KEY (chat, author, id)
) STRICT, WITHOUT ROWID;

-- Files that are being sent: their messages leave when the server has them.
CREATE TABLE uploads (
    -- The message's position.
    message INTEGER PRIMARY KEY,
    -- Where the file is.
    path BLOB NOT NULL,
    -- The SHA-256 of each of its sealed chunks: under one key no other bytes may leave.
    digests BLOB NOT NULL
) STRICT;

-- What is deleted cannot be opened any more, nor is it sent.
CREATE TRIGGER file_gone AFTER DELETE ON messages WHEN OLD.kind = 40 BEGIN
    DELETE FROM files WHERE chat = OLD.chat AND author = OLD.author AND id = OLD.id;
    DELETE FROM uploads WHERE message = OLD.position;
END;
CREATE TRIGGER file_deleted AFTER UPDATE OF kind ON messages WHEN OLD.kind = 40 AND NEW.kind <> 40 BEGIN
    DELETE FROM files WHERE chat = OLD.chat AND author = OLD.author AND id = OLD.id;
    DELETE FROM uploads WHERE message = OLD.position;
END;
