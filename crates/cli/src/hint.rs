//! What a user is told when something fails: what it was, why, and what to do about it.

use crate::exit::Exit;
use core::{error::Error, fmt};

/// A failed command. `Display` is the whole text: message with its causes, blank line, hints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// How the command ends.
    pub(crate) exit: Exit,
    /// Stable, for machines: `balance-too-small`.
    pub(crate) code: String,
    /// What failed.
    pub(crate) message: String,
    /// Why, from the outside to the inside.
    pub(crate) causes: Vec<String>,
    /// What to do.
    pub(crate) hints: Vec<String>,
}

impl Failure {
    /// A failure without hints.
    pub(crate) fn new(exit: Exit, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { exit, code: code.into(), message: message.into(), causes: Vec::new(), hints: Vec::new() }
    }

    /// A command line that makes no sense.
    pub(crate) fn usage(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, code, message)
    }

    /// Something that is not there.
    pub(crate) fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, code, message)
    }

    /// Something that is needed beforehand.
    pub(crate) fn preflight(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Preflight, code, message)
    }

    /// A file that can't be read or written.
    pub(crate) fn file(path: &std::path::Path, verb: &str, error: &std::io::Error) -> Self {
        let kind = error.kind();
        let (exit, hint) = if kind == std::io::ErrorKind::NotFound {
            (Exit::NotFound, "check the path")
        } else if kind == std::io::ErrorKind::PermissionDenied {
            (Exit::Error, "check that you may read and write there")
        } else {
            (Exit::Error, "check the path, and that the disk is not full")
        };
        Self::new(exit, "file", format!("{} can't be {verb}", path.display())).because(error).hint(hint)
    }

    /// The same with what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same with an error, and all that is behind it, as the cause.
    pub(crate) fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            // Some wrappers say what their source says.
            if self.causes.last() != Some(&text) && self.message != text {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        for cause in &self.causes {
            write!(f, "\n  because: {cause}")?;
        }
        if !self.hints.is_empty() {
            writeln!(f)?;
        }
        for hint in &self.hints {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}
