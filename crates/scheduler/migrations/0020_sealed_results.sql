-- All of a result in one file, which only the job's recipient can open.
ALTER TABLE report ADD COLUMN sealed BLOB CHECK (length(sealed) = 32);
ALTER TABLE report ADD COLUMN sealed_size INTEGER CHECK (sealed_size >= 0);
