//! What the tools print, compared with what was reviewed.

use super::{
    format::{Format, Objects},
    install, legacy,
    names::{Answer, NAMES},
    options::{Kind, OPTIONS},
    works::{self, Work},
};
use crate::hint::Failure;
use alloy::primitives::B256;
use berth_wire::scheduler::TaskView;

/// A task of which nothing is known but its phase.
pub(super) fn task(phase: &str) -> TaskView {
    TaskView {
        task: B256::repeat_byte(7),
        deal: B256::repeat_byte(0x5c),
        index: 3,
        phase: phase.to_owned(),
        stage: None,
        worker: None,
        digest: None,
        failure: None,
        detail: None,
        stdout: None,
        stderr: None,
        partial: None,
        sealed: Vec::new(),
        wall_ms: None,
        ending: None,
        close: None,
        replicas: Vec::new(),
        attempts: 1,
        why: Vec::new(),
    }
}

/// A job of which nothing is known but its status.
pub(super) fn work(status: &'static str) -> Work {
    let uid = format!("0x{}:3", "5c".repeat(32));
    Work { uid, index: 3, status, label: None, ending: None, told: None, message: None }
}

#[test]
fn formats_are_as_reviewed() {
    let mut full: Vec<Option<String>> = works::COLUMNS.iter().map(|column| Some(column.to_lowercase())).collect();
    full[3] = Some("it's <two> \\ \"words\" & a\nline".to_owned());
    let mut bare: Vec<Option<String>> = works::COLUMNS.iter().map(|_| None).collect();
    bare[0] = Some("0xab:0".to_owned());
    bare[1] = Some("PENDING".to_owned());
    let objects = Objects { element: "work", columns: works::COLUMNS, short: works::SHORT, rows: vec![full, bare] };
    let nothing = Objects { rows: Vec::new(), ..objects.clone() };
    let mut text = String::new();
    for (name, format) in [("short", Format::Short), ("text", Format::Text), ("csv", Format::Csv), ("xml", Format::Xml)]
    {
        assert_eq!(Format::parse(name), Ok(format));
        text.push_str(&format!(
            "=== {name}\n\n{}\n=== {name}, nothing\n\n{}\n",
            objects.show(format),
            nothing.show(format)
        ));
    }
    let json = serde_json::to_string_pretty(&objects.json()).expect("it is JSON");
    text.push_str(&format!("=== json\n\n{json}\n"));
    crate::snapshots::compare(&crate::snapshots::folder().join("xw-formats.txt"), &text);
}

#[test]
fn usages_are_as_reviewed() {
    let mut text = String::new();
    for (name, answer) in NAMES {
        if let Answer::Does(tool) = answer {
            let usage = String::from_utf8(super::usage(*tool).data).expect("it is text");
            text.push_str(&format!("=== {name}\n\n{usage}\n"));
        }
    }
    crate::snapshots::compare(&crate::snapshots::folder().join("xw-help.txt"), &text);
}

#[test]
fn failures_of_shared_parts_speak_of_options_that_there_are() {
    let failure = Failure::usage("x", "--memory: `y` is no size").hint("give --pool, or --pool-stake; --out DIR.");
    let failure = super::translated(failure.hint("`berth pool show --pool x`"));
    assert_eq!(failure.message, "--xwmemory: `y` is no size");
    assert_eq!(failure.hints, ["give --xwpool, or --pool-stake; --xwout DIR.", "`berth pool show --pool x`"]);
    let setting = super::translated(Failure::usage("setting", "x").hint("give --account NAME"));
    assert!(setting.hints.iter().all(|hint| !hint.contains("--account")));
}

/// The page's tables are the program's own answers: each name that is in one is in the other.
#[test]
fn the_map_of_names_options_and_keys_is_what_the_tools_answer() {
    const HEADING: &str = "What follows is what the tools answer; a test compares the two.\n";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/from-xtremweb.md");
    let kept = std::fs::read_to_string(&path).expect("the page is there");
    let (written, _) = kept.split_once(HEADING).expect("the page has its heading");
    let mut text = format!("{written}{HEADING}");
    let mut table = |heading: &str, rows: &mut dyn Iterator<Item = (&'static str, String)>| {
        text.push_str(&format!("\n## {heading}\n\n| name | now |\n|---|---|\n"));
        rows.for_each(|(name, now)| text.push_str(&format!("| `{name}` | {} |\n", now.replace('|', "\\|"))));
    };
    table("Commands", &mut NAMES.iter().map(|(name, answer)| (*name, install::describe(*answer))));
    let option = |kind: &Kind| match kind {
        Kind::Flag(what) | Kind::Value(what) => (*what).to_owned(),
        Kind::Gone(why) => format!("gone: {why}"),
    };
    table("Options", &mut OPTIONS.iter().map(|(name, kind)| (*name, option(kind))));
    table("Configuration keys", &mut legacy::KEYS.iter().map(|(key, now)| (*key, (*now).to_owned())));
    crate::snapshots::compare(&path, &text);
}
