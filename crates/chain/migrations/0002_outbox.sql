-- Transactions that someone wants, from the wish to their final receipt.
CREATE TABLE outbox (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    key         TEXT NOT NULL UNIQUE,
    sender      BLOB NOT NULL CHECK (length(sender) = 20),
    target      BLOB CHECK (length(target) = 20),           -- NULL: a contract's creation
    calldata    BLOB NOT NULL,
    value_wei   TEXT NOT NULL,
    gas_hint    INTEGER,
    note        TEXT NOT NULL,
    phase       TEXT NOT NULL CHECK (phase IN ('queued', 'in_flight', 'mined', 'final', 'refused')),
    nonce       INTEGER,
    tx_hash     BLOB CHECK (length(tx_hash) = 32),          -- from here on: of the receipt
    block       INTEGER,
    block_hash  BLOB CHECK (length(block_hash) = 32),
    gas_used    INTEGER,
    gas_price   TEXT,
    succeeded   INTEGER,
    revert      BLOB,                                       -- why it was refused, or why it failed
    CHECK ((phase IN ('queued', 'refused')) = (nonce IS NULL)),
    CHECK ((phase IN ('mined', 'final')) = (block IS NOT NULL))
) STRICT;

-- One nonce, one intent: nothing is ever signed twice under two nonces while one of them may still be mined.
CREATE UNIQUE INDEX outbox_nonce ON outbox (sender, nonce) WHERE nonce IS NOT NULL;
CREATE INDEX outbox_phase ON outbox (sender, phase);

-- Every signed form of an intent, stored before it is sent. All of one intent bear its nonce, so one at most is mined.
CREATE TABLE outbox_attempt (
    tx_hash     BLOB PRIMARY KEY CHECK (length(tx_hash) = 32),
    seq         INTEGER NOT NULL REFERENCES outbox (seq) ON DELETE CASCADE,
    raw         BLOB NOT NULL,
    gas_limit   INTEGER NOT NULL,
    max_fee     TEXT NOT NULL,
    tip         TEXT NOT NULL,
    sent_block  INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_attempt_seq ON outbox_attempt (seq);
