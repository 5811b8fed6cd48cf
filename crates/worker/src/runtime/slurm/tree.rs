//! An output folder, copied as it is: links stay links, what is there twice is there twice by one file, holes stay holes,
//! so that the copy takes no more than what was limited. Nothing is followed: a job has made all of it.

use nix::{
    fcntl::OFlag,
    sys::stat::Mode,
    unistd::{geteuid, mkfifo},
};
use std::{
    collections::HashMap,
    fs,
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

/// What is only zeros in such a piece is a hole.
const CHUNK_BYTES: usize = 64 << 10;

/// Copies what is in a folder into another that is empty.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut files: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        for entry in fs::read_dir(&from)? {
            let (from, to) = (from.join(entry?.file_name()), to.clone());
            let to = to.join(from.file_name().expect("an entry has a name"));
            let found = fs::symlink_metadata(&from)?;
            let kind = found.file_type();
            if kind.is_dir() {
                fs::create_dir(&to)?;
                folders.push((from, to));
            } else if kind.is_symlink() {
                symlink(fs::read_link(&from)?, &to)?;
            } else if kind.is_file() {
                if let Some(same) = files.get(&(found.dev(), found.ino())) {
                    fs::hard_link(same, &to)?;
                    continue;
                }
                copy_file(&from, &to, &found)?;
                if found.nlink() > 1 {
                    files.insert((found.dev(), found.ino()), to);
                }
            } else {
                // Whatever it is, it is refused by its name and for being no file.
                mkfifo(&to, Mode::S_IRUSR)?;
            }
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path, found: &fs::Metadata) -> io::Result<()> {
    let unlinked = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut source = match fs::File::options().read(true).custom_flags(unlinked).open(from) {
        Ok(source) => source,
        // As unreadable as it is there.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !geteuid().is_root() => {
            return fs::File::options().write(true).create_new(true).mode(0o000).open(to).map(drop);
        }
        Err(error) => return Err(error),
    };
    let mut target = fs::File::create_new(to)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut length = 0;
    loop {
        let read = source.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        length += read as u64;
        let piece = &chunk[..read];
        if piece.iter().all(|byte| *byte == 0) {
            target.seek_relative(i64::try_from(read).unwrap_or(i64::MAX))?;
        } else {
            target.write_all(piece)?;
        }
    }
    target.set_len(length)?;
    target.set_permissions(fs::Permissions::from_mode(found.mode() & 0o777))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_same_and_takes_no_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("a/b")).expect("writes");
        fs::create_dir(&to).expect("writes");
        fs::write(from.join("a/b/c"), b"text").expect("writes");
        fs::hard_link(from.join("a/b/c"), from.join("twice")).expect("links");
        symlink("/etc/passwd", from.join("link")).expect("links");
        mkfifo(&from.join("pipe"), Mode::S_IRUSR).expect("makes");
        let hole = fs::File::create(from.join("hole")).expect("writes");
        hole.set_len(1 << 30).expect("no block of it");
        fs::write(from.join("odd\nname"), b"").expect("writes");
        copy(&from, &to).expect("copies");
        assert_eq!(fs::read(to.join("a/b/c")).expect("there"), b"text");
        let inode = |path: &str| fs::metadata(to.join(path)).expect("there").ino();
        assert_eq!(inode("a/b/c"), inode("twice"));
        assert_eq!(fs::read_link(to.join("link")).expect("a link"), Path::new("/etc/passwd"));
        assert!(!fs::symlink_metadata(to.join("pipe")).expect("there").is_file());
        let hole = fs::metadata(to.join("hole")).expect("there");
        assert!(hole.len() == 1 << 30 && hole.blocks() < 16, "{} blocks", hole.blocks());
        assert!(to.join("odd\nname").exists());
    }
}
