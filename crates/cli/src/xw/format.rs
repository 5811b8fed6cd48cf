//! XtremWeb-HEP's output formats: `short`, `text`, `csv` and `xml` as they were, and `json`.
//!
//! Values that are not there are `NULL`, without quotes; a quote in a value is doubled, and what would break the line is
//! written as in C. In XML and JSON such values are left out, and all others are themselves.

use crate::hint::Failure;
use core::fmt::Write as _;
use serde_json::{Map, Value};

/// How objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Format {
    /// Some columns, with their names.
    #[default]
    Short,
    /// All columns, with their names.
    Text,
    /// All values.
    Csv,
    /// Elements.
    Xml,
    /// The document that `berth --json` prints.
    Json,
}

impl Format {
    /// Reads `--xwformat`. XtremWeb-HEP took any word that it did not know for `short`.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        match text.to_ascii_lowercase().as_str() {
            "short" => Ok(Self::Short),
            "text" => Ok(Self::Text),
            "csv" => Ok(Self::Csv),
            "xml" => Ok(Self::Xml),
            "json" => Ok(Self::Json),
            "html" => Err(Failure::usage("format", "the format html is gone: a page is made from json")
                .hint("write --xwformat json, or xml")),
            _ => {
                Err(Failure::usage("format", format!("`{text}` is no format"))
                    .hint("write short, text, csv, xml, or json"))
            }
        }
    }
}

/// Objects of one kind.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    /// The XML element of one: `work`.
    pub(super) element: &'static str,
    /// The columns, in upper case.
    pub(super) columns: &'static [&'static str],
    /// Those of the short format.
    pub(super) short: &'static [&'static str],
    /// Values, one a column.
    pub(super) rows: Vec<Vec<Option<String>>>,
}

impl Objects {
    /// As text in one of the formats; nothing for [`Format::Json`], which is [`Objects::json`].
    pub(super) fn show(&self, format: Format) -> String {
        match format {
            Format::Short => self.lines(|column| self.short.contains(&column)),
            Format::Text => self.lines(|_| true),
            Format::Csv => self.csv(),
            Format::Xml => self.xml(),
            Format::Json => String::new(),
        }
    }

    /// The same for machines.
    pub(super) fn json(&self) -> Value {
        let object = |row: &Vec<Option<String>>| {
            let pairs = self.columns.iter().zip(row);
            let there = pairs.filter_map(|(column, value)| Some((column.to_lowercase(), value.clone()?.into())));
            Value::Object(there.collect::<Map<_, _>>())
        };
        Value::Array(self.rows.iter().map(object).collect())
    }

    fn lines(&self, is_shown: impl Fn(&'static str) -> bool) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let pairs = self.columns.iter().zip(row).filter(|(column, _)| is_shown(column));
            let pairs: Vec<String> = pairs.map(|(column, value)| format!(" {column}={}", quoted(value))).collect();
            writeln!(text, "{}", pairs.join(",")).expect("a text takes more text");
        }
        text
    }

    fn csv(&self) -> String {
        let line = |row: &Vec<Option<String>>| row.iter().map(quoted).collect::<Vec<_>>().join(",");
        self.rows.iter().map(|row| format!("{}\n", line(row))).collect()
    }

    fn xml(&self) -> String {
        let mut text = "<?xml version='1.0' encoding='UTF-8'?>\n<get>\n".to_owned();
        for row in &self.rows {
            writeln!(text, "<{}>", self.element).expect("a text takes more text");
            for (column, value) in self.columns.iter().zip(row) {
                if let Some(value) = value {
                    let tag = column.to_lowercase();
                    writeln!(text, "  <{tag}>{}</{tag}>", escaped(value)).expect("a text takes more text");
                }
            }
            writeln!(text, "</{}>", self.element).expect("a text takes more text");
        }
        text.push_str("</get>\n");
        text
    }
}

fn quoted(value: &Option<String>) -> String {
    let Some(value) = value else { return "NULL".to_owned() };
    let mut text = String::with_capacity(value.len() + 2);
    text.push('\'');
    for letter in value.chars() {
        match letter {
            '\'' => text.push_str("''"),
            '\\' => text.push_str("\\\\"),
            letter if letter.is_control() => text.extend(letter.escape_default()),
            letter => text.push(letter),
        }
    }
    text.push('\'');
    text
}

/// Text between tags. Control characters are none of XML's, and become U+FFFD.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '&' => text.push_str("&amp;"),
            '\r' => text.push_str("&#13;"),
            '\n' | '\t' => text.push(letter),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => text.push('\u{fffd}'),
            letter => text.push(letter),
        }
    }
    text
}
