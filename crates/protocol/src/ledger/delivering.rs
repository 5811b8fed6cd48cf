//! Results are brought to the callbacks of their deals (ADR 0004).

use super::{Event, Ledger, Receiver, Refusal};
use crate::{DealTerms, ResultDigest, TaskId};
use alloy_primitives::B256;

impl Ledger {
    /// Keeps what a task was settled to, if its deal's callback wants to know. Of failures it hears nothing.
    pub(super) fn owe(&mut self, terms: &DealTerms, task: TaskId, digest: ResultDigest) {
        if !terms.callback.is_zero() && !digest.is_failure() {
            self.due.insert(task, digest);
        }
    }

    pub(super) fn deliver(
        &mut self,
        terms: &DealTerms,
        index: u32,
        manifest: B256,
        result: &[u8],
    ) -> Result<Vec<Event>, Refusal> {
        let deal = terms.id();
        let task = deal.task(index);
        let digest = self.due_of(task).ok_or(Refusal::NothingDue { task })?;
        let shown = ResultDigest::bound(manifest, result);
        if shown != digest {
            return Err(Refusal::WrongResult { digest: digest.get(), shown: shown.get() });
        }
        let callback = terms.callback;
        match self.receivers.get(&callback) {
            Some(Receiver::Own) => Err(Refusal::BadCallback { callback }),
            None => Err(Refusal::NoContract { at: callback }),
            Some(Receiver::Fails) => Err(Refusal::CallbackFailed { callback }),
            Some(Receiver::Takes) => {
                self.due.remove(&task);
                Ok(vec![Event::ResultDelivered { deal, index, callback }])
            }
        }
    }
}
