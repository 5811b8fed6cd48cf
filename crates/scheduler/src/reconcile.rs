//! Looks at the state and does what is to be done, again and again: whenever something may have changed, and from time
//! to time. It is never told what changed.

use crate::{
    act::{ActError, Actor},
    observe,
    plan::{self, Plan, Policy},
    results::intake::Intake,
    store,
    view::{View, ViewError, Viewer},
};
use berth_chain::{BlockRef, StoreError};
use berth_protocol::Class;
use core::time::Duration;
use std::sync::Arc;
use thiserror::Error;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// How often to look though nothing seems to have changed.
const PERIOD: Duration = Duration::from_secs(1);
/// The shortest pause between a failure and the next look.
const PAUSE: Duration = Duration::from_millis(250);
/// How often to clear what is over.
const SWEEP: Duration = Duration::from_secs(60);
/// How long a job document without a deal is kept.
const UNUSED_JOB_MS: u64 = 24 * 60 * 60 * 1_000;

/// Looking after the deals failed.
#[derive(Debug, Error)]
pub(crate) enum ReconcileError {
    /// No snapshot.
    #[error("the state can't be read")]
    View(#[from] ViewError),
    /// An action failed.
    #[error("an action failed")]
    Act(#[from] ActError),
    /// Clearing up failed.
    #[error("clearing up failed")]
    Store(#[from] StoreError),
}

impl ReconcileError {
    /// What to do about it.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::View(ViewError::Store(error)) | Self::Store(error) => error.class(),
            Self::Act(error) => error.class(),
        }
    }
}

/// Brings what is closer to what should be.
#[derive(Debug)]
pub(crate) struct Reconciler {
    pub(crate) viewer: Viewer,
    pub(crate) actor: Arc<Actor>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) policy: Policy,
    pub(crate) tip: watch::Receiver<BlockRef>,
    pub(crate) moved: watch::Receiver<u64>,
    /// The last snapshot, for those who ask why a task waits.
    pub(crate) seen: watch::Sender<Arc<View>>,
    /// Up to which block long polls were told.
    pub(crate) told: Option<BlockRef>,
}

impl Reconciler {
    /// Looks until `stop`, over every failure that may pass.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), ReconcileError> {
        let mut sweep = Instant::now();
        while !stop.is_cancelled() {
            let next = match self.activate().await {
                Ok(again_in) => Instant::now() + again_in.unwrap_or(PERIOD).min(PERIOD),
                Err(error) if error.class() == Class::Retry => {
                    observe::reconcile_failed(&error);
                    Instant::now() + PAUSE
                }
                Err(error) => return Err(error),
            };
            if Instant::now() >= sweep {
                sweep = Instant::now() + SWEEP;
                self.sweep().await?;
            }
            let signals = &self.actor.signals;
            tokio::select! {
                () = signals.woken() => {}
                // An error means that follower or sender have ended, which ends the rest, too.
                changed = self.tip.changed() => if changed.is_err() { stop.cancelled().await },
                changed = self.moved.changed() => if changed.is_err() { stop.cancelled().await },
                () = sleep_until(next) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    }

    /// Looks once and does what is to be done, until nothing is. Says when to look again at the latest.
    pub(crate) async fn activate(&mut self) -> Result<Option<Duration>, ReconcileError> {
        loop {
            self.moved.mark_unchanged();
            let tip = *self.tip.borrow_and_update();
            self.tell(tip);
            let view = self.viewer.view(tip).await?;
            for (worker, seq) in &view.mail {
                self.actor.presence.ring_up_to(*worker, *seq);
            }
            let Plan { actions, again_in } = plan::plan(&view, &self.policy);
            self.seen.send_replace(Arc::new(view));
            if actions.is_empty() || !self.actor.run(&actions, tip).await? {
                return Ok(again_in);
            }
        }
    }

    /// Tells what the follower has committed.
    fn tell(&mut self, tip: BlockRef) {
        for phase in self.actor.signals.take_entered(tip.number) {
            self.actor.after(phase);
        }
        if self.told.replace(tip) != Some(tip) {
            self.actor.signals.changed();
        }
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        let now_ms = crate::clock::now_ms();
        let mut tx = self.actor.db.write().await?;
        store::session::drop_expired(&mut tx, now_ms / 1_000).await?;
        store::job::drop_unused(&mut tx, now_ms.saturating_sub(UNUSED_JOB_MS)).await?;
        tx.commit().await?;
        // A store that is away now is swept the next time.
        if let Err(error) = self.intake.sweep(now_ms).await {
            observe::sweep_failed(&error);
        }
        Ok(())
    }
}
