//! Which machines are shared, and that their files are what they are called: by sha256, and by their first bytes.
//!
//! A disk's format is never guessed by QEMU, which would read any file of the host that a disk's own header names. So the
//! format follows from the file's name, the header must agree, and a header that names another file is refused.

use super::{ENGINE, Qemu};
use crate::{
    config::MachineFile,
    runtime::{RuntimeError, folder_error},
};
use berth_wire::{
    job::{Image, is_component},
    units::{OciDigest, Sha256},
};
use serde::Deserialize;
use sha2::Digest as _;
use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use thiserror::Error;

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

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    file: PathBuf,
    what: (u64, u64, u64, i64, i64),
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

/// Why a machine's file is not used.
#[derive(Debug, Error)]
pub(super) enum ImageError {
    #[error("{0} can't be read")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{file} has the sha256 {found}, not {wanted}")]
    Hash { file: PathBuf, found: Sha256, wanted: Sha256 },
    #[error("{0} has no ending that tells what it is: .qcow2, .vdi, .raw, .img or .json")]
    Unknown(PathBuf),
    #[error("{file} is no {format} disk: {reason}")]
    Format { file: PathBuf, format: &'static str, reason: String },
    #[error("{0} is no machine's document")]
    Document(PathBuf, #[source] serde_json::Error),
    #[error("{0} is a machine's document of another version, or names files outside its folder")]
    Foreign(PathBuf),
}

/// A document is small.
const DOCUMENT_BYTES: u64 = 64 << 10;
const CHUNK_BYTES: usize = 1 << 20;

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
            && machine.seen.iter().all(|seen| look(&seen.file).ok().as_ref() == Some(seen))
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

fn look(file: &Path) -> Result<Seen, ImageError> {
    let found = fs::metadata(file).map_err(|error| ImageError::Read(file.to_owned(), error))?;
    let what = (found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec());
    Ok(Seen { file: file.to_owned(), what })
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

/// A file that has this sha256.
fn checked(file: &Path, wanted: Sha256) -> Result<Seen, ImageError> {
    let failed = |error| ImageError::Read(file.to_owned(), error);
    let seen = look(file)?;
    let mut open = fs::File::open(file).map_err(failed)?;
    let (mut hash, mut chunk) = (sha2::Sha256::new(), vec![0; CHUNK_BYTES]);
    loop {
        let read = open.read(&mut chunk).map_err(failed)?;
        if read == 0 {
            break;
        }
        hash.update(&chunk[..read]);
    }
    let found = Sha256(hash.finalize().into());
    if found == wanted { Ok(seen) } else { Err(ImageError::Hash { file: file.to_owned(), found, wanted }) }
}

/// What other formats begin with, each at its place.
const MAGICS: [(&str, u64, &[u8]); 12] = [
    ("qcow2", 0, b"QFI\xfb"),
    ("VDI", 64, &[0x7f, 0x10, 0xda, 0xbe]),
    ("VMDK", 0, b"KDMV"),
    ("VMDK", 0, b"COWD"),
    ("VMDK", 0, b"# Disk DescriptorFile"),
    ("VHDX", 0, b"vhdxfile"),
    ("VHD", 0, b"conectix"),
    ("QED", 0, b"QED\0"),
    ("LUKS", 0, b"LUKS\xba\xbe"),
    ("Parallels", 0, b"WithoutFreeSpace"),
    ("Parallels", 0, b"WithouFreSpacExt"),
    ("bochs", 0, b"Bochs Virtual HD Image"),
];
/// All headers end before this.
const HEADER_BYTES: usize = 512;
/// QEMU's oldest and newest version of qcow2.
const QCOW2_VERSIONS: [u32; 2] = [2, 3];
/// The features of qcow2 that don't change how it is read, or only how it is packed: left open, compression.
const QCOW2_FEATURES: u64 = 0b1001;
/// VDI's kinds of disk that stand alone: growing, and of fixed size.
const VDI_ALONE: [u32; 2] = [1, 2];

/// Reads a disk's header.
fn disk(file: &Path) -> Result<Disk, ImageError> {
    let format = match file.extension().and_then(|ending| ending.to_str()) {
        Some("qcow2") => Format::Qcow2,
        Some("vdi") => Format::Vdi,
        Some("raw" | "img") => Format::Raw,
        Some(_) | None => return Err(ImageError::Unknown(file.to_owned())),
    };
    let wrong = |reason: String| ImageError::Format { file: file.to_owned(), format: format.name(), reason };
    let failed = |error| ImageError::Read(file.to_owned(), error);
    let mut open = fs::File::open(file).map_err(failed)?;
    let size = open.seek(SeekFrom::End(0)).and_then(|size| open.rewind().map(|()| size)).map_err(failed)?;
    let mut header = Vec::new();
    open.take(HEADER_BYTES as u64).read_to_end(&mut header).map_err(failed)?;
    header.resize(HEADER_BYTES, 0);
    let bytes = match format {
        Format::Qcow2 => qcow2(&header).map_err(wrong)?,
        Format::Vdi => vdi(&header).map_err(wrong)?,
        Format::Raw => {
            let other = MAGICS.iter().find(|(_, at, magic)| at_offset(&header, *at).starts_with(magic));
            if let Some((name, ..)) = other {
                return Err(wrong(format!("it begins like {name}")));
            }
            size
        }
    };
    Ok(Disk { file: file.to_owned(), format, bytes })
}

fn at_offset(header: &[u8], at: u64) -> &[u8] {
    usize::try_from(at).ok().and_then(|at| header.get(at..)).unwrap_or_default()
}

fn number<const N: usize>(header: &[u8], at: u64) -> [u8; N] {
    at_offset(header, at).first_chunk::<N>().copied().unwrap_or([0; N])
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

/// The same of a VDI disk.
fn vdi(header: &[u8]) -> Result<u64, String> {
    let u32_at = |at| u32::from_le_bytes(number(header, at));
    if !at_offset(header, 64).starts_with(&0xbeda_107f_u32.to_le_bytes()) {
        return Err("it does not begin like one".to_owned());
    }
    if !VDI_ALONE.contains(&u32_at(76)) {
        return Err("it is a difference to another disk; write it out whole".to_owned());
    }
    Ok(u64::from_le_bytes(number(header, 368)))
}

impl Machine {
    /// A machine whose files are this program's own.
    pub(super) fn own(file: PathBuf, bytes: u64) -> Self {
        let disk = Some(Disk { file, format: Format::Raw, bytes });
        Self { digest: OciDigest(Sha256([0; 32])), kernel: None, disk, seen: Vec::new() }
    }
}

/// Names a part of a machine's folder in errors.
pub(super) fn part<'a>(path: &'a Path) -> impl Fn(std::io::Error) -> RuntimeError + use<'a> {
    folder_error("making", path)
}
