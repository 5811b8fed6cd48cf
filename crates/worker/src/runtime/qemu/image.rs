//! Which machines are shared, and that their files are what they are called: by sha256, and by their first bytes.
//!
//! A disk's format is never guessed by QEMU, which would read any file of the host that a disk's own header names. So the
//! format follows from the file's name, the header must agree, and a header that names another file is refused.

use super::{ENGINE, Qemu};
use crate::{
    config::MachineFile,
    runtime::{
        RuntimeError,
        guest::{HEADER_BYTES, ImageError, Seen, checked, foreign_magic, head, number, same, vdi},
    },
};
use berth_wire::{
    job::{Image, is_component},
    units::{OciDigest, Sha256},
};
use serde::Deserialize;
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a machine is started from. Its files were hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) digest: OciDigest,
    /// A kernel to boot directly; else the disk boots by itself.
    pub(super) kernel: Option<Kernel>,
    pub(super) disk: Option<Disk>,
    /// How the files looked when they were hashed.
    seen: Vec<Seen>,
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
    pub(super) format: Format,
    /// What the machine sees.
    pub(super) bytes: u64,
}

/// A disk's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Qcow2,
    Vdi,
    Raw,
}

impl Format {
    /// As QEMU calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Vdi => "vdi",
            Self::Raw => "raw",
        }
    }
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

/// The files that QEMU takes.
const ENDINGS: &str = ".qcow2, .vdi, .raw, .img or .json";
/// A document is small.
const DOCUMENT_BYTES: u64 = 64 << 10;
impl Qemu {
    /// The machine that an image means, if it is shared or was fetched, there and whole. What was hashed before and looks
    /// the same is not hashed again.
    pub(super) async fn machine(
        &self,
        wanted: &Image,
        fetched: Option<&MachineFile>,
    ) -> Result<Arc<Machine>, RuntimeError> {
        let digests = [wanted.config, wanted.manifest];
        let mut all = self.share.images.iter().chain(fetched);
        let declared = all.find(|declared| digests.contains(&Some(declared.digest)));
        let Some(declared) = declared.cloned() else {
            return Err(RuntimeError::NoImage(wanted.reference.clone()));
        };
        let known = self.known.lock().expect("nothing panics under this lock").clone();
        if let Some(machine) = known.into_iter().find(|machine| machine.digest == declared.digest)
            && machine.seen.iter().all(same)
        {
            return Ok(machine);
        }
        let read = tokio::task::spawn_blocking(move || read(&declared.file, declared.digest)).await;
        let read = read.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let machine = Arc::new(read.map_err(|error| RuntimeError::Engine {
            engine: ENGINE,
            action: "use a machine's files",
            source: Box::new(error),
        })?);
        let mut known = self.known.lock().expect("nothing panics under this lock");
        known.retain(|other| other.digest != machine.digest);
        known.push(machine.clone());
        Ok(machine)
    }
}

/// Reads a shared file and what it names.
pub(super) fn read(file: &Path, digest: OciDigest) -> Result<Machine, ImageError> {
    let mut seen = vec![checked(file, digest.0)?];
    if file.extension().is_none_or(|ending| ending != "json") {
        let disk = Some(disk(file)?);
        return Ok(Machine { digest, kernel: None, disk, seen });
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
    Ok(Machine { digest, kernel: Some(kernel), disk, seen })
}

/// QEMU's oldest and newest version of qcow2.
const QCOW2_VERSIONS: [u32; 2] = [2, 3];
/// The features of qcow2 that don't change how it is read, or only how it is packed: left open, compression.
const QCOW2_FEATURES: u64 = 0b1001;
/// Reads a disk's header.
fn disk(file: &Path) -> Result<Disk, ImageError> {
    let format = match file.extension().and_then(|ending| ending.to_str()) {
        Some("qcow2") => Format::Qcow2,
        Some("vdi") => Format::Vdi,
        Some("raw" | "img") => Format::Raw,
        Some(_) | None => return Err(ImageError::Unknown { file: file.to_owned(), endings: ENDINGS }),
    };
    let wrong = |reason: String| ImageError::Format { file: file.to_owned(), format: format.name(), reason };
    let header = head(file, HEADER_BYTES)?;
    let bytes = match format {
        Format::Qcow2 => qcow2(&header).map_err(wrong)?,
        Format::Vdi => vdi(&header).map_err(wrong)?,
        Format::Raw => {
            if let Some(name) = foreign_magic(&header) {
                return Err(wrong(format!("it begins like {name}")));
            }
            fs::metadata(file).map_err(|error| ImageError::Read(file.to_owned(), error))?.len()
        }
    };
    Ok(Disk { file: file.to_owned(), format, bytes })
}

/// The size that a qcow2 disk says it has, if it stands alone.
fn qcow2(header: &[u8]) -> Result<u64, String> {
    let (u32_at, u64_at) = (|at| u32::from_be_bytes(number(header, at)), |at| u64::from_be_bytes(number(header, at)));
    if !header.starts_with(b"QFI\xfb") {
        return Err("it does not begin like one".to_owned());
    }
    if !QCOW2_VERSIONS.contains(&u32_at(4)) {
        return Err(format!("its version is {}", u32_at(4)));
    }
    if u64_at(8) != 0 || u32_at(16) != 0 {
        return Err("it needs another file beneath it; write it out whole (qemu-img convert)".to_owned());
    }
    if u32_at(32) != 0 {
        return Err("it is encrypted".to_owned());
    }
    if u32_at(4) == 3 && u64_at(72) & !QCOW2_FEATURES != 0 {
        return Err("it keeps its data in another file, is damaged, or has features that are not known".to_owned());
    }
    Ok(u64_at(24))
}

impl Machine {
    /// A machine whose files are this program's own.
    pub(super) fn own(file: PathBuf, bytes: u64) -> Self {
        let disk = Some(Disk { file, format: Format::Raw, bytes });
        Self { digest: OciDigest(Sha256([0; 32])), kernel: None, disk, seen: Vec::new() }
    }
}
