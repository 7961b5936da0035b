-- The way that the last connection went: straight, or through a WebSocket, which is then tried first.
ALTER TABLE own ADD COLUMN through_websocket INTEGER NOT NULL DEFAULT 0 CHECK (through_websocket IN (0, 1));
