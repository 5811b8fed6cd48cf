-- Which chain this database is about. A database of another chain is refused.
CREATE TABLE chain_identity (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    chain_id    INTEGER NOT NULL,
    contract    BLOB NOT NULL CHECK (length(contract) = 20),
    block       INTEGER NOT NULL,
    block_hash  BLOB NOT NULL CHECK (length(block_hash) = 32)
) STRICT;

-- The last block whose logs are in the consumer's tables. Moves in the transaction that writes them.
CREATE TABLE chain_cursor (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    number      INTEGER NOT NULL,
    hash        BLOB NOT NULL CHECK (length(hash) = 32),
    timestamp   INTEGER NOT NULL
) STRICT;

-- The blocks behind the cursor, down to the finality depth: where a reorg is found to have branched off.
CREATE TABLE chain_header (
    number      INTEGER PRIMARY KEY,
    hash        BLOB NOT NULL CHECK (length(hash) = 32),
    timestamp   INTEGER NOT NULL
) STRICT;
