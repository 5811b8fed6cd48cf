-- Replicated tasks: hidden answers, the rounds that close them, and what the chain says of them.
CREATE TABLE tasks_anew (
    task          TEXT PRIMARY KEY,
    deal          TEXT NOT NULL,
    idx           INTEGER NOT NULL,
    phase         TEXT NOT NULL CHECK (phase IN
        ('accepted', 'fetched', 'running', 'computed', 'uploaded', 'reported', 'committed', 'closed', 'revealed',
         'delivered', 'settled', 'ended')),
    -- The assignment as the scheduler sent it, JSON. Never queried; empty once the task is over, here and on chain.
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
    -- The last hidden answer that was given.
    commitment    TEXT,
    -- The round whose leaf holds a pair of this worker's.
    root          TEXT,
    -- What that pair opens to.
    answer        TEXT,
    -- Whether the chain may still owe something for it.
    watched       INTEGER NOT NULL DEFAULT 0,
    CHECK ((digest IS NOT NULL) OR phase NOT IN
        ('computed', 'uploaded', 'reported', 'committed', 'closed', 'revealed', 'delivered'))
) STRICT;
INSERT INTO tasks_anew (task, deal, idx, phase, assign, attempts, digest, manifest, stdout_sha256, stdout_bytes,
        stderr_sha256, stderr_bytes, wall_ms, failure, reason, decline, earned, tx, changed_ms)
    SELECT task, deal, idx, phase, assign, attempts, digest, manifest, stdout_sha256, stdout_bytes,
        stderr_sha256, stderr_bytes, wall_ms, failure, reason, decline, earned, tx, changed_ms
    FROM tasks ORDER BY rowid;
DROP TABLE tasks;
ALTER TABLE tasks_anew RENAME TO tasks;
CREATE INDEX tasks_by_phase ON tasks (phase);
CREATE INDEX tasks_by_deal ON tasks (deal, idx);
CREATE INDEX tasks_watched ON tasks (watched) WHERE watched = 1;

-- What answers are hidden under. A seed is in here before it is used.
CREATE TABLE seeds (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    seed          TEXT NOT NULL UNIQUE,
    -- `round`: for all answers until it is revealed; `append`: for one pair that this worker appends itself.
    use           TEXT NOT NULL CHECK (use IN ('round', 'append')),
    -- The chain's head when it was first revealed: only what was closed by then may be opened with it.
    revealed_at   INTEGER
) STRICT;

-- Every hidden answer ever given.
CREATE TABLE commitments (
    commitment    TEXT PRIMARY KEY,
    task          TEXT NOT NULL,
    digest        TEXT NOT NULL,
    seed          INTEGER NOT NULL REFERENCES seeds (id)
) STRICT;
CREATE INDEX commitments_by_task ON commitments (task);

-- Closed rounds, and chains that end in an appended pair, as the scheduler shows them.
CREATE TABLE shown (
    -- The round's root, or the chain's hash.
    root          TEXT PRIMARY KEY,
    -- The mail, JSON.
    mail          TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('shown', 'refused', 'revealed')),
    -- Why it is not opened.
    reason        TEXT,
    seed          INTEGER REFERENCES seeds (id),
    CHECK ((seed IS NOT NULL) = (state = 'revealed'))
) STRICT;

-- How far the chain was read for the tasks that are watched. Empty while there are none.
CREATE TABLE watch_cursor (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    number        INTEGER NOT NULL,
    hash          TEXT NOT NULL
) STRICT;

-- What the chain says, by the block that says it.
CREATE TABLE settlements (
    task          TEXT PRIMARY KEY,
    block         INTEGER NOT NULL,
    tx            TEXT NOT NULL,
    digest        TEXT NOT NULL,
    -- Whether this worker's pair was paid, and how much in the whole batch.
    opened        INTEGER NOT NULL,
    paid          TEXT NOT NULL,
    -- The record, and this worker's place in it, if its pair was left out.
    left_out      BLOB,
    entry         INTEGER,
    -- The block in which a left-out pair was opened, and what that paid.
    opening_block INTEGER,
    opening_paid  TEXT
) STRICT;
CREATE TABLE appended (
    task          TEXT NOT NULL,
    -- Its place among the appended pairs, from 0.
    place         INTEGER NOT NULL,
    block         INTEGER NOT NULL,
    worker        TEXT NOT NULL,
    commitment    TEXT NOT NULL,
    PRIMARY KEY (task, place)
) STRICT;
CREATE TABLE published (
    root          TEXT NOT NULL,
    worker        TEXT NOT NULL,
    block         INTEGER NOT NULL,
    seed          TEXT NOT NULL,
    signature     TEXT NOT NULL,
    PRIMARY KEY (root, worker)
) STRICT;
