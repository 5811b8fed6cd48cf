//! What to do about an error.

/// What whoever meets an error can do about it. Every error of Berth answers `class()` with one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The same call may work later: try again.
    Retry,
    /// The answer is no, and stays no: tell whoever asked.
    Refused,
    /// Something that must not happen: tell a person.
    Bug,
}
