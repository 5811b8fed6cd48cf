//! `xwsenddata`, `xwdatas`, `xwdownload`: what a requester keeps in a pool's store, by sha256.

use super::{Call, exits, format::Objects, uri, works::date};
use crate::{
    book::Book, chain::Chain, command::run::stage::hash, hint::Failure, intent::InputFile, keys, render::Report,
    scheduler,
};
use berth_chain::signer::Signer;
use berth_protocol::Timestamp;
use berth_wire::{client::SchedulerClient, job::is_component, scheduler::DataView};
use serde_json::json;
use std::path::{Path, PathBuf};

pub(super) const COLUMNS: &[&str] = &["UID", "NAME", "STATUS", "SIZE", "SHASUM", "INSERTIONDATE", "OWNERUID", "URI"];
pub(super) const SHORT: &[&str] = &["UID", "NAME", "SIZE"];

/// Opens the account's key, away from everything that answers in the meantime.
pub(super) async fn unlock(call: &Call) -> Result<Signer, Failure> {
    let settings = call.settings.clone();
    let opened = tokio::task::spawn_blocking(move || keys::unlock(&settings)).await;
    opened.expect("opening a key does not panic")
}

/// Every store that the order book knows, signed in to. Those that don't answer are passed over, unless all are.
pub(super) async fn stores(call: &Call, signer: &Signer) -> Result<Vec<SchedulerClient>, Failure> {
    let book = Book::of(&call.settings)?;
    let chain = Chain::open(&call.settings).await?;
    let (mut stores, mut last) = (Vec::new(), None);
    for client in scheduler::all(&book).await? {
        match scheduler::sign_in(client, &chain, signer).await {
            Ok(client) => stores.push(client),
            Err(failure) => last = Some(failure),
        }
    }
    match last {
        Some(failure) if stores.is_empty() => Err(failure),
        Some(_) | None => Ok(stores),
    }
}

/// One's own data, store by store.
pub(super) async fn own(stores: &[SchedulerClient]) -> Result<Vec<(SchedulerClient, DataView)>, Failure> {
    let mut found = Vec::new();
    for store in stores {
        found.extend(store.data().await?.into_iter().map(|data| (store.clone(), data)));
    }
    Ok(found)
}

/// Whether data are those that are meant, by their sha256 or their name.
pub(super) fn is(data: &DataView, uid: &str) -> bool {
    let sha256 = data.sha256.to_string();
    data.name == uid || sha256.eq_ignore_ascii_case(uid.strip_prefix("sha256:").unwrap_or(uid))
}

/// The one that is meant.
pub(super) fn find<'a>(
    own: &'a [(SchedulerClient, DataView)],
    uid: &str,
) -> Result<&'a (SchedulerClient, DataView), Failure> {
    let mut found = own.iter().filter(|(_, data)| is(data, uid)).peekable();
    let first = found.next().ok_or_else(|| {
        Failure::not_found("data-unknown", format!("none of your data is `{uid}`")).hint("`xwdatas` shows them")
    })?;
    // The same bytes in two stores, or under one name, are the same data.
    if found.any(|(_, data)| data.sha256 != first.1.sha256) {
        return Err(Failure::usage("data-ambiguous", format!("several of your data are called `{uid}`"))
            .hint("say which by its UID: `xwdatas` shows it"));
    }
    Ok(first)
}

/// `xwsenddata [NAME] FILE`
pub(super) async fn send(call: &Call) -> Result<Report, Failure> {
    let (name, path) = match &*call.typed.words {
        [path] => (None, path),
        [name, path] => (Some(name.as_str()), path),
        [] => return Err(Failure::usage("data", "no data to send").hint("write xwsenddata [NAME] FILE")),
        [_, kinds @ .., path] => {
            return Err(Failure::usage(
                "data",
                format!("{} is too much: data have no processor, system, type or rights", kinds.join(" ")),
            )
            .hint(format!("write xwsenddata NAME {path}")));
        }
    };
    let path = Path::new(path);
    let file = InputFile::of(path)?.check("xwsenddata")?;
    let name = name.unwrap_or(&file.name).to_owned();
    if !is_component(&name) {
        return Err(Failure::usage("data", format!("`{name}` is no name for data")).hint("write a plain file name"));
    }
    let hashed = file.path.clone();
    let hashed = tokio::task::spawn_blocking(move || hash(&hashed)).await.expect("hashing a file does not panic");
    let (size, sha256) = hashed.map_err(|error| Failure::file(path, "read", &error))?;
    let book = Book::of(&call.settings)?;
    let pool =
        book.pool(call.typed.one(&["--xwpool"])?).await.map_err(|failure| failure.hint("that is, --xwpool POOL"))?;
    let signer = unlock(call).await?;
    let chain = Chain::open(&call.settings).await?;
    let client = scheduler::sign_in(scheduler::of_pool(&book, pool).await?, &chain, &signer).await?;
    client.put_data(&file.path, sha256, &name).await?;
    let uri = uri::uri(client.url(), &sha256.to_string());
    let json = json!({ "uri": uri, "uid": sha256.to_string(), "name": name, "size": size, "pool": pool.to_string() });
    Ok(Report::new(uri, json))
}

/// `xwdatas`
pub(super) async fn list(call: &Call) -> Result<Report, Failure> {
    let signer = unlock(call).await?;
    let own = own(&stores(call, &signer).await?).await?;
    let uids = call.uids();
    for uid in &uids {
        if !own.iter().any(|(_, data)| is(data, uid)) {
            return Err(Failure::not_found("data-unknown", format!("none of your data is `{uid}`"))
                .hint("`xwdatas` shows them"));
        }
    }
    let meant = own.iter().filter(|(_, data)| uids.is_empty() || uids.iter().any(|uid| is(data, uid)));
    let row = |(store, data): &(SchedulerClient, DataView)| {
        let sha256 = data.sha256.to_string();
        vec![
            Some(sha256.clone()),
            Some(data.name.clone()),
            Some("AVAILABLE".to_owned()),
            Some(data.size.to_string()),
            Some(format!("sha256:{sha256}")),
            Some(date(Timestamp::new(data.put_ms / 1_000))),
            Some(signer.address().to_string()),
            Some(uri::uri(store.url(), &sha256)),
        ]
    };
    let rows = meant.map(row).collect();
    Ok(call.show(&Objects { element: "data", columns: COLUMNS, short: SHORT, rows }))
}

/// `xwdownload`
pub(super) async fn download(call: &Call) -> Result<Report, Failure> {
    let uids = call.uids();
    if uids.is_empty() {
        return Err(Failure::usage("data", "no data to download").hint("write xwdownload UID; `xwdatas` shows yours"));
    }
    let signer = unlock(call).await?;
    let own = own(&stores(call, &signer).await?).await?;
    let out = call.typed.one(&["--xwout"])?.map(PathBuf::from);
    let meant = uids.iter().map(|uid| find(&own, uid)).collect::<Result<Vec<_>, _>>()?;
    let mut paths = Vec::new();
    for (store, data) in meant {
        let path = match &out {
            Some(out) if uids.len() == 1 && !out.is_dir() => out.clone(),
            Some(out) => out.join(&data.name),
            None => PathBuf::from(&data.name),
        };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| Failure::file(parent, "made", &error))?;
        }
        if path.exists() {
            return Err(exits::with(
                exits::DISK,
                "out",
                format!("{} is there, and nothing is overwritten", path.display()),
            )
            .hint("give another: --xwout FILE"));
        }
        store.fetch_data(data.sha256, &path).await?;
        paths.push(path.display().to_string());
    }
    let json = json!(paths);
    Ok(Report::new(paths.join("\n"), json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_wire::units::Sha256;

    #[test]
    fn data_are_named_by_sha256_or_by_name() {
        let data = DataView { sha256: Sha256([0xab; 32]), name: "my file".into(), size: 1, put_ms: 0 };
        let sha256 = "ab".repeat(32);
        assert!(is(&data, &sha256) && is(&data, &sha256.to_uppercase()) && is(&data, &format!("sha256:{sha256}")));
        assert!(is(&data, "my file") && !is(&data, "my"));
        let store = SchedulerClient::new("http://127.0.0.1:1");
        let other = DataView { sha256: Sha256([1; 32]), ..data.clone() };
        let own = [(store.clone(), data.clone()), (store.clone(), data), (store, other)];
        assert!(find(&own, &sha256).is_ok() && find(&own, "my file").is_err() && find(&own, "x").is_err());
    }
}
