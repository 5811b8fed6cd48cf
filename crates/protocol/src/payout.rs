//! Who gets what when a task ends (ADR 0001, section 3, Money). Whatever a deal locked for a task leaves it here, once.

use crate::{AccountAddr, Amount, DealTerms, ResultDigest, Timestamp};

/// How a task's locked money moves. The parts add up to the task's price and pool stake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payout {
    /// Credited to free balances: app owner, dataset owner, worker's owner, pool owner, payer, in this order, without
    /// zeros. One account may stand there more than once.
    pub credits: Vec<(AccountAddr, Amount)>,
    /// Credited back to the pool owner's free balance from its lock.
    pub stake_returned: Amount,
    /// Burnt of the pool owner's lock.
    pub stake_burnt: Amount,
}

impl Payout {
    fn new(credits: [(alloy_primitives::Address, Amount); 5], returned: Amount, burnt: Amount) -> Self {
        let credits = credits
            .into_iter()
            .filter(|(_, amount)| *amount > Amount::ZERO)
            .map(|(account, amount)| (AccountAddr::new(account), amount))
            .collect();
        Self { credits, stake_returned: returned, stake_burnt: burnt }
    }
}

fn minus(whole: Amount, part: Amount) -> Amount {
    whole.checked_sub(part).expect("a rounded-down part is no larger than its whole")
}

/// A single-worker task that settles to `digest`.
pub fn single(terms: &DealTerms, digest: ResultDigest, worker_owner: AccountAddr) -> Payout {
    let pool_price = Amount::new(terms.poolPrice);
    let (app, dataset, fee) = if digest.is_failure() {
        (Amount::ZERO, Amount::ZERO, pool_price.tenth())
    } else {
        (Amount::new(terms.appPrice), Amount::new(terms.datasetPrice), pool_price)
    };
    let pot = terms.workers_pot(fee);
    let paid = [app, dataset, fee].into_iter().fold(terms.price(), minus);
    Payout::new(
        [
            (terms.appOwner, app),
            (terms.datasetOwner, dataset),
            (worker_owner.get(), pot),
            (terms.poolOwner, minus(fee, pot)),
            (terms.payer, paid),
        ],
        Amount::new(terms.poolStake),
        Amount::ZERO,
    )
}

fn refund(terms: &DealTerms, returned: Amount, burnt: Amount) -> Payout {
    let nobody = (alloy_primitives::Address::ZERO, Amount::ZERO);
    Payout::new([nobody, nobody, nobody, nobody, (terms.payer, terms.price())], returned, burnt)
}

/// A task that the operator declines at `now`.
pub fn declined(terms: &DealTerms, now: Timestamp) -> Payout {
    let stake = Amount::new(terms.poolStake);
    if now <= terms.stake_returns_until() {
        refund(terms, stake, Amount::ZERO)
    } else {
        refund(terms, Amount::ZERO, stake)
    }
}

/// A task claimed after the final deadline.
pub fn claimed(terms: &DealTerms) -> Payout {
    refund(terms, Amount::ZERO, Amount::new(terms.poolStake))
}
