//! Which task is meant.

use crate::hint::Failure;
use berth_protocol::{DealId, TaskId};

/// A task, or a deal, as typed: both are 32 bytes, so only the services can tell which a bare id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskName {
    /// A task's or a deal's id.
    Id(TaskId, DealId),
    /// A task by its deal and index.
    At(DealId, u32),
}

impl TaskName {
    /// Reads an id, or `DEAL:INDEX`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = || {
            Failure::usage("task-id", format!("`{text}` is no task"))
                .hint("write the task's id (0x and 64 hexadecimal digits), or DEAL:INDEX")
                .hint("`berth task list` shows both")
        };
        match text.split_once(':') {
            Some((deal, index)) => {
                Ok(Self::At(deal.parse().map_err(|_| wrong())?, index.parse().map_err(|_| wrong())?))
            }
            None => Ok(Self::Id(text.parse().map_err(|_| wrong())?, text.parse().map_err(|_| wrong())?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_named_by_id_or_by_deal_and_index() {
        let id = format!("0x{}", "5c".repeat(32));
        assert!(matches!(TaskName::parse(&id), Ok(TaskName::Id(..))));
        assert!(matches!(TaskName::parse(&format!("{id}:7")), Ok(TaskName::At(_, 7))));
        assert!(TaskName::parse("0x12").is_err() && TaskName::parse(&format!("{id}:x")).is_err());
    }
}
