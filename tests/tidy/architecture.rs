//! ARCHITECTURE.md and the manifests against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::tree::{files, none, root, text};

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The rows of the table under a heading, as cells without backticks.
fn table(heading: &str) -> Vec<Vec<String>> {
    let whole = text("ARCHITECTURE.md");
    let (_, section) = whole.split_once(&format!("\n## {heading}")).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let inner = row.trim().trim_start_matches('|').trim_end_matches('|');
        inner.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    };
    let rows: Vec<_> = rows.skip(2).map(cells).collect();
    assert!(!rows.is_empty(), "the table under {heading} is empty");
    rows
}

fn drawn() -> Arrows {
    let names = |cell: &str| {
        cell.split(',').map(|name| name.trim().trim_matches('`').to_owned()).filter(|name| !name.is_empty()).collect()
    };
    table("Allowed arrows").into_iter().map(|row| (row[0].trim_matches('`').to_owned(), names(&row[1]))).collect()
}

fn built() -> Arrows {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let uses = |package: &Value| {
        let all = package["dependencies"].as_array().expect("dependencies");
        all.iter().map(name).filter(|used| ours.contains(used)).collect()
    };
    packages.iter().map(|package| (name(package), uses(package))).collect()
}

#[test]
fn crates_use_each_other_as_the_architecture_draws_it() {
    let (drawn, built) = (drawn(), built());
    assert_eq!(
        drawn.keys().collect::<Vec<_>>(),
        built.keys().collect::<Vec<_>>(),
        "the table's crates and the workspace's"
    );
    let mut broken = Vec::new();
    for (from, uses) in &built {
        broken.extend(uses.difference(&drawn[from]).map(|to| format!("{from} uses {to}, which is not drawn")));
        broken.extend(drawn[from].difference(uses).map(|to| format!("{from} is drawn to use {to}, and does not")));
    }
    none("arrows of ARCHITECTURE.md", broken);
}

#[test]
fn the_services_do_not_know_each_other() {
    let services = ["berth-scheduler", "berth-worker", "berth-market"];
    let built = built();
    assert!(built["berth-protocol"].is_empty(), "protocol uses nothing of ours");
    for service in services {
        assert!(services.iter().all(|other| !built[service].contains(*other)), "{service}");
    }
}

#[test]
fn every_place_on_the_code_map_exists() {
    let places = table("Code map").into_iter().map(|row| row[0].trim_matches('`').to_owned());
    none("places that are not there", places.filter(|place| !root().join(place).exists()));
}

fn manifests() -> impl Iterator<Item = (String, toml::Table)> {
    let is_ours = |f: &String| f.ends_with("Cargo.toml") && (f.starts_with("crates/") || f.starts_with("tests/"));
    files().into_iter().filter(is_ours).map(|file| {
        let table = text(&file).parse().unwrap_or_else(|e| panic!("{file}: {e}"));
        (file, table)
    })
}

#[test]
fn every_crate_takes_the_house_lints_and_no_others() {
    let house = "workspace = true".parse::<toml::Table>().expect("TOML");
    let differs = |(_, manifest): &(String, toml::Table)| {
        manifest.get("lints").and_then(toml::Value::as_table).is_none_or(|lints| *lints != house)
    };
    none("`[lints]` is `workspace = true`", manifests().filter(differs).map(|(file, _)| file));
}

#[test]
fn versions_are_in_the_root_manifest_alone() {
    let mut broken = Vec::new();
    for (file, manifest) in manifests() {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(kind).and_then(toml::Value::as_table) else { continue };
            let own = table.iter().filter(|(_, wanted)| wanted.get("workspace").is_none());
            broken.extend(own.map(|(name, _)| format!("{file}: {name}")));
        }
    }
    none("a version of a crate's own", broken);
}

#[test]
fn protocol_keeps_the_house_bans_and_adds_its_own() {
    let bans = |file: &str| {
        let table: toml::Table = text(file).parse().unwrap_or_else(|e| panic!("{file}: {e}"));
        let paths = |key: &str| {
            let all = table.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default();
            all.iter().map(|ban| ban["path"].as_str().expect("a path").to_owned()).collect::<BTreeSet<_>>()
        };
        (paths("disallowed-methods"), paths("disallowed-types"))
    };
    let (house, own) = (bans("clippy.toml"), bans("crates/protocol/clippy.toml"));
    assert!(!house.0.is_empty());
    none("bans that crates/protocol/clippy.toml, which replaces the root's, has lost", {
        house.0.difference(&own.0).chain(house.1.difference(&own.1)).cloned().collect::<Vec<_>>()
    });
    assert!(own.1.contains("std::collections::HashMap"), "an order that changes from run to run");
}
