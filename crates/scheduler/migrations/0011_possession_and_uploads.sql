-- Who put which bytes, and which job documents, himself: only that counts, since a name alone is no secret. Uploads that
-- are under way, and what a task left that ran out of time.

CREATE TABLE holding (
    account     BLOB NOT NULL CHECK (length(account) = 20),
    sha256      BLOB NOT NULL CHECK (length(sha256) = 32),
    size        INTEGER NOT NULL CHECK (size >= 0),
    put_ms      INTEGER NOT NULL,
    PRIMARY KEY (account, sha256)
) STRICT;
CREATE INDEX holding_sha256 ON holding (sha256);
CREATE INDEX holding_put ON holding (put_ms);
-- Data were always sent whole by whoever lists them. Who named an input need not have sent it.
INSERT INTO holding (account, sha256, size, put_ms) SELECT owner, sha256, size, put_ms FROM data;

CREATE TABLE upload (
    account     BLOB NOT NULL CHECK (length(account) = 20),
    sha256      BLOB NOT NULL CHECK (length(sha256) = 32),
    size        INTEGER NOT NULL CHECK (size >= 0),             -- of the whole
    moved_ms    INTEGER NOT NULL,                               -- when bytes of it were last asked for or sent
    PRIMARY KEY (account, sha256)
) STRICT;
CREATE INDEX upload_moved ON upload (moved_ms);

CREATE TABLE job_by (
    job         BLOB NOT NULL REFERENCES job (hash) ON DELETE CASCADE CHECK (length(job) = 32),
    account     BLOB NOT NULL CHECK (length(account) = 20),
    put_ms      INTEGER NOT NULL,
    PRIMARY KEY (job, account)
) STRICT;
CREATE INDEX job_by_account ON job_by (account);
INSERT INTO job_by (job, account, put_ms) SELECT hash, put_by, put_ms FROM job;

-- The manifest of what was in the output folder when the job was stopped.
ALTER TABLE report ADD COLUMN partial BLOB CHECK (length(partial) = 32);
ALTER TABLE report ADD COLUMN partial_size INTEGER CHECK (partial_size >= 0);
