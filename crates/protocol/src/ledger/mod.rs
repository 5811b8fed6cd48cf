//! The reference model of `Berth.sol` and `Assets.sol`: the same calls, checks, events and balances, without a chain.
//!
//! A [`Call`] by a sender at a time either changes the [`Ledger`] and gives [`Event`]s, or is refused with the
//! [`Refusal`] that the contract would revert with, and changes nothing. Checks come in the contract's order, so that
//! a call with several faults is refused for the same one. Signatures are abstracted: a call says whose they are.
//!
//! Of what is outside, three things are given: what the token lets arrive (a deposit says so itself), what contracts that
//! stand in orders as rules, or as callbacks, answer ([`Ledger::set_gate`], [`Ledger::set_receiver`]), and what contracts
//! that sign orders take for their signature ([`Ledger::set_wallet`]). Gas is not counted.
//!
//! In the order of a task's life: [`state`] is what is kept, [`call`] what can be asked, `accounts`, `bonds`, `stances`,
//! `matching`, `closing`, `settling`, `recourse`, `ending` and `delivering` answer it with [`event`] or [`refusal`].

pub mod call;
pub mod event;
pub mod refusal;
pub mod state;

mod accounts;
mod bonds;
mod closing;
mod delivering;
mod ending;
mod matching;
mod recourse;
mod settling;
mod stances;
mod wording;

pub use call::{Assignments, Call, Consent, Contribution, List, Orders, Signature, Signers, TableRow};
pub use event::Event;
pub use refusal::Refusal;
pub use state::{Account, Appends, Bond, Bounds, Deal, Ledger, Receiver, Stance};

use crate::{DealTerms, Timestamp, round::ClosedRound};
use alloy_primitives::{Address, B256};

impl Ledger {
    /// What `sender`'s call does in a block of time `now`.
    ///
    /// # Errors
    /// The [`Refusal`] that the contract would revert with; the ledger is then as it was.
    pub fn apply(&mut self, call: &Call, sender: Address, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        // Some checks come after the first effects, as in the contract, whose revert takes these back.
        let before = self.clone();
        let result = self.answer(call, sender, now);
        if result.is_err() {
            *self = before;
        }
        result
    }

    fn answer(&mut self, call: &Call, sender: Address, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match call {
            Call::Deposit { account, amount } => self.deposit(sender, *account, *amount),
            Call::Withdraw { to, amount } => self.withdraw(sender, *to, *amount),
            Call::Register { kind, descriptor } => self.register(sender, *kind, descriptor),
            Call::Give { asset, to } => Ok(self.give(sender, *asset, *to)),
            Call::Match { orders, signers, consent: None } => self.match_orders(orders, signers, sender, now),
            Call::Match { orders, signers, consent: Some(consent) } => {
                self.match_sponsored(orders, signers, consent, now)
            }
            Call::ApproveOrder { order } => self.approve_order(sender, *order),
            Call::CancelOrder { order } => Ok(self.cancel_order(sender, *order)),
            Call::Multicall { calls } => {
                calls.iter().try_fold(Vec::new(), |told, call| Ok([told, self.answer(call, sender, now)?].concat()))
            }
            Call::RaiseEpoch { epoch } => self.raise_epoch(sender, *epoch),
            Call::Bond { pool, worker, amount, enlistment } => {
                self.bond(sender, (*pool, *worker), *amount, *enlistment)
            }
            Call::Unbond { pool, worker, amount } => self.unbond(sender, (*pool, *worker), *amount, now),
            Call::WithdrawBond { pool, worker } => self.withdraw_bond(sender, (*pool, *worker), now),
            Call::SettleSingles { terms, lists } => self.settle_singles(terms, lists, sender, now),
            Call::Decline { terms, indexes } => self.decline(terms, indexes, sender, now),
            Call::Claim { terms } => self.claim(terms, now),
            Call::Close { root, deals } => self.close(*root, deals, sender, now),
            Call::Append { terms, index, round, leaf, proof, added } => {
                let shown = Shown { terms, round, proof };
                self.append(shown, *index, (leaf, added), sender, now)
            }
            Call::AppendAssigned { terms, index, pair, assignment, signer } => {
                self.append_assigned(terms, *index, *pair, (*assignment, *signer), now)
            }
            Call::Settle { terms, round, workers, tasks, proof } => {
                self.settle(Shown { terms, round, proof }, workers, tasks, now)
            }
            Call::SettleOne { terms, index, digest, round, leaf, proof, appended } => {
                let shown = Shown { terms, round, proof };
                self.settle_one(shown, (*index, *digest), (leaf, appended), now)
            }
            Call::Publish { root, worker, seed, signer } => self.publish(*root, *worker, *seed, *signer),
            Call::Open { terms, left_out, openings } => self.open(terms, left_out, openings, now),
            Call::Punish { terms, left_out, evidence } => self.punish(terms, left_out, evidence, now),
            Call::Deliver { terms, index, manifest, result } => self.deliver(terms, *index, *manifest, result),
        }
    }
}

/// A closed round, as a call shows it for tasks of one deal.
#[derive(Clone, Copy)]
struct Shown<'a> {
    terms: &'a DealTerms,
    round: &'a ClosedRound,
    proof: &'a [B256],
}
