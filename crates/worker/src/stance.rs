//! Whether the owner lets tasks in: open, paused, or draining. One small file in the worker's folder, so that it outlives
//! restarts; `berth worker pause|resume|drain` write it, and the worker looks at it twice a second.

use serde::{Deserialize, Serialize};
use std::{fs, io, path::Path};

/// The file's name in the worker's folder.
pub const FILE: &str = "stance.json";

/// Whether tasks are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stance {
    /// Yes.
    #[default]
    Open,
    /// No, until the owner resumes; what runs goes on.
    Paused,
    /// No; when what runs has ended and was handed over, the worker stops. Its next start is an open one.
    Draining,
}

impl Stance {
    /// Why nothing is let in, in words.
    pub const fn closed(self) -> Option<&'static str> {
        match self {
            Self::Open => None,
            Self::Paused => Some("its owner has paused it"),
            Self::Draining => Some("its owner has it end what it runs, and then stop"),
        }
    }
}

/// The stance of the worker whose folder this is.
///
/// # Errors
/// The file can't be read, or is none of ours.
pub fn read(folder: &Path) -> io::Result<Stance> {
    match fs::read(folder.join(FILE)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stance::Open),
        Err(error) => Err(error),
    }
}

/// Writes a stance down, whole or not at all.
///
/// # Errors
/// The folder can't be written.
pub fn write(folder: &Path, stance: Stance) -> io::Result<()> {
    let part = folder.join(FILE).with_extension("part");
    fs::write(&part, serde_json::to_vec(&stance)?)?;
    fs::rename(&part, folder.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stance_outlives_a_restart_and_its_absence_is_open() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(read(folder.path()).expect("there is none"), Stance::Open);
        for stance in [Stance::Paused, Stance::Draining, Stance::Open] {
            write(folder.path(), stance).expect("writable");
            assert_eq!(read(folder.path()).expect("it was written"), stance);
        }
        fs::write(folder.path().join(FILE), b"half").expect("writable");
        assert!(read(folder.path()).is_err());
    }
}
