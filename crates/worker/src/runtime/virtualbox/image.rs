//! Which disks are shared, and the copies of them that VirtualBox works on.
//!
//! VirtualBox writes to a disk that it makes a difference to, if only an identifier, so it is never shown an owner's
//! file: it gets a copy, made once for each disk, whose bytes are what was hashed. Machines write to differences of it.
//! (A live CD can't be written to, and is used as it is.)

use super::VirtualBox;
use crate::runtime::{
    Request, RuntimeError, folder_error,
    guest::{ImageError, Seen, blocking, checked, form, hashed, look},
};
use berth_wire::{
    disk::DiskFormat,
    units::{OciDigest, Sha256},
};
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

/// A shared file that was hashed, and is a disk that VirtualBox takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    file: PathBuf,
    sha256: Sha256,
    format: DiskFormat,
}

/// Reads a shared file.
pub(super) fn read(file: &Path, digest: OciDigest) -> Result<(Disk, Vec<Seen>), ImageError> {
    let seen = checked(file, digest.0)?;
    let format = form(file, DiskFormat::is_virtualbox)?.format;
    Ok((Disk { file: file.to_owned(), sha256: digest.0, format }, vec![seen]))
}

/// What a machine boots from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct System {
    pub(super) file: PathBuf,
    pub(super) is_cd: bool,
}

impl VirtualBox {
    /// What a machine is to boot from: for a disk, the copy. Nobody else may make a machine meanwhile, and
    /// [`VirtualBox::settled`] must follow: VirtualBox touches a disk, if only its time, whenever it makes a difference
    /// to it.
    pub(super) async fn system(&self, request: &Request) -> Result<System, RuntimeError> {
        let disk = self.shared.find(&request.image, request.file.as_ref()).await?;
        if disk.format == DiskFormat::Iso {
            return Ok(System { file: disk.file.clone(), is_cd: true });
        }
        // What was fetched is kept by those who fetched it: the copy is the task's own.
        let is_shared = self.shared.declared().iter().any(|declared| declared.digest.0 == disk.sha256);
        let copies = if is_shared { self.copies.clone() } else { request.folder.machine().join("copies") };
        let file = copies.join(format!("{}.{}", disk.sha256, disk.format.name()));
        let is_whole =
            look(&file).is_ok_and(|seen| fs::read_to_string(record(&file)).is_ok_and(|was| was == shown(&seen)));
        if !is_whole {
            // Beside its place: a machine may be running on what stands there.
            let new = copies.join(format!("{}.new.{}", disk.sha256, disk.format.name()));
            let (from, to, wanted) = (disk.file.clone(), new.clone(), disk.sha256);
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
        let (seen, record) = (look(&system.file)?, record(&system.file));
        fs::write(&record, shown(&seen)).map_err(folder_error("writing", &record))
    }

    /// Removes the copies of disks that are no longer shared.
    pub(super) fn remove_copies(&self) -> Result<(), RuntimeError> {
        let declared = self.shared.declared().iter();
        let shared: HashSet<_> = declared.map(|declared| declared.digest.0.to_string()).collect();
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
