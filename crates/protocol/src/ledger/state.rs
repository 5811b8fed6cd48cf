//! What is kept.

use super::Refusal;
use crate::{
    AccountAddr, Amount, AssetId, DealId, DealTerms, OrderHash, RecordId, ResultDigest, RoundId, TaskId, Timestamp,
    WorkerAddr,
    domain::Domain,
    round::{WORD_TASKS, WordBits},
};
use alloy_primitives::{Address, B256, U256};
use std::collections::{BTreeMap, BTreeSet};

/// The longest span that a contract can be built for: a hundred years.
pub const MAX_SPAN_CEILING_S: u64 = 3_155_760_000;

/// One account's money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// What its holder may withdraw, bond, or pay with.
    pub free: Amount,
    /// What its open deals may still take.
    pub locked: Amount,
}

/// One worker's bond in one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bond {
    /// Who put it up and is paid, for ever.
    pub owner: AccountAddr,
    /// What covers deals.
    pub bonded: Amount,
    /// What is on its way back.
    pub unbonding: Amount,
    /// When that may be withdrawn.
    pub release_at: Timestamp,
    /// The worker's record in the pool.
    pub score: u32,
}

impl Bond {
    /// Whether it covers a deal (ADR 0001, section 3).
    pub fn covers(&self, terms: &DealTerms) -> bool {
        let staying = if self.release_at > terms.deadlines().punish { self.unbonding } else { Amount::ZERO };
        U256::from(self.bonded.units()) + U256::from(staying.units()) >= U256::from(terms.workerStake)
    }
}

/// What is kept of a deal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deal {
    /// How many tasks have not ended.
    pub open: u32,
    /// Whether what was open at the final deadline was claimed.
    pub claimed: bool,
    /// Which tasks were settled or declined, by their place in the deal, from 0.
    pub ended: BTreeSet<u32>,
    /// Which tasks a round has closed, likewise.
    pub closed: BTreeSet<u32>,
}

impl Deal {
    /// Whether the task in this place has ended.
    pub fn has_ended(&self, offset: u32) -> bool {
        self.claimed || self.ended.contains(&offset)
    }

    /// Which tasks of a word have ended and which are closed, as the contract keeps them: a claim sets no bits.
    pub fn word(&self, word: u32) -> (u128, u128) {
        let of = |set: &BTreeSet<u32>| {
            let tasks = WordBits { word, bits: u128::MAX >> (u128::BITS - WORD_TASKS) };
            tasks.offsets().zip(0..).fold(0, |bits, (offset, bit)| bits | u128::from(set.contains(&offset)) << bit)
        };
        (of(&self.ended), of(&self.closed))
    }
}

/// What was appended to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appends {
    /// The hash of all its pairs' chain, those of the leaf included.
    pub chain: B256,
    /// How many these are.
    pub pairs: u8,
}

/// What becomes of a delivery to an address. One that nobody said anything of has no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Receiver {
    /// It takes whatever it is given.
    Takes,
    /// It reverts.
    Fails,
    /// It is the market's own: Berth, Assets or the token.
    Own,
}

/// The bounds that a contract is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    min_duration_s: u32,
    max_duration_s: u32,
    max_span_s: u64,
}

impl Bounds {
    /// Checks and takes the bounds.
    ///
    /// # Errors
    /// [`Refusal::BadBounds`] unless 0 < shortest ≤ longest ≤ span ≤ a hundred years.
    pub const fn new(min_duration_s: u32, max_duration_s: u32, max_span_s: u64) -> Result<Self, Refusal> {
        let good = min_duration_s > 0
            && min_duration_s <= max_duration_s
            && max_duration_s as u64 <= max_span_s
            && max_span_s <= MAX_SPAN_CEILING_S;
        if good {
            Ok(Self { min_duration_s, max_duration_s, max_span_s })
        } else {
            Err(Refusal::BadBounds { min_duration: min_duration_s, max_duration: max_duration_s, max_span: max_span_s })
        }
    }

    /// The shortest duration of a task.
    pub const fn min_duration_s(&self) -> u32 {
        self.min_duration_s
    }

    /// The longest duration of a task.
    pub const fn max_duration_s(&self) -> u32 {
        self.max_duration_s
    }

    /// The longest span of a deal.
    pub const fn max_span_s(&self) -> u64 {
        self.max_span_s
    }

    /// How long a bond takes to be released: past the last punish time of any deal that was matched while it counted.
    pub const fn unbond_delay_s(&self) -> u64 {
        self.max_span_s + 12 * self.max_duration_s as u64 + 1
    }
}

/// What an account has said of one order on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stance {
    /// As good as signed.
    Approved,
    /// For ever worth nothing.
    Cancelled,
}

/// All that the contracts keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    pub(super) domain: Domain,
    pub(super) bounds: Bounds,
    pub(super) accounts: BTreeMap<AccountAddr, Account>,
    pub(super) bonds: BTreeMap<(AssetId, WorkerAddr), Bond>,
    pub(super) deals: BTreeMap<DealId, Deal>,
    pub(super) consumed: BTreeMap<OrderHash, u32>,
    pub(super) epochs: BTreeMap<AccountAddr, u64>,
    pub(super) assets: BTreeMap<AssetId, AccountAddr>,
    pub(super) gates: BTreeMap<Address, BTreeSet<(B256, Address)>>,
    pub(super) wallets: BTreeMap<Address, Address>,
    pub(super) stances: BTreeMap<(AccountAddr, OrderHash), Stance>,
    pub(super) rounds: BTreeSet<RoundId>,
    pub(super) appends: BTreeMap<(DealId, u32), Appends>,
    pub(super) records: BTreeMap<RecordId, U256>,
    pub(super) due: BTreeMap<TaskId, ResultDigest>,
    pub(super) receivers: BTreeMap<Address, Receiver>,
    pub(super) held: Amount,
    pub(super) kept_back: Amount,
    pub(super) burnt: Amount,
}

impl Ledger {
    /// A contract of these bounds, just deployed.
    pub const fn new(domain: Domain, bounds: Bounds) -> Self {
        Self {
            domain,
            bounds,
            accounts: BTreeMap::new(),
            bonds: BTreeMap::new(),
            deals: BTreeMap::new(),
            consumed: BTreeMap::new(),
            epochs: BTreeMap::new(),
            assets: BTreeMap::new(),
            gates: BTreeMap::new(),
            wallets: BTreeMap::new(),
            stances: BTreeMap::new(),
            rounds: BTreeSet::new(),
            appends: BTreeMap::new(),
            records: BTreeMap::new(),
            due: BTreeMap::new(),
            receivers: BTreeMap::new(),
            held: Amount::ZERO,
            kept_back: Amount::ZERO,
            burnt: Amount::ZERO,
        }
    }

    /// Says whom the rule contract at `gate` permits: these (asset, account), and nobody else. One that was never set
    /// permits nobody, as an address without code does.
    pub fn set_gate(&mut self, gate: Address, permitted: BTreeSet<(B256, Address)>) {
        self.gates.insert(gate, permitted);
    }

    /// Says what stands at an address that deals may name as their callback.
    pub fn set_receiver(&mut self, callback: Address, receiver: Receiver) {
        self.receivers.insert(callback, receiver);
    }

    /// Says whose signatures the contract at `wallet` takes for its own (ERC-1271): this key's, and nobody else's.
    pub fn set_wallet(&mut self, wallet: Address, key: Address) {
        self.wallets.insert(wallet, key);
    }

    /// Where it stands.
    pub const fn domain(&self) -> Domain {
        self.domain
    }

    /// What it was built with.
    pub const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// What an account has.
    pub fn account(&self, holder: AccountAddr) -> Account {
        self.accounts.get(&holder).copied().unwrap_or_default()
    }

    /// All accounts that ever had anything.
    pub fn accounts(&self) -> impl Iterator<Item = (AccountAddr, Account)> + '_ {
        self.accounts.iter().map(|(who, account)| (*who, *account))
    }

    /// A worker's bond, if it has an owner.
    pub fn bond_of(&self, pool: AssetId, worker: WorkerAddr) -> Option<Bond> {
        self.bonds.get(&(pool, worker)).copied()
    }

    /// All bonds, by pool and worker.
    pub fn bonds(&self) -> impl Iterator<Item = ((AssetId, WorkerAddr), Bond)> + '_ {
        self.bonds.iter().map(|(key, bond)| (*key, *bond))
    }

    /// What is kept of a deal, if it was ever matched.
    pub fn deal(&self, deal: DealId) -> Option<&Deal> {
        self.deals.get(&deal)
    }

    /// How many tasks of an order are used up; stays zero for an unlimited order.
    pub fn consumed(&self, order: OrderHash) -> u32 {
        self.consumed.get(&order).copied().unwrap_or(0)
    }

    /// All orders of which something is used up.
    pub fn all_consumed(&self) -> impl Iterator<Item = (OrderHash, u32)> + '_ {
        self.consumed.iter().map(|(order, count)| (*order, *count))
    }

    /// The epoch of an account.
    pub fn epoch_of(&self, signer: AccountAddr) -> u64 {
        self.epochs.get(&signer).copied().unwrap_or(0)
    }

    /// What an account has said of an order, or of a sponsorship, on chain.
    pub fn stance_of(&self, signer: AccountAddr, order: OrderHash) -> Option<Stance> {
        self.stances.get(&(signer, order)).copied()
    }

    /// All that was said of orders on chain.
    pub fn stances(&self) -> impl Iterator<Item = ((AccountAddr, OrderHash), Stance)> + '_ {
        self.stances.iter().map(|(key, stance)| (*key, *stance))
    }

    /// Who owns an asset, if it is registered.
    pub fn owner_of(&self, asset: B256) -> Option<AccountAddr> {
        AssetId::new(asset).and_then(|asset| self.assets.get(&asset).copied())
    }

    /// All assets with their owners.
    pub fn assets(&self) -> impl Iterator<Item = (AssetId, AccountAddr)> + '_ {
        self.assets.iter().map(|(asset, owner)| (*asset, *owner))
    }

    /// Whether there is such a round.
    pub fn is_round(&self, round: RoundId) -> bool {
        self.rounds.contains(&round)
    }

    /// All rounds.
    pub fn rounds(&self) -> impl Iterator<Item = RoundId> + '_ {
        self.rounds.iter().copied()
    }

    /// What was appended to a task, by its index.
    pub fn appends_of(&self, deal: DealId, index: u32) -> Option<Appends> {
        self.appends.get(&(deal, index)).copied()
    }

    /// All tasks to which something was appended.
    pub fn appends(&self) -> impl Iterator<Item = ((DealId, u32), Appends)> + '_ {
        self.appends.iter().map(|(task, appends)| (*task, *appends))
    }

    /// Which entries of a record were opened or punished, from the lowest bit on; bit 255 is set. `None`: no such record.
    pub fn record_of(&self, record: RecordId) -> Option<U256> {
        self.records.get(&record).copied()
    }

    /// All records.
    pub fn records(&self) -> impl Iterator<Item = (RecordId, U256)> + '_ {
        self.records.iter().map(|(record, bits)| (*record, *bits))
    }

    /// What a task was settled to, as long as its deal's callback waits for it.
    pub fn due_of(&self, task: TaskId) -> Option<ResultDigest> {
        self.due.get(&task).copied()
    }

    /// All that callbacks wait for.
    pub fn due(&self) -> impl Iterator<Item = (TaskId, ResultDigest)> + '_ {
        self.due.iter().map(|(task, digest)| (*task, *digest))
    }

    /// What the contract holds of the token: all free, locked, bonded and unbonding money, what is kept back for pairs
    /// that were left out, and what was burnt.
    pub const fn held(&self) -> Amount {
        self.held
    }

    /// What is kept back for pairs that were left out: whoever opens them has it, and what nobody opens is burnt.
    pub const fn kept_back(&self) -> Amount {
        self.kept_back
    }

    /// What the contract keeps for ever.
    pub const fn burnt(&self) -> Amount {
        self.burnt
    }
}
