//! Commands that go on while the test does something else.

use super::until;
use crate::binary::{Call, Outcome};
use eyre::ensure;

/// A call that goes on while the test does something else.
#[derive(Debug)]
pub struct Background {
    task: tokio::task::JoinHandle<eyre::Result<Outcome>>,
    said: tempfile::NamedTempFile,
}

impl Background {
    /// Starts it.
    ///
    /// # Errors
    /// There is no place for what it says.
    pub fn start(call: Call) -> eyre::Result<Self> {
        let said = tempfile::NamedTempFile::new()?;
        let path = said.path().to_owned();
        #[expect(clippy::disallowed_methods, reason = "awaited by `outcome`, aborted when dropped")]
        let task = tokio::spawn(async move { call.run_saying(Some(&path)).await });
        Ok(Self { task, said })
    }

    /// Waits until it has said something on standard error.
    ///
    /// # Errors
    /// It does not.
    pub async fn says(&self, words: &str) -> eyre::Result<()> {
        until(&format!("the client says `{words}`"), async || {
            let said = std::fs::read_to_string(self.said.path())?;
            ensure!(!self.task.is_finished(), "it ended without: {said}");
            Ok(said.contains(words).then_some(()))
        })
        .await
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// As [`Call::run`].
    pub async fn outcome(mut self) -> eyre::Result<Outcome> {
        (&mut self.task).await?
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.task.abort();
    }
}
