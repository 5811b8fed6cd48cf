//! What accounts say on chain of their orders, and what that is worth at a match.

use super::{Event, Ledger, Refusal, Signature, Stance};
use crate::{AccountAddr, OrderHash};
use alloy_primitives::Address;

impl Ledger {
    pub(super) fn raise_epoch(&mut self, sender: Address, given: u64) -> Result<Vec<Event>, Refusal> {
        let account = AccountAddr::new(sender);
        let current = self.epoch_of(account);
        if given <= current {
            return Err(Refusal::EpochNotRaised { current, given });
        }
        self.epochs.insert(account, given);
        Ok(vec![Event::EpochRaised { account, epoch: given }])
    }

    pub(super) fn approve_order(&mut self, sender: Address, order: OrderHash) -> Result<Vec<Event>, Refusal> {
        let account = AccountAddr::new(sender);
        if self.stance_of(account, order) == Some(Stance::Cancelled) {
            return Err(Refusal::OrderRevoked { order, signer: sender });
        }
        self.stances.insert((account, order), Stance::Approved);
        Ok(vec![Event::OrderApproved { account, order }])
    }

    pub(super) fn cancel_order(&mut self, sender: Address, order: OrderHash) -> Vec<Event> {
        let account = AccountAddr::new(sender);
        self.stances.insert((account, order), Stance::Cancelled);
        vec![Event::OrderCancelled { account, order }]
    }

    /// Whoever has to sign has signed, or approved, and has not cancelled.
    pub(super) fn require_vouched(
        &self,
        order: OrderHash,
        signer: Address,
        signature: Signature,
    ) -> Result<(), Refusal> {
        let stance = self.stance_of(AccountAddr::new(signer), order);
        if stance == Some(Stance::Cancelled) {
            return Err(Refusal::OrderRevoked { order, signer });
        }
        match signature {
            Signature::Empty if stance == Some(Stance::Approved) => Ok(()),
            Signature::Empty => Err(Refusal::NotApproved { order, signer }),
            Signature::Of(key) if key == signer || self.wallets.get(&signer) == Some(&key) => Ok(()),
            Signature::Of(_) | Signature::Nobodys => Err(Refusal::BadSignature { signer, digest: order.get() }),
        }
    }
}
