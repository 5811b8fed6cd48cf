//! Rules about what may stand in the sources.

use crate::tree::{files, none, text};

/// Files that may be longer, each with the reason.
const LONGER: &[(&str, &str)] = &[];
const LINES: usize = 500;

fn rust() -> impl Iterator<Item = String> {
    files().into_iter().filter(|file| file.ends_with(".rs"))
}

fn is_test(file: &str) -> bool {
    file.contains("/tests/") || file.ends_with("/tests.rs")
}

/// The lines that hold code, numbered: no comments, and nothing after the start of a file's tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let own = (1..).zip(text.lines()).take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    own.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn lints_are_silenced_by_expect_with_a_reason() {
    // In two pieces, or this file would be found.
    let silent = [concat!("#[", "allow"), concat!("#![", "allow")];
    let mut broken = Vec::new();
    for file in rust() {
        for (number, line) in (1..).zip(text(&file).lines()) {
            // `sol!` takes attributes for the code that it writes.
            let generated = line.contains("#[sol(");
            if !generated && silent.iter().any(|s| line.trim_start().starts_with(s)) {
                broken.push(format!("{file}:{number}"));
            }
        }
    }
    none("`expect(…, reason = …)` says why, and when it is no longer needed", broken);
}

#[test]
fn no_test_is_skipped() {
    let skip = [concat!("#[", "ignore"), concat!("vm", ".skip(")];
    none(
        "a test that is not run tests nothing",
        files().into_iter().filter(|file| file.ends_with(".rs") || file.ends_with(".sol")).filter(|file| {
            let text = text(file);
            skip.iter().any(|s| text.contains(s))
        }),
    );
}

#[test]
fn files_are_short_enough_to_be_read_at_a_sitting() {
    let mut broken = Vec::new();
    for file in files() {
        let ours = ["crates/", "contracts/src/", "contracts/script/", "scripts/", "examples/", "tests/support/"];
        let source = [".rs", ".sol", ".sh"].iter().any(|ending| file.ends_with(ending));
        if !source || !ours.iter().any(|folder| file.starts_with(folder)) || is_test(&file) {
            continue;
        }
        let whole = text(&file);
        let lines = whole.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        let excused = LONGER.iter().any(|(name, _)| *name == file);
        if lines > LINES && !excused {
            broken.push(format!("{file}: {lines} lines"));
        }
        if lines <= LINES && excused {
            broken.push(format!("{file}: no longer needs its place in LONGER"));
        }
    }
    none("longer than 500 lines without tests", broken);
}

#[test]
fn protocol_is_pure() {
    let impure = [
        "async fn",
        "async move",
        ".await",
        "std::fs",
        "std::io",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "SystemTime",
        "Instant::now",
        "rand::",
        "tokio",
        "HashMap",
        "HashSet",
    ];
    let mut broken = Vec::new();
    for file in rust().filter(|file| file.starts_with("crates/protocol/src/")) {
        let text = text(&file);
        for (number, line) in code(&text) {
            broken.extend(impure.iter().filter(|i| line.contains(**i)).map(|i| format!("{file}:{number}: {i}")));
        }
    }
    none("the rules do no IO, read no clock, draw no chance and have one order", broken);
}

#[test]
fn only_the_client_prints() {
    let prints = ["println!(", "print!(", "eprintln!(", "eprint!(", "dbg!("];
    let mut broken = Vec::new();
    for file in rust().filter(|file| file.starts_with("crates/") && !file.starts_with("crates/cli/src/render")) {
        if is_test(&file) || file.ends_with("build.rs") {
            continue;
        }
        let text = text(&file);
        let found = code(&text).filter(|(_, line)| prints.iter().any(|p| line.trim_start().starts_with(p)));
        broken.extend(found.map(|(number, _)| format!("{file}:{number}")));
    }
    none("what a person reads goes through cli's render, what is logged through observe", broken);
}
