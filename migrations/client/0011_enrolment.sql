-- The device that this profile is about to become, while it is uncertain whether the server has taken it.
ALTER TABLE own ADD COLUMN enrolling BLOB;
