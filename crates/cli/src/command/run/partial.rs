//! What a task left that was stopped before its end. It is no result: nobody agreed on it, the chain does not know it, and
//! only its worker stands behind it.

use super::{
    claim, finished,
    request::Matched,
    result::{Access, Source, file_of},
    sealed, usual_folder,
};
use crate::{
    exit::Exit,
    hint::Failure,
    render::{Report, fields},
};
use berth_protocol::{ResultDigest, TaskId};
use berth_wire::{manifest::Manifest, scheduler::TaskView};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Fetches it into a folder of its own.
pub(crate) async fn fetch(
    access: Access<'_>,
    matched: &Matched,
    view: &TaskView,
    out: Option<PathBuf>,
) -> Result<Report, Failure> {
    let task = matched.deal.task(view.index);
    if view.partial.is_none() && view.sealed.is_empty() {
        return Err(nothing(task, view));
    }
    let folder = out.unwrap_or_else(|| {
        let mut name = usual_folder(matched).into_os_string();
        name.push("-partial");
        name.into()
    });
    claim(&folder, matched.deal)?;
    let (source, document) = left(access, task, view, &folder).await?;
    let manifest = Manifest::from_bytes(&document).map_err(|error| {
        let message = format!("what task {task} left has the right hash, but is no list of files");
        Failure::new(Exit::Error, "verification", message).because(&error).hint("its worker made it so")
    })?;
    let mut paths = Vec::with_capacity(manifest.files.len());
    for file in &manifest.files {
        let path = file.path.split('/').fold(folder.clone(), |path, part| path.join(part));
        let parent = path.parent().unwrap_or(&folder);
        tokio::fs::create_dir_all(parent).await.map_err(|error| Failure::file(parent, "made", &error))?;
        file_of(&source, task, file, &path).await?;
        paths.push(path);
    }
    sealed::forget(&folder)?;
    finished(&folder)?;
    let text: String = paths.iter().map(|path| format!("{}\n", path.display())).collect();
    let json = json!({
        "task": task.to_string(), "deal": matched.deal.to_string(), "index": view.index, "partial": true,
        "failure": view.failure, "folder": folder, "files": manifest.files, "worker": view.worker,
    });
    let mut report = Report::new(text, json);
    report.note = fields(&[
        ("task", task.to_string()),
        ("partial", "what the job had written when it was stopped: not part of the agreed digest".to_owned()),
        ("verified", "by its worker's list only: the chain knows nothing of it".to_owned()),
        ("why", view.detail.clone().unwrap_or_default()),
    ]);
    Ok(report)
}

fn nothing(task: TaskId, view: &TaskView) -> Failure {
    let message = format!("task {task} left nothing that was kept: it is {}", view.phase);
    Failure::not_found("no-partial", message)
        .hint("files are kept of jobs that ran out of time or memory, where they had written some")
        .hint(format!("`berth task result {task}` fetches a result, `berth task logs {task}` what it printed"))
}

/// Where the files are that a task left, and the list of them.
async fn left<'a>(
    access: Access<'a>,
    task: TaskId,
    view: &TaskView,
    folder: &Path,
) -> Result<(Source<'a>, Vec<u8>), Failure> {
    if let Some(content) = view.partial {
        let document = access.client.partial(task.get(), content.sha256).await?;
        return Ok((Source::Store(access.client), document));
    }
    let digest = view.digest.and_then(ResultDigest::new).filter(|digest| digest.is_failure());
    let (Some(digest), Some(keys)) = (digest, access.keys) else { return Err(nothing(task, view)) };
    let opened = sealed::open(access.client, (task, digest), keys, &view.sealed, folder).await?;
    let document = opened.manifest()?.ok_or_else(|| nothing(task, view))?;
    Ok((Source::Opened(opened), document))
}
