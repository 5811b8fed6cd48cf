//! Job and inputs on their way into the pool's store.

use crate::{
    hint::Failure,
    intent::{Elsewhere, InputFile, RunIntent, bad_job},
};
use berth_wire::{
    client::{SchedulerClient, measure},
    job::{Image, Input, Job},
    manifest::Content,
    units::Sha256,
};
use std::{fs::File, path::Path};

/// The whole job: inputs hashed, image in its place.
pub(crate) async fn job(intent: &RunIntent, image: Option<Image>) -> Result<Job, Failure> {
    let files = intent.inputs.clone();
    let hashed = tokio::task::spawn_blocking(move || files.iter().map(input).collect::<Result<Vec<_>, _>>()).await;
    let mut inputs = hashed.expect("hashing files does not panic")?;
    for input in &intent.elsewhere {
        inputs.push(measured(input).await?);
    }
    inputs.extend(intent.stored.iter().cloned());
    inputs.sort_by(|a, b| a.name.cmp(&b.name));
    let job = Job { image, inputs, ..intent.job.clone() };
    job.check().map_err(|error| bad_job(&error))?;
    Ok(job)
}

fn input(file: &InputFile) -> Result<Input, Failure> {
    let (size, sha256) = hash(&file.path).map_err(|error| Failure::file(&file.path, "read", &error))?;
    Ok(Input { name: file.name.clone(), size, sha256, url: None })
}

/// An input that is elsewhere, as it is there now: a job names its bytes.
async fn measured(input: &Elsewhere) -> Result<Input, Failure> {
    let Elsewhere { name, url } = input;
    let Content { sha256, size } = measure(url).await.map_err(|error| {
        let mut failure = Failure::preflight("input-url", format!("input `{name}` can't be read from {url}"));
        failure.causes.push(error.without_url().to_string());
        failure
            .hint("it is read once here, for its size and sha256; give an address that is open to you and to workers")
    })?;
    Ok(Input { name: name.clone(), size, sha256, url: Some(url.clone()) })
}

/// A file's size and sha256.
pub(crate) fn hash(path: &Path) -> std::io::Result<(u64, Sha256)> {
    let Content { sha256, size } = Content::read(File::open(path)?)?;
    Ok((size, sha256))
}

/// An input that was said to be in the store.
fn gone(sha256: Sha256) -> Failure {
    Failure::not_found("data-gone", format!("{sha256} is not in this pool's store"))
        .hint("give the file itself: then it is put there")
}

/// Puts the job, and those inputs that the store does not have.
pub(super) async fn upload(client: &SchedulerClient, job: &Job, files: &[InputFile]) -> Result<(), Failure> {
    let accepted = client.put_job(job.to_bytes()).await?;
    for missing in accepted.missing {
        let named = job.inputs.iter().find(|input| input.sha256 == missing.sha256);
        let file = named.and_then(|input| files.iter().find(|file| file.name == input.name));
        match file {
            Some(file) => client.put_file(&file.path, missing.sha256).await?,
            None => return Err(gone(missing.sha256)),
        }
    }
    Ok(())
}
