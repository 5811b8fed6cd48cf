-- Whose journal this is: one worker in one pool of one contract.
CREATE TABLE identity (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    worker    TEXT NOT NULL,
    pool      TEXT NOT NULL,
    berth     TEXT NOT NULL,
    chain_id  INTEGER NOT NULL,
    -- The last mail of the scheduler that is in here.
    last_seq  INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE tasks (
    task          TEXT PRIMARY KEY,
    deal          TEXT NOT NULL,
    idx           INTEGER NOT NULL,
    phase         TEXT NOT NULL CHECK (phase IN
        ('accepted', 'fetched', 'running', 'computed', 'uploaded', 'reported', 'settled', 'ended')),
    -- The assignment as the scheduler sent it, JSON. Never queried; empty once the task is over.
    assign        TEXT NOT NULL,
    -- Runs that were lost to the engine.
    attempts      INTEGER NOT NULL DEFAULT 0,
    digest        TEXT,
    manifest      BLOB,
    stdout_sha256 TEXT,
    stdout_bytes  INTEGER,
    stderr_sha256 TEXT,
    stderr_bytes  INTEGER,
    wall_ms       INTEGER,
    failure       TEXT,
    -- Why it ended without pay.
    reason        TEXT,
    -- Set while a decline is still to be told to the scheduler.
    decline       TEXT,
    earned        TEXT,
    tx            TEXT,
    changed_ms    INTEGER NOT NULL,
    CHECK ((digest IS NOT NULL) OR phase NOT IN ('computed', 'uploaded', 'reported'))
) STRICT;

CREATE INDEX tasks_by_phase ON tasks (phase);
CREATE INDEX tasks_by_deal ON tasks (deal, idx);
