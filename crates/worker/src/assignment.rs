//! What a worker checks before it runs anything: that an assignment is what it says, that the operator signed it, that
//! the job can be run at all, and that this worker would.
//!
//! Two kinds of no: *declined* is this worker's own (another may take the task), a *failure* is everybody's (the job can
//! run nowhere, and is settled so).

use crate::{
    environment::{self, Place},
    runtime::Capabilities,
};
use alloy::primitives::{B256, Signature};
use berth_protocol::{
    AssetId, AssetKind, DealId, DealTerms, Failure, TaskId, WorkerAddr, domain::Assignment, domain::Domain,
};
use berth_wire::{
    descriptor::{Descriptor, Disk, Minimum, Runtime},
    job::{Dataset, Image, Job, Limits},
    units::Sha256,
    worker::{Assign, Capacity, Shares, Terms},
};
use std::{collections::BTreeMap, time::Duration};

/// Why this worker does not run a task that another may. Its name is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclineCode {
    /// The image is not here and is not fetched.
    NoImage,
    /// Data that it needs are not here, or are not what they were.
    NoData,
    /// Software that it needs is not here.
    NoPackage,
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
            Self::NoData => "no-data",
            Self::NoPackage => "no-package",
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
    /// What it has announced to be here.
    pub shares: Shares,
    /// Whose jobs it takes, as announced. (Whether it takes any now is asked when one comes.)
    pub terms: Terms,
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
    /// The app's own disk, if the image is one.
    pub disk: Option<Disk>,
    /// Data that have to be here, by their names in the input folder.
    pub datasets: Vec<Dataset>,
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
    if let Some(reason) = standing.terms.refuse(assign.app, assign.requester, terms.poolPrice) {
        return decline(DeclineCode::Policy, reason);
    }
    let job = Job::from_bytes(assign.job.as_bytes()).or_else(|error| refuse(chain(&error)))?;
    if job.recipient.is_some() && !terms.callback.is_zero() {
        return refuse("the job names a recipient, and the deal a callback, whose bytes everybody sees on chain");
    }
    let app = App::read(&assign.descriptor)?;
    let Some((_, capabilities)) = standing.runtimes.iter().find(|(runtime, _)| *runtime == app.runtime) else {
        return decline(DeclineCode::Engine, format!("there is no working {:?} engine here", app.runtime));
    };
    let image = app.image_for(&job)?;
    if !standing.shares.fetches_inputs && job.inputs.iter().any(|input| input.url.is_some()) {
        return decline(DeclineCode::Policy, "inputs are elsewhere, and this worker fetches none");
    }
    limits(&job.limits, &app.minimum, capabilities)?;
    let (datasets, dealt) = datasets(assign, &job)?;
    local(&datasets, job.packages.iter().chain(&app.minimum.packages), standing, capabilities)?;
    room(&job.limits, &standing.capacity)?;
    let wall = Duration::from_secs(terms.duration.into());
    if let Some(withheld) = capabilities.withheld(&job.limits, wall) {
        return decline(DeclineCode::Policy, withheld);
    }
    if let Some(only) = &standing.only
        && !standing.shares.fetches(app.runtime, &standing.capacity)
        && !(Shares { images: only.clone(), ..Shares::default() }).has(&image)
    {
        return decline(DeclineCode::NoImage, format!("image {} is not shared here", image.reference));
    }
    let Some((each, args)) = environment::arguments(&job, assign.index) else {
        return refuse(format!("the job has {} elements, and none for task {}", job.each.len(), assign.index));
    };
    let task = task_of(assign);
    let (deal, index, first, size) = (assign.deal, assign.index, terms.first, terms.size);
    let place = Place { task: task.get(), deal, index, first, size };
    let environment =
        environment::environment(place, &job, &app.env, (each.as_deref(), &args), (&datasets, dealt.as_deref()));
    let (runtime, disk) = (app.runtime, app.disk);
    Ok(Accepted { task, runtime, image, disk, datasets, job, args, environment, wall })
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

/// The data that a task needs, and the name of those that the deal is about.
fn datasets(assign: &Assign, job: &Job) -> Result<(Vec<Dataset>, Option<String>), Objection> {
    let Some(descriptor) = &assign.dataset else { return Ok((job.datasets.clone(), None)) };
    let (name, sha256) = match Descriptor::from_bytes(descriptor.as_bytes()) {
        Ok(Descriptor::Dataset { version: 1, name, sha256, .. }) => (name, sha256),
        Ok(Descriptor::Dataset { version, .. }) => {
            return refuse(format!("the dataset's descriptor has version {version}"));
        }
        Ok(Descriptor::App { .. } | Descriptor::Pool { .. }) => return refuse("the deal's dataset is none"),
        Err(error) => return refuse(chain(&error)),
    };
    let mut all = job.datasets.clone();
    all.push(Dataset { name: name.clone(), sha256 });
    let mut sorted = all.clone();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    // The job's own names may be taken by the deal's.
    (Job { datasets: sorted, ..job.clone() }).check().or_else(|error| refuse(chain(&error)))?;
    Ok((all, Some(name)))
}

/// What has to be on this machine, and is not.
fn local<'a>(
    datasets: &[Dataset],
    packages: impl Iterator<Item = &'a String>,
    standing: &Standing,
    capabilities: &Capabilities,
) -> Result<(), Objection> {
    let lacking = standing.shares.lacking(packages.map(String::as_str));
    if !lacking.is_empty() {
        return decline(DeclineCode::NoPackage, format!("packages that are not here: {}", lacking.join(", ")));
    }
    let mut bytes = 0_u64;
    for wanted in datasets {
        let Some(shared) = standing.shares.datasets.iter().find(|shared| shared.sha256 == wanted.sha256) else {
            return decline(DeclineCode::NoData, format!("dataset {} ({}) is not here", wanted.name, wanted.sha256));
        };
        bytes = bytes.saturating_add(shared.size);
    }
    let most = capabilities.most_data_bytes;
    // One that can give none is not asked for empty data either: it has no place for them.
    if bytes > most || (most == 0 && !datasets.is_empty()) {
        return refuse(format!("its data have {bytes} bytes; this runtime can give a job {most} of a machine's own"));
    }
    Ok(())
}

/// What a descriptor says of an app.
struct App {
    runtime: Runtime,
    image: Option<Image>,
    disk: Option<Disk>,
    env: BTreeMap<String, String>,
    minimum: Minimum,
}

impl App {
    fn read(descriptor: &str) -> Result<Self, Objection> {
        let descriptor = Descriptor::from_bytes(descriptor.as_bytes());
        let image = descriptor.as_ref().ok().and_then(Descriptor::image);
        match descriptor {
            Ok(Descriptor::App { version: 1, runtime, disk, env, minimum, .. }) => {
                Ok(Self { runtime, image, disk: disk.map(|disk| *disk), env, minimum })
            }
            Ok(Descriptor::App { version, .. }) => refuse(format!("the app's descriptor has version {version}")),
            Ok(Descriptor::Pool { .. }) => refuse("the descriptor is a pool's, not an app's"),
            Ok(Descriptor::Dataset { .. }) => refuse("the descriptor is a dataset's, not an app's"),
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
fn limits(limits: &Limits, minimum: &Minimum, capabilities: &Capabilities) -> Result<(), Objection> {
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
