//! What a worker checks before it runs anything: that an assignment is what it says, that the operator signed it, that
//! the job can be run at all, and that this worker would.
//!
//! Two kinds of no: *declined* is this worker's own (another may take the task), a *failure* is everybody's (the job can
//! run nowhere, and is settled so).

use crate::{
    config::Policy,
    environment::{self, Place},
    runtime::Capabilities,
};
use alloy::primitives::{B256, Signature};
use berth_protocol::{
    AssetId, AssetKind, DealId, DealTerms, Failure, TaskId, WorkerAddr, domain::Assignment, domain::Domain,
};
use berth_wire::{
    descriptor::{Descriptor, Minimum, Runtime},
    job::{Image, Job, Limits},
    units::Sha256,
    worker::{Assign, Capacity, Shares},
};
use std::{collections::BTreeMap, time::Duration};

/// Why this worker does not run a task that another may. Its name is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclineCode {
    /// The image is not here and is not fetched.
    NoImage,
    /// The limits are more than this machine gives.
    NoRoom,
    /// The assignment is not sound, or not wanted.
    Policy,
    /// The runtime is not here, or fails.
    Engine,
}

impl DeclineCode {
    /// Its name on the socket.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoImage => "no-image",
            Self::NoRoom => "no-room",
            Self::Policy => "policy",
            Self::Engine => "engine",
        }
    }
}

/// Why a task is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    /// Not here: for the scheduler.
    Decline(DeclineCode, String),
    /// Nowhere: a result.
    Failure(Failure, String),
}

/// What a worker knows about itself.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Where signatures hold.
    pub domain: Domain,
    /// This worker.
    pub worker: WorkerAddr,
    /// Its pool.
    pub pool: AssetId,
    /// What it gives in all.
    pub capacity: Capacity,
    /// The only images that it shares, if its owner named some.
    pub only: Option<Vec<Image>>,
    /// What its runtimes can do, for those that passed their probe.
    pub runtimes: Vec<(Runtime, Capabilities)>,
    /// Whose jobs it takes.
    pub policy: Policy,
}

/// A task that may run.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The task.
    pub task: TaskId,
    /// How it is run.
    pub runtime: Runtime,
    /// The image.
    pub image: Image,
    /// The job.
    pub job: Job,
    /// Its arguments, filled in.
    pub args: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// How long it may run.
    pub wall: Duration,
}

fn decline<T>(code: DeclineCode, detail: impl Into<String>) -> Result<T, Objection> {
    Err(Objection::Decline(code, detail.into()))
}

fn refuse<T>(detail: impl Into<String>) -> Result<T, Objection> {
    Err(Objection::Failure(Failure::Refused, detail.into()))
}

/// The task that an assignment is about, whether it is sound or not.
pub fn task_of(assign: &Assign) -> TaskId {
    DealId::new(assign.deal).task(assign.index)
}

/// Checks an assignment.
///
/// # Errors
/// [`Objection`]: this worker declines, or the job can run nowhere.
pub fn check(assign: &Assign, standing: &Standing) -> Result<Accepted, Objection> {
    let terms = sound(assign, standing)?;
    let apps = &standing.policy.apps;
    if !apps.is_empty() && !apps.contains(&assign.app) {
        return decline(DeclineCode::Policy, format!("the owner takes no jobs of app {}", assign.app));
    }
    let job = Job::from_bytes(assign.job.as_bytes()).or_else(|error| refuse(chain(&error)))?;
    let app = App::read(&assign.descriptor)?;
    let Some((_, capabilities)) = standing.runtimes.iter().find(|(runtime, _)| *runtime == app.runtime) else {
        return decline(DeclineCode::Engine, format!("there is no working {:?} engine here", app.runtime));
    };
    let image = app.image_for(&job)?;
    limits(&job.limits, app.minimum, capabilities)?;
    room(&job.limits, &standing.capacity)?;
    if let Some(withheld) = capabilities.withheld(&job.limits) {
        return decline(DeclineCode::Policy, withheld);
    }
    if let Some(only) = &standing.only
        && !standing.capacity.fetches_images
        && !(Shares { engines: Vec::new(), images: only.clone() }).has(&image)
    {
        return decline(DeclineCode::NoImage, format!("image {} is not shared here", image.reference));
    }
    let Some((each, args)) = environment::arguments(&job, assign.index) else {
        return refuse(format!("the job has {} elements, and none for task {}", job.each.len(), assign.index));
    };
    let task = task_of(assign);
    let (deal, index, first, size) = (assign.deal, assign.index, terms.first, terms.size);
    let place = Place { task: task.get(), deal, index, first, size };
    let environment = environment::environment(place, &job, &app.env, each.as_deref(), &args);
    let wall = Duration::from_secs(terms.duration.into());
    Ok(Accepted { task, runtime: app.runtime, image, job, args, environment, wall })
}

/// Whether the assignment hangs together: terms, job and signature.
fn sound(assign: &Assign, standing: &Standing) -> Result<DealTerms, Objection> {
    let terms = DealTerms::from(assign.terms.clone());
    if terms.id().get() != assign.deal {
        return decline(DeclineCode::Policy, "the terms are not the deal's");
    }
    if terms.pool != standing.pool.get() {
        return decline(DeclineCode::Policy, "the deal is another pool's");
    }
    if let Err(outside) = terms.task(assign.index) {
        return decline(DeclineCode::Policy, outside.to_string());
    }
    if Sha256::of(assign.job.as_bytes()).0 != assign.job_hash.0 {
        return decline(DeclineCode::Policy, "the job is not the one that its hash names");
    }
    let signed = Assignment { task: task_of(assign).get(), worker: standing.worker.get() };
    let digest: B256 = standing.domain.digest(&signed);
    let signer = Signature::from_raw(&assign.signature).ok().and_then(|s| s.recover_address_from_prehash(&digest).ok());
    if signer != Some(terms.operator) {
        return decline(DeclineCode::Policy, "the assignment is not signed by the deal's operator");
    }
    if AssetId::new(assign.app).is_none_or(|app| app.kind() != AssetKind::App) {
        return decline(DeclineCode::Policy, "the app's id is none");
    }
    Ok(terms)
}

/// What a descriptor says of an app.
struct App {
    runtime: Runtime,
    image: Option<Image>,
    env: BTreeMap<String, String>,
    minimum: Minimum,
}

impl App {
    fn read(descriptor: &str) -> Result<Self, Objection> {
        let descriptor = Descriptor::from_bytes(descriptor.as_bytes());
        let image = descriptor.as_ref().ok().and_then(Descriptor::image);
        match descriptor {
            Ok(Descriptor::App { version: 1, runtime, env, minimum, .. }) => Ok(Self { runtime, image, env, minimum }),
            Ok(Descriptor::App { version, .. }) => refuse(format!("the app's descriptor has version {version}")),
            Ok(Descriptor::Pool { .. }) => refuse("the descriptor is a pool's, not an app's"),
            Err(error) => refuse(chain(&error)),
        }
    }

    /// The image comes from exactly one of the two documents.
    fn image_for(&self, job: &Job) -> Result<Image, Objection> {
        let image = match (&self.image, &job.image) {
            (Some(image), None) | (None, Some(image)) => image,
            (None, None) => return refuse("neither the app nor the job names an image"),
            (Some(_), Some(_)) => return refuse("the app pins its image: the job may not name another"),
        };
        if image.config.is_none() && image.manifest.is_none() {
            return refuse(format!("image {} has no digest", image.reference));
        }
        Ok(image.clone())
    }
}

/// What no machine can do with this app and runtime.
fn limits(limits: &Limits, minimum: Minimum, capabilities: &Capabilities) -> Result<(), Objection> {
    let short = [
        ("cpu_millis", u64::from(limits.cpu_millis), u64::from(minimum.cpu_millis)),
        ("memory_bytes", limits.memory_bytes, minimum.memory_bytes),
        ("disk_bytes", limits.disk_bytes, minimum.disk_bytes),
    ];
    if let Some((name, given, least)) = short.into_iter().find(|(_, given, least)| given < least) {
        return refuse(format!("limit {name} is {given}; the app needs at least {least}"));
    }
    if let Some(missing) = capabilities.missing(limits) {
        return refuse(missing);
    }
    Ok(())
}

/// What this machine can't do.
fn room(limits: &Limits, capacity: &Capacity) -> Result<(), Objection> {
    let over = [
        ("cpu_millis", u64::from(limits.cpu_millis), u64::from(capacity.cpu_millis)),
        ("memory_bytes", limits.memory_bytes, capacity.memory_bytes),
        ("disk_bytes", limits.disk_bytes, capacity.disk_bytes),
    ];
    if let Some((name, wanted, most)) = over.into_iter().find(|(_, wanted, most)| wanted > most) {
        return decline(DeclineCode::NoRoom, format!("limit {name} is {wanted}; this worker gives {most}"));
    }
    Ok(())
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
