//! Where everything is: the profile, and the flags that override it.

use crate::{args::Global, hint::Failure};
use serde::{Deserialize, Serialize};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// `profile.toml`. Relative paths are relative to the folder that it is in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// The node's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rpc: Option<String>,
    /// The file that says where the contracts are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deployment: Option<PathBuf>,
    /// The order book's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) market: Option<String>,
    /// The folder of encrypted keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keystore: Option<PathBuf>,
    /// The account: a name in the keystore, or an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    /// A file with the account's password in its first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password_file: Option<PathBuf>,
    /// The shared app under which images run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) docker_app: Option<String>,
}

/// The settings of this call.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    profile: Profile,
    /// The profile's file, for hints.
    path: PathBuf,
    /// Whether there is such a file.
    found: bool,
}

impl Settings {
    /// Reads the profile, if there is one, and lets the flags override it.
    pub(crate) fn load(global: &Global) -> Result<Self, Failure> {
        let (mut profile, found) = read(&global.profile)?;
        macro_rules! overridden {
            ($($field:ident),*) => { $(if let Some(value) = &global.$field { profile.$field = Some(value.clone()); })* };
        }
        overridden!(rpc, deployment, market, keystore, account, password_file);
        Ok(Self { profile, path: global.profile.clone(), found })
    }

    /// The profile of a devnet, by its folder.
    pub(crate) const fn from_profile(profile: Profile, path: PathBuf) -> Self {
        Self { profile, path, found: true }
    }

    pub(crate) fn rpc(&self) -> Result<&str, Failure> {
        self.need(self.profile.rpc.as_deref(), "the node's URL", "--rpc URL")
    }

    pub(crate) fn deployment(&self) -> Result<&Path, Failure> {
        self.need(self.profile.deployment.as_deref(), "the deployment", "--deployment FILE")
    }

    pub(crate) fn market(&self) -> Result<&str, Failure> {
        self.need(self.profile.market.as_deref(), "the order book's URL", "--market URL")
    }

    pub(crate) fn keystore(&self) -> Result<&Path, Failure> {
        self.need(self.profile.keystore.as_deref(), "the keystore", "--keystore DIR")
    }

    /// The account is never chosen for the user.
    pub(crate) fn account(&self) -> Result<&str, Failure> {
        self.need(self.profile.account.as_deref(), "the account", "--account NAME")
    }

    pub(crate) fn password_file(&self) -> Option<&Path> {
        self.profile.password_file.as_deref()
    }

    pub(crate) fn docker_app(&self) -> Option<&str> {
        self.profile.docker_app.as_deref()
    }

    fn need<'a, T: ?Sized>(&self, value: Option<&'a T>, what: &str, flag: &str) -> Result<&'a T, Failure> {
        value.ok_or_else(|| {
            let failure = Failure::usage("setting", format!("{what} is not known"));
            let path = self.path.display();
            if self.found {
                failure.hint(format!("give {flag}, or set it in {path}"))
            } else {
                failure
                    .hint(format!("give {flag}, or a profile that says so (there is no {path})"))
                    .hint("`berth devnet up` makes one for a market on this machine")
            }
        })
    }
}

fn read(path: &Path) -> Result<(Profile, bool), Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Profile::default(), false)),
        Err(error) => return Err(Failure::file(path, "read", &error)),
    };
    let mut profile: Profile = toml::from_str(&text).map_err(|error| {
        Failure::usage("profile", format!("{} is no profile: {}", path.display(), error.message()))
            .hint("docs/cli.md lists its settings")
    })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    for entry in [&mut profile.deployment, &mut profile.keystore, &mut profile.password_file].into_iter().flatten() {
        // Joining an absolute path gives that path.
        *entry = folder.join(&*entry);
    }
    Ok((profile, true))
}
