//! How a command ends, as the shell sees it.

use std::process::ExitCode;

/// The exit codes. They are part of the interface: `docs/cli.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok,
    /// Something failed that has no code of its own.
    Error,
    /// The command line or a configuration file is wrong.
    Usage,
    /// What was named is not there.
    NotFound,
    /// Something that is needed beforehand is not there: money, a bond, an engine, a service, the right chain.
    Preflight,
    /// The contract refused the transaction.
    Reverted,
    /// Out of time: a deadline on chain, or an answer that did not come.
    Timeout,
    /// The task was paid for, and its result is a failure, or its job ended with another code than 0.
    TaskFailed,
    /// Refused: an offer above the limit, an expired order, a wrong password, a server's no.
    Refused,
    /// Ctrl-C.
    Interrupted,
    /// The job's own code, where it was asked for (`--exit-code task`).
    Job(u8),
}

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Preflight => 4,
            Self::Reverted => 5,
            Self::Timeout => 6,
            Self::TaskFailed => 7,
            Self::Refused => 8,
            Self::Interrupted => 130,
            Self::Job(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
