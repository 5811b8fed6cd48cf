//! The project's files, and rules about where and how they lie.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The project's root folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root").to_owned()
}

/// The files that are in the project or about to be, relative to its root: not what .gitignore names.
pub(crate) fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output()
        .expect("git lists the project's files");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("file names are UTF-8");
    let files: Vec<String> =
        names.split_terminator('\0').filter(|name| root().join(name).is_file()).map(str::to_owned).collect();
    assert!(files.len() > 20, "only {} files found", files.len());
    files
}

/// A file's text.
pub(crate) fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Fails with all that breaks a rule.
pub(crate) fn none(rule: &str, broken: impl IntoIterator<Item = String>) {
    let broken: Vec<String> = broken.into_iter().collect();
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

/// Whether a file is text at all.
pub(crate) fn is_text(file: &str) -> bool {
    let endings = [
        "rs", "sol", "sh", "cjs", "js", "ts", "toml", "md", "json", "sql", "txt", "lock", "yml", "yaml", "html", "css",
    ];
    let name = file.rsplit('/').next().unwrap_or(file);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    ending.is_none_or(|ending| endings.contains(&ending)) || name.starts_with('.')
}

fn scripts() -> impl Iterator<Item = String> {
    let outside = ["contracts/bin/solc", ".ci/run"];
    let is_script = move |f: &String| f.ends_with(".sh") || outside.contains(&f.as_str());
    files().into_iter().filter(is_script)
}

#[test]
fn every_script_can_be_run_and_says_what_it_is_for() {
    none(
        "a script starts with #! and a comment, and is executable",
        scripts().filter(|script| {
            let text = text(script);
            let mut lines = text.lines();
            let starts = lines.next().is_some_and(|line| line.starts_with("#!"));
            let explains = lines.next().is_some_and(|line| line.starts_with("# ") && line.len() > 20);
            let mode = std::fs::metadata(root().join(script)).expect("listed").permissions().mode();
            !(starts && explains && mode & 0o111 == 0o111)
        }),
    );
}

#[test]
fn the_scripts_that_the_readme_and_ci_use_are_there() {
    let found: BTreeSet<String> = scripts().collect();
    let wanted = ["scripts/setup.sh", "scripts/demo.sh", "scripts/test.sh", "scripts/bench.sh", ".ci/run"];
    none("missing", wanted.iter().filter(|script| !found.contains(**script)).map(|s| (*s).to_owned()));
    let ci = text(".ci/run");
    let does: Vec<&str> = ci.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).collect();
    assert!(matches!(does.as_slice(), [line] if line.contains("scripts/test.sh")), ".ci/run does more: {does:?}");
}

#[test]
fn decisions_are_numbered_without_a_gap() {
    let mut numbers: Vec<usize> = files()
        .iter()
        .filter_map(|file| file.strip_prefix("docs/adr/"))
        .map(|name| {
            let number = name.split('-').next().filter(|n| n.len() == 4 && name.ends_with(".md"));
            number.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("docs/adr/{name} is not NNNN-title.md"))
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
    assert!(!numbers.is_empty());
}

#[test]
fn names_say_something() {
    let empty = ["utils", "util", "helpers", "helper", "common", "manager", "service", "misc", "types"];
    // Solidity groups value types in a folder of this name by custom.
    let allowed = ["contracts/src/types/"];
    none(
        "names that could hold anything",
        files().into_iter().filter(|file| {
            let code = file.starts_with("crates/") || file.starts_with("contracts/src/") || file.starts_with("tests/");
            let stem = |part: &str| part.split('.').next().unwrap_or_default().to_lowercase();
            code && !allowed.iter().any(|a| file.starts_with(a)) && file.split('/').any(|p| empty.contains(&&*stem(p)))
        }),
    );
}

#[test]
fn no_file_names_the_machine_that_it_was_written_on() {
    // In two pieces, or this file would be found.
    let homes = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];
    let mut broken = Vec::new();
    for file in files().iter().filter(|file| is_text(file)) {
        for (number, line) in (1..).zip(text(file).lines()) {
            let absolute = homes.iter().any(|home| {
                line.match_indices(home).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.' | '}' | '/' | ')'))
                })
            });
            if absolute {
                broken.push(format!("{file}:{number}: {}", line.trim()));
            }
        }
    }
    none("absolute paths of somebody's machine", broken);
}

#[test]
fn locks_name_no_server() {
    let broken = files().into_iter().filter(|file| file.ends_with("package-lock.json")).filter(|file| {
        let text = text(file);
        text.contains("\"resolved\": \"http") || !text.contains("\"integrity\"")
    });
    none("a lock that says where packages were fetched from, or not what they are", broken);
}
