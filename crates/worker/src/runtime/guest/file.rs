//! That a shared file is what it is called: by sha256, and by its first bytes.

use berth_wire::{manifest::Content, units::Sha256};
use std::{
    fs,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// How a file looked when it was hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    file: PathBuf,
    what: (u64, u64, u64, i64, i64),
}

/// Why a machine's file is not used.
#[derive(Debug, Error)]
pub(crate) enum ImageError {
    #[error("{0} can't be read")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{file} has the sha256 {found}, not {wanted}")]
    Hash { file: PathBuf, found: Sha256, wanted: Sha256 },
    #[error("{file} has no ending that tells what it is: {endings}")]
    Unknown { file: PathBuf, endings: &'static str },
    #[error("{file} is no {format} disk: {reason}")]
    Format { file: PathBuf, format: &'static str, reason: String },
    #[error("{0} is no machine's document")]
    Document(PathBuf, #[source] serde_json::Error),
    #[error("{0} is a machine's document of another version, or names files outside its folder")]
    Foreign(PathBuf),
}

/// The headers that are looked at end before this.
pub(crate) const HEADER_BYTES: usize = 512;

/// How a file looks.
pub(crate) fn look(file: &Path) -> Result<Seen, ImageError> {
    let found = fs::metadata(file).map_err(|error| ImageError::Read(file.to_owned(), error))?;
    let what = (found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec());
    Ok(Seen { file: file.to_owned(), what })
}

/// Whether a file looks as it did.
pub(crate) fn same(seen: &Seen) -> bool {
    look(&seen.file).ok().as_ref() == Some(seen)
}

/// A file that has this sha256.
pub(crate) fn checked(file: &Path, wanted: Sha256) -> Result<Seen, ImageError> {
    let seen = look(file)?;
    let found = hashed(file)?;
    if found == wanted { Ok(seen) } else { Err(ImageError::Hash { file: file.to_owned(), found, wanted }) }
}

/// A file's sha256.
pub(crate) fn hashed(file: &Path) -> Result<Sha256, ImageError> {
    let content = fs::File::open(file).and_then(Content::read);
    content.map(|content| content.sha256).map_err(|error| ImageError::Read(file.to_owned(), error))
}

/// The first bytes of a file, with zeros after its end.
pub(crate) fn head(file: &Path, bytes: usize) -> Result<Vec<u8>, ImageError> {
    let mut header = Vec::new();
    let read = fs::File::open(file).and_then(|file| file.take(bytes as u64).read_to_end(&mut header));
    read.map_err(|error| ImageError::Read(file.to_owned(), error))?;
    header.resize(bytes, 0);
    Ok(header)
}

/// What formats begin with, each at its place.
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

/// Which format a disk begins like, if not like a bare one.
pub(crate) fn foreign_magic(header: &[u8]) -> Option<&'static str> {
    MAGICS.iter().find(|(_, at, magic)| at_offset(header, *at).starts_with(magic)).map(|(name, ..)| *name)
}

pub(crate) fn at_offset(header: &[u8], at: u64) -> &[u8] {
    usize::try_from(at).ok().and_then(|at| header.get(at..)).unwrap_or_default()
}

pub(crate) fn number<const N: usize>(header: &[u8], at: u64) -> [u8; N] {
    at_offset(header, at).first_chunk::<N>().copied().unwrap_or([0; N])
}

/// VDI's kinds of disk that stand alone: growing, and of fixed size.
const VDI_ALONE: [u32; 2] = [1, 2];

/// The size that a VDI disk says it has, if it stands alone.
pub(crate) fn vdi(header: &[u8]) -> Result<u64, String> {
    let u32_at = |at| u32::from_le_bytes(number(header, at));
    if !at_offset(header, 64).starts_with(&0xbeda_107f_u32.to_le_bytes()) {
        return Err("it does not begin like one".to_owned());
    }
    if !VDI_ALONE.contains(&u32_at(76)) {
        return Err("it is a difference to another disk; write it out whole".to_owned());
    }
    Ok(u64::from_le_bytes(number(header, 368)))
}
