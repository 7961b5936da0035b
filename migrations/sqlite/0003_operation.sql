-- What the operator's commands need.

-- Since when the operator has locked the account; null if they have not.
ALTER TABLE account ADD COLUMN disabled_ms INTEGER;

-- The day of the last sign-in, counted from 1970: nothing finer is kept.
ALTER TABLE device ADD COLUMN seen_day INTEGER;
