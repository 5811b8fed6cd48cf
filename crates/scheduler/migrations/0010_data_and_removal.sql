-- What requesters keep in the store and list as their own, what may not be taken from it, and deals that their requester
-- wants back.

CREATE TABLE data (
    owner       BLOB NOT NULL CHECK (length(owner) = 20),
    sha256      BLOB NOT NULL CHECK (length(sha256) = 32),
    name        TEXT NOT NULL,
    size        INTEGER NOT NULL CHECK (size >= 0),
    put_ms      INTEGER NOT NULL,
    PRIMARY KEY (owner, sha256)
) STRICT;
CREATE INDEX data_sha256 ON data (sha256);

-- Bytes of the store that somebody needs: the inputs of a job, by its hash; what a task brought, by its id.
CREATE TABLE part (
    holder      BLOB NOT NULL CHECK (length(holder) = 32),
    sha256      BLOB NOT NULL CHECK (length(sha256) = 32),
    PRIMARY KEY (holder, sha256)
) STRICT;
CREATE INDEX part_sha256 ON part (sha256);

CREATE TABLE unwanted (
    deal        BLOB PRIMARY KEY REFERENCES deal (id) ON DELETE CASCADE CHECK (length(deal) = 32),
    since_ms    INTEGER NOT NULL
) STRICT;
