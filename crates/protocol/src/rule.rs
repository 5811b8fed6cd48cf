//! Who may stand on the other side of an order: one word, four meanings (ADR 0001, section 2).

use crate::AssetId;
use alloy_primitives::{Address, B256};
use core::fmt;

/// A decoded rule word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Anyone.
    Any,
    /// This account, or an asset that it owns.
    Account(Address),
    /// Whatever the contract at this address permits.
    Contract(Address),
    /// This asset; for a requester: whoever owns it.
    Asset(B256),
}

const CONTRACT_MARK: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

impl Rule {
    /// What a word means. Every word means something.
    pub fn decode(word: B256) -> Self {
        let account = Address::from_slice(&word[12..]);
        if word.is_zero() {
            Self::Any
        } else if word[..12] == [0; 12] {
            Self::Account(account)
        } else if word[..12] == CONTRACT_MARK {
            Self::Contract(account)
        } else {
            Self::Asset(word)
        }
    }

    /// The word that means this.
    pub fn encode(self) -> B256 {
        match self {
            Self::Any => B256::ZERO,
            Self::Account(account) => account.into_word(),
            Self::Contract(account) => {
                let mut word = account.into_word();
                word[..12].copy_from_slice(&CONTRACT_MARK);
                word
            }
            Self::Asset(asset) => asset,
        }
    }

    /// Whether it admits an asset with its owner (or, without an asset, a bare account). `None`: only the contract, or
    /// for a requester only who owns the asset, can say.
    pub fn admits(self, asset: Option<AssetId>, account: Address) -> Option<bool> {
        match (self, asset) {
            (Self::Any, _) => Some(true),
            (Self::Account(wanted), _) => Some(wanted == account),
            (Self::Asset(wanted), Some(asset)) => Some(wanted == asset.get()),
            (Self::Asset(_), None) | (Self::Contract(_), _) => None,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("a rule that admits anyone"),
            Self::Account(account) => write!(f, "a rule that admits only {account} and its assets"),
            Self::Contract(contract) => write!(f, "a rule that asks the contract at {contract}"),
            Self::Asset(asset) => write!(f, "a rule that admits only asset {asset}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_survives_its_word() {
        let account = Address::repeat_byte(7);
        for rule in [Rule::Any, Rule::Account(account), Rule::Contract(account), Rule::Asset(B256::repeat_byte(9))] {
            assert_eq!(Rule::decode(rule.encode()), rule);
        }
    }
}
