-- kind 2: the device asker of username asks to be let into conversation; once per inbox.
ALTER TABLE inbox ADD COLUMN asker BINARY(16) NULL, ADD UNIQUE KEY inbox_asked (asker, conversation, device)
