//! What a machine hands over: a line that tells how the job ended, and a tar archive of its output, on a disk that is
//! read as bytes and never mounted.
//!
//! Whatever is in it was written by the job's machine, and is believed in nothing: names stay within the output folder,
//! sizes within the limit, and nothing is written through a link.

use super::part;
use crate::{
    digest::{MAX_PATH_BYTES, SHOWN_CHARS, TOO_LONG},
    runtime::RuntimeError,
};
use std::{
    collections::HashSet,
    fs,
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::symlink,
    path::{Component, Path, PathBuf},
};
use tar::EntryType;

/// The archive begins here.
pub(crate) const HEADER_BYTES: u64 = 4_096;
/// The line ends before this.
const LINE_BYTES: u64 = 64;
/// The line's first word: the version of this format.
const VERSION: &str = "berth1";
/// More entries than this are refused: more than a result can have, folders included.
const MAX_ENTRIES: usize = 100_000;
/// A name, or what else goes with an entry beside its bytes, is shorter than this.
const MAX_NAME_BYTES: u64 = 16 << 10;
const CHUNK_BYTES: usize = 64 << 10;

/// What a machine says of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Exited(i32),
    /// Exit with this code, and nothing more fitted into the output folder.
    Full(i32),
    OutOfMemory,
}

/// Reads the line; `None` if there is none.
pub(crate) fn said(disk: &Path) -> io::Result<Option<Said>> {
    let mut line = Vec::new();
    fs::File::open(disk)?.take(LINE_BYTES).read_to_end(&mut line)?;
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let words: Vec<_> = str::from_utf8(line).unwrap_or_default().split(' ').collect();
    let [VERSION, code, flag] = words[..] else { return Ok(None) };
    let Ok(code) = code.parse::<u8>().map(i32::from) else { return Ok(None) };
    Ok(match flag {
        "-" => Some(Said::Exited(code)),
        "full" => Some(Said::Full(code)),
        "oom" => Some(Said::OutOfMemory),
        _ => None,
    })
}

/// An archive as it is unpacked.
struct Unpacking<'a> {
    into: &'a Path,
    left_bytes: u64,
    files: HashSet<PathBuf>,
    /// Links, and things that are no files, in their places: made last, so that nothing is ever written through one.
    others: Vec<(PathBuf, EntryType)>,
}

/// Unpacks the archive. `Some`: it is not fit to be a result, and why.
pub(crate) fn unpack(disk: &Path, into: &Path, limit_bytes: u64) -> Result<Option<String>, RuntimeError> {
    let mut unpacking = Unpacking { into, left_bytes: limit_bytes, files: HashSet::new(), others: Vec::new() };
    let done = small(disk).and_then(|objection| match objection {
        Some(objection) => Ok(Some(objection)),
        None => unpacking.all(&mut archive(disk)?),
    });
    done.map_err(part(into))
}

/// The disk from where the archive begins.
struct Tail(fs::File);

impl io::Read for Tail {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl io::Seek for Tail {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let to = match to {
            io::SeekFrom::Start(at) => io::SeekFrom::Start(at.saturating_add(HEADER_BYTES)),
            to @ (io::SeekFrom::Current(_) | io::SeekFrom::End(_)) => to,
        };
        self.0.seek(to)?.checked_sub(HEADER_BYTES).ok_or_else(|| io::Error::other("before the archive"))
    }
}

fn archive(disk: &Path) -> io::Result<tar::Archive<Tail>> {
    let mut tail = Tail(fs::File::open(disk)?);
    tail.rewind()?;
    Ok(tar::Archive::new(tail))
}

/// Looks at the bare headers, before anything is read by them into memory: long names are short, and no entry is a file
/// with holes, which would unpack to more than it holds.
fn small(disk: &Path) -> io::Result<Option<String>> {
    let mut archive = archive(disk)?;
    for (number, entry) in archive.entries_with_seek()?.raw(true).enumerate() {
        let Ok(entry) = entry else { return Ok(Some("its output is no tar archive".to_owned())) };
        let kind = entry.header().entry_type();
        let extends = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        if number > MAX_ENTRIES {
            return Ok(Some(format!("there are more than {MAX_ENTRIES} entries in its output")));
        }
        if extends && entry.header().entry_size().is_ok_and(|size| size > MAX_NAME_BYTES) {
            return Ok(Some("an output has a name that is too long".to_owned()));
        }
        if kind.is_gnu_sparse() {
            return Ok(Some("an output is a file with holes in it".to_owned()));
        }
    }
    Ok(None)
}

impl Unpacking<'_> {
    fn all(&mut self, archive: &mut tar::Archive<Tail>) -> io::Result<Option<String>> {
        for entry in archive.entries()? {
            let Ok(mut entry) = entry else { return Ok(Some("its output is no tar archive".to_owned())) };
            let Some(path) = entry.path().ok().and_then(|path| within(&path)) else {
                return Ok(Some(format!("output `{}` leaves the output folder", shown(&entry.path_bytes()))));
            };
            if path.as_os_str().is_empty() {
                continue;
            }
            if path.as_os_str().len() > MAX_PATH_BYTES {
                let named: String = path.display().to_string().chars().take(SHOWN_CHARS).collect();
                return Ok(Some(format!("output `{}…` {TOO_LONG}", named.escape_debug())));
            }
            if let Some(objection) = self.one(&mut entry, path)? {
                return Ok(Some(objection));
            }
        }
        for (path, kind) in &self.others {
            let target = self.into.join(path);
            // A folder that another entry needed took its place.
            if fs::symlink_metadata(&target).is_ok() {
                return Ok(Some(twice(path)));
            }
            if kind.is_symlink() {
                // Where it leads does not matter: it is refused by its name.
                symlink("link", target)?;
            } else {
                nix::unistd::mkfifo(&target, nix::sys::stat::Mode::S_IRUSR)?;
            }
        }
        Ok(None)
    }

    fn one(&mut self, entry: &mut tar::Entry<'_, Tail>, path: PathBuf) -> io::Result<Option<String>> {
        let (target, kind) = (self.into.join(&path), entry.header().entry_type());
        if kind.is_dir() {
            // Once more is no harm.
            return match fs::create_dir_all(&target) {
                Err(error) if is_clash(&error) => Ok(Some(twice(&path))),
                made => made.map(|()| None),
            };
        }
        if let Some(folder) = target.parent()
            && let Err(error) = fs::create_dir_all(folder)
        {
            return if is_clash(&error) { Ok(Some(twice(&path))) } else { Err(error) };
        }
        if fs::symlink_metadata(&target).is_ok() || self.others.iter().any(|(other, _)| *other == path) {
            return Ok(Some(twice(&path)));
        }
        if kind.is_hard_link() {
            let first = entry.link_name().ok().flatten().and_then(|name| within(&name));
            return match first.filter(|first| self.files.contains(first)) {
                Some(first) => fs::hard_link(self.into.join(first), &target).map(|()| None),
                None => Ok(Some(format!("output `{}` is a link to nothing", path.display()))),
            };
        }
        if !kind.is_file() && !kind.is_contiguous() {
            self.others.push((path, kind));
            return Ok(None);
        }
        let copied = self.copy(entry, &target)?;
        self.files.insert(path);
        Ok(copied)
    }

    /// Copies a file's bytes, within the limit.
    fn copy(&mut self, entry: &mut tar::Entry<'_, Tail>, target: &Path) -> io::Result<Option<String>> {
        let mut file = fs::File::create_new(target)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let Ok(read) = entry.read(&mut chunk) else { return Ok(Some("its output is cut short".to_owned())) };
            if read == 0 {
                return Ok(None);
            }
            let Some(left) = self.left_bytes.checked_sub(read as u64) else {
                return Ok(Some("the output files hold more than their limit".to_owned()));
            };
            self.left_bytes = left;
            file.write_all(&chunk[..read])?;
        }
    }
}

/// A path below the folder, without its dots; `None` if it would leave it.
fn within(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(inside)
}

/// A file stands where a folder should, or the other way round.
fn is_clash(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory)
}

fn twice(path: &Path) -> String {
    format!("output `{}` is there twice", path.display().to_string().escape_debug())
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with these entries, and what unpacking it says.
    fn unpacked(entries: &[(&str, EntryType, &str)]) -> (Option<String>, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut archive = tar::Builder::new(vec![0; 4_096]);
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            // As it comes: the library itself refuses to write such names.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            let is_link = kind.is_hard_link() || kind.is_symlink();
            if is_link {
                header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
            }
            let bytes = if is_link { "" } else { content };
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            archive.append(&header, bytes.as_bytes()).expect("into memory");
        }
        let disk = folder.path().join("disk");
        fs::write(&disk, archive.into_inner().expect("into memory")).expect("writes");
        let into = folder.path().join("out");
        fs::create_dir(&into).expect("makes");
        (unpack(&disk, &into, 100).expect("reads"), folder)
    }

    #[test]
    fn files_folders_and_hard_links_come_out() {
        let entries = [
            ("./", EntryType::Directory, ""),
            ("./d/", EntryType::Directory, ""),
            ("./d/a", EntryType::Regular, "text"),
            ("./b", EntryType::Link, "./d/a"),
        ];
        let (said, folder) = unpacked(&entries);
        assert_eq!(said, None);
        assert_eq!(fs::read_to_string(folder.path().join("out/b")).expect("there"), "text");
    }

    #[test]
    fn nothing_is_written_outside_or_through_a_link() {
        let link = ("l", EntryType::Symlink, "/tmp");
        for (entries, reason) in [
            (vec![("../x", EntryType::Regular, "x")], "leaves"),
            (vec![("/x", EntryType::Regular, "x")], "leaves"),
            (vec![("a/../../x", EntryType::Regular, "x")], "leaves"),
            (vec![("x", EntryType::Link, "/etc/passwd")], "link to nothing"),
            (vec![("x", EntryType::Regular, "1"), ("./x", EntryType::Regular, "2")], "twice"),
            (vec![("x", EntryType::Regular, "1"), ("x/y", EntryType::Regular, "2")], "twice"),
            (vec![link, ("l", EntryType::Regular, "2")], "twice"),
            (vec![("x", EntryType::Regular, &"x".repeat(101))], "more than their limit"),
            (vec![("x", EntryType::GNUSparse, "x")], "holes"),
        ] {
            let (said, folder) = unpacked(&entries);
            assert!(said.as_ref().is_some_and(|said| said.contains(reason)), "{reason}: {said:?}");
            assert!(!folder.path().join("x").exists());
        }
    }

    #[test]
    fn links_and_devices_are_there_to_be_refused_by_name() {
        let (said, folder) = unpacked(&[("l", EntryType::Symlink, "/etc"), ("l/x", EntryType::Regular, "x")]);
        assert!(said.is_some_and(|said| said.contains("twice")));
        assert!(folder.path().join("out/l/x").is_file(), "a folder stands where the link would");
        let (said, folder) = unpacked(&[("l", EntryType::Symlink, "/etc"), ("n", EntryType::Block, "")]);
        assert_eq!(said, None);
        assert!(fs::symlink_metadata(folder.path().join("out/l")).expect("there").is_symlink());
        assert!(fs::symlink_metadata(folder.path().join("out/n")).is_ok());
    }

    #[test]
    fn a_line_that_is_none_says_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = folder.path().join("disk");
        let is = |line: &[u8], said_is: Option<Said>| {
            fs::write(&disk, line).expect("writes");
            assert_eq!(said(&disk).expect("reads"), said_is, "{line:?}");
        };
        is(b"berth1 7 -\n\0\0", Some(Said::Exited(7)));
        is(b"berth1 1 full\n", Some(Said::Full(1)));
        is(b"berth1 137 oom\n", Some(Said::OutOfMemory));
        for line in [&b""[..], b"berth1 7\n", b"berth1 -1 -\n", b"berth1 256 -\n", b"berth2 7 -\n", b"\xff\n"] {
            is(line, None);
        }
    }
}
