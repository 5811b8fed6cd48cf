//! What the chain says of the tasks that are watched, by the block that says it, so that a reorg takes it back.

use super::{Journal, JournalError, Phase, Row, mail::ended, round, row, signed, unsigned};
use alloy::primitives::{B256, Bytes};
use berth_chain::BlockNumber;
use berth_protocol::{Amount, ResultDigest, TaskId, WorkerAddr, round::Pair};
use sqlx::{Sqlite, Transaction};

/// Something that the chain says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A task was settled.
    Settled(TaskId, Settlement),
    /// Pairs were added to a task's chain, the first of them at this place of the whole chain.
    Appended(TaskId, usize, Vec<Pair>),
    /// A worker's reveal was published for a root.
    Published(B256, Published),
    /// This worker's pair, which a settlement had left out, was opened: so much was paid.
    Opened(TaskId, Amount),
}

/// A settled task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The block that says so; if the pair was opened later, the block of that.
    pub block: BlockNumber,
    /// By which transaction.
    pub tx: B256,
    /// To what.
    pub digest: ResultDigest,
    /// Whether this worker's pair was paid; by the settlement, or later by an opening.
    pub paid: bool,
    /// What the whole batch paid to this worker's owner.
    pub amount: Amount,
    /// The record, and the place of this worker's pair in it, if that was left out.
    pub left_out: Option<(Vec<u8>, u8)>,
}

/// A reveal that everybody can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Whose.
    pub worker: WorkerAddr,
    /// What opens its pairs.
    pub seed: B256,
    /// Its signature over root and seed.
    pub signature: Bytes,
}

/// An appended pair, by its place in the whole chain.
pub type Append = (usize, Pair);

fn wrong<E: core::fmt::Display>(about: &str) -> impl Fn(E) -> JournalError + '_ {
    move |error| row::corrupt(about, &error)
}

fn place(number: i64, about: &str) -> Result<usize, JournalError> {
    usize::try_from(number).map_err(wrong(about))
}

impl Journal {
    /// Tasks for which the chain may still owe something.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn watched(&self) -> Result<Vec<Row>, JournalError> {
        row::watched(&self.pool).await
    }

    /// How far the chain was read; `None` if nothing was watched lately.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn cursor(&self) -> Result<Option<(BlockNumber, B256)>, JournalError> {
        let found: Option<(i64, String)> =
            sqlx::query_as("SELECT number, hash FROM watch_cursor").fetch_optional(&self.pool).await?;
        let read = |(number, hash): (i64, String)| {
            Ok((BlockNumber::new(unsigned(number)), hash.parse().map_err(wrong("of the cursor"))?))
        };
        found.map(read).transpose()
    }

    /// Keeps what blocks up to a new cursor say.
    ///
    /// # Errors
    /// [`JournalError::Statement`].
    pub async fn learn(&self, facts: &[(BlockNumber, Fact)], cursor: (BlockNumber, B256)) -> Result<(), JournalError> {
        let mut tx = self.pool.begin().await?;
        for (block, fact) in facts {
            keep(&mut tx, *block, fact).await?;
        }
        move_cursor(&mut tx, Some(cursor)).await?;
        Ok(tx.commit().await?)
    }

    /// Takes back what blocks after `to` said: they are not part of the chain any more. Without `to`, nothing is watched.
    ///
    /// # Errors
    /// [`JournalError::Statement`].
    pub async fn unlearn(&self, to: Option<(BlockNumber, B256)>) -> Result<(), JournalError> {
        let mut tx = self.pool.begin().await?;
        let above = to.map_or(-1, |(number, _)| signed(number.get()));
        for statement in [
            "DELETE FROM settlements WHERE block > $1",
            "UPDATE settlements SET opening_block = NULL, opening_paid = NULL WHERE opening_block > $1",
            "DELETE FROM appended WHERE block > $1",
            "DELETE FROM published WHERE block > $1",
        ] {
            sqlx::query(statement).bind(above).execute(&mut *tx).await?;
        }
        move_cursor(&mut tx, to).await?;
        Ok(tx.commit().await?)
    }

    /// How the chain says that a task was settled.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn settlement(&self, task: TaskId) -> Result<Option<Settlement>, JournalError> {
        type Columns = (i64, String, String, bool, String, Option<Vec<u8>>, Option<i64>);
        let about = task.to_string();
        let found: Option<Columns> = sqlx::query_as(
            "SELECT coalesce(opening_block, block), tx, digest, opened OR opening_block IS NOT NULL, \
                 coalesce(opening_paid, paid), left_out, entry FROM settlements WHERE task = $1",
        )
        .bind(&about)
        .fetch_optional(&self.pool)
        .await?;
        let Some((block, tx, digest, paid, amount, record, entry)) = found else { return Ok(None) };
        let entry = entry.map(|entry| u8::try_from(entry).map_err(wrong(&about))).transpose()?;
        Ok(Some(Settlement {
            block: BlockNumber::new(unsigned(block)),
            tx: tx.parse().map_err(wrong(&about))?,
            digest: digest.parse().map_err(wrong(&about))?,
            paid,
            amount: Amount::new(amount.parse().map_err(wrong(&about))?),
            left_out: record.zip(entry),
        }))
    }

    /// The pairs that were appended to a task, in their order.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn appended(&self, task: TaskId) -> Result<Vec<Append>, JournalError> {
        let about = task.to_string();
        let rows: Vec<(i64, String, String)> =
            sqlx::query_as("SELECT place, worker, commitment FROM appended WHERE task = $1 ORDER BY place")
                .bind(&about)
                .fetch_all(&self.pool)
                .await?;
        let read = |(at, worker, commitment): (i64, String, String)| {
            let worker = worker.parse().map_err(wrong(&about))?;
            Ok((place(at, &about)?, Pair { worker, commitment: commitment.parse().map_err(wrong(&about))? }))
        };
        rows.into_iter().map(read).collect()
    }

    /// The reveals that were published for a root.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn published(&self, root: B256) -> Result<Vec<Published>, JournalError> {
        let about = root.to_string();
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT worker, seed, signature FROM published WHERE root = $1 ORDER BY worker")
                .bind(&about)
                .fetch_all(&self.pool)
                .await?;
        let read = |(worker, seed, signature): (String, String, String)| {
            Ok(Published {
                worker: worker.parse().map_err(wrong(&about))?,
                seed: seed.parse().map_err(wrong(&about))?,
                signature: signature.parse().map_err(wrong(&about))?,
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// The pair that this worker appends to a task itself, under a seed of its own; the same each time.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn own_append(&self, task: TaskId, digest: ResultDigest) -> Result<B256, JournalError> {
        let mut tx = self.pool.begin().await?;
        let commitment = round::own_append(&mut tx, self.worker, task, digest).await?;
        tx.commit().await?;
        Ok(commitment)
    }

    /// A seed is going to be published at this head of the chain: whatever else it hides, and is in no round, is hidden
    /// anew.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn publish(&self, seed: i64, head: BlockNumber) -> Result<(), JournalError> {
        let mut tx = self.pool.begin().await?;
        round::know(&mut tx, seed, head).await?;
        round::renew(&mut tx, self.worker).await?;
        Ok(tx.commit().await?)
    }

    /// Nothing is owed for a task any more: it was paid, or it is over for this worker for the reason given.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn unwatch(&self, task: TaskId, paid: Option<&Settlement>, reason: &str) -> Result<(), JournalError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("UPDATE tasks SET watched = 0 WHERE task = $1").bind(task.to_string()).execute(&mut *tx).await?;
        match paid {
            Some(settlement) if row::enter(&mut tx, task, Phase::Settled).await? => {
                sqlx::query("UPDATE tasks SET digest = $2, earned = $3, tx = $4, manifest = NULL WHERE task = $1")
                    .bind(task.to_string())
                    .bind(settlement.digest.to_string())
                    .bind(settlement.amount.units().to_string())
                    .bind(settlement.tx.to_string())
                    .execute(&mut *tx)
                    .await?;
            }
            Some(_) => {}
            None => {
                ended(&mut tx, task, reason).await?;
            }
        }
        sqlx::query("UPDATE tasks SET assign = '' WHERE task = $1").bind(task.to_string()).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }
}

async fn keep(tx: &mut Transaction<'_, Sqlite>, block: BlockNumber, fact: &Fact) -> Result<(), JournalError> {
    match fact {
        Fact::Settled(task, settlement) => {
            let (record, entry) = settlement.left_out.clone().unzip();
            sqlx::query(
                "INSERT INTO settlements (task, block, tx, digest, opened, paid, left_out, entry) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
            )
            .bind(task.to_string())
            .bind(signed(block.get()))
            .bind(settlement.tx.to_string())
            .bind(settlement.digest.to_string())
            .bind(settlement.paid)
            .bind(settlement.amount.units().to_string())
            .bind(record)
            .bind(entry.map(i64::from))
            .execute(&mut **tx)
            .await?;
        }
        Fact::Appended(task, first, pairs) => {
            for (at, pair) in pairs.iter().enumerate() {
                sqlx::query(
                    "INSERT INTO appended (task, place, block, worker, commitment) VALUES ($1, $2, $3, $4, $5) \
                     ON CONFLICT DO NOTHING",
                )
                .bind(task.to_string())
                .bind(i64::try_from(first + at).expect("a chain has at most 64 pairs"))
                .bind(signed(block.get()))
                .bind(pair.worker.to_string())
                .bind(pair.commitment.to_string())
                .execute(&mut **tx)
                .await?;
            }
        }
        Fact::Published(root, reveal) => {
            sqlx::query(
                "INSERT INTO published (root, worker, block, seed, signature) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(root.to_string())
            .bind(reveal.worker.to_string())
            .bind(signed(block.get()))
            .bind(reveal.seed.to_string())
            .bind(reveal.signature.to_string())
            .execute(&mut **tx)
            .await?;
        }
        Fact::Opened(task, paid) => {
            sqlx::query("UPDATE settlements SET opening_paid = $2, opening_block = $3 WHERE task = $1")
                .bind(task.to_string())
                .bind(paid.units().to_string())
                .bind(signed(block.get()))
                .execute(&mut **tx)
                .await?;
        }
    }
    Ok(())
}

async fn move_cursor(tx: &mut Transaction<'_, Sqlite>, to: Option<(BlockNumber, B256)>) -> Result<(), JournalError> {
    sqlx::query("DELETE FROM watch_cursor").execute(&mut **tx).await?;
    if let Some((number, hash)) = to {
        sqlx::query("INSERT INTO watch_cursor (one, number, hash) VALUES (1, $1, $2)")
            .bind(signed(number.get()))
            .bind(hash.to_string())
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}
