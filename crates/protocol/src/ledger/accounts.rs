//! Money in and out, and who owns which asset.

use super::{Event, Ledger, Refusal};
use crate::{AccountAddr, Amount, AssetId, AssetKind};
use alloy_primitives::{Address, B256, U256};

/// The longest descriptor of an asset.
pub(super) const MAX_DESCRIPTOR_BYTES: usize = 8_192;

/// An amount of money that was checked to be no more than what the contract holds.
pub(super) fn amount(units: U256) -> Amount {
    Amount::new(units.try_into().expect("the contract holds below 2^128"))
}

fn plus(a: Amount, b: Amount) -> Amount {
    a.checked_add(b).expect("the contract holds below 2^128")
}

fn minus(a: Amount, b: Amount) -> Amount {
    a.checked_sub(b).expect("nothing takes more than was put in")
}

impl Ledger {
    pub(super) fn deposit(&mut self, sender: Address, account: Address, arrived: U256) -> Result<Vec<Event>, Refusal> {
        if account.is_zero() {
            return Err(Refusal::BadRecipient { recipient: account });
        }
        let before = U256::from(self.held.units());
        let held = before.saturating_add(arrived);
        if held > U256::from(u128::MAX) {
            return Err(Refusal::HeldTooLarge { held });
        }
        let (account, arrived) = (AccountAddr::new(account), amount(arrived));
        self.held = amount(held);
        self.credit(account, arrived);
        Ok(vec![Event::Deposited { account, from: sender, amount: arrived }])
    }

    pub(super) fn withdraw(&mut self, sender: Address, to: Address, wanted: U256) -> Result<Vec<Event>, Refusal> {
        if to.is_zero() || to == self.domain.berth {
            return Err(Refusal::BadRecipient { recipient: to });
        }
        let account = AccountAddr::new(sender);
        let amount = self.debit(account, wanted)?;
        self.held = minus(self.held, amount);
        Ok(vec![Event::Withdrawn { account, to, amount }])
    }

    pub(super) fn register(&mut self, sender: Address, kind: u8, descriptor: &str) -> Result<Vec<Event>, Refusal> {
        let known = AssetKind::from_byte(kind).ok_or(Refusal::UnknownKind { kind })?;
        if descriptor.is_empty() || descriptor.len() > MAX_DESCRIPTOR_BYTES {
            let length = U256::from(descriptor.len());
            return Err(Refusal::BadDescriptorLength { length });
        }
        let asset = AssetId::derive(known, sender, descriptor.as_bytes());
        if self.assets.contains_key(&asset) {
            return Err(Refusal::AlreadyRegistered { asset: asset.get() });
        }
        let creator = AccountAddr::new(sender);
        self.assets.insert(asset, creator);
        Ok(vec![Event::AssetRegistered { asset, creator, descriptor: descriptor.to_owned() }])
    }

    /// Assets' own refusals are ERC-721's and none of this model: only an owner's gift to another account changes
    /// anything here.
    pub(super) fn give(&mut self, sender: Address, asset: B256, to: Address) -> Vec<Event> {
        let from = AccountAddr::new(sender);
        let Some(asset) = AssetId::new(asset) else {
            return Vec::new();
        };
        if self.assets.get(&asset) != Some(&from) || to.is_zero() {
            return Vec::new();
        }
        let to = AccountAddr::new(to);
        self.assets.insert(asset, to);
        vec![Event::AssetGiven { asset, from, to }]
    }

    /// Adds to an account's free money.
    pub(super) fn credit(&mut self, holder: AccountAddr, more: Amount) {
        let account = self.accounts.entry(holder).or_default();
        account.free = plus(account.free, more);
    }

    /// Takes from an account's free money.
    pub(super) fn debit(&mut self, holder: AccountAddr, needed: U256) -> Result<Amount, Refusal> {
        let free = self.account(holder).free;
        if U256::from(free.units()) < needed {
            return Err(Refusal::FreeTooSmall { account: holder, free: U256::from(free.units()), needed });
        }
        let taken = amount(needed);
        self.accounts.entry(holder).or_default().free = minus(free, taken);
        Ok(taken)
    }

    /// Moves free money to locked.
    pub(super) fn lock(&mut self, holder: AccountAddr, needed: U256) -> Result<(), Refusal> {
        let moved = self.debit(holder, needed)?;
        let account = self.accounts.entry(holder).or_default();
        account.locked = plus(account.locked, moved);
        Ok(())
    }

    /// Takes from an account's locked money, which whoever calls this gives to somebody or burns.
    pub(super) fn unlock(&mut self, holder: AccountAddr, taken: Amount) {
        let account = self.accounts.entry(holder).or_default();
        account.locked = minus(account.locked, taken);
    }

    /// Counts money that stays in the contract for ever.
    pub(super) fn burn(&mut self, more: Amount) {
        self.burnt = plus(self.burnt, more);
    }

    /// Keeps money back for pairs that did not open.
    pub(super) fn keep_back(&mut self, more: Amount) {
        self.kept_back = plus(self.kept_back, more);
    }

    /// Gives back what was kept, to whoever calls this.
    pub(super) fn take_back(&mut self, less: Amount) {
        self.kept_back = minus(self.kept_back, less);
    }
}
