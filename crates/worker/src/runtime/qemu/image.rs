//! Which machines are shared, and that their files are what they are called: by sha256, and by their first bytes.

use crate::runtime::guest::{Form, ImageError, Seen, checked, form};
use berth_wire::{
    disk::DiskFormat,
    job::is_component,
    units::{OciDigest, Sha256},
};
use serde::Deserialize;
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

/// What a machine is started from. Its files were hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    /// A kernel to boot directly; else the disk boots by itself.
    pub(super) kernel: Option<Kernel>,
    pub(super) disk: Option<Disk>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kernel {
    pub(super) file: PathBuf,
    pub(super) initrd: PathBuf,
    pub(super) append: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) file: PathBuf,
    pub(super) form: Form,
}

/// A machine's document: what boots it, each file by its sha256. The files are in the document's own folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    kernel: Part,
    initrd: Part,
    append: String,
    #[serde(default)]
    disk: Option<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    file: String,
    sha256: Sha256,
}

/// A document is small.
const DOCUMENT_BYTES: u64 = 64 << 10;
/// Reads a shared file and what it names.
pub(super) fn read(file: &Path, digest: OciDigest) -> Result<(Machine, Vec<Seen>), ImageError> {
    let mut seen = vec![checked(file, digest.0)?];
    let found = disk(file)?;
    if found.form.format != DiskFormat::Machine {
        return Ok((Machine { kernel: None, disk: Some(found) }, seen));
    }
    let text = fs::File::open(file).and_then(|file| {
        let mut text = Vec::new();
        file.take(DOCUMENT_BYTES).read_to_end(&mut text).map(|_| text)
    });
    let text = text.map_err(|error| ImageError::Read(file.to_owned(), error))?;
    let document: Document =
        serde_json::from_slice(&text).map_err(|error| ImageError::Document(file.to_owned(), error))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let parts = [Some(&document.kernel), Some(&document.initrd), document.disk.as_ref()];
    if document.version != 1 || parts.iter().flatten().any(|part| !is_component(&part.file)) {
        return Err(ImageError::Foreign(file.to_owned()));
    }
    for part in parts.into_iter().flatten() {
        seen.push(checked(&folder.join(&part.file), part.sha256)?);
    }
    let kernel = Kernel {
        file: folder.join(&document.kernel.file),
        initrd: folder.join(&document.initrd.file),
        append: document.append,
    };
    let disk = document.disk.map(|part| disk(&folder.join(&part.file))).transpose()?;
    if disk.as_ref().is_some_and(|disk| disk.form.format == DiskFormat::Machine) {
        return Err(ImageError::Foreign(file.to_owned()));
    }
    Ok((Machine { kernel: Some(kernel), disk }, seen))
}

fn disk(file: &Path) -> Result<Disk, ImageError> {
    form(file, DiskFormat::is_qemu).map(|form| Disk { file: file.to_owned(), form })
}

impl Machine {
    /// A machine whose disk is this program's own.
    pub(super) fn own(file: PathBuf, bytes: u64) -> Self {
        Self { kernel: None, disk: Some(Disk { file, form: Form { format: DiskFormat::Raw, bytes } }) }
    }
}
