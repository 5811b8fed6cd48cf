//! What contracts say when they refuse, in types.

use crate::{
    bindings::{assets::Assets::AssetsErrors, berth::IBerth::IBerthErrors, token::PermitToken::PermitTokenErrors},
    class::Class,
};
use alloy::{
    primitives::Bytes,
    sol_types::{Panic, Revert as Message, SolError, SolInterface as _},
};
use core::fmt;

/// Why a contract refuses a call.
#[derive(Debug)]
pub enum Revert {
    /// `Berth` or `Recourse` says so.
    Berth(IBerthErrors),
    /// `Assets` says so.
    Assets(AssetsErrors),
    /// The settlement token says so.
    Token(PermitTokenErrors),
    /// A contract says so in words.
    Message(String),
    /// A contract's own check of its arithmetic or arrays failed.
    Panic(u64),
    /// It gives no reason: out of gas, or a call to what is no contract.
    Silent,
    /// It gives a reason that none of our contracts has.
    Unknown(Bytes),
}

impl Revert {
    /// Reads the data of a revert.
    pub fn decode(data: &[u8]) -> Self {
        if data.is_empty() {
            return Self::Silent;
        }
        if let Ok(error) = IBerthErrors::abi_decode(data) {
            return Self::Berth(error);
        }
        if let Ok(error) = AssetsErrors::abi_decode(data) {
            return Self::Assets(error);
        }
        if let Ok(error) = PermitTokenErrors::abi_decode(data) {
            return Self::Token(error);
        }
        if let Ok(message) = Message::abi_decode(data) {
            return Self::Message(message.reason);
        }
        if let Ok(panic) = Panic::abi_decode(data) {
            return Self::Panic(panic.code.saturating_to());
        }
        Self::Unknown(Bytes::copy_from_slice(data))
    }

    /// What to do about it: what our contracts and tokens refuse is refused; a panic or a reason that none of them has
    /// is a bug.
    pub const fn class(&self) -> Class {
        match self {
            Self::Berth(_) | Self::Assets(_) | Self::Token(_) | Self::Message(_) | Self::Silent => Class::Refused,
            Self::Panic(_) | Self::Unknown(_) => Class::Bug,
        }
    }
}
impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
impl Revert {
    /// hint
    pub fn hint(&self) -> Option<String> {
        None
    }
}
