//! `berth app`.

use super::{
    asset::{self, Goods, Wish},
    run::image,
};
use crate::{
    args::{AppOrder, AppRegister, AppRuntime},
    book::Book,
    chain::Chain,
    hint::Failure,
    intent::disk,
    render::{Report, table},
    settings::Settings,
};
use berth_wire::{
    address,
    descriptor::{Descriptor, Disk, Minimum, Runtime, Sharing},
    job::Image,
    name,
};
use serde_json::json;
use std::collections::BTreeMap;

pub(super) async fn register_app(settings: &Settings, args: AppRegister) -> Result<Report, Failure> {
    let descriptor = wanted(&args).await?;
    let enrolled = asset::enrol(settings, Goods::App, &descriptor, &Wish::from(&args.offer)).await?;
    Ok(enrolled.report(&args.name, &descriptor, None))
}

/// Offers an app that is there.
pub(super) async fn order(settings: &Settings, args: &AppOrder) -> Result<Report, Failure> {
    asset::order(settings, Goods::App, &args.app, &Wish::from(&args.offer)).await
}

/// The app as typed.
async fn wanted(args: &AppRegister) -> Result<Descriptor, Failure> {
    let runtime = match args.runtime {
        AppRuntime::Docker => Runtime::Docker,
        AppRuntime::Qemu => Runtime::Qemu,
        AppRuntime::Slurm => Runtime::Slurm,
        AppRuntime::Virtualbox => Runtime::Virtualbox,
    };
    // A cluster's nodes run containers too.
    let contained = matches!(runtime, Runtime::Docker | Runtime::Slurm);
    let image = match args.image.as_deref() {
        Some(_) if !contained => {
            return Err(Failure::usage("app-image", "only an app of containers has an image")
                .hint("a virtual machine has a disk: --disk FILE"));
        }
        Some(text) => Some(image::pinned(text).await?),
        None => None,
    };
    let disk = match args.disk.clone() {
        Some(_) if contained => {
            return Err(Failure::usage("app-disk", "only an app that is a virtual machine has a disk")
                .hint("say what runs it: --runtime qemu or virtualbox; containers have an image: --image IMAGE"));
        }
        Some(path) => {
            let disk = fitting(disk::read(path).await?, runtime)?;
            Some(Disk { url: address(args.disk_url.as_deref())?, ..disk })
        }
        None => None,
    };
    let mut app = descriptor(&args.name, runtime, image, disk);
    if let Descriptor::App { minimum, .. } = &mut app {
        minimum.packages = name::folded_all(args.package.iter().map(String::as_str));
    }
    Ok(app)
}

fn address(url: Option<&str>) -> Result<Option<String>, Failure> {
    match url {
        Some(url) => match address::read(url) {
            Ok(_) => Ok(Some(url.to_owned())),
            Err(error) => Err(Failure::usage("disk-url", format!("--disk-url: `{url}`: {error}"))
                .hint("workers fetch it as it is: give an address that is open to them")),
        },
        None => Ok(None),
    }
}

/// A disk that this runtime attaches.
fn fitting(disk: Disk, runtime: Runtime) -> Result<Disk, Failure> {
    let (fits, forms) = match runtime {
        Runtime::Virtualbox => (disk.format.is_virtualbox(), "vdi, vmdk, vhd, iso"),
        Runtime::Qemu => (disk.format.is_qemu(), "qcow2, vdi, raw, or a machine's document"),
        Runtime::Docker | Runtime::Slurm => (true, ""),
    };
    let what = disk.format.name();
    if fits {
        return Ok(disk);
    }
    Err(Failure::usage("app-disk", format!("a disk of the form {what} is not for this runtime"))
        .hint(format!("it takes {forms}; `qemu-img convert` or `VBoxManage clonemedium` makes one of the other")))
}

/// What an app is: with an image or a disk of its own, or under whatever image a job names.
pub(super) fn descriptor(name: &str, runtime: Runtime, image: Option<Image>, disk: Option<Disk>) -> Descriptor {
    let is_whole = image.is_some() || disk.is_some();
    Descriptor::App {
        version: 1,
        name: name.to_owned(),
        runtime,
        sharing: if is_whole { Sharing::Distributed } else { Sharing::Shared },
        image,
        disk: disk.map(Box::new),
        env: BTreeMap::new(),
        minimum: Minimum::default(),
    }
}

pub(super) async fn list(settings: &Settings) -> Result<Report, Failure> {
    let book = Book::of(settings)?;
    let (chain, apps) = tokio::join!(Chain::open(settings), book.apps(None));
    let (chain, apps) = (chain?, apps?);
    let rows: Vec<[String; 5]> = apps
        .iter()
        .map(|app| {
            let name = app.listed.name.clone().unwrap_or_else(|| "-".to_owned());
            let runtime = app.listed.runtime.map_or("-", Runtime::name).to_owned();
            let price = chain.token.show(app.order.price.into());
            [name, runtime, app.order.app.to_string(), price, app.listed.signer.to_string()]
        })
        .collect();
    let json = json!(apps.iter().map(|app| &app.listed).collect::<Vec<_>>());
    Ok(Report::new(table(["name", "runtime", "app", "price", "owner"], &rows), json))
}
