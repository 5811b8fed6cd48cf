-- The file in which a result is sealed for its recipient. It is made once: sealing it again would make another one.
ALTER TABLE tasks ADD COLUMN sealed_sha256 TEXT;
ALTER TABLE tasks ADD COLUMN sealed_bytes INTEGER;
