//! Columns for people, and what stands in them.

use berth_protocol::Timestamp;
use core::time::Duration;
use std::time::UNIX_EPOCH;

/// The last of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// Rows under headings, each column as wide as its widest cell.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = line(&widths, &headings.map(str::to_uppercase));
    for row in rows {
        text.push_str(&line(&widths, row));
    }
    text
}

fn line(widths: &[usize], cells: &[String]) -> String {
    let mut line = String::new();
    for (width, cell) in widths.iter().zip(cells) {
        line.push_str(cell);
        line.push_str(&" ".repeat(2 + width - cell.chars().count()));
    }
    format!("{}\n", line.trim_end())
}

/// Names and values, one a line.
pub(crate) fn fields(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    pairs.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

/// A time of the chain: `2026-11-22T18:30:00Z`.
pub(crate) fn time(at: Timestamp) -> String {
    // Past the year 9999 there are only seconds.
    let known = Duration::from_secs(at.seconds().min(LAST_SECOND));
    match at.seconds() {
        0..=LAST_SECOND => humantime::format_rfc3339_seconds(UNIX_EPOCH + known).to_string(),
        later => format!("second {later}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_end_without_blanks() {
        let rows = [["1".to_owned(), "é".to_owned()], ["22".to_owned(), String::new()]];
        assert_eq!(table(["a", "name"], &rows), "A   NAME\n1   é\n22\n");
        assert_eq!(time(Timestamp::new(1_795_374_000)), "2026-11-22T19:00:00Z");
        assert_eq!(time(Timestamp::new(u64::MAX)), format!("second {}", u64::MAX));
        assert_eq!(fields(&[("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2\n");
    }
}
