-- Those from before have no time and count as too old: their devices fill up again.
ALTER TABLE key_package ADD COLUMN stored_ms BIGINT NOT NULL DEFAULT 0, ADD KEY key_package_time (stored_ms)
