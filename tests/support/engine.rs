//! The real Docker engine, and one small image that needs no registry.

use alloy::primitives::B256;
use bollard::{
    Docker,
    models::ContainerSummary,
    query_parameters::{ImportImageOptions, ListContainersOptionsBuilder},
};
use bytes::Bytes;
use eyre::{Context as _, ContextCompat as _, ensure};
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::{collections::HashMap, path::Path};

/// The image of the tests: busybox and nothing else.
pub const IMAGE: &str = "berth-tests/busybox:latest";
/// Where Debian's `busybox-static` has it.
const BUSYBOX: &str = "/bin/busybox";
/// The programs of busybox that jobs of the tests use.
const APPLETS: [&str; 13] =
    ["sh", "cat", "cp", "dd", "echo", "env", "head", "ls", "sleep", "tail", "true", "wc", "sort"];
/// By which a worker's containers are known, and the task of each.
const LABEL_WORKER: &str = "berth.worker";
const LABEL_TASK: &str = "berth.task";
/// The engine may be busy with other tests.
const TIMEOUT_S: u64 = 60;

/// The engine.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Its client.
    pub docker: Docker,
    /// Its address, as `DOCKER_HOST` has it.
    pub host: String,
}

/// Where the engine is: `DOCKER_HOST`, or the default socket.
#[expect(clippy::disallowed_methods, reason = "where Docker's own client looks")]
fn host() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned())
}

impl Engine {
    /// Reaches the engine, and sees to it that it has the image.
    ///
    /// # Errors
    /// None answers, or there is no busybox on this machine.
    pub async fn with_image() -> eyre::Result<Self> {
        Self::at(host()).await
    }

    /// The same of the engine at this address.
    ///
    /// # Errors
    /// None answers there, or there is no busybox on this machine.
    pub async fn at(host: String) -> eyre::Result<Self> {
        let docker = Docker::connect_with_host(&host)?;
        let docker = docker.with_timeout(std::time::Duration::from_secs(TIMEOUT_S));
        docker.ping().await.wrap_err_with(|| {
            format!("no Docker engine answers at {host}: run the tests by `scripts/docker-engine.sh run …`")
        })?;
        let engine = Self { docker, host };
        engine.load_image().await?;
        Ok(engine)
    }

    async fn load_image(&self) -> eyre::Result<()> {
        let (id, archive) = image(IMAGE, &[])?;
        let there = self.docker.inspect_image(IMAGE).await.ok().and_then(|image| image.id);
        if there.as_deref() == Some(id.as_str()) {
            return Ok(());
        }
        self.load(archive).await
    }

    /// Brings an image into the engine.
    ///
    /// # Errors
    /// The engine does not take it.
    pub async fn load(&self, archive: Vec<u8>) -> eyre::Result<()> {
        let body = bollard::body_stream(stream::iter([Bytes::from(archive)]));
        let mut progress =
            self.docker.import_image(ImportImageOptions { quiet: true, ..Default::default() }, body, None);
        while let Some(step) = progress.next().await {
            step.wrap_err("the engine does not take an image")?;
        }
        Ok(())
    }

    /// The names of a worker's containers, running or not.
    ///
    /// # Errors
    /// The engine does not say.
    pub async fn containers_of(&self, worker: &str) -> eyre::Result<Vec<String>> {
        Ok(self.listed(worker, true).await?.into_iter().filter_map(|container| container.id).collect())
    }

    /// The names of a worker's containers that run for a task: its probe is none.
    ///
    /// # Errors
    /// The engine does not say.
    pub async fn jobs_of(&self, worker: &str) -> eyre::Result<Vec<String>> {
        let probe = B256::ZERO.to_string();
        let is_job = |container: &ContainerSummary| {
            container.labels.as_ref().is_some_and(|labels| labels.get(LABEL_TASK) != Some(&probe))
        };
        Ok(self.listed(worker, false).await?.into_iter().filter(is_job).filter_map(|container| container.id).collect())
    }

    async fn listed(&self, worker: &str, ended_too: bool) -> eyre::Result<Vec<ContainerSummary>> {
        let label = format!("{LABEL_WORKER}={worker}");
        let filters = HashMap::from([("label", vec![label.as_str()])]);
        let options = ListContainersOptionsBuilder::default().all(ended_too).filters(&filters).build();
        Ok(self.docker.list_containers(Some(options)).await?)
    }
}

/// An image with busybox, under this name and with these variables, as `docker save` would write it; and its id before it:
/// both follow from busybox, name and variables alone.
///
/// # Errors
/// There is no busybox on this machine.
pub fn image(name: &str, variables: &[&str]) -> eyre::Result<(String, Vec<u8>)> {
    let layer = layer(Path::new(BUSYBOX))?;
    let env: Vec<&str> = ["PATH=/bin"].iter().chain(variables).copied().collect();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Env": env, "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex::encode(Sha256::digest(&layer)))] },
    });
    let config = serde_json::to_vec(&config)?;
    let id = format!("sha256:{}", hex::encode(Sha256::digest(&config)));
    let manifest = json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }]);
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in
        [("config.json", config), ("layer.tar", layer), ("manifest.json", serde_json::to_vec(&manifest)?)]
    {
        archive.append_data(&mut header(bytes.len(), tar::EntryType::Regular)?, name, bytes.as_slice())?;
    }
    Ok((id, archive.into_inner()?))
}

fn layer(busybox: &Path) -> eyre::Result<Vec<u8>> {
    let program = std::fs::read(busybox)
        .wrap_err_with(|| format!("{} is missing: scripts/setup.sh installs busybox-static", busybox.display()))?;
    ensure!(program.starts_with(b"\x7fELF"), "{} is no program", busybox.display());
    let mut layer = tar::Builder::new(Vec::new());
    layer.append_data(&mut header(program.len(), tar::EntryType::Regular)?, "bin/busybox", program.as_slice())?;
    for applet in APPLETS {
        layer.append_link(&mut header(0, tar::EntryType::Symlink)?, format!("bin/{applet}"), "busybox")?;
    }
    Ok(layer.into_inner()?)
}

fn header(size: usize, kind: tar::EntryType) -> eyre::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_size(u64::try_from(size).ok().wrap_err("too large")?);
    header.set_mode(0o755);
    header.set_mtime(0);
    header.set_entry_type(kind);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_the_same_each_time() -> eyre::Result<()> {
        assert_eq!(image(IMAGE, &[])?, image(IMAGE, &[])?);
        assert_ne!(image(IMAGE, &[])?.0, image(IMAGE, &["A=1"])?.0);
        Ok(())
    }
}
