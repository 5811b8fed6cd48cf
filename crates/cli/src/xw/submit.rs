//! `xwsubmit`: a job is matched and paid for, and its URI printed.

use super::{Call, apps, data, labels, results, uri};
use crate::{
    args,
    book::Book,
    chain::Chain,
    command::{
        owner::{self, Staff},
        run::{self, Submitted},
    },
    hint::Failure,
    intent::{Elsewhere, ImageName, InputFile, RunIntent, Subject, apart, digest_of, is_url},
    render::{Progress, Report},
};
use berth_wire::{
    descriptor::Descriptor,
    job::{Dataset, Input},
    name,
    units::Sha256,
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// By what XtremWeb-HEP's jobs and applications named their image.
pub(super) const IMAGE_VARIABLE: &str = "XWDOCKERIMAGE";

pub(super) async fn submit(call: &Call) -> Result<Report, Failure> {
    let [app, words @ ..] = &*call.typed.words else {
        return Err(Failure::usage("app-name", "a job needs an application")
            .hint("write xwsubmit APP, and after it the job's command line; `xwapps` shows the applications"));
    };
    let label = call.typed.one(&["--xwlabel"])?;
    label.map_or(Ok(()), labels::check)?;
    let mut env = variables(call.typed.all("--xwenvvar"))?;
    let image = match (call.typed.one(&["--xwimage"])?.map(str::to_owned), env.remove(IMAGE_VARIABLE)) {
        (Some(_), Some(_)) => return Err(two_images()),
        (one, other) => one.or(other),
    };
    let mut intent = RunIntent::new(typed(call, words, &env)?)?;
    give(call, &mut intent).await?;
    intent.job.datasets = datasets(call).await?;
    intent.subject = subject(call, uri::uid(app), image.as_deref()).await?;
    let progress = Progress::new();
    let submitted = Box::pin(run::submit(&call.settings, &intent, &progress)).await?;
    drop(progress);
    let deal = submitted.matched.deal.to_string();
    if let Some(label) = label {
        labels::keep(&call.profile, &deal, label)?;
    }
    let uids: Vec<String> = submitted.matched.terms.indexes().map(|index| format!("{deal}:{index}")).collect();
    let uris: Vec<String> = uids.iter().map(|uid| uri::uri(submitted.client.url(), uid)).collect();
    if !call.typed.has("--xwwait") {
        let Submitted { matched, .. } = &submitted;
        let json = json!({ "uris": uris, "uids": uids, "deal": deal, "transaction": matched.transaction, "block": matched.block });
        return Ok(Report::new(uris.join("\n"), json));
    }
    crate::render::err(&uris.join("\n"));
    results::wait(call, &uids).await
}

/// The same as `berth run` takes it, but for what `run` has no words for.
fn typed(call: &Call, words: &[String], env: &BTreeMap<String, String>) -> Result<args::Run, Failure> {
    let typed = &call.typed;
    let text = |name: &'static str, usual: &str| Ok::<_, Failure>(typed.one(&[name])?.unwrap_or(usual).to_owned());
    let number = |text: &str| {
        text.parse().map_err(|_| {
            Failure::usage("pids", format!("--xwpids: `{text}` is no number of processes")).hint("write 64")
        })
    };
    let pids = typed.one(&["--xwpids"])?.map(number).transpose()?;
    let timeout = match typed.one(&["--xwwallclocktime"])? {
        Some(text) if text.bytes().all(|digit| digit.is_ascii_digit()) => Some(format!("{text}s")),
        other => other.map(str::to_owned),
    };
    let limits = args::Limits {
        cpu: text("--xwcpu", "1")?,
        memory: text("--xwmemory", "256M")?,
        disk: text("--xwdisk", "64M")?,
        pids,
        network: typed.has("--xwnetwork"),
    };
    Ok(args::Run {
        dataset: typed.one(&["--xwdataset"])?.map(str::to_owned),
        package: typed.all("--xwneeds").flat_map(|names| names.split(',')).map(str::to_owned).collect(),
        env: env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        each: typed.one(&["--xweach"])?.map(str::to_owned),
        trust: replicas(typed.one(&["--xwreplica"])?)?,
        max_price: typed.one(&["--xwmaxprice"])?.map(str::to_owned),
        timeout,
        pool: typed.one(&["--xwpool"])?.map(str::to_owned),
        encrypt: typed.has("--xwencrypt"),
        detach: true,
        // The application is known only when the chain was asked.
        ..args::Run::bare("app".to_owned(), words.to_vec(), limits)
    })
}

/// Replicas of old were never compared. Now they are: so many as must be sure of the answer.
fn replicas(text: Option<&str>) -> Result<u32, Failure> {
    let Some(text) = text else { return Ok(1) };
    match text.parse::<i64>() {
        Ok(count @ 1..=1_000_000) => Ok(u32::try_from(count).unwrap_or(1)),
        Ok(..=-1) => Err(Failure::usage("replica", "--xwreplica: a job is not replicated for ever")
            .hint("each run is paid for: submit it again, or give --xweach LIST")),
        Ok(_) | Err(_) => Err(Failure::usage("replica", format!("--xwreplica: `{text}` is no number of replicas"))
            .hint("write 1 for one worker's word, 5 for a trust of 5: answers are compared")),
    }
}

/// The application, with an image under it if it is a shared one.
async fn subject(call: &Call, app: &str, image: Option<&str>) -> Result<Subject, Failure> {
    let book = Book::of(&call.settings)?;
    let id = book.app(app).await?;
    let chain = Chain::open(&call.settings).await?;
    let Descriptor::App { runtime, image: own, disk, .. } = apps::descriptor(&chain, id).await? else {
        return Err(Failure::not_found("app-unknown", format!("{id} is no application")).hint("see `xwapps`"));
    };
    match (own.is_some() || disk.is_some(), image) {
        (true, None) => Ok(Subject::App(id)),
        (true, Some(image)) => {
            Err(Failure::usage("image", format!("`{app}` has an image of its own, and the job names `{image}`"))
                .hint("leave the image out, or submit to a shared application: `xwapps` shows which are"))
        }
        (false, Some(image)) => Ok(Subject::Under(id, ImageName::parse(image)?)),
        (false, None) => {
            let kind = apps::type_name(runtime);
            Err(Failure::usage("image", format!("`{app}` is shared {kind}, and the job names no image"))
                .hint(format!("write xwsubmit {app} --xwimage IMAGE -- COMMAND LINE")))
        }
    }
}

/// Data that workers share: by `NAME=DIGEST`, or by the name that their owners give them.
async fn datasets(call: &Call) -> Result<Vec<Dataset>, Failure> {
    let mut datasets = Vec::new();
    let mut shared = None;
    for text in call.typed.all("--xwpackage") {
        if let Some((name, digest)) = text.split_once('=') {
            let sha256 = digest_of(digest).ok_or_else(|| {
                Failure::usage("data", format!("--xwpackage: `{digest}` is no digest")).hint("write NAME=sha256:…")
            })?;
            datasets.push(Dataset { name: name.to_owned(), sha256 });
            continue;
        }
        let shared = match &shared {
            Some(shared) => shared,
            None => shared.insert(owner::staff(&Book::of(&call.settings)?, call.typed.one(&["--xwpool"])?).await?.0),
        };
        datasets.push(Dataset { name: text.to_owned(), sha256: named(shared, text)? });
    }
    datasets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(datasets)
}

/// The only data that workers share under a name. Neither case nor blanks matter.
fn named(pools: &[Staff], text: &str) -> Result<Sha256, Failure> {
    let workers = pools.iter().flat_map(|pool| &pool.workers).filter_map(|worker| worker.announced.as_ref());
    let shared = workers.flat_map(|announced| &announced.said.shares.datasets);
    let mut digests: Vec<Sha256> =
        shared.filter(|shared| name::folded(&shared.name) == name::folded(text)).map(|shared| shared.sha256).collect();
    digests.sort();
    digests.dedup();
    match &*digests {
        [digest] => Ok(*digest),
        [] => Err(Failure::not_found("data-unshared", format!("no worker shares data of the name `{text}`"))
            .hint("`xwworkers --xwformat text` shows what workers share; software is asked for by --xwneeds")),
        several => {
            let failure = Failure::usage("data-ambiguous", format!("workers share different data as `{text}`"));
            Err(several.iter().fold(failure, |failure, digest| {
                failure.hint(format!("say which: --xwpackage {text}=sha256:{digest}"))
            }))
        }
    }
}

/// Inputs: files, the files of a folder, and what is in the pool's store already.
async fn give(call: &Call, intent: &mut RunIntent) -> Result<(), Failure> {
    let mut files: Vec<InputFile> = Vec::new();
    let mut own = None;
    for text in call.typed.all("--xwenv") {
        if is_url(text) {
            intent.elsewhere.push(Elsewhere::of(None, text, "--xwenv")?);
            continue;
        }
        if is_elsewhere(text) {
            return Err(Failure::usage("input-kind", format!("--xwenv: {text} is on another server"))
                .hint("fetch it, and give the file; workers fetch by http:// and https:// alone"));
        }
        let path = PathBuf::from(text);
        if !path.exists() && is_data(text) {
            let own = match &own {
                Some(own) => own,
                None => own.insert(data::own(&data::stores(call, &data::unlock(call).await?).await?).await?),
            };
            let (_, found) = data::find(own, uri::uid(text))?;
            let (name, size, sha256) = (found.name.clone(), found.size, found.sha256);
            intent.stored.push(Input { name, size, sha256, url: None });
            continue;
        }
        if path.is_dir() { files.extend(folder(&path)?) } else { files.push(InputFile::of(&path)?.check("--xwenv")?) }
    }
    if let Some(text) = call.typed.one(&["--xwstdin"])? {
        let file = InputFile::of(Path::new(text))?.check("--xwstdin")?;
        intent.job.stdin = Some(file.name.clone());
        if !files.contains(&file) {
            files.push(file);
        }
    }
    let names =
        files.iter().map(|file| file.name.as_str()).chain(intent.stored.iter().map(|input| input.name.as_str()));
    apart(names.chain(intent.elsewhere.iter().map(|input| input.name.as_str())))?;
    intent.inputs = files;
    Ok(())
}

fn is_elsewhere(text: &str) -> bool {
    ["ftp://", "attic:"].iter().any(|scheme| text.starts_with(scheme))
}

/// Whether a text names data: by URI or by sha256. A name alone is a file's.
fn is_data(text: &str) -> bool {
    let uid = uri::uid(text);
    uid != text || uid.parse::<Sha256>().is_ok()
}

/// A folder's files. XtremWeb-HEP zipped it, and unzipped it on the worker.
fn folder(path: &Path) -> Result<Vec<InputFile>, Failure> {
    let failed = |error: &std::io::Error| Failure::file(path, "read", error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| failed(&error))? {
        let path = entry.map_err(|error| failed(&error))?.path();
        if path.is_dir() {
            return Err(Failure::usage("input-kind", format!("--xwenv: {} is a folder in a folder", path.display()))
                .hint("a job's inputs lie side by side: pack the folder with tar, and unpack it in the job"));
        }
        files.push(InputFile::of(&path)?.check("--xwenv")?);
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

pub(super) fn two_images() -> Failure {
    Failure::usage("image", format!("the image is named twice, by --xwimage and by {IMAGE_VARIABLE}"))
        .hint("name it once")
}

/// Reads `A=1,B=2`, as often as it is given. A value keeps further `=`, and a comma that no `NAME=` follows: XtremWeb-HEP
/// dropped such values without a word. `\,` is a comma, always.
pub(super) fn variables<'a>(given: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, String>, Failure> {
    let mut env = BTreeMap::new();
    for text in given {
        for pair in pairs(text) {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                Failure::usage("env", format!("--xwenvvar: `{pair}` has no `=`")).hint("write A=1,B=2")
            })?;
            if env.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(Failure::usage("env", format!("--xwenvvar: {name} is given twice")).hint("give it once"));
            }
        }
    }
    Ok(env)
}

fn pairs(text: &str) -> Vec<String> {
    let starts_pair = |rest: &str| {
        let name = rest.split_once('=').map_or("", |(name, _)| name);
        let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        begins && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    let mut pairs = vec![String::new()];
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if letters.peek().is_some_and(|(_, next)| *next == ',') => {
                letters.next();
                pairs.last_mut().expect("it has one from the start").push(',');
            }
            ',' if starts_pair(&text[at + 1..]) => pairs.push(String::new()),
            letter => pairs.last_mut().expect("it has one from the start").push(letter),
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_keep_commas_blanks_and_equal_signs() {
        let read = |text: &str| variables([text].into_iter()).map(|env| env.into_iter().collect::<Vec<_>>());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read("A=1,B=2"), Ok(vec![pair("A", "1"), pair("B", "2")]));
        assert_eq!(read("A=1,2,3,B=x = y"), Ok(vec![pair("A", "1,2,3"), pair("B", "x = y")]));
        assert_eq!(read("OPTS=a=b\\,C=d"), Ok(vec![pair("OPTS", "a=b,C=d")]));
        assert_eq!(read("A="), Ok(vec![pair("A", "")]));
        assert!(read("A").is_err() && read("A=1,A=2").is_err());
    }

    #[test]
    fn replicas_are_a_trust() {
        assert_eq!((replicas(None), replicas(Some("1")), replicas(Some("5"))), (Ok(1), Ok(1), Ok(5)));
        for wrong in ["-1", "0", "many"] {
            assert!(replicas(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
