//! What a user means: arguments, checked as far as they can be without network and keys.

mod each;
mod inputs;
mod run;
mod subject;
mod task;
pub(crate) mod units;

pub(crate) use inputs::InputFile;
pub(crate) use run::{RunIntent, Sponsor, bad_job};
pub(crate) use subject::{ImageName, Subject};
pub(crate) use task::TaskName;
