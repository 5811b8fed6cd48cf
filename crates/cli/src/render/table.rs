//! Columns for people.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_end_without_blanks() {
        let rows = [["1".to_owned(), "é".to_owned()], ["22".to_owned(), String::new()]];
        assert_eq!(table(["a", "name"], &rows), "A   NAME\n1   é\n22\n");
        assert_eq!(fields(&[("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2\n");
    }
}
