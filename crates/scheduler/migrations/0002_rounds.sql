-- Replicated tasks: hidden answers, the rounds that close them, appended ones, reveals, and what settlements left out.

-- A replicated task is nobody's alone, may be closed, and knows more phases. Tables that hang on `task` are made anew
-- with it, since SQLite changes no constraint of a table that is there.
DROP INDEX task_end;
DROP INDEX task_settlement;
ALTER TABLE task RENAME TO task_before;
CREATE TABLE task (
    id          BLOB PRIMARY KEY CHECK (length(id) = 32),
    deal        BLOB NOT NULL REFERENCES deal (id) ON DELETE CASCADE,
    idx         INTEGER NOT NULL CHECK (idx >= 0),
    replicated  INTEGER NOT NULL CHECK (replicated IN (0, 1)),  -- several workers were given it
    phase       TEXT NOT NULL
                CHECK (phase IN ('open', 'assigned', 'reported', 'committed', 'closing', 'closed', 'revealed',
                                 'settling', 'settled', 'declined', 'claimed')),
    worker      BLOB CHECK (length(worker) = 20),
    digest      BLOB CHECK (length(digest) = 32),
    stage       TEXT CHECK (stage IN ('accepted', 'fetching', 'running', 'uploading')),
    since       INTEGER NOT NULL,                               -- chain time at which it entered the phase
    since_ms    INTEGER NOT NULL,                               -- the same by the wall clock
    settlement  TEXT,                                           -- the key of its transaction in the outbox
    reason      TEXT,                                           -- why its last transaction came to nothing
    asked       INTEGER NOT NULL DEFAULT 0 CHECK (asked IN (0, 1)), -- its workers were asked for `no agreement`
    end_tx      BLOB CHECK (length(end_tx) = 32),
    end_block   INTEGER,
    UNIQUE (deal, idx),
    CHECK ((worker IS NOT NULL) = (replicated = 0 AND phase IN ('assigned', 'reported', 'settling', 'settled'))),
    CHECK ((digest IS NOT NULL) = (phase IN ('reported', 'revealed', 'settling', 'settled'))),
    CHECK ((settlement IS NOT NULL) = (phase IN ('closing', 'settling'))),
    CHECK ((end_block IS NOT NULL) = (phase IN ('settled', 'declined', 'claimed'))),
    CHECK ((end_tx IS NULL) = (end_block IS NULL)),
    CHECK (stage IS NULL OR phase = 'assigned'),
    CHECK (replicated = 1 OR phase NOT IN ('committed', 'closing', 'closed', 'revealed')),
    CHECK (replicated = 0 OR phase NOT IN ('open', 'reported', 'declined', 'claimed'))
) STRICT;
INSERT INTO task (id, deal, idx, replicated, phase, worker, digest, stage, since, since_ms, settlement, reason, end_tx,
                  end_block)
    SELECT id, deal, idx, 0, phase, worker, digest, stage, since, since_ms, settlement, reason, end_tx, end_block
    FROM task_before;
CREATE INDEX task_end ON task (end_block) WHERE end_block IS NOT NULL;
CREATE INDEX task_settlement ON task (settlement) WHERE settlement IS NOT NULL;

ALTER TABLE attempt RENAME TO attempt_before;
CREATE TABLE attempt (
    task        BLOB NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    nth         INTEGER NOT NULL CHECK (nth > 0),
    worker      BLOB NOT NULL CHECK (length(worker) = 20),
    mail_seq    INTEGER NOT NULL,                               -- the letter that told the worker
    since       INTEGER NOT NULL,                               -- chain time
    outcome     TEXT CHECK (outcome IN ('reported', 'declined', 'lost', 'late', 'dropped', 'ended')),
    detail      TEXT,
    PRIMARY KEY (task, nth),
    CHECK (detail IS NULL OR outcome IS NOT NULL)
) STRICT;
INSERT INTO attempt (task, nth, worker, mail_seq, since, outcome, detail)
    SELECT attempt_before.task, nth, attempt_before.worker, mail_seq, task.since, outcome, detail
    FROM attempt_before JOIN task ON task.id = attempt_before.task;
DROP TABLE attempt_before;

ALTER TABLE report RENAME TO report_before;
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
INSERT INTO report SELECT * FROM report_before;
DROP TABLE report_before;
DROP TABLE task_before;

-- More kinds of transactions. One that closes is about several deals, and stands under the first of them.
DROP INDEX sending_deal;
DROP INDEX sending_sent;
ALTER TABLE sending RENAME TO sending_before;
CREATE TABLE sending (
    key         TEXT PRIMARY KEY,
    deal        BLOB NOT NULL REFERENCES deal (id) ON DELETE CASCADE,
    kind        TEXT NOT NULL CHECK (kind IN ('settle', 'decline', 'claim', 'close', 'append', 'punish')),
    state       TEXT NOT NULL CHECK (state IN ('sent', 'failed', 'done')),
    failed_at   INTEGER,                                        -- chain time
    CHECK ((failed_at IS NOT NULL) = (state = 'failed'))
) STRICT;
INSERT INTO sending SELECT * FROM sending_before;
DROP TABLE sending_before;
CREATE INDEX sending_deal ON sending (deal);
CREATE INDEX sending_sent ON sending (state) WHERE state = 'sent';

-- Hidden answers, the latest of each worker. What a round or an append has taken is in `pair`.
CREATE TABLE commitment (
    task        BLOB NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    worker      BLOB NOT NULL CHECK (length(worker) = 20),
    commitment  BLOB NOT NULL CHECK (length(commitment) = 32),
    tag         BLOB NOT NULL CHECK (length(tag) = 32),
    seed_hash   BLOB NOT NULL CHECK (length(seed_hash) = 32),
    signature   BLOB NOT NULL CHECK (length(signature) = 65),
    since_ms    INTEGER NOT NULL,
    PRIMARY KEY (task, worker)
) STRICT;

-- Rounds that we close, by the key of the transaction in the outbox.
CREATE TABLE round (
    key         TEXT PRIMARY KEY,
    root        BLOB NOT NULL CHECK (length(root) = 32),
    closed      BLOB NOT NULL CHECK (length(closed) % 49 = 0),  -- its words: deal, word, bits
    tx          BLOB CHECK (length(tx) = 32),                   -- the transaction that closed it, once it is on chain
    block       INTEGER,
    shown_ms    INTEGER,                                        -- since when its workers know; wall clock
    CHECK ((tx IS NULL) = (block IS NULL)),
    CHECK (shown_ms IS NULL OR block IS NOT NULL)
) STRICT;
CREATE INDEX round_root ON round (root);
CREATE INDEX round_block ON round (block) WHERE block IS NOT NULL;

-- The tasks of a round, in the order of its leaves.
CREATE TABLE leaf (
    task        BLOB PRIMARY KEY REFERENCES task (id) ON DELETE CASCADE,
    round       TEXT NOT NULL REFERENCES round (key) ON DELETE CASCADE,
    place       INTEGER NOT NULL CHECK (place >= 0),
    UNIQUE (round, place)
) STRICT;

-- The chain of a task's pairs: those of its leaf by rising worker, then the appended ones.
CREATE TABLE pair (
    task        BLOB NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    nth         INTEGER NOT NULL CHECK (nth BETWEEN 0 AND 63),
    worker      BLOB NOT NULL CHECK (length(worker) = 20),
    commitment  BLOB NOT NULL CHECK (length(commitment) = 32),
    tag         BLOB NOT NULL CHECK (length(tag) = 32),
    seed_hash   BLOB NOT NULL CHECK (length(seed_hash) = 32),
    signature   BLOB NOT NULL CHECK (length(signature) = 65),
    chain       BLOB NOT NULL CHECK (length(chain) = 32),       -- up to this pair
    append      TEXT,                                           -- the key of the transaction that appends it
    append_tx   BLOB CHECK (length(append_tx) = 32),            -- once it is on chain
    append_block INTEGER,
    shown_ms    INTEGER,                                        -- since when its worker knows, if it was appended
    digest      BLOB CHECK (length(digest) = 32),               -- once it is revealed
    PRIMARY KEY (task, nth),
    UNIQUE (task, worker),
    CHECK (append IS NOT NULL OR (append_tx IS NULL AND shown_ms IS NULL)),
    CHECK ((append_tx IS NULL) = (append_block IS NULL))
) STRICT;
CREATE INDEX pair_seed ON pair (worker, seed_hash);
CREATE INDEX pair_append ON pair (append) WHERE append IS NOT NULL;

-- What opens a worker's pairs: of a round's root, or of the chain that ends in its appended pair.
CREATE TABLE reveal (
    root        BLOB NOT NULL CHECK (length(root) = 32),
    worker      BLOB NOT NULL CHECK (length(worker) = 20),
    seed        BLOB NOT NULL CHECK (length(seed) = 32),
    signature   BLOB NOT NULL CHECK (length(signature) = 65),
    PRIMARY KEY (root, worker)
) STRICT;

-- Who was paid what for a replicated task, and who was not.
CREATE TABLE payment (
    task        BLOB NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    worker      BLOB NOT NULL CHECK (length(worker) = 20),
    paid        TEXT,                                           -- `NULL`: left out
    block       INTEGER NOT NULL,
    PRIMARY KEY (task, worker)
) STRICT;

-- What settlements left out, as their events have it, pair by pair.
CREATE TABLE left_out (
    deal        BLOB NOT NULL REFERENCES deal (id) ON DELETE CASCADE,
    record      BLOB NOT NULL CHECK (length(record) % 91 = 0),  -- all entries of the settlement, packed
    entry       INTEGER NOT NULL CHECK (entry BETWEEN 0 AND 254),
    task        BLOB NOT NULL CHECK (length(task) = 32),
    worker      BLOB NOT NULL CHECK (length(worker) = 20),
    block       INTEGER NOT NULL,
    over_block  INTEGER,                                        -- where it was opened or punished
    signature   BLOB CHECK (length(signature) = 65),            -- the worker's over this commitment, if we have it
    PRIMARY KEY (deal, record, entry)
) STRICT;
CREATE INDEX left_out_open ON left_out (deal) WHERE over_block IS NULL AND signature IS NOT NULL;
