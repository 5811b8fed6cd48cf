//! `--each`: one task per element.

use crate::hint::Failure;
use std::{fs, path::Path};

/// More elements than this make the job document too large for the services.
const MAX_ELEMENTS: usize = 10_000;

/// Reads `0..16` (the end not included), `a,b,c`, or `@FILE` with an element a line.
pub(crate) fn parse(text: &str) -> Result<Vec<String>, Failure> {
    let elements = match text.strip_prefix('@') {
        Some(path) => lines(Path::new(path))?,
        None => match range(text) {
            Some(range) => range.map(|number| number.to_string()).take(MAX_ELEMENTS + 1).collect(),
            None => text.split(',').map(|element| element.trim().to_owned()).collect(),
        },
    };
    let wrong = |message: String| {
        Err(Failure::usage("each", format!("--each: {message}")).hint("write 0..16, or a,b,c, or @FILE"))
    };
    match elements.len() {
        0 => wrong(format!("`{text}` has no element")),
        count if count > MAX_ELEMENTS => wrong(format!("more than {MAX_ELEMENTS} elements")),
        _ => match elements.iter().position(String::is_empty) {
            Some(at) => wrong(format!("element {} of `{text}` is empty", at + 1)),
            None => Ok(elements),
        },
    }
}

fn range(text: &str) -> Option<core::ops::Range<i64>> {
    let (start, end) = text.split_once("..")?;
    Some(start.parse().ok()?..end.parse().ok()?)
}

fn lines(path: &Path) -> Result<Vec<String>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::file(path, "read", &error))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lists_and_files_give_elements() {
        assert_eq!(parse("0..3"), Ok(vec!["0".into(), "1".into(), "2".into()]));
        assert_eq!(parse("red, green"), Ok(vec!["red".into(), "green".into()]));
        assert_eq!(parse("one"), Ok(vec!["one".into()]));
        let file = std::env::temp_dir().join(format!("berth-each-{}", std::process::id()));
        fs::write(&file, "a\n\n b \n").expect("the temporary folder is writable");
        assert_eq!(parse(&format!("@{}", file.display())), Ok(vec!["a".into(), "b".into()]));
        fs::remove_file(&file).expect("it was just written");
        for wrong in ["", "3..3", "a,,b", "0..999999999"] {
            assert_eq!(parse(wrong).map_err(|e| e.code), Err("each".to_owned()), "{wrong}");
        }
        assert!(parse("@/nowhere/at/all").is_err());
    }
}
