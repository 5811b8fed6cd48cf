//! `[[datasets]]`, `[fetch]` and `[cache]`: data that are shared, what is fetched, and what is kept of it.

use super::ByteSize;
use crate::reach::Block;
use berth_wire::units::OciDigest;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Data that are shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetFile {
    /// What people call it.
    pub name: String,
    /// A file or a folder.
    pub path: PathBuf,
    /// What jobs know it by, as `berth dataset digest` prints it: a file's sha256; of a folder, the sha256 of its manifest.
    pub digest: OciDigest,
}

/// How much of fetched images is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FetchedSize(pub ByteSize);

impl Default for FetchedSize {
    /// As much as of disks.
    fn default() -> Self {
        Self(Cache::default().size)
    }
}

/// What is fetched where others say where it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fetch {
    /// Whether jobs' inputs are fetched from the addresses that their requesters name.
    pub inputs: bool,
    /// Blocks of addresses that are asked beside public ones: for inputs, apps' disks, and images' registries.
    pub from: Vec<Block>,
}

/// What is kept of what was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// How much, in all. What was used longest ago goes first, and never what is in use.
    pub size: ByteSize,
}

impl Default for Cache {
    /// A dozen images of usual size.
    fn default() -> Self {
        Self { size: ByteSize(20 << 30) }
    }
}
