-- Groups and rooms whose conversation the server has lost: the one that is to take its place, and the rules as they were, join key included.
CREATE TABLE successions (
    chat INTEGER PRIMARY KEY REFERENCES chats,
    conversation BLOB NOT NULL,
    rules BLOB NOT NULL
) STRICT;
