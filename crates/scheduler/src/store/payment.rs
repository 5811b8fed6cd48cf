//! `payment`: who was paid what for a replicated task, and who was not.

use super::{address, amount, hash, signed};
use berth_chain::{BlockNumber, StoreError};
use berth_protocol::{Amount, DealId, TaskId, WorkerAddr};
use sqlx::SqliteConnection;

const TABLE: &str = "payment";

/// Notes what the chain paid; `None`: the worker was left out.
pub(crate) async fn put(
    conn: &mut SqliteConnection,
    task: TaskId,
    worker: WorkerAddr,
    paid: Option<Amount>,
    block: BlockNumber,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO payment (task, worker, paid, block) VALUES ($1, $2, $3, $4)
         ON CONFLICT (task, worker) DO UPDATE SET paid = excluded.paid, block = excluded.block",
    )
    .bind(task.get().to_vec())
    .bind(worker.get().to_vec())
    .bind(paid.map(|paid| paid.to_string()))
    .bind(signed(block.get()))
    .execute(conn)
    .await?;
    Ok(())
}

/// A task, a worker, and what it was paid for the task.
pub(crate) type Payment = (TaskId, WorkerAddr, Option<Amount>);

/// All payments of a deal.
pub(crate) async fn of_deal(conn: &mut SqliteConnection, deal: DealId) -> Result<Vec<Payment>, StoreError> {
    let rows: Vec<(Vec<u8>, Vec<u8>, Option<String>)> = sqlx::query_as(
        "SELECT payment.task, payment.worker, payment.paid FROM payment JOIN task ON task.id = payment.task
         WHERE task.deal = $1 ORDER BY payment.task, payment.worker",
    )
    .bind(deal.get().to_vec())
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(task, worker, paid)| {
            let paid = paid.map(|paid| amount(TABLE, &paid)).transpose()?;
            Ok((TaskId::new(hash(TABLE, &task)?), WorkerAddr::new(address(TABLE, &worker)?), paid))
        })
        .collect()
}

/// Takes back what blocks above `block` paid.
pub(crate) async fn drop_above(conn: &mut SqliteConnection, block: BlockNumber) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM payment WHERE block > $1").bind(signed(block.get())).execute(conn).await?;
    Ok(())
}
