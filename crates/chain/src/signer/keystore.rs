//! Keys in files under a password: the Web3 Secret Storage format, version 3, as ethers, go-ethereum and cast write it.
//!
//! Hashing a password takes a second on purpose: call these functions from a thread that may block.

use super::{Secret, Signer};
use crate::Class;
use aes::{
    Aes128,
    cipher::{KeyIvInit as _, StreamCipher as _},
};
use alloy::primitives::{Address, B256, hex, keccak256};
use hmac::Hmac;
use rand::{RngCore as _, rngs::OsRng};
use serde_json::{Value, json};
use sha2::Sha256;
use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};
use thiserror::Error;
use zeroize::Zeroizing;

type Cipher = ctr::Ctr128BE<Aes128>;

/// More memory than this (128·n·r bytes) is no wallet's setting, but an attack on whoever opens the file.
const MOST_SCRYPT_BYTES: u128 = 1 << 30;
/// More rounds than this are none either. go-ethereum's and ethers' are 262,144.
const MOST_PBKDF2_ROUNDS: u32 = 10_000_000;

/// How much work a guess at the password costs: scrypt's n is two to this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost(u8);

impl Cost {
    /// n = 131,072: 128 MiB and a fraction of a second, as ethers writes.
    pub const STANDARD: Self = Self(17);
    /// n = 4,096, go-ethereum's light setting: for keys of local chains and tests.
    pub const LIGHT: Self = Self(12);
}

/// A keystore can't be written or opened.
#[derive(Debug, Error)]
pub enum KeystoreError {
    /// The password is another one.
    #[error("the password does not open {}", path.display())]
    WrongPassword {
        /// The file.
        path: PathBuf,
    },
    /// There is no such file, or it can't be read.
    #[error("the keystore {} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file is no keystore of a kind that is known.
    #[error("{} is no keystore: {what}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There is a file already: a key is never overwritten.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be written.
    #[error("the keystore {} can't be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl KeystoreError {
    /// What to do about it.
    pub const fn class(&self) -> Class {
        Class::Refused
    }

    /// What the user can do.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::WrongPassword { .. } => {
                "try again: passwords differ by case and blanks; a lost one can't be recovered"
            }
            Self::Read { .. } => "check the path; `berth wallet new` makes a new key",
            Self::Foreign { .. } => "give a keystore of version 3 (Web3 Secret Storage), as ethers or cast write them",
            Self::Exists { .. } => "give another name, or use the key that is there",
            Self::Write { .. } => "check that the folder may be written to and that the disk is not full",
        }
    }
}

/// Writes the key to a new file that its owner alone may read, in a folder that its owner alone may list.
///
/// # Errors
/// [`KeystoreError::Exists`] or [`KeystoreError::Write`]; there is then no file, or the old one.
pub fn create(path: &Path, signer: &Signer, password: &Secret, cost: Cost) -> Result<(), KeystoreError> {
    let failed = |source: io::Error| {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::AlreadyExists {
            KeystoreError::Exists { path }
        } else {
            KeystoreError::Write { path, source }
        }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    if path.exists() {
        return Err(KeystoreError::Exists { path: path.to_owned() });
    }
    let document = seal(signer, password, cost).to_string();
    // Written aside and linked under its name when it is whole: a crash leaves no half a key, and a link replaces nothing.
    let aside = path.with_extension(format!("{:016x}.new", OsRng.next_u64()));
    let written = (|| {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(document.as_bytes())?;
        file.sync_all()?;
        fs::hard_link(&aside, path)
    })();
    // If it stays, it is as well guarded as the other.
    let _ = fs::remove_file(&aside);
    written.map_err(failed)
}

/// Opens a key with its password.
///
/// # Errors
/// [`KeystoreError::WrongPassword`], `Read` or `Foreign`.
pub fn open(path: &Path, password: &Secret) -> Result<Signer, KeystoreError> {
    let document = read(path)?;
    match unseal(&document, password) {
        Ok(Some(signer)) => Ok(signer),
        Ok(None) => Err(KeystoreError::WrongPassword { path: path.to_owned() }),
        Err(what) => Err(KeystoreError::Foreign { path: path.to_owned(), what }),
    }
}

/// The address that the file names, without a password; `None` if it names none.
///
/// # Errors
/// [`KeystoreError::Read`] or [`KeystoreError::Foreign`].
pub fn address(path: &Path) -> Result<Option<Address>, KeystoreError> {
    named_address(&read(path)?).map_err(|what| KeystoreError::Foreign { path: path.to_owned(), what })
}

fn read(path: &Path) -> Result<Value, KeystoreError> {
    let text = fs::read(path).map_err(|source| KeystoreError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&text)
        .map_err(|error| KeystoreError::Foreign { path: path.to_owned(), what: error.to_string() })
}

fn seal(signer: &Signer, password: &Secret, cost: Cost) -> Value {
    let (mut salt, mut iv, mut id) = ([0_u8; 32], [0_u8; 16], [0_u8; 16]);
    OsRng.fill_bytes(&mut salt);
    OsRng.fill_bytes(&mut iv);
    OsRng.fill_bytes(&mut id);
    // RFC 9562: version 4, variant 10.
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    let params = scrypt::Params::new(cost.0, 8, 1).expect("n, r and p are constants that fit");
    let mut derived = Zeroizing::new([0_u8; 32]);
    scrypt::scrypt(password.bytes(), &salt, &params, &mut derived[..]).expect("32 bytes are a length that fits");
    let mut text = signer.to_bytes();
    crypt(&derived, &iv, &mut text[..]);
    let id = hex::encode(id);
    json!({
        "address": hex::encode(signer.address()),
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": { "iv": hex::encode(iv) },
            "ciphertext": hex::encode(&text[..]),
            "kdf": "scrypt",
            "kdfparams": { "dklen": 32, "n": 1_u32 << cost.0, "p": 1, "r": 8, "salt": hex::encode(salt) },
            "mac": hex::encode(mac(&derived, &text[..])),
        },
        "id": format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]),
        "version": 3,
    })
}

/// The key in a document; `None` if the password is another one.
fn unseal(document: &Value, password: &Secret) -> Result<Option<Signer>, String> {
    let version = member(document, "version")?;
    if version.as_u64() != Some(3) {
        return Err(format!("its version is {version}, not 3"));
    }
    let crypto = member(document, "crypto")?;
    let cipher = text(crypto, "cipher")?;
    if cipher != "aes-128-ctr" {
        return Err(format!("its cipher is {cipher}, not aes-128-ctr"));
    }
    let iv: [u8; 16] = bytes(member(crypto, "cipherparams")?, "iv")?;
    let expected: [u8; 32] = bytes(crypto, "mac")?;
    let mut key = Zeroizing::new(bytes::<32>(crypto, "ciphertext")?);
    let derived = derive(crypto, password)?;
    if mac(&derived, &key[..]) != expected {
        return Ok(None);
    }
    crypt(&derived, &iv, &mut key[..]);
    let signer = Signer::from_bytes(&B256::from(*key)).map_err(|error| error.to_string())?;
    match named_address(document)? {
        Some(named) if named != signer.address() => {
            Err(format!("it names {named}, but its key is that of {}", signer.address()))
        }
        Some(_) | None => Ok(Some(signer)),
    }
}

fn derive(crypto: &Value, password: &Secret) -> Result<Zeroizing<[u8; 32]>, String> {
    let params = member(crypto, "kdfparams")?;
    let salt = salt(params)?;
    if number(params, "dklen")? != 32 {
        return Err("its derived key has not 32 bytes".to_owned());
    }
    let mut derived = Zeroizing::new([0_u8; 32]);
    match text(crypto, "kdf")? {
        "scrypt" => {
            let (n, r, p) = (number(params, "n")?, number(params, "r")?, number(params, "p")?);
            if !n.is_power_of_two() || 128 * u128::from(n) * u128::from(r) > MOST_SCRYPT_BYTES || p > 16 {
                return Err(format!("its scrypt has n = {n}, r = {r}, p = {p}"));
            }
            let log_n = u8::try_from(n.ilog2()).map_err(|error| error.to_string())?;
            let params = scrypt::Params::new(log_n, r, p).map_err(|error| error.to_string())?;
            scrypt::scrypt(password.bytes(), &salt, &params, &mut derived[..]).map_err(|error| error.to_string())?;
        }
        "pbkdf2" => {
            let rounds = number(params, "c")?;
            let prf = text(params, "prf")?;
            if prf != "hmac-sha256" || rounds == 0 || rounds > MOST_PBKDF2_ROUNDS {
                return Err(format!("its pbkdf2 has {rounds} rounds of {prf}"));
            }
            pbkdf2::pbkdf2::<Hmac<Sha256>>(password.bytes(), &salt, rounds, &mut derived[..]);
        }
        other => return Err(format!("its key derivation is {other}")),
    }
    Ok(derived)
}

/// AES-128 in counter mode, which is its own inverse.
fn crypt(derived: &[u8; 32], iv: &[u8; 16], text: &mut [u8]) {
    let (key, _) = derived.split_at(16);
    Cipher::new(key.into(), iv.into()).apply_keystream(text);
}

fn mac(derived: &[u8; 32], ciphertext: &[u8]) -> [u8; 32] {
    keccak256([&derived[16..], ciphertext].concat()).0
}

fn named_address(document: &Value) -> Result<Option<Address>, String> {
    match member(document, "address") {
        Err(_) | Ok(Value::Null) => Ok(None),
        Ok(_) => bytes::<20>(document, "address").map(|bytes| Some(Address::from(bytes))),
    }
}

/// A member by its name, in whatever case: ethers 5 writes `Crypto`.
fn member<'a>(object: &'a Value, name: &str) -> Result<&'a Value, String> {
    let members = object.as_object().ok_or_else(|| format!("what should hold `{name}` is no object"))?;
    let found = members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value).ok_or_else(|| format!("`{name}` is missing"))
}

fn text<'a>(object: &'a Value, name: &str) -> Result<&'a str, String> {
    member(object, name)?.as_str().ok_or_else(|| format!("`{name}` is no text"))
}

fn number(object: &Value, name: &str) -> Result<u32, String> {
    let value = member(object, name)?.as_u64().and_then(|value| u32::try_from(value).ok());
    value.ok_or_else(|| format!("`{name}` is no number that fits"))
}

fn salt(params: &Value) -> Result<Vec<u8>, String> {
    hex::decode(text(params, "salt")?).map_err(|error| format!("`salt`: {error}"))
}

fn bytes<const N: usize>(object: &Value, name: &str) -> Result<[u8; N], String> {
    hex::decode_to_array(text(object, name)?).map_err(|error| format!("`{name}`: {error}"))
}
