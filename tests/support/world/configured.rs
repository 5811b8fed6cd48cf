//! Services of a world with other settings than a devnet's, or as another user.

use super::{SCHEDULER, World};
use eyre::ensure;
use std::{
    fs::Permissions,
    os::unix::fs::{PermissionsExt as _, chown},
    path::PathBuf,
};

impl World {
    /// A worker's configuration.
    ///
    /// # Errors
    /// It can't be read.
    pub fn worker_config(&self, n: u16) -> eyre::Result<String> {
        Ok(std::fs::read_to_string(self.worker_config_file(n))?)
    }

    fn worker_config_file(&self, n: u16) -> PathBuf {
        self.devnet().join(format!("{}.toml", Self::worker_name(n)))
    }

    /// Replaces a worker's configuration at once: a worker that runs looks at it at any moment.
    ///
    /// # Errors
    /// It can't be written.
    pub fn configure_worker(&self, n: u16, text: &str) -> eyre::Result<()> {
        let (config, aside) = (self.worker_config_file(n), self.folder.path().join("next.toml"));
        std::fs::write(&aside, text)?;
        Ok(std::fs::rename(aside, config)?)
    }

    /// Starts a worker anew with these tables added to its configuration.
    ///
    /// # Errors
    /// It does not come up again.
    pub async fn share_also(&mut self, n: u16, tables: &str) -> eyre::Result<()> {
        let name = Self::worker_name(n);
        self.kill(&name).await?;
        self.configure_worker(n, &format!("{}\n{tables}", self.worker_config(n)?))?;
        self.restart(&name, &[])?;
        self.ready().await
    }

    /// Starts a worker anew as another user of this machine, to whom all that is the worker's is given.
    ///
    /// # Errors
    /// It does not come up again.
    pub async fn give_worker(&mut self, n: u16, user: u32, group: u32) -> eyre::Result<()> {
        let name = Self::worker_name(n);
        self.kill(&name).await?;
        // The way to what is its own.
        for folder in [self.folder().to_owned(), self.devnet().join("keys")] {
            std::fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        }
        let mut given = vec![self.devnet().join("data").join(&name), self.devnet().join(format!("keys/{name}.json"))];
        while let Some(path) = given.pop() {
            chown(&path, Some(user), Some(group))?;
            if path.is_dir() {
                given.extend(std::fs::read_dir(&path)?.flatten().map(|entry| entry.path()));
            }
        }
        self.service(&name)?.give_to(user, group);
        self.restart(&name, &[])?;
        self.ready().await
    }

    /// Has the scheduler wait for workers for as long as a test may take: the tasks of those that are away stay their own,
    /// and what none can run now is not given back.
    ///
    /// # Errors
    /// It does not come up again.
    pub async fn be_patient(&mut self) -> eyre::Result<()> {
        let patient = "unable_wait = \"120s\"\nreconnect_grace = \"120s\"";
        self.configure_scheduler("unable_wait = \"5s\"", patient).await
    }

    /// Has the scheduler's file say something else; nothing happens if it does.
    ///
    /// # Errors
    /// The file does not say the first; or the scheduler does not come up again.
    pub async fn configure_scheduler(&mut self, said: &str, says: &str) -> eyre::Result<()> {
        let config = self.devnet().join("scheduler.toml");
        let text = std::fs::read_to_string(&config)?;
        if text.contains(says) {
            return Ok(());
        }
        ensure!(text.contains(said), "{} does not say {said}", config.display());
        self.kill(SCHEDULER).await?;
        std::fs::write(&config, text.replace(said, says))?;
        self.restart(SCHEDULER, &[])?;
        self.ready().await
    }
}
