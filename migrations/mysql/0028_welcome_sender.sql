-- The device that made it, as in `entry`.
ALTER TABLE welcome ADD COLUMN sender BINARY(16) NULL
