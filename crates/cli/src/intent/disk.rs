//! A virtual machine's disk that is registered: hashed, and of the format that its name says.

use crate::hint::Failure;
use berth_wire::{
    descriptor::{Disk, DiskFormat},
    disk::ends,
    manifest::Content,
};
use std::{
    fs::File,
    io::Seek as _,
    path::{Path, PathBuf},
};

/// The format that a file's name says.
fn by_name(path: &Path) -> Result<DiskFormat, Failure> {
    if let Some(format) = DiskFormat::of_name(path) {
        return Ok(format);
    }
    let is_packed = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"));
    Err(if is_packed {
        malformed(path, "is packed").hint("unpack it: what is registered is the disk's own sha256")
    } else {
        malformed(path, "does NOT end with one of 'ISO', 'VDI', 'VHD', 'VMDK', 'QCOW2', 'RAW', 'JSON'")
            .hint("give a disk image, a live CD, or a machine's document, under a name that says its format")
    })
}

fn malformed(path: &Path, what: &str) -> Failure {
    Failure::usage("disk", format!("Live CD '{}' {what}", path.display()))
}

/// Reads and hashes a disk, off the threads that must not wait.
pub(crate) async fn read(path: PathBuf) -> Result<Disk, Failure> {
    let hashed = tokio::task::spawn_blocking(move || disk(&path)).await;
    hashed.expect("hashing a file does not panic")
}

fn disk(path: &Path) -> Result<Disk, Failure> {
    let failed = |error: &std::io::Error| Failure::file(path, "read", error);
    let meta = std::fs::metadata(path).map_err(|error| failed(&error))?;
    if !meta.is_file() {
        return Err(malformed(path, "is no file").hint("give a disk image or a live CD"));
    }
    let format = by_name(path)?;
    let mut file = File::open(path).map_err(|error| failed(&error))?;
    if meta.len() == 0 {
        return Err(malformed(path, "is empty").hint("give a disk image or a live CD"));
    }
    let (head, foot) = ends(&mut file).map_err(|error| failed(&error))?;
    let found = DiskFormat::of_bytes(&head, &foot);
    if found != Ok(format) {
        let found = found.map_or_else(|foreign| foreign, DiskFormat::name);
        let message = format!("is named as {}, and what is in it is {found}", format.name());
        return Err(malformed(path, &message).hint("name it by what it is, or give another file"));
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("disk").to_owned();
    file.rewind().map_err(|error| failed(&error))?;
    let Content { sha256, size } = Content::read(&file).map_err(|error| failed(&error))?;
    Ok(Disk { name, format, size, sha256, url: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_wire::units::Sha256;
    use std::fs;

    fn file(name: &str, bytes: &[u8]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("berth-disks-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let path = folder.join(name);
        fs::write(&path, bytes).expect("it is writable");
        path
    }

    #[test]
    fn a_disk_is_what_its_name_says_or_is_refused() {
        let mut iso = vec![0; 0x9000];
        iso[0x8001..0x8006].copy_from_slice(b"CD001");
        let disk_of = |name: &str, bytes: &[u8]| disk(&file(name, bytes));
        let live = disk_of("live.iso", &iso).expect("it is one");
        assert_eq!((live.format, live.size, live.sha256), (DiskFormat::Iso, 0x9000, Sha256::of(&iso)));
        assert!(disk_of("a.qcow2", b"QFI\xfb rest").is_ok() && disk_of("a.RAW", b"anything").is_ok());
        assert_eq!(disk_of("m.json", b"{}").expect("it is one").format, DiskFormat::Machine);
        for (name, bytes) in [
            ("b.vdi", iso.as_slice()),
            ("b.iso", b"QFI\xfb"),
            ("b.raw", b"QFI\xfb"),
            ("b.json", b"[]"),
            ("b.img", b"LUKS\xba\xbe"),
            ("b.zip", b"PK"),
            ("b.txt", b"x"),
            ("b", b"x"),
            ("e.iso", b""),
        ] {
            let failure = disk_of(name, bytes).expect_err(name);
            assert!(!failure.hints.is_empty(), "{name}: {failure}");
        }
        assert!(disk(Path::new("nowhere.iso")).is_err());
        fs::remove_dir_all(file("last", b"").parent().expect("a folder")).expect("it was just made");
    }
}
