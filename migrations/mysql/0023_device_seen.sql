-- The day of the last sign-in, counted from 1970: nothing finer is kept.
ALTER TABLE device ADD COLUMN seen_day BIGINT NULL
