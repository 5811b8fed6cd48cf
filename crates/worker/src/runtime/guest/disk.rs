//! That a shared file is a disk of the form that its name says, and stands alone.
//!
//! No hypervisor is left to guess a disk's form, or to open what a header names: QEMU and VirtualBox would read any file of
//! the host. So the form follows from the file's name, its bytes must agree, and one that names another file is refused.

use super::file::ImageError;
use berth_wire::disk::{DiskFormat, ends};
use std::{fs::File, path::Path};

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) format: DiskFormat,
    /// The size of the disk that a machine sees.
    pub(crate) bytes: u64,
}

/// What a file is, if it is one of the `taken` forms and all in that file.
pub(crate) fn form(file: &Path, taken: fn(DiskFormat) -> bool) -> Result<Form, ImageError> {
    let format = DiskFormat::of_name(file).filter(|format| taken(*format)).ok_or_else(|| {
        let endings = DiskFormat::ALL.into_iter().filter(|format| taken(*format)).flat_map(DiskFormat::endings);
        ImageError::Unknown { file: file.to_owned(), endings: endings.map(|ending| format!(".{ending}")).collect() }
    })?;
    let read = || {
        let file = File::open(file)?;
        Ok((file.metadata()?.len(), ends(file)?))
    };
    let (size, (head, foot)) = read().map_err(|error| ImageError::Read(file.to_owned(), error))?;
    let found = DiskFormat::of_bytes(&head, &foot);
    let bytes = if found == Ok(format) {
        alone(format, &head, &foot, size)
    } else {
        Err(format!("what is in it is {}", found.map_or_else(|foreign| foreign, DiskFormat::name)))
    };
    let wrong = |reason| ImageError::Format { file: file.to_owned(), format: format.name(), reason };
    bytes.map(|bytes| Form { format, bytes }).map_err(wrong)
}

const DIFFERENCE: &str = "it is a difference to another disk; write it out whole";
const SECTOR_BYTES: u64 = 512;

/// The size of a disk that needs no other file, by its header.
fn alone(format: DiskFormat, head: &[u8], foot: &[u8], size: u64) -> Result<u64, String> {
    match format {
        DiskFormat::Raw | DiskFormat::Iso | DiskFormat::Machine => Ok(size),
        DiskFormat::Qcow2 => qcow2(head),
        DiskFormat::Vdi => vdi(head),
        DiskFormat::Vmdk => vmdk(head),
        DiskFormat::Vhd => vhd(foot),
    }
}

fn at_offset(header: &[u8], at: u64) -> &[u8] {
    usize::try_from(at).ok().and_then(|at| header.get(at..)).unwrap_or_default()
}

fn number<const N: usize>(header: &[u8], at: u64) -> [u8; N] {
    at_offset(header, at).first_chunk::<N>().copied().unwrap_or([0; N])
}

/// QEMU's oldest and newest version of qcow2.
const QCOW2_VERSIONS: [u32; 2] = [2, 3];
/// The features of qcow2 that don't change how it is read, or only how it is packed: left open, compression.
const QCOW2_FEATURES: u64 = 0b1001;

fn qcow2(head: &[u8]) -> Result<u64, String> {
    let (u32_at, u64_at) = (|at| u32::from_be_bytes(number(head, at)), |at| u64::from_be_bytes(number(head, at)));
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

/// VDI's kinds of disk that stand alone: growing, and of fixed size.
const VDI_ALONE: [u32; 2] = [1, 2];

fn vdi(head: &[u8]) -> Result<u64, String> {
    if !VDI_ALONE.contains(&u32::from_le_bytes(number(head, 76))) {
        return Err(DIFFERENCE.to_owned());
    }
    Ok(u64::from_le_bytes(number(head, 368)))
}

/// Microsoft's kinds of disk that stand alone: of fixed size, and growing.
const VHD_ALONE: [u32; 2] = [2, 3];

fn vhd(foot: &[u8]) -> Result<u64, String> {
    if !foot.starts_with(b"conectix") {
        return Err("it does not end like one".to_owned());
    }
    if !VHD_ALONE.contains(&u32::from_be_bytes(number(foot, 60))) {
        return Err(DIFFERENCE.to_owned());
    }
    Ok(u64::from_be_bytes(number(foot, 48)))
}

/// A VMDK disk in one file, whose own description is at its beginning.
fn vmdk(head: &[u8]) -> Result<u64, String> {
    if !head.starts_with(b"KDMV") {
        return Err("it is not all in one file".to_owned());
    }
    let sectors = |at| u64::from_le_bytes(number(head, at)).saturating_mul(SECTOR_BYTES);
    let (from, bytes) = (sectors(28), usize::try_from(sectors(36)).unwrap_or(usize::MAX));
    let text = at_offset(head, from);
    if bytes == 0 || text.len() < bytes {
        return Err("its description is not at its beginning".to_owned());
    }
    let text = String::from_utf8_lossy(&text[..bytes]);
    let lines: Vec<_> = text.lines().map(|line| line.trim_matches(['\0', ' ', '\t'])).collect();
    let extents = lines.iter().filter(|line| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| ["RW", "RDONLY", "NOACCESS"].contains(&word))
            && words.next().is_some_and(|word| word.parse::<u64>().is_ok())
    });
    let kinds: Vec<_> = extents.map(|line| line.split_whitespace().nth(2).unwrap_or_default()).collect();
    if kinds != ["SPARSE"] {
        return Err("it is not all in one file".to_owned());
    }
    let parent = lines.iter().find_map(|line| line.strip_prefix("parentCID="));
    if parent.is_some_and(|parent| !parent.eq_ignore_ascii_case("ffffffff"))
        || lines.iter().any(|line| line.starts_with("parentFileNameHint"))
    {
        return Err(DIFFERENCE.to_owned());
    }
    Ok(sectors(12))
}
