//! Where the pinned Foundry tools are.

use std::{
    env::consts::{ARCH, OS},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// A program that is not on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{name}` is not installed")]
pub struct ToolMissing {
    name: String,
}

impl ToolMissing {
    /// What the user can do.
    pub const fn hint(&self) -> &'static str {
        "run scripts/setup.sh in Berth's folder, or put the program on the PATH"
    }
}

/// The path of a Foundry tool (`anvil`, `forge`, `cast`): the one pinned in a Berth folder around the current folder or
/// this program, else the first on the PATH.
///
/// # Errors
/// [`ToolMissing`] if there is none.
pub fn tool_path(name: &str) -> Result<PathBuf, ToolMissing> {
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    let folders = here.iter().chain(&program).flat_map(|path| path.ancestors());
    let pinned = folders.map(|folder| folder.join(pinned(name)));
    pinned.chain(on_path(name)).find(|path| path.is_file()).ok_or_else(|| ToolMissing { name: name.to_owned() })
}

/// The binary itself in the tool's npm package: what stands in `.bin` is a script that starts a Node to start it.
fn pinned(name: &str) -> PathBuf {
    let os = if OS == "macos" { "darwin" } else { OS };
    let arch = match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Path::new("contracts/node_modules/@foundry-rs").join(format!("{name}-{os}-{arch}/bin/{name}"))
}

#[expect(clippy::disallowed_methods, reason = "PATH is no setting of ours: it is where programs are")]
fn on_path(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).collect()
}
