-- Messages are looked up by id, chat and author together. With the id alone in its index SQLite takes that of the places in its
-- stead, and goes through all of the chat for each message that comes.
DROP INDEX messages_by_id;
CREATE INDEX messages_by_id ON messages (id, chat, author);
