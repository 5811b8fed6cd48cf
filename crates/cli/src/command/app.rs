//! `berth app`.

use super::{pool::owned, run::image};
use crate::{
    args::{AppOrder, AppRegister, AppRuntime},
    book::Book,
    chain::{Call, Chain},
    hint::Failure,
    intent::{disk, units},
    keys,
    render::{Progress, Report, fields, table, time},
    settings::Settings,
};
use alloy::primitives::B256;
use berth_chain::{call, outbox::Mined, signer::Signer};
use berth_protocol::{
    AccountAddr, Amount, AssetId, AssetKind, OrderHash, Timestamp, domain::Domain, order, order::Order as _,
    order::UNLIMITED,
};
use berth_wire::{
    address,
    descriptor::{Descriptor, Disk, Minimum, Runtime, Sharing},
    job::Image,
    name,
    order::{AnyOrder, SignedOrder},
};
use serde_json::json;
use std::collections::BTreeMap;

/// The largest descriptor that the contract takes.
const MAX_DESCRIPTOR_BYTES: usize = 8_192;

pub(super) async fn register_app(settings: &Settings, args: AppRegister) -> Result<Report, Failure> {
    let descriptor = wanted(&args).await?;
    let wish = Wish { price: &args.price, volume: args.volume, expires: &args.expires };
    let Enrolled { chain, id, hash, offer, mined } = enrol(settings, &descriptor, &wish).await?;
    let price = chain.token.show(offer.price);
    let text = fields(&[
        ("app", id.to_string()),
        ("name", args.name.clone()),
        ("order", hash.to_string()),
        ("price", format!("{price} a task")),
        ("gas", mined.gas_used.to_string()),
    ]);
    let json = json!({ "app": id.to_string(), "name": args.name, "order": hash.to_string(), "price": offer.price.to_string(),
                       "descriptor": descriptor, "transaction": mined.tx, "block": mined.block.get(), "gas": mined.gas_used });
    Ok(Report::new(text, json))
}

/// An app that was registered and offered.
pub(crate) struct Enrolled {
    pub(crate) chain: Chain,
    pub(crate) id: AssetId,
    pub(crate) hash: OrderHash,
    pub(crate) offer: Offer,
    pub(crate) mined: Mined,
}

/// Registers an app, and publishes an offer of it.
pub(crate) async fn enrol(settings: &Settings, descriptor: &Descriptor, wish: &Wish<'_>) -> Result<Enrolled, Failure> {
    let book = Book::of(settings)?;
    let chain = Chain::open(settings).await?;
    book.check(&chain).await?;
    let offer = wish.terms(settings, &chain).await?;
    let signer = keys::unlock(settings)?;
    let progress = Progress::new();
    progress.step("registering the app");
    let (id, mined) = register(&chain, &signer, AssetKind::App, descriptor).await?;
    progress.step("publishing its order");
    let (hash, signed) = sign(&signer, &chain.domain(), id, &offer);
    book.publish(signed, None).await.map_err(|failure| {
        failure
            .hint(format!("the app is registered as {id}, which can't be taken back, but it is not on offer"))
            .hint(format!("`berth app order {id} --price {}` offers it", wish.price))
    })?;
    Ok(Enrolled { chain, id, hash, offer, mined })
}

/// Offers an app that is there.
pub(super) async fn order(settings: &Settings, args: &AppOrder) -> Result<Report, Failure> {
    let book = Book::of(settings)?;
    let account = keys::account(settings)?;
    let chain = Chain::open(settings).await?;
    book.check(&chain).await?;
    let app = book.app(&args.app).await?;
    owned(&chain, app, account).await?;
    let wish = Wish { price: &args.price, volume: args.volume, expires: &args.expires };
    let offer = wish.terms(settings, &chain).await?;
    let signer = keys::unlock(settings)?;
    let (hash, signed) = sign(&signer, &chain.domain(), app, &offer);
    let progress = Progress::new();
    progress.step("publishing the order");
    book.publish(signed, None).await?;
    drop(progress);
    let text = fields(&[
        ("order", hash.to_string()),
        ("app", app.to_string()),
        ("price", format!("{} a task", chain.token.show(offer.price))),
        ("good until", time(Timestamp::new(offer.expiry))),
    ]);
    let json = json!({ "order": hash.to_string(), "app": app.to_string(), "price": offer.price.to_string(),
                       "expiry": offer.expiry });
    Ok(Report::new(text, json))
}

/// The terms of an offer as typed.
pub(crate) struct Wish<'a> {
    pub(crate) price: &'a str,
    pub(crate) volume: Option<u32>,
    pub(crate) expires: &'a str,
}

impl Wish<'_> {
    pub(super) async fn terms(&self, settings: &Settings, chain: &Chain) -> Result<Offer, Failure> {
        let account = AccountAddr::new(keys::account(settings)?);
        let price = chain.token.parse("--price", self.price)?;
        let good_for = units::duration("--expires", self.expires)?.as_secs();
        let (now, epoch) = tokio::join!(chain.read.chain_time(), chain.read.epoch_of(account));
        let volume = self.volume.unwrap_or(UNLIMITED);
        Ok(Offer { price, volume, expiry: now?.plus(good_for).seconds(), epoch: epoch? })
    }
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

/// The terms of an app's offer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) price: Amount,
    pub(crate) volume: u32,
    pub(crate) expiry: u64,
    pub(crate) epoch: u64,
}

/// An app order with its signature and its hash.
pub(super) fn sign(signer: &Signer, domain: &Domain, app: AssetId, offer: &Offer) -> (OrderHash, SignedOrder) {
    let order = order::AppOrder {
        app: app.get(),
        price: offer.price.units(),
        volume: offer.volume,
        tag: B256::ZERO,
        datasetRule: B256::ZERO,
        poolRule: B256::ZERO,
        requesterRule: B256::ZERO,
        expiry: offer.expiry,
        epoch: offer.epoch,
        salt: B256::new(rand::random()),
    };
    let (hash, signature) = (order.hash(domain), signer.sign(domain, &order));
    (hash, SignedOrder { order: AnyOrder::App(order.into()), signature })
}

/// Registers an asset, and gives its id with the transaction.
pub(super) async fn register(
    chain: &Chain,
    signer: &Signer,
    kind: AssetKind,
    descriptor: &Descriptor,
) -> Result<(AssetId, Mined), Failure> {
    let bytes = descriptor.to_bytes();
    if bytes.len() > MAX_DESCRIPTOR_BYTES {
        let message = format!("the descriptor has {} bytes; {MAX_DESCRIPTOR_BYTES} are the most", bytes.len());
        return Err(Failure::usage("descriptor", message).hint("give a shorter name"));
    }
    let id = AssetId::derive(kind, signer.address(), &bytes);
    if chain.read.owner_of(id).await?.is_some() {
        let message = format!("{} has registered exactly this before: {id}", signer.address());
        return Err(Failure::preflight("asset-exists", message).hint("use that one, or give another name"));
    }
    let text = String::from_utf8(bytes).expect("JSON is UTF-8");
    let calls = vec![Call { to: chain.deployment.assets, calldata: call::register(kind, text), note: "register" }];
    let mined = chain.send(signer, calls).await?.remove(0);
    Ok((id, mined))
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
