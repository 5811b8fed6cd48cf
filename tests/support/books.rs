//! Every wei: what the contract's logs say of all accounts, bonds and deals, added up by the protocol's own rules, and
//! compared with what the contract says.

use crate::chain::Chain;
use alloy::{
    primitives::{Address, B256, U256},
    rpc::types::Log,
    sol_types::{SolEventInterface as _, SolValue as _},
};
use berth_chain::{
    BlockNumber,
    bindings::berth::IBerth::{self, IBerthEvents as Event},
};
use berth_protocol::{
    AccountAddr, DealTerms, ResultDigest, Timestamp,
    payout::{self, Payout},
    single::SingleList,
};
use eyre::{ContextCompat as _, bail, ensure};
use std::collections::BTreeMap;

/// What an account has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Money {
    /// Free.
    pub free: u128,
    /// Locked in deals.
    pub locked: u128,
}

/// What stands behind a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bond {
    /// Whose it is.
    pub owner: Address,
    /// What counts.
    pub bonded: u128,
    /// What is on its way back.
    pub unbonding: u128,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Paid.
    Settled {
        /// Who was.
        worker: Address,
        /// What came out.
        digest: ResultDigest,
    },
    /// Given back by the operator.
    Declined,
    /// Given back after the final deadline.
    Claimed,
}

/// A deal, and how its tasks ended.
#[derive(Debug, Clone)]
pub struct Deal {
    /// Its terms.
    pub terms: DealTerms,
    /// By index, with the transaction.
    pub endings: BTreeMap<u32, (Ending, B256)>,
}

/// The state of all money at one block.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// Everybody who ever had money there.
    pub accounts: BTreeMap<Address, Money>,
    /// By pool and worker.
    pub bonds: BTreeMap<(B256, Address), Bond>,
    /// By id.
    pub deals: BTreeMap<B256, Deal>,
    /// What nobody will ever have again.
    pub burnt: u128,
}

impl Books {
    /// Reads the books at the head, and checks them: each task ended at most once, each account, bond and deal is as the
    /// contract says, and the contract's tokens are theirs to the last unit.
    ///
    /// # Errors
    /// The node does not answer, or the books don't add up.
    pub async fn audited(chain: &Chain) -> eyre::Result<Self> {
        let (head, _) = chain.head().await?;
        let mut books = Self::default();
        for log in chain.logs(head).await? {
            books.enter(&log)?;
        }
        books.compare(chain, head).await?;
        Ok(books)
    }

    /// An account's money; nothing if it never had any.
    pub fn money(&self, account: Address) -> Money {
        self.accounts.get(&account).copied().unwrap_or_default()
    }

    /// What there is in all, burnt units included.
    pub fn total(&self) -> u128 {
        let accounts: u128 = self.accounts.values().map(|money| money.free + money.locked).sum();
        let bonds: u128 = self.bonds.values().map(|bond| bond.bonded + bond.unbonding).sum();
        accounts + bonds + self.burnt
    }

    fn enter(&mut self, log: &Log) -> eyre::Result<()> {
        let tx = log.transaction_hash.wrap_err("a log of a mined block has a transaction")?;
        match Event::decode_log(&log.inner)?.data {
            Event::Deposited(e) => self.gain(e.account, e.amount.to::<u128>()),
            Event::Withdrawn(e) => self.spend(e.account, e.amount.to::<u128>())?,
            Event::DealMatched(e) => self.enter_match(&e)?,
            Event::SinglesSettled(e) => self.enter_settlement(&e, tx)?,
            Event::TasksDeclined(e) => {
                let ending = payout::declined as fn(&DealTerms, Timestamp) -> Payout;
                // The contract says whether the stake came back in time; the rules get a time that fits.
                for index in e.indexes {
                    let terms = &self.deal(e.deal)?.terms;
                    let now = if e.stakeReturned { 0 } else { u64::MAX };
                    let payout = ending(terms, Timestamp::new(now));
                    self.end(e.deal, index, (Ending::Declined, tx), &payout)?;
                }
            }
            Event::DealClaimed(e) => {
                let deal = self.deal(e.deal)?;
                let payout = payout::claimed(&deal.terms);
                let open: Vec<u32> = deal.terms.indexes().filter(|i| !deal.endings.contains_key(i)).collect();
                ensure!(
                    open.len() == usize::try_from(e.tasks)?,
                    "a claim of {} tasks, {} are open",
                    e.tasks,
                    open.len()
                );
                for index in open {
                    self.end(e.deal, index, (Ending::Claimed, tx), &payout)?;
                }
            }
            Event::WorkerEnlisted(e) => {
                let bond = Bond { owner: e.owner, bonded: 0, unbonding: 0 };
                let earlier = self.bonds.insert((e.pool, e.worker), bond);
                ensure!(earlier.is_none(), "{} is enlisted twice", e.worker);
            }
            Event::Bonded(e) => {
                let bond = self.bond(e.pool, e.worker)?;
                bond.bonded += e.amount;
                let owner = bond.owner;
                self.spend(owner, e.amount)?;
            }
            Event::Unbonded(e) => {
                let bond = self.bond(e.pool, e.worker)?;
                bond.bonded -= e.amount;
                bond.unbonding += e.amount;
            }
            Event::BondWithdrawn(e) => {
                let bond = self.bond(e.pool, e.worker)?;
                bond.unbonding -= e.amount;
                let owner = bond.owner;
                self.gain(owner, e.amount);
            }
            Event::TasksSettled(_) | Event::ShareOpened(_) | Event::WorkerPunished(_) => {
                bail!("the books don't know replicated tasks yet")
            }
            Event::RoundClosed(_) | Event::PairsAppended(_) | Event::RevealPublished(_) => {}
            Event::EpochRaised(_) | Event::ListSkipped(_) | Event::EIP712DomainChanged(_) => {}
        }
        Ok(())
    }

    fn enter_match(&mut self, event: &IBerth::DealMatched) -> eyre::Result<()> {
        let terms = DealTerms::abi_decode(&event.terms.abi_encode())?;
        ensure!(terms.id().get() == event.deal, "the terms of deal {} are another's", event.deal);
        let (price, stake) = (terms.price().units(), terms.poolStake);
        self.lock(terms.payer, price * u128::from(terms.size))?;
        self.lock(terms.poolOwner, stake * u128::from(terms.size))?;
        let earlier = self.deals.insert(event.deal, Deal { terms, endings: BTreeMap::new() });
        ensure!(earlier.is_none(), "deal {} is matched twice", event.deal);
        Ok(())
    }

    fn enter_settlement(&mut self, event: &IBerth::SinglesSettled, tx: B256) -> eyre::Result<()> {
        let terms = self.deal(event.deal)?.terms.clone();
        let owner = self.bond(B256::from(terms.pool), event.worker)?.owner;
        for (index, digest) in SingleList::decode(&terms, &event.entries)?.entries() {
            let ending = Ending::Settled { worker: event.worker, digest: *digest };
            let payout = payout::single(&terms, *digest, AccountAddr::new(owner));
            self.end(event.deal, *index, (ending, tx), &payout)?;
        }
        Ok(())
    }

    fn end(&mut self, deal: B256, index: u32, ending: (Ending, B256), payout: &Payout) -> eyre::Result<()> {
        let found = self.deals.get_mut(&deal).wrap_err("an unknown deal")?;
        let earlier = found.endings.insert(index, ending);
        ensure!(earlier.is_none(), "task {index} of deal {deal} ended twice");
        let terms = found.terms.clone();
        self.unlock(terms.payer, terms.price().units())?;
        self.unlock(terms.poolOwner, terms.poolStake)?;
        for (account, amount) in &payout.credits {
            self.gain(account.get(), amount.units());
        }
        self.gain(terms.poolOwner, payout.stake_returned.units());
        self.burnt += payout.stake_burnt.units();
        Ok(())
    }

    fn deal(&self, deal: B256) -> eyre::Result<&Deal> {
        self.deals.get(&deal).wrap_err_with(|| format!("deal {deal} was never matched"))
    }

    fn bond(&mut self, pool: B256, worker: Address) -> eyre::Result<&mut Bond> {
        self.bonds.get_mut(&(pool, worker)).wrap_err_with(|| format!("worker {worker} was never enlisted"))
    }

    fn gain(&mut self, account: Address, amount: u128) {
        self.accounts.entry(account).or_default().free += amount;
    }

    fn spend(&mut self, account: Address, amount: u128) -> eyre::Result<()> {
        let money = self.accounts.entry(account).or_default();
        money.free = money.free.checked_sub(amount).wrap_err_with(|| format!("{account} spends what it has not"))?;
        Ok(())
    }

    fn lock(&mut self, account: Address, amount: u128) -> eyre::Result<()> {
        self.spend(account, amount)?;
        self.accounts.entry(account).or_default().locked += amount;
        Ok(())
    }

    fn unlock(&mut self, account: Address, amount: u128) -> eyre::Result<()> {
        let money = self.accounts.entry(account).or_default();
        money.locked = money.locked.checked_sub(amount).wrap_err_with(|| format!("{account} has not that locked"))?;
        Ok(())
    }

    async fn compare(&self, chain: &Chain, at: BlockNumber) -> eyre::Result<()> {
        for (holder, money) in &self.accounts {
            let said = chain.view(chain.berth, &IBerth::accountCall { holder: *holder }, at).await?;
            ensure!((said.free, said.locked) == (money.free, money.locked), "{holder} has {said:?}, not {money:?}");
        }
        for ((pool, worker), bond) in &self.bonds {
            let said = chain.view(chain.berth, &IBerth::bondOfCall { pool: *pool, worker: *worker }, at).await?;
            let same = (said.owner, said.bonded, said.unbonding) == (bond.owner, bond.bonded, bond.unbonding);
            ensure!(same, "behind {worker} stands {said:?}, not {bond:?}");
        }
        for (id, deal) in &self.deals {
            let said = chain.view(chain.berth, &IBerth::dealStateCall { deal: *id }, at).await?;
            let open = deal.terms.size - u32::try_from(deal.endings.len())?;
            ensure!(said.open == open, "deal {id} has {} open tasks, not {open}", said.open);
        }
        let held = chain.tokens(chain.berth, at).await?;
        ensure!(held == U256::from(self.total()), "the contract holds {held}, and owes {}", self.total());
        Ok(())
    }
}
