//! Which disks are shared, that their files are what they are called, and the copies that VirtualBox works on.
//!
//! VirtualBox writes to a disk that it makes a difference to, if only an identifier, so it is never shown an owner's
//! file: it gets a copy, made once for each disk, whose bytes are what was hashed. Machines write to differences of it.
//! (A live CD can't be written to, and is used as it is.)

use super::{VirtualBox, error::VirtualBoxError};
use crate::{
    config::MachineFile,
    runtime::{
        RuntimeError, folder_error,
        guest::{HEADER_BYTES, ImageError, Seen, at_offset, checked, hashed, head, look, number, same, vdi},
    },
};
use berth_wire::{
    job::Image,
    units::{OciDigest, Sha256},
};
use std::{
    collections::HashSet,
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

/// The files that VirtualBox takes.
const ENDINGS: &str = ".vdi, .vmdk, .vhd or .iso";

/// A disk's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Vdi,
    Vmdk,
    Vhd,
    Iso,
}

impl Format {
    const fn ending(self) -> &'static str {
        match self {
            Self::Vdi => "vdi",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vhd",
            Self::Iso => "iso",
        }
    }
}

/// What a machine boots from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct System {
    pub(super) file: PathBuf,
    pub(super) is_cd: bool,
}

/// A shared file that was hashed, and was what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    digest: OciDigest,
    format: Format,
    seen: Seen,
}

impl VirtualBox {
    /// Which of the shared disks an image means, if it is there and whole. What was hashed before and looks the same is
    /// not hashed again.
    pub(super) async fn disk(&self, wanted: &Image) -> Result<(MachineFile, Format), RuntimeError> {
        let digests = [wanted.config, wanted.manifest];
        let declared = self.share.images.iter().find(|declared| digests.contains(&Some(declared.digest)));
        let Some(declared) = declared.cloned() else {
            return Err(RuntimeError::NoImage(wanted.reference.clone()));
        };
        let known = self.known.lock().expect("nothing panics under this lock").clone();
        if let Some(known) = known.into_iter().find(|known| known.digest == declared.digest && same(&known.seen)) {
            return Ok((declared, known.format));
        }
        let (file, digest) = (declared.file.clone(), declared.digest);
        let known = blocking(move || {
            let (seen, format) = (checked(&file, digest.0)?, format(&file)?);
            Ok(Known { digest, format, seen })
        })
        .await?;
        let format = known.format;
        let mut all = self.known.lock().expect("nothing panics under this lock");
        all.retain(|other| other.digest != digest);
        all.push(known);
        Ok((declared, format))
    }

    /// What a machine is to boot from: for a disk, the copy. Nobody else may make a machine meanwhile, and
    /// [`VirtualBox::settled`] must follow: VirtualBox touches a disk, if only its time, whenever it makes a difference
    /// to it.
    pub(super) async fn system(&self, wanted: &Image) -> Result<System, RuntimeError> {
        let (declared, format) = self.disk(wanted).await?;
        if format == Format::Iso {
            return Ok(System { file: declared.file, is_cd: true });
        }
        let file = self.copies.join(format!("{}.{}", declared.digest.0, format.ending()));
        let is_whole =
            look(&file).is_ok_and(|seen| fs::read_to_string(record(&file)).is_ok_and(|was| was == shown(&seen)));
        if !is_whole {
            // Beside its place: a machine may be running on what stands there.
            let new = self.copies.join(format!("{}.new.{}", declared.digest.0, format.ending()));
            let (from, to, wanted) = (declared.file.clone(), new.clone(), declared.digest.0);
            blocking(move || copy(&from, &to, wanted)).await?;
            fs::rename(&new, &file).map_err(folder_error("making", &file))?;
        }
        Ok(System { file, is_cd: false })
    }

    /// Notes how a copy looks now.
    pub(super) fn settled(&self, system: &System) -> Result<(), RuntimeError> {
        if system.is_cd {
            return Ok(());
        }
        let (seen, record) = (look(&system.file).map_err(VirtualBoxError::from)?, record(&system.file));
        fs::write(&record, shown(&seen)).map_err(folder_error("writing", &record))
    }

    /// Removes the copies of disks that are no longer shared.
    pub(super) fn remove_copies(&self) -> Result<(), RuntimeError> {
        let shared: HashSet<_> = self.share.images.iter().map(|declared| declared.digest.0.to_string()).collect();
        let Ok(entries) = fs::read_dir(&self.copies) else { return Ok(()) };
        for file in entries.flatten().map(|entry| entry.path()) {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // An unfinished one has a word more in its name.
            if name.split_once('.').is_none_or(|(digest, rest)| rest.contains('.') || !shared.contains(digest)) {
                fs::remove_file(&file).map_err(folder_error("removing", &file))?;
            }
        }
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, RuntimeError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    done.map_err(|error| VirtualBoxError::from(error).into())
}

/// Where it stands how a copy looked.
fn record(copy: &Path) -> PathBuf {
    copy.with_extension("seen")
}

fn shown(seen: &Seen) -> String {
    format!("{seen:?}")
}

/// Copies a disk, and looks at the copy: what is used is what was hashed. File systems that can share the blocks.
fn copy(from: &Path, to: &Path, wanted: Sha256) -> Result<(), ImageError> {
    let failed = |error| ImageError::Read(to.to_owned(), error);
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::copy(from, to).map_err(failed)?;
    let found = hashed(to)?;
    if found == wanted { Ok(()) } else { Err(ImageError::Hash { file: from.to_owned(), found, wanted }) }
}

/// The first bytes of a live CD's own header.
const ISO_AT: u64 = 32_769;
const ISO_BYTES: usize = 36 << 10;
/// A VMDK disk's own description is read up to this.
const VMDK_BYTES: usize = 128 << 10;
const SECTOR_BYTES: u64 = 512;

/// The format that a file's name says, if its bytes say the same, and that it stands alone.
fn format(file: &Path) -> Result<Format, ImageError> {
    let formats = [Format::Vdi, Format::Vmdk, Format::Vhd, Format::Iso];
    let ending = file.extension().and_then(|ending| ending.to_str());
    let format = formats.into_iter().find(|format| ending == Some(format.ending()));
    let format = format.ok_or_else(|| ImageError::Unknown { file: file.to_owned(), endings: ENDINGS })?;
    let is_so = match format {
        Format::Vdi => vdi(&head(file, HEADER_BYTES)?).map(|_| ()),
        Format::Vmdk => vmdk(&head(file, VMDK_BYTES)?),
        Format::Vhd => vhd(&foot(file)?),
        Format::Iso => iso(&head(file, ISO_BYTES)?),
    };
    let wrong = |reason| ImageError::Format { file: file.to_owned(), format: format.ending(), reason };
    is_so.map(|()| format).map_err(wrong)
}

/// The last bytes of a file.
fn foot(file: &Path) -> Result<Vec<u8>, ImageError> {
    let read = || {
        let mut open = fs::File::open(file)?;
        let mut foot = Vec::new();
        let size = open.seek(SeekFrom::End(0))?;
        open.seek(SeekFrom::Start(size.saturating_sub(SECTOR_BYTES)))?;
        open.read_to_end(&mut foot).map(|_| foot)
    };
    read().map_err(|error| ImageError::Read(file.to_owned(), error))
}

fn iso(header: &[u8]) -> Result<(), String> {
    if at_offset(header, ISO_AT).starts_with(b"CD001") {
        Ok(())
    } else {
        Err("it is no file system of a CD".to_owned())
    }
}

/// Microsoft's kinds of disk that stand alone: of fixed size, and growing.
const VHD_ALONE: [u32; 2] = [2, 3];

fn vhd(foot: &[u8]) -> Result<(), String> {
    if !foot.starts_with(b"conectix") {
        return Err("it does not end like one".to_owned());
    }
    if !VHD_ALONE.contains(&u32::from_be_bytes(number(foot, 60))) {
        return Err("it is a difference to another disk; write it out whole".to_owned());
    }
    Ok(())
}

/// A VMDK disk in one file, which names no other.
fn vmdk(header: &[u8]) -> Result<(), String> {
    if !header.starts_with(b"KDMV") {
        return Err("it does not begin like one of one file".to_owned());
    }
    let sectors = |at| u64::from_le_bytes(number(header, at)).saturating_mul(SECTOR_BYTES);
    let (from, bytes) = (sectors(28), usize::try_from(sectors(36)).unwrap_or(usize::MAX));
    let text = at_offset(header, from);
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
        return Err("it is a difference to another disk; write it out whole".to_owned());
    }
    Ok(())
}
