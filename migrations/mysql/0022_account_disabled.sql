-- Since when the operator has locked the account; null if they have not.
ALTER TABLE account ADD COLUMN disabled_ms BIGINT NULL
