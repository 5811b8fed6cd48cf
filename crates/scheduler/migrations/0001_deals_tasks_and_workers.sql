-- What a scheduler knows. The chain adapter keeps tables of its own (chain_…, outbox…) in the same database.
-- Amounts are decimal text, ids are bytes, times are seconds (chain) or milliseconds (_ms, wall clock) since 1970.

-- Whose database this is. One of another pool is refused.
CREATE TABLE pool_identity (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    pool        BLOB NOT NULL CHECK (length(pool) = 32)
) STRICT;

-- Apps, as their registration's event carries them.
CREATE TABLE app (
    id          BLOB PRIMARY KEY CHECK (length(id) = 32),
    descriptor  TEXT NOT NULL,
    block       INTEGER NOT NULL
) STRICT;

-- The bonds of this pool's workers: one row for each change, so that a block that goes takes its changes with it.
-- What counts is the last row of a worker.
CREATE TABLE bond (
    worker      BLOB NOT NULL CHECK (length(worker) = 20),
    block       INTEGER NOT NULL,
    log_index   INTEGER NOT NULL,
    owner       BLOB NOT NULL CHECK (length(owner) = 20),
    bonded      TEXT NOT NULL,
    unbonding   TEXT NOT NULL,
    release_at  INTEGER NOT NULL,
    score       INTEGER NOT NULL,
    PRIMARY KEY (worker, block, log_index)
) STRICT;

-- Deals of this pool whose operator we are.
CREATE TABLE deal (
    id          BLOB PRIMARY KEY CHECK (length(id) = 32),
    terms       BLOB NOT NULL CHECK (length(terms) = 640),      -- their keccak is the id
    app         BLOB NOT NULL CHECK (length(app) = 32),
    dataset     BLOB NOT NULL CHECK (length(dataset) = 32),
    requester   BLOB NOT NULL CHECK (length(requester) = 20),
    beneficiary BLOB NOT NULL CHECK (length(beneficiary) = 20),
    job_hash    BLOB NOT NULL CHECK (length(job_hash) = 32),
    block       INTEGER NOT NULL,
    log_index   INTEGER NOT NULL,
    seq         INTEGER NOT NULL CHECK (seq > 0),               -- rises with each change of the deal or its tasks
    opened      INTEGER NOT NULL CHECK (opened IN (0, 1)),      -- its tasks are there
    ended       INTEGER NOT NULL CHECK (ended IN (0, 1)),       -- each of them has ended
    given_up    TEXT                                            -- why we gave tasks of it back
) STRICT;
CREATE INDEX deal_going ON deal (block, log_index) WHERE ended = 0;
CREATE INDEX deal_latest ON deal (block, log_index);
CREATE INDEX deal_job ON deal (job_hash);

CREATE TABLE task (
    id          BLOB PRIMARY KEY CHECK (length(id) = 32),
    deal        BLOB NOT NULL REFERENCES deal (id) ON DELETE CASCADE,
    idx         INTEGER NOT NULL CHECK (idx >= 0),
    phase       TEXT NOT NULL
                CHECK (phase IN ('open', 'assigned', 'reported', 'settling', 'settled', 'declined', 'claimed')),
    worker      BLOB CHECK (length(worker) = 20),
    digest      BLOB CHECK (length(digest) = 32),
    stage       TEXT CHECK (stage IN ('accepted', 'fetching', 'running', 'uploading')),
    since       INTEGER NOT NULL,                               -- chain time at which it entered the phase
    since_ms    INTEGER NOT NULL,                               -- the same by the wall clock
    settlement  TEXT,                                           -- the key of its transaction in the outbox
    reason      TEXT,                                           -- why its last settlement came to nothing
    end_tx      BLOB CHECK (length(end_tx) = 32),
    end_block   INTEGER,
    UNIQUE (deal, idx),
    CHECK ((worker IS NOT NULL) = (phase IN ('assigned', 'reported', 'settling', 'settled'))),
    CHECK ((digest IS NOT NULL) = (phase IN ('reported', 'settling', 'settled'))),
    CHECK ((settlement IS NOT NULL) = (phase = 'settling')),
    CHECK ((end_block IS NOT NULL) = (phase IN ('settled', 'declined', 'claimed'))),
    CHECK ((end_tx IS NULL) = (end_block IS NULL)),
    CHECK (stage IS NULL OR phase = 'assigned')
) STRICT;
CREATE INDEX task_end ON task (end_block) WHERE end_block IS NOT NULL;
CREATE INDEX task_settlement ON task (settlement) WHERE settlement IS NOT NULL;

-- Who was given a task, in turn, and how that went.
CREATE TABLE attempt (
    task        BLOB NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    nth         INTEGER NOT NULL CHECK (nth > 0),
    worker      BLOB NOT NULL CHECK (length(worker) = 20),
    mail_seq    INTEGER NOT NULL,                               -- the letter that told the worker
    outcome     TEXT CHECK (outcome IN ('reported', 'declined', 'lost', 'late', 'dropped', 'ended')),
    detail      TEXT,
    PRIMARY KEY (task, nth),
    CHECK (detail IS NULL OR outcome IS NOT NULL)
) STRICT;

-- Checked answers, whether they came first or not.
CREATE TABLE report (
    task        BLOB NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    worker      BLOB NOT NULL CHECK (length(worker) = 20),
    digest      BLOB NOT NULL CHECK (length(digest) = 32),
    stdout      BLOB CHECK (length(stdout) = 32),
    stdout_size INTEGER,
    stderr      BLOB CHECK (length(stderr) = 32),
    stderr_size INTEGER,
    wall_ms     INTEGER NOT NULL,
    failure     TEXT,
    PRIMARY KEY (task, worker),
    CHECK ((stdout IS NULL) = (stdout_size IS NULL)),
    CHECK ((stderr IS NULL) = (stderr_size IS NULL))
) STRICT;

-- Workers' signed lists of results. Older ones go once a later one can take their place.
CREATE TABLE list (
    deal        BLOB NOT NULL REFERENCES deal (id) ON DELETE CASCADE,
    worker      BLOB NOT NULL CHECK (length(worker) = 20),
    nth         INTEGER NOT NULL CHECK (nth > 0),
    entries     BLOB NOT NULL CHECK (length(entries) BETWEEN 36 AND 9216 AND length(entries) % 36 = 0),
    signature   BLOB NOT NULL CHECK (length(signature) = 65),
    PRIMARY KEY (deal, worker, nth)
) STRICT;

-- Our own transactions about a deal, by their key in the outbox. Those that came to nothing stay, and are counted.
CREATE TABLE sending (
    key         TEXT PRIMARY KEY,
    deal        BLOB NOT NULL REFERENCES deal (id) ON DELETE CASCADE,
    kind        TEXT NOT NULL CHECK (kind IN ('settle', 'decline', 'claim')),
    state       TEXT NOT NULL CHECK (state IN ('sent', 'failed', 'done')),
    failed_at   INTEGER,                                        -- chain time
    CHECK ((failed_at IS NOT NULL) = (state = 'failed'))
) STRICT;
CREATE INDEX sending_deal ON sending (deal);
CREATE INDEX sending_sent ON sending (state) WHERE state = 'sent';

-- How far each worker's letters are numbered, and acknowledged.
CREATE TABLE mailbox (
    worker      BLOB PRIMARY KEY CHECK (length(worker) = 20),
    last_seq    INTEGER NOT NULL CHECK (last_seq >= 0),
    acked_seq   INTEGER NOT NULL CHECK (acked_seq BETWEEN 0 AND last_seq)
) STRICT;

-- Letters that wait for their acknowledgement.
CREATE TABLE mail (
    worker      BLOB NOT NULL REFERENCES mailbox (worker) ON DELETE CASCADE,
    seq         INTEGER NOT NULL CHECK (seq > 0),
    body        TEXT NOT NULL,
    PRIMARY KEY (worker, seq)
) STRICT;

-- Job documents.
CREATE TABLE job (
    hash        BLOB PRIMARY KEY CHECK (length(hash) = 32),
    document    BLOB NOT NULL,
    put_by      BLOB NOT NULL CHECK (length(put_by) = 20),
    put_ms      INTEGER NOT NULL
) STRICT;

-- Sign-in: texts given out, and sessions by the sha256 of their token.
CREATE TABLE challenge (
    nonce       TEXT PRIMARY KEY,
    message     TEXT NOT NULL,
    expires     INTEGER NOT NULL
) STRICT;
CREATE TABLE session (
    token       BLOB PRIMARY KEY CHECK (length(token) = 32),
    account     BLOB NOT NULL CHECK (length(account) = 20),
    kind        TEXT NOT NULL CHECK (kind IN ('person', 'worker')),
    expires     INTEGER NOT NULL
) STRICT;
CREATE INDEX session_expires ON session (expires);
CREATE INDEX challenge_expires ON challenge (expires);
