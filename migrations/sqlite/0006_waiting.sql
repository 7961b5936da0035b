-- Who has left what for others to fetch, so that one account cannot fill the disk.

-- Devices that are gone and of which entries may wait: whose they were.
CREATE TABLE former_device (
    id      INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account
) STRICT;

-- The device that made it, as in `entry`.
ALTER TABLE welcome ADD COLUMN sender INTEGER;
ALTER TABLE group_info ADD COLUMN sender INTEGER;

-- The last day on which the server ran, and the day from which the silence of devices counts, both counted from 1970.
ALTER TABLE server ADD COLUMN alive_day INTEGER;
ALTER TABLE server ADD COLUMN silence_day INTEGER;
