//! What users read, kept in files and compared: a change of words shows in a review.
//!
//! After a change that is meant, write them anew: `BERTH_SNAPSHOTS=write cargo test -p berth-cli snapshots`.

use crate::{
    args::Berth,
    exit::Exit,
    failures,
    hint::Failure,
    intent::{RunIntent, Subject, TaskName},
    keys,
    settings::Settings,
};
use berth_chain::{
    outbox::{Key, OutboxError},
    refusal::Unit,
};
use clap::{CommandFactory as _, Parser as _};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("snapshots")
}

#[expect(clippy::disallowed_methods, reason = "a switch for whoever changes the words, not for users")]
pub(crate) fn compare(path: &Path, text: &str) {
    if std::env::var_os("BERTH_SNAPSHOTS").is_some_and(|value| value == "write") {
        fs::write(path, text).expect("the sources are writable");
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == text,
        "{} differs; if that is meant: BERTH_SNAPSHOTS=write cargo test -p berth-cli snapshots\n--- now\n{text}",
        path.display()
    );
}

/// Each command's long help, the hidden ones left out.
fn help(command: &mut clap::Command, path: &str, text: &mut String) {
    let shown = command.render_long_help().to_string();
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    writeln!(text, "=== {path}\n\n{}\n", lines.join("\n").trim_end()).expect("a text takes more text");
    for child in command.get_subcommands_mut().filter(|child| !child.is_hide_set() && child.get_name() != "help") {
        let path = format!("{path} {}", child.get_name());
        help(child, &path, text);
    }
}

#[test]
fn help_texts_are_as_reviewed() {
    let mut text = String::new();
    let mut command = Berth::command();
    command.build();
    help(&mut command, "berth", &mut text);
    compare(&folder().join("help.txt"), &text);
}

/// The manual ends in the commands' own words.
#[test]
fn the_manual_has_every_command_as_it_is() {
    const HEADING: &str = "What follows is what `--help` says; a test compares the two.\n";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let kept = fs::read_to_string(&path).expect("the manual is there");
    let (written, _) = kept.split_once(HEADING).expect("the manual has its heading");
    let mut text = format!("{written}{HEADING}");
    let mut command = Berth::command();
    command.build();
    reference(&mut command, "berth", &mut text);
    compare(&path, &text);
}

fn reference(command: &mut clap::Command, path: &str, text: &mut String) {
    let leaf = command.get_subcommands().all(|child| child.get_name() == "help");
    if leaf {
        let shown = command.render_help().to_string();
        // What every command takes is in the table of settings.
        let global = [
            "--profile",
            "--rpc",
            "--deployment",
            "--market ",
            "--keystore",
            "--account",
            "--password-file",
            "--json",
            "--help",
            "--version",
        ];
        let lines = shown.lines().map(str::trim_end).filter(|line| {
            let flag =
                line.trim_start().trim_start_matches("-a, ").trim_start_matches("-h, ").trim_start_matches("-V, ");
            !global.iter().any(|global| flag.starts_with(global))
        });
        let lines: Vec<&str> = lines.collect();
        write!(text, "\n### {path}\n\n```\n{}\n```\n", lines.join("\n").trim_end()).expect("a text takes more text");
    }
    for child in command.get_subcommands_mut().filter(|child| !child.is_hide_set() && child.get_name() != "help") {
        let path = format!("{path} {}", child.get_name());
        reference(child, &path, text);
    }
}

#[test]
fn every_command_shows_an_example() {
    fn walk(command: &clap::Command, path: &str, missing: &mut Vec<String>) {
        let children: Vec<_> = command.get_subcommands().filter(|child| child.get_name() != "help").collect();
        let shows = command.get_after_help().is_some_and(|help| help.to_string().contains("Examples:"));
        if children.is_empty() && !command.is_hide_set() && !shows {
            missing.push(path.to_owned());
        }
        for child in children {
            walk(child, &format!("{path} {}", child.get_name()), missing);
        }
    }
    let mut missing = Vec::new();
    walk(&Berth::command(), "berth", &mut missing);
    assert!(missing.is_empty(), "no example: {missing:?}");
}

/// The same text on every machine: paths of this one are taken out.
fn plain(failure: &Failure) -> String {
    failure.to_string().replace(env!("CARGO_MANIFEST_DIR"), "crates/cli")
}

fn run_intent(line: &[&str]) -> Failure {
    let typed = ["berth", "run"].iter().chain(line);
    let parsed = Berth::try_parse_from(typed).expect("the form is right; what it means is not");
    let crate::args::Command::Run(args) = parsed.command else { unreachable!("`run` was typed") };
    RunIntent::new(*args).expect_err("it makes no sense")
}

#[test]
fn error_texts_are_as_reviewed() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let same = format!("Cargo.toml={manifest}");
    let mut failures = vec![
        run_intent(&["busybox", "--each", "3..3"]),
        run_intent(&["busybox", "--each", "@/no/such/list"]),
        run_intent(&["busybox", "--input", "/no/such/file"]),
        run_intent(&["busybox", "--input", source]),
        run_intent(&["busybox", "--input", manifest, "--input", &same, "--input", "other=/no/such"]),
        run_intent(&["busybox", "--input", manifest, "--input", &same]),
        run_intent(&["busybox", "--env", "NAME"]),
        run_intent(&["busybox", "--env", "BERTH_X=1"]),
        run_intent(&["busybox", "--memory", "much"]),
        run_intent(&["busybox", "--cpu", "two"]),
        run_intent(&["busybox", "--timeout", "5"]),
        run_intent(&["busybox", "--output", "../up"]),
    ];
    failures.extend([
        Subject::parse("0x12").expect_err("no id"),
        Subject::parse("name@sha256:12").expect_err("no digest"),
        TaskName::parse("7").expect_err("no task"),
        keys::check_name("a/b").expect_err("no name"),
        keys::find(&folder(), "alice").expect_err("no such key"),
        Settings::load(&Berth::parse_from(["berth", "wallet", "list"]).global)
            .and_then(|settings| settings.keystore().map(drop))
            .expect_err("there is no profile here"),
        failures::reverted("the contract refuses the transaction", &[]),
        failures::reverted("the contract refuses the transaction", &free_too_small()),
        failures::unsent(
            OutboxError::Reverted { key: Key::new("0"), revert: free_too_small().into() },
            &Unit::new("LOCAL", 18),
        ),
        failures::reverted("the contract refuses the transaction", &said("no money today")),
        failures::reverted("the contract refuses the transaction", &panicked()),
        failures::reverted("the contract refuses the transaction", &[0xde, 0xad, 0xbe, 0xef]),
        Failure::new(Exit::Interrupted, "detached", "detached: the job goes on").hint("`berth task list` shows it"),
    ]);
    assert!(failures.iter().all(|failure| !failure.hints.is_empty()), "a failure without a hint: {failures:#?}");
    let text: String = failures
        .iter()
        .map(|failure| format!("=== {} ({})\n\n{}\n\n", failure.code, failure.exit.code(), plain(failure)))
        .collect();
    compare(&folder().join("errors.txt"), &text);
}

/// Each error of the committed ABIs as the client tells it, with samples of its values: what to look at after a change of
/// the contracts.
#[test]
fn refusals_are_told_as_reviewed() {
    let mut text = String::new();
    for (signature, data) in sampled_errors() {
        let failure = failures::reverted("the contract refuses", &data);
        assert!(!failure.to_string().contains("not known"), "nobody can read {signature}");
        write!(text, "=== {signature}\n\n{failure}\n\n").expect("a text takes more text");
    }
    compare(&folder().join("refusals.txt"), &text);
}

/// Every error of every committed ABI, by its signature, with data. Not those of receivers: Berth tells that they failed,
/// and nobody else may call them.
fn sampled_errors() -> std::collections::BTreeMap<String, Vec<u8>> {
    use alloy::{
        json_abi::JsonAbi,
        primitives::{Address, U256},
    };
    let abi = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../contracts/abi");
    let mut all = std::collections::BTreeMap::new();
    for entry in fs::read_dir(abi).expect("the ABIs are committed") {
        let file = fs::read(entry.expect("it is readable").path()).expect("it is readable");
        let artifact: serde_json::Value = serde_json::from_slice(&file).expect("an artifact is JSON");
        let abi: JsonAbi = serde_json::from_value(artifact["abi"].clone()).expect("it has an ABI");
        for error in abi.errors().filter(|error| !error.name.starts_with("ResultBox_")) {
            let word = |kind: &str, place: usize| -> U256 {
                let of_place = U256::from(place + 1);
                match kind {
                    "address" => Address::repeat_byte(if place == 0 { 0x11 } else { 0x22 }).into_word().into(),
                    "bytes32" => U256::from(0x0101).pow(of_place),
                    "uint64" | "uint256" => U256::from(1_800_000_000) + of_place,
                    // Where the only text that there is begins.
                    "string" => U256::from(0x20),
                    _ => U256::from(5) * of_place,
                }
            };
            let words = error.inputs.iter().enumerate().flat_map(|(place, of)| word(&of.ty, place).to_be_bytes::<32>());
            let mut data: Vec<u8> = error.selector().iter().copied().chain(words).collect();
            if error.inputs.iter().any(|of| of.ty == "string") {
                data.extend([[0; 32], [0; 32]].concat());
            }
            all.insert(error.signature(), data);
        }
    }
    all
}

/// What a contract of others says in words.
fn said(words: &str) -> Vec<u8> {
    use alloy::sol_types::SolError as _;
    alloy::sol_types::Revert::from(words.to_owned()).abi_encode()
}

/// What a contract says when its arithmetic fails.
fn panicked() -> Vec<u8> {
    use alloy::sol_types::SolError as _;
    alloy::sol_types::Panic { code: alloy::primitives::U256::from(0x11) }.abi_encode()
}

/// What `Berth` answers to a match that its payer can't pay.
fn free_too_small() -> Vec<u8> {
    use alloy::{
        primitives::{Address, U256},
        sol_types::SolError as _,
    };
    use berth_chain::bindings::berth::IBerth::Berth_FreeTooSmall;
    let account = Address::repeat_byte(0x11);
    Berth_FreeTooSmall { account, free: U256::from(1), needed: U256::from(3) }.abi_encode()
}
