//! Bytes in the store that no table knows: whoever kept them died before it noted whose they are, or the store was away when
//! they were to be removed. Only a look at all that is there finds them.

use super::{
    Blobs,
    intake::{Intake, IntakeError},
};
use crate::observe;
use core::time::Duration;
use futures_util::StreamExt as _;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// So often all names are read: seldom, since a large store has many, and soon enough for what crashes leave.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// A store that was away is looked at again.
const AGAIN: Duration = Duration::from_secs(5 * 60);
/// Names that are held at one time.
const AT_ONCE: usize = 256;

/// What looks for them.
#[derive(Debug)]
pub(crate) struct Strays {
    pub(crate) intake: Arc<Intake>,
    pub(crate) blobs: Blobs,
}

impl Strays {
    /// Looks at the start, and then every day, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let cleared = tokio::select! {
                cleared = self.clear() => cleared,
                () = stop.cancelled() => return,
            };
            let pause = match cleared {
                Ok(()) => LOOK_EVERY,
                Err(error) => {
                    observe::sweep_failed(&error);
                    AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Removes what nobody needs. What is being put now is needed as soon as it is there.
    pub(crate) async fn clear(&self) -> Result<(), IntakeError> {
        let mut names = self.blobs.names().chunks(AT_ONCE);
        while let Some(some) = names.next().await {
            let some = some.into_iter().collect::<Result<Vec<_>, _>>()?;
            self.intake.clear(&some).await?;
        }
        Ok(())
    }
}
