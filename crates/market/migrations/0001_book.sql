-- What the chain says is kept as facts with the block in which they became true: the latest one holds, and taking a
-- block back is one DELETE a table. What people publish has no block: it stays, and is listed while the facts allow.

CREATE TABLE asset (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    name       TEXT,
    block      INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE asset_owner (
    asset      BLOB    NOT NULL CHECK (length(asset) = 32),
    owner      BLOB    NOT NULL CHECK (length(owner) = 20),
    block      INTEGER NOT NULL,
    log_index  INTEGER NOT NULL,
    PRIMARY KEY (asset, block, log_index)
) WITHOUT ROWID;

-- Epochs, prices and expiries are decimal digits of fixed width, so that text compares as numbers do: an epoch may be
-- past 2^63, a price past 2^64.
CREATE TABLE account_epoch (
    account    BLOB    NOT NULL CHECK (length(account) = 20),
    epoch      TEXT    NOT NULL CHECK (length(epoch) = 20),
    block      INTEGER NOT NULL,
    log_index  INTEGER NOT NULL,
    PRIMARY KEY (account, block, log_index)
) WITHOUT ROWID;

CREATE TABLE consumption (
    order_hash BLOB    NOT NULL CHECK (length(order_hash) = 32),
    tasks      INTEGER NOT NULL,
    block      INTEGER NOT NULL,
    log_index  INTEGER NOT NULL,
    PRIMARY KEY (order_hash, block, log_index)
) WITHOUT ROWID;

CREATE TABLE signed_order (
    hash       BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    kind       TEXT    NOT NULL CHECK (kind IN ('app', 'dataset', 'pool', 'request')),
    asset      BLOB    NOT NULL CHECK (length(asset) = 32),
    signer     BLOB    NOT NULL CHECK (length(signer) = 20),
    price      TEXT    NOT NULL CHECK (length(price) = 39),
    volume     INTEGER NOT NULL,
    expiry     TEXT    NOT NULL CHECK (length(expiry) = 20),
    epoch      TEXT    NOT NULL CHECK (length(epoch) = 20),
    document   TEXT    NOT NULL,
    url        TEXT
) WITHOUT ROWID;

CREATE INDEX signed_order_by_price ON signed_order (kind, price, hash);

CREATE TABLE job (
    hash       BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    document   BLOB    NOT NULL
) WITHOUT ROWID;

-- An order with what the chain says about it now. A volume of 2^32 - 1 means without limit.
CREATE VIEW book AS
SELECT o.*,
       a.name,
       CASE o.volume
           WHEN 4294967295 THEN o.volume
           ELSE max(0, o.volume - coalesce((SELECT sum(c.tasks) FROM consumption c WHERE c.order_hash = o.hash), 0))
       END AS remaining,
       (SELECT w.owner FROM asset_owner w WHERE w.asset = o.asset ORDER BY w.block DESC, w.log_index DESC LIMIT 1)
           AS owner,
       coalesce(
           (SELECT e.epoch FROM account_epoch e WHERE e.account = o.signer
             ORDER BY e.block DESC, e.log_index DESC LIMIT 1),
           '00000000000000000000'
       ) AS least_epoch
  FROM signed_order o
  LEFT JOIN asset a ON a.id = o.asset;
