-- kind 3: username has left conversation, and this is its signed wish.
ALTER TABLE inbox ADD COLUMN wish VARBINARY(256) NULL
