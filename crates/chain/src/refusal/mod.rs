//! What contracts say when they refuse, in types.

use crate::Class;
use alloy::{
    primitives::{Address, Bytes, U256, utils::format_units},
    sol_types::{Panic, Revert as Message, SolError as _},
};
use berth_protocol::{Timestamp, ledger::Refusal};
use thiserror::Error;

mod hint;
mod standard;
#[cfg(test)]
mod tests;

/// Why a contract refuses a call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Revert {
    /// `Berth`, `Recourse` or `Assets` says so, in the protocol's words.
    #[error(transparent)]
    Contract(#[from] Refusal),
    /// An account has too little of the settlement token.
    #[error("{account} has {has} base units of the token and needs {needed} base units")]
    TokenBalance {
        /// The account.
        account: Address,
        /// What it has.
        has: U256,
        /// What is needed.
        needed: U256,
    },
    /// The contract may take too little of the settlement token.
    #[error("{spender} may take {allowed} base units of the token and needs {needed} base units")]
    TokenAllowance {
        /// Who would take it.
        spender: Address,
        /// How much it may take.
        allowed: U256,
        /// What is needed.
        needed: U256,
    },
    /// A permit was signed for a time that is over.
    #[error("the permit was good until {}", date(*deadline))]
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
    #[error("{sentence}")]
    Standard {
        /// What it says.
        sentence: String,
        /// What the user can do.
        hint: &'static str,
    },
    /// A contract says so in words.
    #[error("{0}")]
    Message(String),
    /// A contract's own check of its arithmetic or arrays failed.
    #[error("{}", standard::panic(U256::from(*.0)).0)]
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
        if let Some(known) = standard::read(data) {
            return known;
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
            | Self::Standard { .. }
            | Self::Message(_)
            | Self::Silent => Class::Refused,
            Self::Panic(_) | Self::Unknown(_) => Class::Bug,
        }
    }

    /// What the user can do. Amounts are in base units; [`Revert::tell`] says them in tokens.
    pub fn hint(&self) -> String {
        self.remedy(&Unit::BASE)
    }

    /// The sentence and what to do, with amounts in tokens.
    pub fn tell(&self, unit: &Unit) -> (String, String) {
        (self.sentence(unit).unwrap_or_else(|| self.to_string()), self.remedy(unit))
    }

    /// The sentence of those that name amounts.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others name no amount: what they say needs no unit")]
    fn sentence(&self, unit: &Unit) -> Option<String> {
        let show = |amount: U256| unit.show(amount);
        Some(match self {
            Self::TokenBalance { account, has, needed } => {
                format!("{account} has {} and needs {}", show(*has), show(*needed))
            }
            Self::TokenAllowance { spender, allowed, needed } => {
                format!("{spender} may take {} and needs {}", show(*allowed), show(*needed))
            }
            Self::Contract(refusal) => match *refusal {
                Refusal::FreeTooSmall { account, free, needed } => {
                    format!("account {account} has {} free and needs {}", show(free), show(needed))
                }
                Refusal::HeldTooLarge { held } => {
                    format!("the contract would hold {}, which is more than it can count", show(held))
                }
                Refusal::PriceTooHigh { asset, price, max_price } => {
                    let (price, max_price) = (show(U256::from(price)), show(U256::from(max_price)));
                    format!("asset {asset} costs {price} a task and the request pays at most {max_price}")
                }
                Refusal::BondTooSmall { bonded, needed } => {
                    format!("{} is bonded and {} needed", show(bonded), show(needed))
                }
                Refusal::BondTooLarge { bond } => {
                    format!("a bond of {} is more than the contract can count", show(bond))
                }
                _ => return None,
            },
            _ => return None,
        })
    }

    fn remedy(&self, unit: &Unit) -> String {
        let missing = |has: &U256, needed: &U256| unit.show(needed.saturating_sub(*has));
        match self {
            Self::Contract(Refusal::FreeTooSmall { free, needed, .. }) => {
                format!("deposit {} more: `berth account deposit`", missing(free, needed))
            }
            Self::Contract(refusal) => hint::of(refusal).unwrap_or("the values above are what it refuses").to_owned(),
            Self::TokenBalance { account, has, needed } => format!("send {} to {account}", missing(has, needed)),
            Self::TokenAllowance { spender, needed, .. } => format!("approve {} for {spender}", unit.show(*needed)),
            Self::NotLocal { .. } => "give the address of a token of that chain".to_owned(),
            Self::Silent => "check that the contracts' addresses are those of this chain".to_owned(),
            Self::PermitExpired { .. } => "sign a new permit, good for longer".to_owned(),
            Self::NoAsset { .. } => "check the id, and that the asset is registered on this chain".to_owned(),
            Self::Standard { hint, .. } => (*hint).to_owned(),
            Self::Message(_) => "nothing has changed on chain; mend what the contract complains about".to_owned(),
            Self::Panic(code) => standard::panic(U256::from(*code)).1.to_owned(),
            Self::Unknown(_) => {
                "check that the contracts' addresses are those of this chain, and that this program is of their version"
                    .to_owned()
            }
        }
    }
}

/// In what people count the settlement token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    symbol: std::borrow::Cow<'static, str>,
    decimals: u8,
}

impl Unit {
    const BASE: Self = Self { symbol: std::borrow::Cow::Borrowed("base units"), decimals: 0 };

    /// A token's own.
    pub fn new(symbol: &str, decimals: u8) -> Self {
        Self { symbol: symbol.to_owned().into(), decimals }
    }

    fn show(&self, amount: U256) -> String {
        // A token of more decimals than there are digits is counted in base units.
        let Ok(tokens) = format_units(amount, self.decimals) else { return format!("{amount} base units") };
        let tokens = if tokens.contains('.') { tokens.trim_end_matches('0').trim_end_matches('.') } else { &tokens };
        format!("{tokens} {}", self.symbol)
    }
}

/// A time as contracts write it; far beyond any calendar it stands for never.
fn date(seconds: U256) -> berth_protocol::time::Utc {
    Timestamp::new(seconds.saturating_to()).utc()
}
