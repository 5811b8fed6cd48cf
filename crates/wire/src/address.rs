//! Addresses in documents, from which others are to fetch: of an input, of an app's disk.

use reqwest::Url;
use thiserror::Error;

/// The longest: what servers take.
const MOST_BYTES: usize = 2_048;

/// A text is no address from which anything is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Not `http://` or `https://` and a host.
    #[error("it is no address: it begins with http:// or https:// and a host, and has at most 2048 characters")]
    Form,
    /// With a user's name or password: documents are read by everybody.
    #[error("it holds a user's name or password, which everybody would read")]
    Secret,
}

/// Reads an address.
///
/// # Errors
/// [`AddressError`].
pub fn read(text: &str) -> Result<Url, AddressError> {
    let url = Url::parse(text).ok().filter(|_| text.len() <= MOST_BYTES).ok_or(AddressError::Form)?;
    check(&url)?;
    Ok(url)
}

/// The same of an address that was read.
///
/// # Errors
/// [`AddressError`].
pub fn check(url: &Url) -> Result<(), AddressError> {
    if !["http", "https"].contains(&url.scheme()) || url.host().is_none() {
        return Err(AddressError::Form);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::Secret);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_web_addresses_are_read() {
        for text in ["http://a.example/x?y=z", "https://192.0.2.1:8443/x", "HTTPS://[2001:db8::1]/", "http:a.example"] {
            assert!(read(text).is_ok(), "{text}");
        }
        let long = format!("https://a.example/{}", "x".repeat(MOST_BYTES));
        for text in ["", "a.example/x", "ftp://a.example/x", "file:///etc/passwd", "data:,x", "http://", &long] {
            assert_eq!(read(text).map(drop), Err(AddressError::Form), "{text}");
        }
        for text in ["http://me@a.example/", "https://me:secret@a.example/", "https://:secret@a.example/"] {
            assert_eq!(read(text).map(drop), Err(AddressError::Secret), "{text}");
        }
    }
}
