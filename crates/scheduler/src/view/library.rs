//! Jobs and descriptors, read once, and what follows from them: what a task asks of a worker.

use super::{Need, ViewError, Work};
use crate::store::{self, deal::Deal as Row};
use alloy::primitives::{Address, B256};
use berth_chain::StoreError;
use berth_protocol::JobHash;
use berth_wire::{
    descriptor::{Descriptor, Sharing},
    job::{Dataset, Job},
    manifest::Content,
    name,
};
use sqlx::SqliteConnection;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

/// Jobs and descriptors that were read once: they never change, since their names are their hashes.
#[derive(Debug, Default)]
pub(crate) struct Library {
    jobs: Mutex<HashMap<JobHash, Arc<Job>>>,
    apps: Mutex<HashMap<B256, Arc<Result<Descriptor, String>>>>,
    /// Jobs that their requesters have put with all inputs, which stay as long as a deal names the job.
    complete: Mutex<HashSet<(JobHash, Address)>>,
}

/// How many parsed jobs are kept.
const LIBRARY_JOBS: usize = 4_096;

impl Library {
    async fn job(&self, conn: &mut SqliteConnection, hash: JobHash) -> Result<Option<Arc<Job>>, StoreError> {
        if let Some(job) = self.jobs.lock().expect("nobody panics with it").get(&hash) {
            return Ok(Some(job.clone()));
        }
        let Some(document) = store::job::document(conn, hash).await? else { return Ok(None) };
        let job = Job::from_bytes(&document)
            .map_err(|error| StoreError::Foreign { table: "job", what: format!("a bad document: {error}") })?;
        let job = Arc::new(job);
        let mut jobs = self.jobs.lock().expect("nobody panics with it");
        if jobs.len() >= LIBRARY_JOBS {
            jobs.clear();
        }
        jobs.insert(hash, job.clone());
        Ok(Some(job))
    }

    async fn app(
        &self,
        conn: &mut SqliteConnection,
        app: B256,
    ) -> Result<Option<Arc<Result<Descriptor, String>>>, StoreError> {
        if let Some(found) = self.apps.lock().expect("nobody panics with it").get(&app) {
            return Ok(Some(found.clone()));
        }
        let Some(text) = store::app::descriptor(conn, app).await? else { return Ok(None) };
        let parsed = Arc::new(Descriptor::from_bytes(text.as_bytes()).map_err(|error| error.to_string()));
        self.apps.lock().expect("nobody panics with it").insert(app, parsed.clone());
        Ok(Some(parsed))
    }

    /// What there is to run for a deal.
    pub(crate) async fn work(&self, conn: &mut SqliteConnection, deal: &Row) -> Result<Work, ViewError> {
        let about = (deal.job_hash, deal.requester);
        let is_complete = self.complete.lock().expect("nobody panics with it").contains(&about);
        // Both names are on chain: somebody else's document is not there for this deal.
        let is_own = is_complete || store::job::is_by(conn, deal.job_hash, deal.requester).await?;
        let job = if is_own { self.job(conn, deal.job_hash).await? } else { None };
        let Some(job) = job else {
            return Ok(Work::Missing(format!("the job document {}", deal.job_hash)));
        };
        if job.recipient.is_some() && !deal.terms.callback.is_zero() {
            let reason = "the job names a recipient, and the deal a callback, whose bytes everybody sees on chain";
            return Ok(Work::Impossible(reason.to_owned()));
        }
        let Some(app) = self.app(conn, deal.app).await? else {
            return Ok(Work::Impossible(format!("the app {} has no descriptor on this chain", deal.app)));
        };
        let dataset = match deal.dataset.is_zero() {
            true => Ok(None),
            false => dataset(deal.dataset, self.app(conn, deal.dataset).await?.as_deref()).map(Some),
        };
        let need = match app.as_ref() {
            Ok(descriptor) => dataset.and_then(|dataset| need(descriptor, &job, dataset)),
            Err(error) => Err(format!("the app's descriptor can't be read: {error}")),
        };
        let need = match need {
            Ok(need) => need,
            Err(reason) => return Ok(Work::Impossible(reason)),
        };
        if is_complete {
            return Ok(Work::Ready(Arc::new(need)));
        }
        match missing_input(conn, &job, deal.requester).await? {
            Some(name) => Ok(Work::Missing(format!("the input `{name}`"))),
            None => {
                self.complete.lock().expect("nobody panics with it").insert(about);
                Ok(Work::Ready(Arc::new(need)))
            }
        }
    }
}

/// An input that is not to be fetched elsewhere, and that the requester has not put.
async fn missing_input(
    conn: &mut SqliteConnection,
    job: &Job,
    requester: Address,
) -> Result<Option<String>, StoreError> {
    for input in job.inputs.iter().filter(|input| input.url.is_none()) {
        let content = Content { sha256: input.sha256, size: input.size };
        if !store::holding::has(conn, requester, content).await? {
            return Ok(Some(input.name.clone()));
        }
    }
    Ok(None)
}

/// The data that a deal's dataset is.
fn dataset(id: B256, registered: Option<&Result<Descriptor, String>>) -> Result<Dataset, String> {
    match registered {
        Some(Ok(Descriptor::Dataset { name, sha256, .. })) => Ok(Dataset { name: name.clone(), sha256: *sha256 }),
        Some(Ok(_)) => Err(format!("the dataset {id} is registered as something else")),
        Some(Err(error)) => Err(format!("the dataset's descriptor can't be read: {error}")),
        None => Err(format!("the dataset {id} has no descriptor on this chain")),
    }
}

/// What a job under an app asks of a worker.
fn need(app: &Descriptor, job: &Job, dataset: Option<Dataset>) -> Result<Need, String> {
    let Descriptor::App { runtime, sharing, minimum, .. } = app else {
        return Err("the deal's app is no app".to_owned());
    };
    let image = match (sharing, app.image(), &job.image) {
        (Sharing::Shared, None, Some(image)) => Some(image.clone()),
        (_, Some(image), None) => Some(image),
        (Sharing::Shared, None, None) => return Err("the app is shared, and the job names no image".to_owned()),
        (_, Some(_), Some(_)) | (Sharing::Distributed, None, Some(_)) => {
            return Err("the app has its own image, and the job names another".to_owned());
        }
        (Sharing::Distributed, None, None) => return Err("the app has no image".to_owned()),
    };
    let datasets: Vec<Dataset> = job.datasets.iter().cloned().chain(dataset).collect();
    if let Err(error) = (Job { datasets: by_name(&datasets), ..job.clone() }).check() {
        return Err(format!("the deal's dataset does not fit the job: {error}"));
    }
    Ok(Need {
        runtime: *runtime,
        image,
        cpu_millis: job.limits.cpu_millis.max(minimum.cpu_millis),
        memory_bytes: job.limits.memory_bytes.max(minimum.memory_bytes),
        disk_bytes: job.limits.disk_bytes.max(minimum.disk_bytes),
        network: job.limits.network,
        elsewhere: job.inputs.iter().any(|input| input.url.is_some()),
        sealed: job.recipient.is_some(),
        packages: name::folded_all(job.packages.iter().chain(&minimum.packages).map(String::as_str)),
        datasets,
        elements: (!job.each.is_empty()).then_some(job.each.len()),
    })
}

fn by_name(datasets: &[Dataset]) -> Vec<Dataset> {
    let mut sorted = datasets.to_vec();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use berth_wire::{descriptor::Minimum, units::Sha256};

    #[test]
    fn a_deals_dataset_and_an_apps_packages_are_needed_beside_the_jobs_own() {
        let mut app = samples::app();
        if let Descriptor::App { minimum, .. } = &mut app {
            *minimum = Minimum { packages: vec!["root".into()], ..Minimum::default() };
        }
        let own = Dataset { name: "b".into(), sha256: Sha256([1; 32]) };
        let job = Job { packages: vec!["geant4".into()], datasets: vec![own.clone()], ..samples::job() };
        let deals = Dataset { name: "a".into(), sha256: Sha256([2; 32]) };
        let need = need(&app, &job, Some(deals.clone())).expect("they fit");
        assert_eq!((need.packages, need.datasets), (vec!["geant4".into(), "root".into()], vec![own.clone(), deals]));
        let same_name = Dataset { name: "b".into(), ..own };
        assert!(super::need(&app, &job, Some(same_name)).is_err_and(|reason| reason.contains("dataset `b`")));
    }

    #[test]
    fn a_dataset_that_is_none_makes_a_deal_impossible() {
        let id = B256::with_last_byte(2);
        let reason = |registered: Option<&Result<Descriptor, String>>| dataset(id, registered).expect_err("none");
        assert!(reason(None).contains("no descriptor"));
        assert!(reason(Some(&Ok(samples::app()))).contains("something else"));
        assert!(reason(Some(&Err("odd".into()))).contains("odd"));
    }
}
