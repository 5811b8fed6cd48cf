//! The labels of jobs (`--xwlabel`). They are nobody's business but the requester's, so they stay beside the profile: a
//! line a job, with its deal and its label.

use crate::hint::Failure;
use std::{
    collections::HashMap,
    fs::OpenOptions,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

const FILE: &str = "xw-labels.txt";

fn path(profile: &Path) -> PathBuf {
    profile.parent().unwrap_or(Path::new(".")).join(FILE)
}

/// Whether a text can be a label.
pub(super) fn check(label: &str) -> Result<(), Failure> {
    if label.is_empty() || label.len() > 200 || label.chars().any(char::is_control) {
        return Err(Failure::usage("label", format!("--xwlabel: {label:?} is no label"))
            .hint("write one line of at most 200 bytes"));
    }
    Ok(())
}

/// Keeps a job's label. The line is written in one piece, so that jobs may be submitted side by side.
pub(super) fn keep(profile: &Path, deal: &str, label: &str) -> Result<(), Failure> {
    let path = path(profile);
    let file = OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| file.write_all(format!("{deal} {label}\n").as_bytes()))
        .map_err(|error| Failure::file(&path, "written", &error).hint("the job was submitted, without its label"))
}

/// All labels, by deal.
pub(super) fn all(profile: &Path) -> Result<HashMap<String, String>, Failure> {
    let path = path(profile);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(Failure::file(&path, "read", &error)),
    };
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs.map(|(deal, label)| (deal.to_owned(), label.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_their_blanks_and_the_last_one_counts() {
        let folder = std::env::temp_dir().join(format!("berth-labels-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let profile = folder.join("profile.toml");
        assert_eq!(all(&profile), Ok(HashMap::new()));
        for (deal, label) in [("0xab", "first"), ("0xcd", "two  words"), ("0xab", "second")] {
            keep(&profile, deal, label).expect("it is kept");
        }
        let kept = all(&profile).expect("it is read");
        assert_eq!(kept["0xab"], "second");
        assert_eq!(kept["0xcd"], "two  words");
        std::fs::remove_dir_all(folder).expect("it was just made");
        assert!(check("a\nb").is_err() && check("").is_err() && check("two  words").is_ok());
    }
}
