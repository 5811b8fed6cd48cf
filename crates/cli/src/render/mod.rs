//! The only place that prints. Data goes to stdout; progress, receipts and failures go to stderr.

mod progress;
mod table;

pub(crate) use progress::Progress;
pub(crate) use table::{fields, table, time};

use crate::{exit::Exit, hint::Failure};
use serde_json::{Value, json};
use std::io::Write as _;

/// The version of every JSON document that the binary prints.
pub(crate) const SCHEMA: u32 = 1;

/// What a command has to say.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// For stdout, as it is.
    pub(crate) data: Vec<u8>,
    /// The data are what a job printed.
    pub(crate) shows_stdout: bool,
    /// For people: goes to stderr, after the data.
    pub(crate) note: String,
    /// The same for machines.
    pub(crate) json: Value,
    /// The command did its work, and what came of it is no success: a task that failed.
    pub(crate) failure: Option<Failure>,
}

impl Report {
    /// A text for stdout, and the same for machines.
    pub(crate) fn new(text: impl Into<String>, json: Value) -> Self {
        let mut text = text.into();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        Self { data: text.into_bytes(), json, ..Self::default() }
    }
}

/// Prints how a command went, and says how it ends.
pub(crate) fn finish(json: bool, result: Result<Report, Failure>) -> Exit {
    let (report, failure) = match result {
        Ok(mut report) => {
            let failure = report.failure.take();
            (Some(report), failure)
        }
        Err(failure) => (None, Some(failure)),
    };
    let exit = failure.as_ref().map_or(Exit::Ok, |failure| failure.exit);
    if json {
        let data = report.map(|report| report.json);
        out(format!("{}\n", document(data, failure.as_ref())).as_bytes());
    } else if let Some(report) = report {
        out(&report.data);
        err(&report.note);
    }
    if let Some(failure) = &failure {
        err(&failure.to_string());
    }
    exit
}

fn document(data: Option<Value>, failure: Option<&Failure>) -> Value {
    let mut document = json!({ "schema": SCHEMA, "ok": failure.is_none() });
    if let Some(data) = data {
        document["data"] = data;
    }
    if let Some(failure) = failure {
        document["error"] = json!({
            "code": failure.code,
            "exit": failure.exit.code(),
            "message": failure.message,
            "causes": failure.causes,
            "hints": failure.hints,
        });
    }
    document
}

/// Writes to stdout. Whoever closed it does not want the rest.
pub(crate) fn out(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    drop(stdout.write_all(bytes).and_then(|()| stdout.flush()));
}

/// Writes to stderr as it is: what somebody else says there.
pub(crate) fn err_bytes(bytes: &[u8]) {
    let mut stderr = std::io::stderr().lock();
    drop(stderr.write_all(bytes).and_then(|()| stderr.flush()));
}

/// Writes a text, ended by a line break, to stderr. There is nowhere to complain about a broken one.
pub(crate) fn err(text: &str) {
    if !text.is_empty() {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        drop(write!(std::io::stderr().lock(), "{text}{end}"));
    }
}
