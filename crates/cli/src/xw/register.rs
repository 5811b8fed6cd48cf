//! `xwsendapp`, `xwadddocker.sh`, `xwaddvbapp.sh`: applications onto the chain, and into the order book.

use super::{Call, apps, exits, submit, uri};
use crate::{
    chain::Chain,
    command::{
        asset::{Enrolled, Goods, Wish, enrol},
        run::image,
    },
    hint::Failure,
    intent::disk,
    render::{Report, err},
};
use berth_protocol::AccountAddr;
use berth_wire::{
    descriptor::{Descriptor, Disk, DiskFormat, Minimum, Runtime, Sharing},
    job::{Image, Job},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::BufRead as _,
    path::{Path, PathBuf},
};

/// How long an application stays on offer.
const GOOD_FOR: &str = "365d";

/// An application to register.
struct Wanted {
    name: String,
    runtime: Runtime,
    image: Option<Image>,
    disk: Option<Disk>,
    env: BTreeMap<String, String>,
    price: String,
}

impl Wanted {
    fn descriptor(&self) -> Descriptor {
        let is_whole = self.image.is_some() || self.disk.is_some();
        Descriptor::App {
            version: 1,
            name: self.name.clone(),
            runtime: self.runtime,
            sharing: if is_whole { Sharing::Distributed } else { Sharing::Shared },
            image: self.image.clone(),
            disk: self.disk.clone().map(Box::new),
            env: self.env.clone(),
            minimum: Minimum::default(),
        }
    }

    async fn enrol(&self, call: &Call) -> Result<Enrolled, Failure> {
        let wish = Wish { price: &self.price, volume: None, expires: GOOD_FOR };
        enrol(&call.settings, Goods::App, &self.descriptor(), &wish).await
    }
}

/// A name that people can type.
fn check_name(name: &str) -> Result<(), Failure> {
    let odd = |letter: char| letter.is_control() || letter.is_whitespace();
    if name.is_empty() || name.len() > 100 || name.starts_with(['-', '0']) || name.chars().any(odd) {
        return Err(Failure::usage("app-name", format!("`{name}` is no name for an application"))
            .hint("write at most 100 bytes without blanks, that begin neither with `-` nor with `0`"));
    }
    Ok(())
}

/// The type of an application, in XtremWeb-HEP's words.
fn runtime(text: &str) -> Result<Runtime, Failure> {
    let gone = |why: &str| {
        Failure::usage("app-type", format!("applications of type {} are gone: {why}", text.to_uppercase()))
            .hint("put the program into an image (`docker build`), and register that: xwadddocker.sh --name NAME --image IMAGE")
    };
    match text.trim().to_ascii_uppercase().as_str() {
        "DOCKER" => Ok(Runtime::Docker),
        "VIRTUALBOX" => Ok(Runtime::Virtualbox),
        "QEMU" => Ok(Runtime::Qemu),
        "SLURM" => Ok(Runtime::Slurm),
        "DEPLOYABLE" => Err(gone("no worker runs a bare binary of somebody else's")),
        "SHARED" | "NONE" | "PDO" => Err(gone("workers share engines by their names")),
        _ => Err(Failure::usage("app-type", format!("`{text}` is no type of application"))
            .hint("write DOCKER, VIRTUALBOX, QEMU, or SLURM")),
    }
}

/// `xwsendapp NAME TYPE`
pub(super) async fn send_app(call: &Call) -> Result<Report, Failure> {
    let [name, kind, rest @ ..] = &*call.typed.words else {
        return Err(Failure::usage("app-name", "an application has a name and a type")
            .hint("write xwsendapp NAME DOCKER, with --xwimage IMAGE for an image of its own"));
    };
    check_name(name)?;
    let runtime = runtime(kind)?;
    if let Some(more) = rest.first() {
        return Err(Failure::usage(
            "binary",
            format!("`{more}`: an application takes no system, binary or rights here"),
        )
        .hint("no worker runs a bare binary of somebody else's: give an image, --xwimage IMAGE")
        .hint("rights are the rules of orders: `berth app order --help`"));
    }
    let mut env = submit::variables(call.typed.all("--xwenvvar"))?;
    // As in XtremWeb-HEP since its version 13.
    let named = env.remove(submit::IMAGE_VARIABLE);
    let image = match (call.typed.one(&["--xwimage"])?, named.as_deref()) {
        (Some(_), Some(_)) => return Err(submit::two_images()),
        (Some(text), None) | (None, Some(text)) => Some(pinned(runtime, text).await?),
        (None, None) => None,
    };
    check_env(&env)?;
    let price = call.typed.one(&["--xwprice"])?.unwrap_or("0").to_owned();
    let wanted = Wanted { name: name.clone(), runtime, image, disk: None, env, price };
    let done = wanted.enrol(call).await?;
    sent(call, &done)
}

async fn pinned(runtime: Runtime, text: &str) -> Result<Image, Failure> {
    if !matches!(runtime, Runtime::Docker | Runtime::Slurm) {
        return Err(Failure::usage("app-type", "only applications of type DOCKER or SLURM have container images")
            .hint("a virtual machine has a disk: xwaddvbapp.sh --name NAME --hda FILE"));
    }
    image::pinned(text).await
}

/// The same rules as for the variables of a job.
fn check_env(env: &BTreeMap<String, String>) -> Result<(), Failure> {
    let job = Job { env: env.clone(), ..Job::default() };
    job.check().map_err(|error| crate::intent::bad_job(&error))
}

/// The new application's URI, on a line of its own.
fn sent(call: &Call, done: &Enrolled) -> Result<Report, Failure> {
    let uri = uri::uri(call.settings.market()?, &done.id.to_string());
    let json = json!({ "uri": uri, "uid": done.id.to_string(), "order": done.hash.to_string(),
                       "price": done.offer.price.to_string(), "transaction": done.mined.tx, "gas": done.mined.gas_used });
    Ok(Report::new(uri, json))
}

/// `xwadddocker.sh`
pub(super) async fn add_docker(call: &Call) -> Result<Report, Failure> {
    let name = script_name(call, None)?;
    let image = match call.typed.one(&["--image"])? {
        Some(text) => Some(image::pinned(text).await?),
        None => None,
    };
    let price = call.typed.one(&["--price"])?.unwrap_or("0").to_owned();
    let wanted = Wanted { name, runtime: Runtime::Docker, image, disk: None, env: BTreeMap::new(), price };
    script(call, &wanted, "Docker").await
}

/// `xwaddvbapp.sh`
pub(super) async fn add_vm(call: &Call) -> Result<Report, Failure> {
    let given = call.typed.one(&["--livecd", "--liveCD", "--livecduri", "--hda", "--hdauri"])?;
    let given = given.ok_or_else(|| {
        Failure::usage("disk", "For the Live CD, you must provide its filename or uri").hint("write --livecd FILE")
    })?;
    if let Some((scheme, _)) = given.split_once("://") {
        return Err(Failure::usage("disk", format!("a disk at {scheme}:// can't be registered from afar"))
            .hint("fetch it, look at it, and give the file: what is registered is its sha256"));
    }
    let path = PathBuf::from(given);
    let disk = disk::read(path).await?;
    let name = script_name(call, Path::new(given).file_stem().and_then(|stem| stem.to_str()))?;
    let price = call.typed.one(&["--price"])?.unwrap_or("0").to_owned();
    // VirtualBox attaches neither of QEMU's own forms.
    let runtime = match disk.format {
        DiskFormat::Qcow2 | DiskFormat::Raw | DiskFormat::Machine => Runtime::Qemu,
        DiskFormat::Iso | DiskFormat::Vdi | DiskFormat::Vmdk | DiskFormat::Vhd => Runtime::Virtualbox,
    };
    let wanted = Wanted { name, runtime, image: None, disk: Some(disk), env: BTreeMap::new(), price };
    script(call, &wanted, "Live CD").await
}

/// The name that was given, or else the file's: which XtremWeb-HEP promised, and never did.
fn script_name(call: &Call, usual: Option<&str>) -> Result<String, Failure> {
    if let Some(word) = call.typed.words.first() {
        return Err(Failure::usage("word", format!("`{word}` is no option")).hint("--help shows those that there are"));
    }
    let name = call.typed.one(&["--name"])?.or(usual);
    let name = name
        .ok_or_else(|| Failure::usage("app-name", "You must provide an application name").hint("write --name NAME"))?;
    check_name(name)?;
    Ok(name.to_owned())
}

/// What both scripts do: say, ask, register, show. Only the URI goes to standard output.
async fn script(call: &Call, wanted: &Wanted, what: &str) -> Result<Report, Failure> {
    let descriptor = wanted.descriptor();
    let account = crate::keys::account(&call.settings)?;
    err(&format!("INFO:  XW_USER={}", call.settings.account()?));
    err(&format!("INFO:  Creating {what} application '{}'", wanted.name));
    if call.typed.has("--verbose") || call.typed.has("--debug") {
        err(&format!("DEBUG: descriptor {}", String::from_utf8_lossy(&descriptor.to_bytes())));
    }
    if call.typed.has("--dry") {
        let chain = Chain::open(&call.settings).await?;
        let balance = chain.read.account(AccountAddr::new(account)).await?;
        err(&format!("INFO:  {} has {} free; nothing was registered", account, chain.token.show(balance.free)));
        return Ok(Report::new("", json!({ "dry": true, "descriptor": descriptor })));
    }
    if !call.typed.has("--yes") {
        confirm(&wanted.name)?;
    }
    let done = wanted.enrol(call).await?;
    err(&format!("INFO:  Application '{}' added to Berth :", wanted.name));
    let shown = apps::descriptor(&done.chain, done.id).await?;
    if let Value::Object(members) = serde_json::to_value(&shown).unwrap_or_default() {
        members.iter().for_each(|(name, value)| err(&format!("       {name}={value}")));
    }
    sent(call, &done)
}

/// What is on chain can't be taken back.
fn confirm(name: &str) -> Result<(), Failure> {
    err(&format!("Application '{name}' will be PUBLIC, for ever. Do you really want to continue [y/N] ?"));
    let mut line = String::new();
    // What can't be read is no yes.
    drop(std::io::stdin().lock().read_line(&mut line));
    if matches!(line.trim(), "y" | "Y") {
        return Ok(());
    }
    Err(exits::with(exits::FATAL, "not-confirmed", "nothing was registered").hint("answer y, or give --yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_old_are_known_or_refused_with_a_reason() {
        assert!(matches!(runtime(" docker "), Ok(Runtime::Docker)));
        assert!(matches!(runtime("VirtualBox"), Ok(Runtime::Virtualbox)));
        for wrong in ["DEPLOYABLE", "shared", "vmware"] {
            assert!(!runtime(wrong).expect_err(wrong).hints.is_empty(), "{wrong}");
        }
        for wrong in ["", "-x", "0xab", "a b", "a\n"] {
            assert!(check_name(wrong).is_err(), "{wrong:?}");
        }
    }
}
