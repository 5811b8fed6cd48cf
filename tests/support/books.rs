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
    consensus::slashed_score,
    payout::{self, Payout},
    round::{EndedTask, LeftOut, Payee, Standing, Voice, weigh},
    single::SingleList,
};
use eyre::{ContextCompat as _, ensure};
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
    /// The worker's score.
    pub score: u32,
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
    /// Paid to all that agreed.
    Agreed {
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
    /// Of replicated tasks that were settled: how each pair stood, and who was credited what.
    pub agreements: BTreeMap<u32, Agreement>,
}

/// How a replicated task was settled.
#[derive(Debug, Clone)]
pub struct Agreement {
    /// The workers that were weighed, and how their pairs stood.
    pub workers: Vec<(Address, Standing)>,
    /// What was credited then.
    pub payout: Payout,
    /// What each left-out pair earns when it is opened.
    pub shares: BTreeMap<Address, u128>,
    /// Workers that were left out and have opened since.
    pub opened: Vec<Address>,
    /// Workers that never opened, and were punished.
    pub punished: Vec<Address>,
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
    /// What is kept for pairs that were left out of a settlement.
    pub kept: u128,
}

impl Books {
    /// Reads the books at the head, and checks them: each task ended at most once, each account, bond and deal is as the
    /// contract says, and the contract's tokens are theirs to the last unit. They are never older than what the caller has
    /// seen of the contract's state.
    ///
    /// # Errors
    /// The node does not answer, or the books don't add up.
    pub async fn audited(chain: &Chain) -> eyre::Result<Self> {
        let (head, _) = chain.head().await?;
        let books = Self::read(chain, head).await?;
        let agrees = books.compare(chain, head).await.is_ok();
        if agrees && chain.head().await?.0 == head {
            return Ok(books);
        }
        // While the node mines, it answers for its last block from the state of the next: the caller may have seen that.
        chain.pass_block(head).await?;
        let (head, _) = chain.head().await?;
        let books = Self::read(chain, head).await?;
        if books.compare(chain, head).await.is_err() {
            chain.pass_block(head).await?;
            books.compare(chain, head).await?;
        }
        Ok(books)
    }

    /// What the events up to a block say.
    async fn read(chain: &Chain, head: BlockNumber) -> eyre::Result<Self> {
        let mut books = Self::default();
        for log in chain.logs(head).await? {
            books.enter(&log)?;
        }
        Ok(books)
    }

    /// An account's money; nothing if it never had any.
    pub fn money(&self, account: Address) -> Money {
        self.accounts.get(&account).copied().unwrap_or_default()
    }

    /// What there is in all, burnt and kept units included.
    pub fn total(&self) -> u128 {
        let accounts: u128 = self.accounts.values().map(|money| money.free + money.locked).sum();
        let bonds: u128 = self.bonds.values().map(|bond| bond.bonded + bond.unbonding).sum();
        accounts + bonds + self.burnt + self.kept
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
                let bond = Bond { owner: e.owner, bonded: 0, unbonding: 0, score: 0 };
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
            Event::TasksSettled(e) => self.enter_agreements(&e, tx)?,
            Event::ShareOpened(e) => self.enter_opening(&e)?,
            Event::WorkerPunished(e) => self.enter_punishment(&e)?,
            Event::RoundClosed(_) | Event::PairsAppended(_) | Event::RevealPublished(_) => {}
            Event::ResultDelivered(e) => {
                let deal = self.deal(e.deal)?;
                ensure!(e.callback == deal.terms.callback, "delivered to {}", e.callback);
                ensure!(deal.endings.contains_key(&e.index), "task {} is delivered before its end", e.index);
            }
            Event::EpochRaised(_) | Event::OrderApproved(_) | Event::OrderCancelled(_) => {}
            Event::DealSponsored(_) | Event::ListSkipped(_) | Event::EIP712DomainChanged(_) => {}
        }
        Ok(())
    }

    fn enter_match(&mut self, event: &IBerth::DealMatched) -> eyre::Result<()> {
        let terms = DealTerms::abi_decode(&event.terms.abi_encode())?;
        ensure!(terms.id().get() == event.deal, "the terms of deal {} are another's", event.deal);
        let (price, stake) = (terms.price().units(), terms.poolStake);
        self.lock(terms.payer, price * u128::from(terms.size))?;
        self.lock(terms.poolOwner, stake * u128::from(terms.size))?;
        let earlier =
            self.deals.insert(event.deal, Deal { terms, endings: BTreeMap::new(), agreements: BTreeMap::new() });
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

    fn enter_opening(&mut self, e: &IBerth::ShareOpened) -> eyre::Result<()> {
        let deal = self.deals.get_mut(&e.deal).wrap_err("an unknown deal")?;
        let pool = B256::from(deal.terms.pool);
        let agreement = deal.agreements.get_mut(&e.index).wrap_err("nothing was settled")?;
        let share = agreement.shares.get(&e.worker).wrap_err("its pair was not left out")?;
        ensure!(e.paid == *share || e.paid == 0, "{} was paid {}, not {share}", e.worker, e.paid);
        ensure!(!agreement.opened.contains(&e.worker), "{} opened twice", e.worker);
        agreement.opened.push(e.worker);
        let bond = self.bond(pool, e.worker)?;
        bond.score += u32::from(e.scored);
        let owner = bond.owner;
        self.kept -= e.paid;
        self.gain(owner, e.paid);
        Ok(())
    }

    fn enter_punishment(&mut self, e: &IBerth::WorkerPunished) -> eyre::Result<()> {
        let deal = self.deals.get_mut(&e.deal).wrap_err("an unknown deal")?;
        let (pool, stake) = (B256::from(deal.terms.pool), deal.terms.workerStake);
        let agreement = deal.agreements.get_mut(&e.index).wrap_err("nothing was settled")?;
        ensure!(!agreement.opened.contains(&e.worker), "{} opened, and is punished", e.worker);
        ensure!(!agreement.punished.contains(&e.worker), "{} is punished twice", e.worker);
        agreement.punished.push(e.worker);
        let bond = self.bond(pool, e.worker)?;
        let slashed = stake.min(bond.bonded + bond.unbonding);
        ensure!(e.slashed == slashed, "{} lost {}, not {slashed}", e.worker, e.slashed);
        ensure!(e.score == slashed_score(bond.score), "{} keeps a score of {}", e.worker, e.score);
        let from_bonded = slashed.min(bond.bonded);
        bond.bonded -= from_bonded;
        bond.unbonding -= slashed - from_bonded;
        bond.score = e.score;
        self.burnt += slashed;
        Ok(())
    }

    fn enter_agreements(&mut self, event: &IBerth::TasksSettled, tx: B256) -> eyre::Result<()> {
        let terms = self.deal(event.deal)?.terms.clone();
        let pool = B256::from(terms.pool);
        let workers = Payee::parse(&event.workers)?;
        let left_out = LeftOut::parse(&event.leftOut)?;
        // Scores are read once, before anything is paid.
        let bonds: Vec<Bond> =
            workers.iter().map(|payee| self.bond(pool, payee.worker.get()).copied()).collect::<Result<_, _>>()?;
        let mut paid = vec![(0_u128, 0_u32); workers.len()];
        for task in EndedTask::parse(&event.tasks)? {
            let entry = |rank: usize| {
                left_out.iter().find(|entry| (entry.index, entry.worker) == (task.index, workers[rank].worker))
            };
            let ranks: Vec<usize> = task.pairs.iter().map(|pair| usize::from(pair.rank)).collect();
            let voices: Vec<Voice> = task
                .pairs
                .iter()
                .zip(&ranks)
                .map(|(pair, rank)| Voice {
                    opens: entry(*rank).is_none(),
                    covered: pair.paid,
                    score: bonds[*rank].score,
                })
                .collect();
            let verdict = weigh(terms.trust, &voices);
            ensure!(verdict.accepted, "task {} was settled without enough weight", task.index);
            let owners: Vec<_> = ranks.iter().map(|rank| Some(AccountAddr::new(bonds[*rank].owner))).collect();
            let payout = payout::replicated(&terms, task.digest, &verdict, &owners);
            let mut shares = BTreeMap::new();
            for ((standing, share), rank) in verdict.pairs.iter().zip(&ranks) {
                let due = payout::share(&terms, task.digest, *share, verdict.total).units();
                match standing {
                    Standing::Opened => {
                        paid[*rank].0 += due;
                        paid[*rank].1 += u32::from(verdict.scores(task.digest.is_failure()));
                    }
                    Standing::LeftOut => {
                        let kept = entry(*rank).wrap_err("a pair left out of the record")?;
                        ensure!((kept.share, kept.total) == (*share, verdict.total), "{kept:?} has another share");
                        shares.insert(workers[*rank].worker.get(), due);
                    }
                    Standing::Refused => {}
                }
            }
            self.kept += payout.kept_back.units();
            self.burnt += payout.burnt.units();
            self.end(event.deal, task.index, (Ending::Agreed { digest: task.digest }, tx), &payout)?;
            let standings = verdict.pairs.iter().zip(&ranks);
            let agreement = Agreement {
                workers: standings.map(|((standing, _), rank)| (workers[*rank].worker.get(), *standing)).collect(),
                payout,
                shares,
                opened: Vec::new(),
                punished: Vec::new(),
            };
            let deal = self.deals.get_mut(&event.deal).wrap_err("an unknown deal")?;
            deal.agreements.insert(task.index, agreement);
        }
        for (payee, (paid, scored)) in workers.iter().zip(paid) {
            ensure!(payee.paid.units() == paid, "{} was paid {}, not {paid}", payee.worker, payee.paid);
            ensure!(payee.scored == scored, "{} gained {}, not {scored}", payee.worker, payee.scored);
            self.bond(pool, payee.worker.get())?.score += scored;
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
            let same = (said.owner, said.bonded, said.unbonding, said.score)
                == (bond.owner, bond.bonded, bond.unbonding, bond.score);
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
