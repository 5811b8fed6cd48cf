//! Who gets what when a task ends (ADR 0001, section 3, Money). Whatever a deal locked for a task leaves it here, once.

use crate::{
    AccountAddr, Amount, DealTerms, ResultDigest, Timestamp,
    round::{Standing, Verdict},
};

/// How a task's locked money moves. The parts add up to the task's price and pool stake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payout {
    /// Credited to free balances: app owner, dataset owner, workers' owners, pool owner, payer, in this order, without
    /// zeros. One account may stand there more than once.
    pub credits: Vec<(AccountAddr, Amount)>,
    /// Kept back of the price for pairs that did not open.
    pub kept_back: Amount,
    /// Burnt of the price: the shares of pairs without cover.
    pub burnt: Amount,
    /// Credited back to the pool owner's free balance from its lock.
    pub stake_returned: Amount,
    /// Burnt of the pool owner's lock.
    pub stake_burnt: Amount,
}

impl Payout {
    fn new(
        credits: impl IntoIterator<Item = (alloy_primitives::Address, Amount)>,
        returned: Amount,
        burnt: Amount,
    ) -> Self {
        let credits = credits
            .into_iter()
            .filter(|(_, amount)| *amount > Amount::ZERO)
            .map(|(account, amount)| (AccountAddr::new(account), amount))
            .collect();
        let none = Amount::ZERO;
        Self { credits, kept_back: none, burnt: none, stake_returned: returned, stake_burnt: burnt }
    }
}

/// The part of a task's price that app, dataset and pool owners divide with the workers, for this result.
struct Earned {
    app: Amount,
    dataset: Amount,
    fee: Amount,
}

impl Earned {
    fn of(terms: &DealTerms, digest: ResultDigest) -> Self {
        let pool_price = Amount::new(terms.poolPrice);
        if digest.is_failure() {
            Self { app: Amount::ZERO, dataset: Amount::ZERO, fee: pool_price.tenth() }
        } else {
            Self { app: Amount::new(terms.appPrice), dataset: Amount::new(terms.datasetPrice), fee: pool_price }
        }
    }

    /// What goes back to the payer.
    fn rest(&self, terms: &DealTerms) -> Amount {
        [self.app, self.dataset, self.fee].into_iter().fold(terms.price(), minus)
    }
}

fn plus(one: Amount, other: Amount) -> Amount {
    one.checked_add(other).expect("parts of a price add up to no more than it")
}

fn minus(whole: Amount, part: Amount) -> Amount {
    whole.checked_sub(part).expect("a rounded-down part is no larger than its whole")
}

/// A single-worker task that settles to `digest`.
pub fn single(terms: &DealTerms, digest: ResultDigest, worker_owner: AccountAddr) -> Payout {
    let earned = Earned::of(terms, digest);
    let pot = terms.workers_pot(earned.fee);
    let credits = [
        (terms.appOwner, earned.app),
        (terms.datasetOwner, earned.dataset),
        (worker_owner.get(), pot),
        (terms.poolOwner, minus(earned.fee, pot)),
        (terms.payer, earned.rest(terms)),
    ];
    Payout::new(credits, Amount::new(terms.poolStake), Amount::ZERO)
}

/// What a pair of this share of `total` earns in a task that settles to `digest`, rounded down: the pool's owner gains.
pub fn share(terms: &DealTerms, digest: ResultDigest, share: u8, total: u16) -> Amount {
    terms.workers_pot(Earned::of(terms, digest).fee).fraction(u32::from(share), u32::from(total))
}

/// A replicated task that settles to `digest` by this verdict (ADR 0003, section 4). `owners` are those of the weighed
/// pairs' workers, in the pairs' order; only those of opened pairs are looked at, and these are there.
pub fn replicated(
    terms: &DealTerms,
    digest: ResultDigest,
    verdict: &Verdict,
    owners: &[Option<AccountAddr>],
) -> Payout {
    let earned = Earned::of(terms, digest);
    let mut credits = vec![(terms.appOwner, earned.app), (terms.datasetOwner, earned.dataset)];
    let (mut pool, mut kept_back, mut burnt) = (earned.fee, Amount::ZERO, Amount::ZERO);
    for ((standing, part), owner) in verdict.pairs.iter().zip(owners) {
        let due = share(terms, digest, *part, verdict.total);
        pool = minus(pool, due);
        match standing {
            Standing::Opened => credits.push((owner.expect("a bond that covers has an owner").get(), due)),
            Standing::Refused => burnt = plus(burnt, due),
            Standing::LeftOut => kept_back = plus(kept_back, due),
        }
    }
    credits.extend([(terms.poolOwner, pool), (terms.payer, earned.rest(terms))]);
    Payout { kept_back, burnt, ..Payout::new(credits, Amount::new(terms.poolStake), Amount::ZERO) }
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
