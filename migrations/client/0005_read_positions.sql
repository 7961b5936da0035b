-- Up to which entry (by seq) the other devices were told that the user has read, or told us.
ALTER TABLE chats ADD COLUMN read_told INTEGER NOT NULL DEFAULT 0;
