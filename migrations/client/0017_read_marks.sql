-- What is unread in a chat, and how far it was read, is found without going through other chats or what was read long ago.
CREATE INDEX messages_by_side ON messages (chat, mine, position);
