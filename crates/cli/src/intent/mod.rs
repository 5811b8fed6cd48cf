//! What a user means: arguments, checked as far as they can be without network and keys.

pub(crate) mod disk;
mod each;
mod inputs;
mod run;
mod subject;
mod task;
pub(crate) mod units;

pub(crate) use inputs::{Elsewhere, InputFile, apart, is_url};
pub(crate) use run::{Encrypt, RunIntent, Sponsor, bad_job, digest_of};
pub(crate) use subject::{ImageName, Subject};
pub(crate) use task::TaskName;
