//! What `berth run --json` and `berth task result --json` print, held against the chain.

use crate::{
    books::{Books, Ending, Money},
    chain::Chain,
};
use alloy::primitives::{Address, B256};
use berth_protocol::{AccountAddr, ResultDigest, payout};
use eyre::{ContextCompat as _, ensure};
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};

/// A deal whose tasks have ended.
#[derive(Debug, Clone, Deserialize)]
pub struct Receipt {
    /// Which.
    pub deal: B256,
    /// How it was made.
    #[serde(rename = "match")]
    pub matched: Transaction,
    /// Its tasks, by index.
    pub tasks: Vec<Task>,
}

/// A transaction.
#[derive(Debug, Clone, Deserialize)]
pub struct Transaction {
    /// Its hash.
    pub transaction: B256,
    /// Its block.
    pub block: u64,
    /// What it cost; of an ending, the task's share.
    pub gas: Option<u64>,
}

/// A task that has ended.
#[derive(Debug, Clone, Deserialize)]
pub struct Task {
    /// Its id.
    pub task: B256,
    /// Its index.
    pub index: u32,
    /// `settled`, `declined`, `claimed`.
    pub ended: String,
    /// Who got what.
    pub paid: Vec<Paid>,
    /// The transaction that ended it.
    pub ending: Transaction,
    /// Who was paid for it.
    pub worker: Option<Address>,
    /// What came out.
    pub digest: Option<B256>,
    /// Whether all that was downloaded is what the chain says.
    #[serde(default)]
    pub verified: bool,
    /// The job's exit code.
    pub exit: Option<i32>,
    /// A failure's code.
    pub failure: Option<String>,
    /// A failure's reason.
    pub detail: Option<String>,
    /// Standard output, if that is the result and nothing was kept.
    pub stdout: Option<String>,
    /// Where its files are.
    pub folder: Option<PathBuf>,
}

/// A payment.
#[derive(Debug, Clone, Deserialize)]
pub struct Paid {
    /// To whom.
    pub account: Address,
    /// What that is in this deal.
    pub roles: Vec<String>,
    /// How much, in base units.
    pub amount: String,
}

/// A deal that was made, and is not waited for.
#[derive(Debug, Clone, Deserialize)]
pub struct Detached {
    /// Which.
    pub deal: B256,
    /// Its tasks' ids, by index.
    pub tasks: Vec<B256>,
}

impl Receipt {
    /// The only task.
    ///
    /// # Errors
    /// There are others.
    pub fn only(&self) -> eyre::Result<&Task> {
        ensure!(self.tasks.len() == 1, "{} tasks", self.tasks.len());
        Ok(&self.tasks[0])
    }

    /// Demands that every number in it is the chain's, and that between the two states of the books exactly this deal's
    /// payments were made: to each account what the protocol's rules say, to nobody anything else.
    ///
    /// # Errors
    /// Something differs.
    pub async fn require_true(&self, chain: &Chain, before: &Books, after: &Books) -> eyre::Result<()> {
        let deal = after.deals.get(&self.deal).wrap_err("the chain does not know the deal")?;
        ensure!(!before.deals.contains_key(&self.deal), "the deal is older than that");
        ensure!(self.tasks.len() == usize::try_from(deal.terms.size)?, "the deal has {} tasks", deal.terms.size);
        let (gas, _, block) = chain.receipt(self.matched.transaction).await?;
        ensure!((self.matched.gas, self.matched.block) == (Some(gas), block), "the match cost {gas}, in block {block}");

        let mut expected: BTreeMap<Address, Money> = before.accounts.clone();
        let mut gained = |account: Address, amount: u128| expected.entry(account).or_default().free += amount;
        let (mut burnt, mut kept) = (before.burnt, before.kept);
        for task in &self.tasks {
            let (ending, transaction) = deal.endings.get(&task.index).wrap_err("a task has not ended")?;
            ensure!(task.ending.transaction == *transaction, "task {} ended in {transaction}", task.index);
            let (_, _, block) = chain.receipt(*transaction).await?;
            ensure!(task.ending.block == block, "task {} ended in block {block}", task.index);
            ensure!(task.task == deal.terms.task(task.index)?.get(), "task {} has another id", task.index);
            let payout = match ending {
                Ending::Settled { worker, digest } => {
                    ensure!(task.ended == "settled" && task.worker == Some(*worker), "{task:?} is not {ending:?}");
                    ensure!(task.digest.and_then(ResultDigest::new) == Some(*digest), "{task:?} is not {ending:?}");
                    let bond = after.bonds.get(&(B256::from(deal.terms.pool), *worker)).wrap_err("no bond")?;
                    payout::single(&deal.terms, *digest, AccountAddr::new(bond.owner))
                }
                Ending::Agreed { digest } => {
                    ensure!(task.ended == "settled" && task.worker.is_none(), "{task:?} is not {ending:?}");
                    ensure!(task.digest.and_then(ResultDigest::new) == Some(*digest), "{task:?} is not {ending:?}");
                    let agreement = deal.agreements.get(&task.index).wrap_err("no agreement")?;
                    kept += agreement.payout.kept_back.units();
                    burnt += agreement.payout.burnt.units();
                    agreement.payout.clone()
                }
                Ending::Declined => payout::declined(&deal.terms, deal.terms.stake_returns_until()),
                Ending::Claimed => payout::claimed(&deal.terms),
            };
            let said: Vec<_> = task.paid.iter().map(|paid| (paid.account, paid.amount.clone())).collect();
            let due: Vec<_> = payout.credits.iter().map(|(to, amount)| (to.get(), amount.to_string())).collect();
            ensure!(said == due, "task {} paid {due:?}, and the receipt says {said:?}", task.index);
            for (account, amount) in &payout.credits {
                gained(account.get(), amount.units());
            }
            gained(deal.terms.poolOwner, payout.stake_returned.units());
            burnt += payout.stake_burnt.units();
        }
        let size = u128::from(deal.terms.size);
        for (account, locked) in
            [(deal.terms.payer, deal.terms.price().units()), (deal.terms.poolOwner, deal.terms.poolStake)]
        {
            let money = expected.entry(account).or_default();
            money.free = money.free.checked_sub(locked * size).wrap_err("more was locked than there was")?;
        }
        for (account, money) in &expected {
            ensure!(
                after.money(*account) == *money,
                "{account} has {:?}, and should have {money:?}",
                after.money(*account)
            );
        }
        ensure!(after.accounts.len() == expected.len(), "an account came out of nowhere");
        ensure!((after.burnt, after.kept) == (burnt, kept), "something was burnt, or kept back");
        ensure!(after.total() == before.total(), "something was lost");
        Ok(())
    }
}
