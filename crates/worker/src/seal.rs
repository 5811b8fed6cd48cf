//! In which form a result leaves the worker: open or, where its job names a recipient, as one file that nobody else can
//! read (ADR 0006). The file is made once, from what was kept anyway: digest and journal know nothing of it but its hash.

use crate::{
    assignment::DeclineCode,
    journal::{Computed, JournalError, Row},
    run::{Bench, Step},
    runtime::TaskFolder,
};
use berth_wire::{
    manifest::Content,
    sealed::{Parts, Recipient},
};
use std::{
    fs::{self, File},
    io::{self, BufWriter},
};
use tokio::task::spawn_blocking;

/// How a result leaves the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Each of its parts as it is.
    Open,
    /// All of it in this file.
    Sealed(Content),
    /// Not at all: nothing ran, so that there is nothing to show.
    Nothing,
}

impl Bench {
    /// Seals a result, if it is for a recipient. The file is in the journal before anybody hears of it.
    pub(crate) async fn seal(
        &self,
        row: &Row,
        computed: &Computed,
        folder: &TaskFolder,
    ) -> Result<Step<Form>, JournalError> {
        let Some(recipient) = row.recipient() else { return Ok(Step::On(Form::Open)) };
        if !computed.has_parts() {
            return Ok(Step::On(Form::Nothing));
        }
        let known = computed.sealed;
        let (computed, folder) = (computed.clone(), folder.clone());
        let made = spawn_blocking(move || file(&recipient, &computed, &folder)).await;
        // A panic in there is one of this program's, and goes on here.
        let content = match made.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let detail = "the disk of this worker is too full to seal the result".to_owned();
                return Ok(Step::Declined(DeclineCode::NoRoom, detail));
            }
            Err(error) => {
                return Ok(Step::Declined(DeclineCode::Engine, format!("its result can't be sealed: {error}")));
            }
        };
        if known != Some(content) && !self.journal.seal(row.task, content).await? {
            return Ok(Step::Over);
        }
        Ok(Step::On(Form::Sealed(content)))
    }
}

/// The sealed file of a task: the one that is known, if it is still there as it was, or a new one. Blocks.
fn file(recipient: &Recipient, computed: &Computed, folder: &TaskFolder) -> io::Result<Content> {
    let path = folder.sealed();
    if let Some(known) = computed.sealed
        && let Ok(file) = File::open(&path)
        && Content::read(file)? == known
    {
        return Ok(known);
    }
    let parts = Parts {
        manifest: computed.manifest.as_deref(),
        stdout: computed.stdout,
        stderr: computed.stderr,
        failure: computed.failure.as_deref(),
        folder: &folder.result(),
    };
    let part = path.with_extension("part");
    let made = File::create(&part).and_then(|file| parts.seal(recipient, BufWriter::new(file)));
    match made.and_then(|content| fs::rename(&part, &path).map(|()| content)) {
        Ok(content) => Ok(content),
        Err(error) => {
            // A disk that is full is not left fuller.
            drop(fs::remove_file(&part));
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::B256;
    use berth_protocol::{Failure, TaskId};
    use berth_wire::sealed::{self, Identity};

    #[test]
    fn a_sealed_file_is_made_once_and_again_only_where_it_was_lost_or_changed() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = TaskFolder::new(place.path(), TaskId::new(B256::repeat_byte(1)));
        fs::create_dir_all(folder.result()).expect("makes");
        let stdout = Content::of(b"said");
        fs::write(folder.result().join(stdout.sha256.to_string()), "said").expect("writes");
        let mut computed = Computed {
            digest: Failure::TimedOut.digest(),
            manifest: None,
            stdout: Some(stdout),
            stderr: None,
            sealed: None,
            wall_ms: 1,
            failure: Some("because".into()),
        };
        assert!(computed.has_parts());
        let reader = Identity::of_wallet(&[1; 65]);
        let seal = |computed: &Computed| file(&reader.recipient(), computed, &folder);
        let first = seal(&computed).expect("seals");
        let again = seal(&computed).expect("seals");
        assert_ne!(first, again, "nobody was told of the first: it is gone");
        computed.sealed = Some(again);
        assert_eq!(seal(&computed).expect("is there"), again);
        for damage in
            [&|path: &std::path::Path| fs::write(path, "other"), &|path: &std::path::Path| fs::remove_file(path)]
                as [&dyn Fn(&std::path::Path) -> io::Result<()>; 2]
        {
            damage(&folder.sealed()).expect("damages");
            let new = seal(&computed).expect("seals anew");
            assert_ne!(Some(new), computed.sealed);
            computed.sealed = Some(new);
        }
        let into = tempfile::tempdir().expect("a folder");
        let sealed = File::open(folder.sealed()).expect("there");
        let index = sealed::open(sealed, std::slice::from_ref(&reader), into.path()).expect("opens");
        assert_eq!((index.stdout, index.failure.as_deref()), (Some(stdout), Some("because")));

        // What can't be sealed leaves nothing behind, and what was there stays.
        fs::remove_file(folder.result().join(stdout.sha256.to_string())).expect("removes");
        computed.sealed = None;
        seal(&computed).expect_err("a blob is gone");
        let mut names: Vec<_> = fs::read_dir(folder.path()).expect("reads").flatten().map(|e| e.file_name()).collect();
        names.sort();
        assert_eq!(names, ["result", "sealed"]);
    }
}
