//! Canonical JSON (RFC 8785): one document, one byte string, one hash.

use crate::units::Sha256;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// Bytes are not the canonical form of a document.
#[derive(Debug, Error)]
pub enum NotCanonical {
    /// No such document at all.
    #[error("this is not the document that it should be: {0}")]
    Parse(#[source] serde_json::Error),
    /// The right document, but written otherwise: it would have another hash.
    #[error("the document is not in canonical form (RFC 8785)")]
    Form,
}

/// The canonical bytes of a document.
pub fn to_bytes<T: Serialize>(document: &T) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(document)
        .expect("our documents have string keys and whole numbers, which always serialise")
}

/// The sha256 of a document's canonical bytes.
pub fn hash<T: Serialize>(document: &T) -> Sha256 {
    Sha256::of(&to_bytes(document))
}

/// Reads a document that must be in canonical form.
///
/// # Errors
/// [`NotCanonical`] if it is not.
pub fn from_bytes<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, NotCanonical> {
    let document: T = serde_json::from_slice(bytes).map_err(NotCanonical::Parse)?;
    if to_bytes(&document) == bytes { Ok(document) } else { Err(NotCanonical::Form) }
}
