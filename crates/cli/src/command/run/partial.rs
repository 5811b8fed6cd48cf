//! What a task left that was stopped before its end. It is no result: nobody agreed on it, the chain does not know it, and
//! only its worker stands behind it.

use super::{claim, finished, request::Matched, result::file_of, usual_folder};
use crate::{
    exit::Exit,
    hint::Failure,
    render::{Report, fields},
};
use berth_wire::{client::SchedulerClient, manifest::Manifest, scheduler::TaskView};
use serde_json::json;
use std::path::PathBuf;

/// Fetches it into a folder of its own.
pub(crate) async fn fetch(
    client: &SchedulerClient,
    matched: &Matched,
    view: &TaskView,
    out: Option<PathBuf>,
) -> Result<Report, Failure> {
    let task = matched.deal.task(view.index);
    let content = view.partial.ok_or_else(|| {
        let message = format!("task {task} left nothing that was kept: it is {}", view.phase);
        Failure::not_found("no-partial", message)
            .hint("files are kept of jobs that ran out of time or memory, where they had written some")
            .hint(format!("`berth task result {task}` fetches a result, `berth task logs {task}` what it printed"))
    })?;
    let folder = out.unwrap_or_else(|| {
        let mut name = usual_folder(matched).into_os_string();
        name.push("-partial");
        name.into()
    });
    claim(&folder, matched.deal)?;
    let document = client.partial(task.get(), content.sha256).await?;
    let manifest = Manifest::from_bytes(&document).map_err(|error| {
        let message = format!("what task {task} left has the right hash, but is no list of files");
        Failure::new(Exit::Error, "verification", message).because(&error).hint("its worker made it so")
    })?;
    let mut paths = Vec::with_capacity(manifest.files.len());
    for file in &manifest.files {
        let path = file.path.split('/').fold(folder.clone(), |path, part| path.join(part));
        let parent = path.parent().unwrap_or(&folder);
        tokio::fs::create_dir_all(parent).await.map_err(|error| Failure::file(parent, "made", &error))?;
        file_of(client, task, file, &path).await?;
        paths.push(path);
    }
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
