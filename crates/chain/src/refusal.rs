//! What contracts say when they refuse, in types.

use crate::{
    Class,
    bindings::{assets::Assets::AssetsErrors, token::PermitToken::PermitTokenErrors},
};
use alloy::{
    primitives::{Address, Bytes, U256},
    sol_types::{Panic, Revert as Message, SolError as _, SolInterface as _},
};
use berth_protocol::ledger::Refusal;
use thiserror::Error;

/// Why a contract refuses a call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Revert {
    /// `Berth`, `Recourse` or `Assets` says so, in the protocol's words.
    #[error(transparent)]
    Contract(#[from] Refusal),
    /// An account has too little of the settlement token.
    #[error("{account} has {has} base units of the token and needs {needed}")]
    TokenBalance {
        /// The account.
        account: Address,
        /// What it has.
        has: U256,
        /// What is needed.
        needed: U256,
    },
    /// The contract may take too little of the settlement token.
    #[error("{spender} may take {allowed} base units of the token and needs {needed}")]
    TokenAllowance {
        /// Who would take it.
        spender: Address,
        /// How much it may take.
        allowed: U256,
        /// What is needed.
        needed: U256,
    },
    /// A permit was signed for a time that is over.
    #[error("the permit was good until {deadline}")]
    PermitExpired {
        /// Its end, in seconds since 1970.
        deadline: U256,
    },
    /// The local token can't be deployed to a chain that is not local.
    #[error("the local token is for local chains, not for chain {chain_id}")]
    NotLocal {
        /// The chain.
        chain_id: U256,
    },
    /// There is no asset with this token id.
    #[error("there is no asset {token:#066x}")]
    NoAsset {
        /// The token id.
        token: U256,
    },
    /// The token or the asset contract says so in another way of its own (its standard library's).
    #[error("{0}")]
    Standard(String),
    /// A contract says so in words.
    #[error("{0}")]
    Message(String),
    /// A contract's own check of its arithmetic or arrays failed.
    #[error("the contract panicked with code {0:#x}")]
    Panic(u64),
    /// It gives no reason.
    #[error("the contract gives no reason: it ran out of gas, or there is no contract")]
    Silent,
    /// It gives a reason that none of our contracts has.
    #[error("the contract gives a reason that is not known: {0}")]
    Unknown(Bytes),
}

impl Revert {
    /// Reads the data of a revert.
    pub fn decode(data: &[u8]) -> Self {
        if data.is_empty() {
            return Self::Silent;
        }
        if let Some(refusal) = Refusal::decode(data) {
            return Self::Contract(refusal);
        }
        if let Ok(error) = PermitTokenErrors::abi_decode(data) {
            return of_token(error);
        }
        if let Ok(error) = AssetsErrors::abi_decode(data) {
            return if let AssetsErrors::ERC721NonexistentToken(error) = error {
                Self::NoAsset { token: error.tokenId }
            } else {
                Self::Standard(format!("{error:?}"))
            };
        }
        if let Ok(message) = Message::abi_decode(data) {
            return Self::Message(message.reason);
        }
        if let Ok(panic) = Panic::abi_decode(data) {
            return Self::Panic(panic.code.saturating_to());
        }
        Self::Unknown(Bytes::copy_from_slice(data))
    }

    /// What to do about it: a panic, or a reason that none of our contracts has, is a bug.
    pub const fn class(&self) -> Class {
        match self {
            Self::Contract(refusal) => refusal.class(),
            Self::TokenBalance { .. } | Self::TokenAllowance { .. } => Class::Retry,
            Self::PermitExpired { .. }
            | Self::NotLocal { .. }
            | Self::NoAsset { .. }
            | Self::Standard(_)
            | Self::Message(_)
            | Self::Silent => Class::Refused,
            Self::Panic(_) | Self::Unknown(_) => Class::Bug,
        }
    }

    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Contract(Refusal::FreeTooSmall { free, needed, .. }) => {
                let missing = needed.saturating_sub(*free);
                Some(format!("deposit {missing} base units more: `berth account deposit`"))
            }
            Self::TokenBalance { account, has, needed } => {
                Some(format!("send {} base units of the token to {account}", needed.saturating_sub(*has)))
            }
            Self::TokenAllowance { spender, needed, .. } => {
                Some(format!("approve {needed} base units of the token for {spender}"))
            }
            Self::Contract(refusal) => of_round(refusal).map(str::to_owned),
            Self::NotLocal { .. } => Some("give the address of a token of that chain".to_owned()),
            Self::Silent => Some("check that the contracts' addresses are those of this chain".to_owned()),
            Self::PermitExpired { .. }
            | Self::NoAsset { .. }
            | Self::Standard(_)
            | Self::Message(_)
            | Self::Panic(_)
            | Self::Unknown(_) => None,
        }
    }
}

/// What whoever closes, settles, opens, punishes or delivers can do.
#[expect(clippy::wildcard_enum_match_arm, reason = "the refusals of accounts, orders and bonds say it themselves")]
const fn of_round(refusal: &Refusal) -> Option<&'static str> {
    Some(match refusal {
        Refusal::NotReplicated { .. } => "settle its tasks by their workers' lists of results",
        Refusal::BadBits { .. } => "close 1 to 64 words, rising within a deal, with bits of tasks that the deal has",
        Refusal::AlreadyClosed { .. } => "read the deal's state again, and close only what is open",
        Refusal::UnknownRound { .. } => "show root and words as the round's event tells them, once it is in the chain",
        Refusal::NotInRound { .. } => "show the round that closed the task, and its tasks in the order of their leaves",
        Refusal::TaskClosed { .. } => "show the round that closed the task",
        Refusal::TaskEnded { .. } => "nothing is left to do for this task",
        Refusal::RootMismatch { .. } => "check digest, pairs and seeds of each task, and the proof of their leaves",
        Refusal::ChainMismatch { .. } => "show all appended pairs, in the order of their events",
        Refusal::BadPairCount { .. } => "show 1 to 64 pairs, and append at least one",
        Refusal::WorkerNotAscending { .. } => "sort the workers by address, each once",
        Refusal::BadTasksLength { .. } => "pack 1 to 256 tasks, each with the commitments of its pairs that don't open",
        Refusal::BadRank { .. } => "number the pairs' workers by their places in the table, rising",
        Refusal::NotRevealed { .. } => "show the worker's reveal in the table, or its commitment in the task",
        Refusal::TooLittleWeight { .. } => "wait for more reveals, or append further workers' pairs",
        Refusal::UnknownRecord { .. } => "show the left-out pairs exactly as the settlement's event tells them",
        Refusal::BadEntry { .. } => "count the entries from 0",
        Refusal::NothingDue { .. } => {
            "it may have been delivered, or be unsettled or a failure: `berth task show` tells"
        }
        Refusal::WrongResult { .. } => "show the sha256 of the task's manifest, and the callback's bytes as they are",
        Refusal::BadCallback { .. } => "nobody can deliver it: name a contract of your own in the next request",
        Refusal::NoContract { .. } => "check the address, and that the contract is on this chain",
        Refusal::GasTooLow { .. } => "give the transaction more gas: the callback has a right to 200,000",
        Refusal::CallbackFailed { .. } => "ask its owner why it fails, or give it more gas; it may be tried again",
        Refusal::WrongSalt { .. } => "open it with keccak(seed, task), if its answer is the settled digest at all",
        _ => return None,
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rest of the standard library's errors are all alike to us")]
fn of_token(error: PermitTokenErrors) -> Revert {
    match error {
        PermitTokenErrors::ERC20InsufficientBalance(e) => {
            Revert::TokenBalance { account: e.sender, has: e.balance, needed: e.needed }
        }
        PermitTokenErrors::ERC20InsufficientAllowance(e) => {
            Revert::TokenAllowance { spender: e.spender, allowed: e.allowance, needed: e.needed }
        }
        PermitTokenErrors::ERC2612ExpiredSignature(e) => Revert::PermitExpired { deadline: e.deadline },
        PermitTokenErrors::PermitToken_NotLocal(e) => Revert::NotLocal { chain_id: e.chainId },
        other => Revert::Standard(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::{berth::IBerth::IBerthErrors, token::PermitToken};
    use alloy::primitives::address;

    #[test]
    fn every_error_of_the_contracts_is_in_the_protocol_or_the_token() {
        for selector in IBerthErrors::SELECTORS {
            let data = [&selector[..], &[0; 128]].concat();
            let known = (0..=4).any(|words| Refusal::decode(&data[..4 + 32 * words]).is_some());
            assert!(known, "{} is no refusal of the protocol", alloy::primitives::hex::encode(selector));
        }
    }

    #[test]
    fn reverts_say_what_is_missing_and_what_to_do() {
        let owner = address!("00000000000000000000000000000000000000aa");
        let error =
            PermitToken::ERC20InsufficientBalance { sender: owner, balance: U256::from(2), needed: U256::from(9) };
        let revert = Revert::decode(&error.abi_encode());
        assert_eq!(revert, Revert::TokenBalance { account: owner, has: U256::from(2), needed: U256::from(9) });
        assert!(revert.hint().is_some_and(|hint| hint.contains("send 7 base units")));
        assert_eq!(Revert::decode(&[]), Revert::Silent);
        assert_eq!(Revert::decode(&[1, 2, 3, 4]).class(), Class::Bug);
        assert_eq!(Revert::decode(&Message::from("no".to_owned()).abi_encode()), Revert::Message("no".to_owned()));
        assert_eq!(Revert::decode(&Panic { code: U256::from(0x11) }.abi_encode()), Revert::Panic(0x11));
    }
}
