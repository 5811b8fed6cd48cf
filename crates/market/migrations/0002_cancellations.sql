-- Orders that an account has cancelled one by one: each counts for its account alone, whoever may own the asset later.
CREATE TABLE cancellation (
    account    BLOB    NOT NULL CHECK (length(account) = 20),
    order_hash BLOB    NOT NULL CHECK (length(order_hash) = 32),
    block      INTEGER NOT NULL,
    log_index  INTEGER NOT NULL,
    PRIMARY KEY (account, order_hash, block, log_index)
) WITHOUT ROWID;
