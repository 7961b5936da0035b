-- The device that made it, as in `entry`.
ALTER TABLE group_info ADD COLUMN sender BINARY(16) NULL
