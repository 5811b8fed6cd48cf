//! What each operation costs by its receipt, on a real chain, compared with what was written down: a figure worse by more
//! than half a per cent fails, and so does one that `docs/benchmarks.md` tells otherwise.
//!
//! After a change that is meant, write both anew: `BERTH_SNAPSHOTS=write cargo test -p berth-tests --test gas`.

use eyre::{ContextCompat as _, WrapErr as _, ensure};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// By operation.
type Figures = BTreeMap<String, u64>;

fn place(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)
}

/// What the benchmark prints.
fn measured() -> eyre::Result<Figures> {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).arg("gas").current_dir(place("")).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the benchmark fails: {complaint}");
    let lines = String::from_utf8(output.stdout)?;
    let one = |line: &str| {
        let figure: Value = serde_json::from_str(line)?;
        let op = figure["op"].as_str().wrap_err("no op")?.to_owned();
        Ok((op, figure["value"].as_u64().wrap_err("no value")?))
    };
    lines.lines().map(one).collect()
}

#[expect(clippy::disallowed_methods, reason = "a switch for whoever changes the contracts, not for users")]
fn writes() -> bool {
    std::env::var_os("BERTH_SNAPSHOTS").is_some_and(|value| value == "write")
}

/// `189,772`.
fn grouped(figure: u64) -> String {
    let digits = figure.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// The document with these figures in the second column of their rows.
fn with_figures(document: &str, figures: &Figures) -> String {
    let row = |line: &str| {
        let op = line.strip_prefix("| `")?.split_once('`')?.0;
        let (before, rest) = line.split_once(" | ")?;
        let (_, after) = rest.split_once(" |")?;
        Some(format!("{before} | {} |{after}", grouped(*figures.get(op)?)))
    };
    document.lines().map(|line| row(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[test]
fn no_operation_costs_more_than_was_written_down() -> eyre::Result<()> {
    let figures = measured()?;
    let (snapshot, document) = (place("contracts/snapshots/receipts.json"), place("docs/benchmarks.md"));
    let told = fs::read_to_string(&document)?;
    if writes() {
        fs::write(&snapshot, serde_json::to_string_pretty(&figures)? + "\n")?;
        fs::write(&document, with_figures(&told, &figures))?;
        return Ok(());
    }
    let kept: Figures = serde_json::from_str(&fs::read_to_string(&snapshot)?).wrap_err("no snapshot of receipts")?;
    let mut complaints = Vec::new();
    for (op, figure) in &figures {
        match kept.get(op) {
            // Half a per cent.
            Some(kept) if figure * 200 > kept * 201 => complaints.push(format!("{op} costs {figure}, and cost {kept}")),
            Some(_) => {}
            None => complaints.push(format!("{op} is not written down: it costs {figure}")),
        }
        if !told.contains(&format!("| `{op}`")) {
            complaints.push(format!("docs/benchmarks.md has no row of `{op}`"));
        }
    }
    complaints.extend(kept.keys().filter(|op| !figures.contains_key(*op)).map(|op| format!("{op} is not measured")));
    if with_figures(&told, &kept) != told {
        complaints.push("docs/benchmarks.md has other figures than contracts/snapshots/receipts.json".to_owned());
    }
    ensure!(
        complaints.is_empty(),
        "{}\nif that is meant: BERTH_SNAPSHOTS=write cargo test -p berth-tests --test gas",
        complaints.join("\n")
    );
    Ok(())
}

#[test]
fn figures_are_put_into_their_rows() {
    let figures = Figures::from([("claim".to_owned(), 1_050_745), ("bond".to_owned(), 7)]);
    let document = "| `claim` | 50 | 60,000 | x |\n| `bond` (first) | 72 | | |\n| `other` | 1 |\ntext | 5 |\n";
    let expected = "| `claim` | 1,050,745 | 60,000 | x |\n| `bond` (first) | 7 | | |\n| `other` | 1 |\ntext | 5 |\n";
    assert_eq!(with_figures(document, &figures), expected);
}
