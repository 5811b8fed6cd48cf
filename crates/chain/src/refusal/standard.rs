//! What the standard library under the contracts says when it refuses.

use super::Revert;
use alloy::{
    primitives::{B256, U256},
    sol,
    sol_types::SolInterface as _,
};

sol! {
    /// The errors of OpenZeppelin that reach a caller, of all contracts.
    #[derive(Debug, PartialEq, Eq)]
    interface Library {
        error AddressEmptyCode(address target);
        error FailedCall();
        error ReentrancyGuardReentrantCall();
        error SafeERC20FailedOperation(address token);
        error ECDSAInvalidSignature();
        error ECDSAInvalidSignatureLength(uint256 length);
        error ECDSAInvalidSignatureS(bytes32 s);
        error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
        error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
        error ERC20InvalidApprover(address approver);
        error ERC20InvalidReceiver(address receiver);
        error ERC20InvalidSender(address sender);
        error ERC20InvalidSpender(address spender);
        error ERC2612ExpiredSignature(uint256 deadline);
        error ERC2612InvalidSigner(address signer, address owner);
        error InvalidAccountNonce(address account, uint256 currentNonce);
        error InvalidShortString();
        error StringTooLong(string str);
        error PermitToken_NotLocal(uint256 chainId);
        error ERC721IncorrectOwner(address sender, uint256 tokenId, address owner);
        error ERC721InsufficientApproval(address operator, uint256 tokenId);
        error ERC721InvalidApprover(address approver);
        error ERC721InvalidOperator(address operator);
        error ERC721InvalidOwner(address owner);
        error ERC721InvalidReceiver(address receiver);
        error ERC721InvalidSender(address sender);
        error ERC721NonexistentToken(uint256 tokenId);
    }
}
use Library::LibraryErrors as Said;

/// Reads what the library, or the local token, reverted with; `None` if it is none of these.
#[expect(clippy::wildcard_enum_match_arm, reason = "`told` has the others: they are all alike to callers")]
pub(super) fn read(data: &[u8]) -> Option<Revert> {
    Some(match Said::abi_decode(data).ok()? {
        Said::ERC20InsufficientBalance(e) => {
            Revert::TokenBalance { account: e.sender, has: e.balance, needed: e.needed }
        }
        Said::ERC20InsufficientAllowance(e) => {
            Revert::TokenAllowance { spender: e.spender, allowed: e.allowance, needed: e.needed }
        }
        Said::ERC2612ExpiredSignature(e) => Revert::PermitExpired { deadline: e.deadline },
        Said::PermitToken_NotLocal(e) => Revert::NotLocal { chain_id: e.chainId },
        Said::ERC721NonexistentToken(e) => Revert::NoAsset { token: e.tokenId },
        other => {
            let (sentence, hint) = told(&other);
            Revert::Standard { sentence, hint }
        }
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "`read` has a variant for each that is left")]
fn told(error: &Said) -> (String, &'static str) {
    match error {
        Said::AddressEmptyCode(e) => {
            (format!("there is no contract at {}", e.target), "check that the addresses are those of this chain")
        }
        Said::FailedCall(_) => ("a call to another contract failed and gave no reason".into(), GAS_OR_TOKEN),
        Said::ReentrancyGuardReentrantCall(_) => (
            "the contract was called from within a call to it".into(),
            "call it from outside: neither a token nor a callback may call it back",
        ),
        Said::SafeERC20FailedOperation(e) => (format!("the token at {} did not move the money", e.token), GAS_OR_TOKEN),
        Said::ECDSAInvalidSignature(_) => ("the signature is nobody's".into(), SIGN_AGAIN),
        Said::ECDSAInvalidSignatureLength(e) => {
            (format!("a signature has 65 bytes, or 64 in its short form, not {}", e.length), SIGN_AGAIN)
        }
        Said::ECDSAInvalidSignatureS(e) => {
            let (s, half) = (e.s, "the upper half of the curve's order");
            (format!("the signature's s is {}, in {half}", word(s)), SIGN_AGAIN)
        }
        Said::InvalidAccountNonce(e) => (
            format!(
                "the signature was used already, or is for later: the next nonce of {} is {}",
                e.account, e.currentNonce
            ),
            "sign a new permit, with that nonce",
        ),
        Said::InvalidShortString(_) => ("a name in the token's code is malformed".into(), REPORT),
        Said::StringTooLong(e) => (format!("the name `{}` is too long for the token's code", e.str), REPORT),
        other => of_parties(other),
    }
}

/// What is wrong with who takes part in a transfer or an approval.
#[expect(clippy::wildcard_enum_match_arm, reason = "`told` and `read` have the others")]
fn of_parties(error: &Said) -> (String, &'static str) {
    match error {
        Said::ERC20InvalidApprover(e) => (format!("{} can't approve anybody for its tokens", e.approver), NOT_ZERO),
        Said::ERC20InvalidReceiver(e) => (format!("{} can't receive tokens", e.receiver), NOT_ZERO),
        Said::ERC20InvalidSender(e) => (format!("{} can't send tokens", e.sender), NOT_ZERO),
        Said::ERC20InvalidSpender(e) => (format!("{} can't be approved for tokens", e.spender), NOT_ZERO),
        Said::ERC2612InvalidSigner(e) => (
            format!("the permit for the money of {} was signed by {}, or over other values", e.owner, e.signer),
            "sign it with the account that pays, for this contract, amount and deadline",
        ),
        Said::ERC721IncorrectOwner(e) => (
            format!("asset {} belongs to {}, not to {}", word(e.tokenId.into()), e.owner, e.sender),
            "let its owner transfer it",
        ),
        Said::ERC721InsufficientApproval(e) => (
            format!("{} may not transfer asset {}", e.operator, word(e.tokenId.into())),
            "let its owner transfer it, or approve that account for it",
        ),
        Said::ERC721InvalidApprover(e) => (
            format!("{} does not own the asset that it would approve somebody for", e.approver),
            "let its owner approve",
        ),
        Said::ERC721InvalidOperator(e) => (format!("{} can't be approved for assets", e.operator), NOT_ZERO),
        Said::ERC721InvalidOwner(e) => (format!("{} can't own assets", e.owner), NOT_ZERO),
        Said::ERC721InvalidReceiver(e) => (
            format!("{} can't receive assets", e.receiver),
            "name an account, or a contract that says that it takes ERC-721 tokens",
        ),
        Said::ERC721InvalidSender(e) => (format!("{} can't send assets", e.sender), NOT_ZERO),
        other => (format!("{other:?}"), REPORT),
    }
}

const GAS_OR_TOKEN: &str = "check the token's own rules (pauses, lists of blocked accounts), and that the gas suffices";
const SIGN_AGAIN: &str = "sign again: 65 bytes r, s, v with a low s, as every wallet gives";
const NOT_ZERO: &str = "name an account that somebody has the key of";
const REPORT: &str = "this is a fault of the contract's code: report it with the whole message";

/// A word as ids are written.
fn word(word: B256) -> String {
    format!("{word:?}")
}

/// What a contract's own checks say by their code.
pub(super) fn panic(code: U256) -> (String, &'static str) {
    let what = match u64::try_from(code) {
        Ok(0x01) => "an assertion failed",
        Ok(0x11) => "a number left its range",
        Ok(0x12) => "something was divided by zero",
        Ok(0x21) => "a number names no value of its type",
        Ok(0x22) => "a stored text is malformed",
        Ok(0x31) => "something was taken from an empty list",
        Ok(0x32) => "an index is outside its list",
        Ok(0x41) => "too much memory was asked for",
        Ok(0x51) => "a function was called that is not there",
        Ok(_) | Err(_) => "a check of its own failed",
    };
    let sentence = format!("the contract stopped itself: {what} (panic {code})");
    (
        sentence,
        "check the values given, above all sizes and amounts; if they make sense, report it with the whole message",
    )
}
