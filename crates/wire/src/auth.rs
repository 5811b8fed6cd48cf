//! Signing in: EIP-4361 (Sign-In with Ethereum) for requesters. Workers sign [`berth_protocol::domain::Session`] on
//! their socket instead.

use alloy::primitives::{Address, Bytes, Signature};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// `POST /v1/auth/challenge`: who wants to sign in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeRequest {
    /// The account.
    pub address: Address,
}

/// The server's answer: the text to sign with `personal_sign`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Challenge {
    /// The whole EIP-4361 message.
    pub message: String,
}

/// `POST /v1/auth/session`: the signed text.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRequest {
    /// As the challenge gave it.
    pub message: String,
    /// 65 bytes.
    pub signature: Bytes,
}

/// A session: `Authorization: Bearer <token>`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    /// The bearer token.
    pub token: String,
    /// Seconds since 1970 at which it ends.
    pub expires: u64,
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// The members of a sign-in message that the server sets and checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// Host and port of the server, as the client sees it.
    pub host: String,
    /// Who signs in.
    pub address: Address,
    /// The chain.
    pub chain_id: u64,
    /// Drawn by the server, used once.
    pub nonce: String,
    /// RFC 3339.
    pub issued_at: String,
}

/// A sign-in that fails.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignInError {
    /// Not a message of ours.
    #[error("this is not the sign-in message that the server gave")]
    Form,
    /// Signed by somebody else, or not at all.
    #[error("the signature is not {0}'s")]
    Signature(Address),
}

const STATEMENT: &str = "Sign in to see your own jobs and results. This signature moves no money.";

impl SignIn {
    /// The EIP-4361 text.
    pub fn message(&self) -> String {
        let Self { host, address, chain_id, nonce, issued_at } = self;
        format!(
            "{host} wants you to sign in with your Ethereum account:\n{address}\n\n{STATEMENT}\n\nURI: http://{host}\n\
             Version: 1\nChain ID: {chain_id}\nNonce: {nonce}\nIssued At: {issued_at}"
        )
    }

    /// Reads a text that [`SignIn::message`] wrote.
    ///
    /// # Errors
    /// [`SignInError::Form`] if it differs from it in any byte.
    pub fn parse(message: &str) -> Result<Self, SignInError> {
        let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
        let read = || {
            Some(Self {
                host: message.lines().next()?.split(' ').next()?.to_owned(),
                address: message.lines().nth(1)?.parse().ok()?,
                chain_id: field("Chain ID: ")?.parse().ok()?,
                nonce: field("Nonce: ")?.to_owned(),
                issued_at: field("Issued At: ")?.to_owned(),
            })
        };
        read().filter(|sign_in| sign_in.message() == message).ok_or(SignInError::Form)
    }

    /// Whether the account signed this text.
    ///
    /// # Errors
    /// [`SignInError::Signature`] if not.
    pub fn verify(&self, signature: &[u8]) -> Result<(), SignInError> {
        Signature::from_raw(signature)
            .ok()
            .and_then(|signature| signature.recover_address_from_msg(self.message()).ok())
            .filter(|signer| *signer == self.address)
            .map(drop)
            .ok_or(SignInError::Signature(self.address))
    }
}
