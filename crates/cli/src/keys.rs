//! The user's keys: a folder of encrypted files, one a name. No key is ever chosen for the user, and none is opened
//! where an address will do.

use crate::{hint::Failure, settings::Settings};
use alloy::primitives::Address;
use berth_chain::signer::{
    Secret, Signer,
    keystore::{self, Cost},
};
use berth_protocol::domain::{Domain, ResultKey};
use berth_wire::sealed::{Identity, Recipient};
use std::{
    fs,
    io::{BufRead as _, BufReader, IsTerminal as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// A key of the keystore, closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
    /// What its file says; some programs leave it out.
    pub(crate) address: Option<Address>,
    path: PathBuf,
}

/// The keys of a folder, by name. Files that are no keystores are passed over.
pub(crate) fn list(folder: &Path) -> Result<Vec<Named>, Failure> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::file(folder, "read", &error)),
    };
    let mut keys = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Failure::file(folder, "read", &error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = name.strip_suffix(".json").unwrap_or(name).to_owned();
        if let Ok(address) = keystore::address(&path) {
            keys.push(Named { name, address, path });
        }
    }
    keys.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(keys)
}

/// A name that is also a plain file name.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || name.starts_with(['.', '-']) || !name.chars().all(plain) {
        return Err(Failure::usage("key-name", format!("`{name}` is no name for a key"))
            .hint("use letters, digits, `-` and `_`, at most 64"));
    }
    Ok(())
}

/// Makes a key under that name.
pub(crate) fn create(
    folder: &Path,
    name: &str,
    signer: &Signer,
    password: &Secret,
    cost: Cost,
) -> Result<PathBuf, Failure> {
    check_name(name)?;
    let path = folder.join(format!("{name}.json"));
    keystore::create(&path, signer, password, cost)?;
    Ok(path)
}

/// The key that is called `name`, or has that address.
pub(crate) fn find(folder: &Path, name: &str) -> Result<Named, Failure> {
    let keys = list(folder)?;
    let address: Option<Address> = name.parse().ok();
    let is = |key: &&Named| key.name == name || (address.is_some() && key.address == address);
    keys.iter().find(is).cloned().ok_or_else(|| {
        let failure = Failure::not_found("key", format!("{} has no key `{name}`", folder.display()));
        let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        if names.is_empty() {
            failure.hint(format!("`berth wallet new {name}` makes one"))
        } else {
            failure.hint(format!("it has: {}", names.join(", ")))
        }
    })
}

/// The address of `text`: an address, or the name of a key, which stays closed.
pub(crate) fn address(settings: &Settings, text: &str) -> Result<Address, Failure> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.starts_with("0x") {
        return Err(Failure::usage("address", format!("`{text}` is no address"))
            .hint("write 0x and 40 hexadecimal digits, or a name of the keystore"));
    }
    let key = find(settings.keystore()?, text)?;
    key.address.ok_or_else(|| {
        Failure::usage("address", format!("the key `{text}` does not say its address")).hint("give the address itself")
    })
}

/// The address of the account that the settings name.
pub(crate) fn account(settings: &Settings) -> Result<Address, Failure> {
    address(settings, settings.account()?)
}

/// What opens encrypted results: the account's own key first.
#[derive(Debug, Clone)]
pub(crate) struct Keyring(Vec<Identity>);

impl Keyring {
    /// The account's own key, and those of a file.
    pub(crate) fn new(signer: &Signer, domain: &Domain, file: Option<&Path>) -> Result<Self, Failure> {
        let mut keys = vec![result_key(signer, domain)];
        if let Some(path) = file {
            let text = fs::read_to_string(path).map(Zeroizing::new);
            let text = text.map_err(|error| Failure::file(path, "read", &error).hint("check --identity"))?;
            keys.extend(Identity::of_file(&text).map_err(|error| {
                Failure::usage("identity", format!("{} holds no keys", path.display()))
                    .because(&error)
                    .hint("`age-keygen -o FILE` makes such a file, and shows the recipient that belongs to it")
            })?);
        }
        Ok(Self(keys))
    }

    /// To whom the account's own key belongs.
    pub(crate) fn own(&self) -> Recipient {
        self.0[0].recipient()
    }

    /// The keys.
    pub(crate) fn identities(&self) -> &[Identity] {
        &self.0
    }

    /// Whether it opens what is encrypted to this recipient.
    pub(crate) fn opens(&self, recipient: &Recipient) -> bool {
        self.0.iter().any(|key| key.recipient() == *recipient)
    }
}

/// An account's own key for results that are encrypted to it. The wallet makes it anew each time, always the same: there is
/// nothing else to keep.
pub(crate) fn result_key(signer: &Signer, domain: &Domain) -> Identity {
    Identity::of_wallet(&signer.sign(domain, &ResultKey::of(signer.address())))
}

/// Opens the account that the settings name.
pub(crate) fn unlock(settings: &Settings) -> Result<Signer, Failure> {
    open(settings, settings.account()?, settings.password_file())
}

/// Opens a key by name or address.
pub(crate) fn open(settings: &Settings, name: &str, password_file: Option<&Path>) -> Result<Signer, Failure> {
    let key = find(settings.keystore()?, name)?;
    let password = password(password_file, &format!("Password of {}: ", key.name))?;
    Ok(keystore::open(&key.path, &password)?)
}

/// Opens a key's file.
pub(crate) fn open_file(path: &Path, password_file: Option<&Path>) -> Result<Signer, Failure> {
    let password = password(password_file, &format!("Password of {}: ", path.display()))?;
    Ok(keystore::open(path, &password)?)
}

/// The first line of the file, or what is typed.
pub(crate) fn password(file: Option<&Path>, prompt: &str) -> Result<Secret, Failure> {
    read_password(file, prompt).map(Secret::new)
}

fn read_password(file: Option<&Path>, prompt: &str) -> Result<String, Failure> {
    if let Some(path) = file {
        let failed = |error: &std::io::Error| Failure::file(path, "read", error).hint("check --password-file");
        let file = fs::File::open(path).map_err(|error| failed(&error))?;
        let mut line = String::new();
        BufReader::new(file).read_line(&mut line).map_err(|error| failed(&error))?;
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        return Ok(line);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("password", "a password is needed, and nobody is there to type it")
            .hint("give --password-file FILE"));
    }
    rpassword::prompt_password(prompt).map_err(|error| {
        Failure::usage("password", "the password can't be read from the terminal")
            .because(&error)
            .hint("give --password-file FILE")
    })
}

/// A new password: from the file, or typed twice.
pub(crate) fn new_password(file: Option<&Path>) -> Result<Secret, Failure> {
    let first = read_password(file, "New password: ")?;
    if first.is_empty() {
        return Err(Failure::usage("password", "an empty password protects nothing").hint("choose another"));
    }
    if file.is_none() && read_password(None, "The same again: ")? != first {
        return Err(Failure::usage("password", "the two passwords differ").hint("try again"));
    }
    Ok(Secret::new(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_plain_file_name() {
        for good in ["alice", "worker-1", "A_b.c"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for wrong in ["", ".hidden", "-flag", "a/b", "..", "a b", "ä"] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
