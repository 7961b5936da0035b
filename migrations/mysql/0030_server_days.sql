-- The last day on which the server ran, and the day from which the silence of devices counts, both counted from 1970.
ALTER TABLE server_state ADD COLUMN alive_day BIGINT NULL, ADD COLUMN silence_day BIGINT NULL
