//! `xwapps`: what is registered on chain, and at what price it is on offer.

use super::{Call, format::Objects};
use crate::{book::Book, chain::Chain, exit::Exit, hint::Failure, render::Report};
use alloy::{
    primitives::{B256, U256},
    rpc::types::Filter,
    sol_types::SolEvent as _,
};
use berth_chain::{bindings::assets::Assets, convert};
use berth_protocol::{AssetId, AssetKind, ledger::Event, order::UNLIMITED};
use berth_wire::descriptor::{Descriptor, Runtime, Sharing};
use futures_util::future::try_join_all;

pub(super) const COLUMNS: &[&str] = &[
    "UID",
    "NAME",
    "TYPE",
    "SHARING",
    "IMAGE",
    "IMAGEDIGEST",
    "OWNERUID",
    "PRICE",
    "REMAINING",
    "ENVVARS",
    "MINCPUSPEED",
    "MINMEMORY",
    "MINFREEMASSSTORAGE",
    "ORDER",
];
pub(super) const SHORT: &[&str] = &["UID", "NAME", "TYPE", "IMAGEDIGEST", "OWNERUID", "PRICE"];

/// What `xwsendapp` calls a runtime.
pub(super) const fn type_name(runtime: Runtime) -> &'static str {
    match runtime {
        Runtime::Docker => "DOCKER",
        Runtime::Qemu => "QEMU",
        Runtime::Virtualbox => "VIRTUALBOX",
        Runtime::Slurm => "SLURM",
    }
}

/// An app's descriptors, as the chain has them: all apps', or one's. What can't be read is passed over, as anybody may
/// register anything.
pub(super) async fn registered(chain: &Chain, only: Option<AssetId>) -> Result<Vec<(AssetId, Descriptor)>, Failure> {
    let kind = B256::from(U256::from(AssetKind::App as u8));
    let filter = Filter::new()
        .address(chain.deployment.assets)
        .event_signature(Assets::AssetRegistered::SIGNATURE_HASH)
        .topic2(kind);
    let filter = match only {
        Some(app) => filter.topic1(app.get()),
        None => filter,
    };
    let logs = chain.logs(filter).await?;
    let read = |log: &alloy::rpc::types::Log| {
        let Ok(Some(Event::AssetRegistered { asset, descriptor, .. })) = convert::event(&log.inner) else {
            return None;
        };
        Some((asset, Descriptor::from_bytes(descriptor.as_bytes()).ok()?))
    };
    Ok(logs.iter().filter_map(read).collect())
}

/// One app's descriptor.
pub(super) async fn descriptor(chain: &Chain, app: AssetId) -> Result<Descriptor, Failure> {
    let found = registered(chain, Some(app)).await?.pop();
    found.map(|(_, descriptor)| descriptor).ok_or_else(|| {
        Failure::not_found("app-unknown", format!("{app} is no app of this chain that can be read"))
            .hint("`xwapps` shows those that there are")
    })
}

pub(super) async fn list(call: &Call) -> Result<Report, Failure> {
    let book = Book::of(&call.settings)?;
    let (chain, offers) = tokio::join!(Chain::open(&call.settings), book.apps(None));
    let (chain, offers) = (chain?, offers?);
    let mut apps = registered(&chain, None).await?;
    let wanted = call.uids();
    let is = |uid: &str, (id, descriptor): &(AssetId, Descriptor)| {
        id.to_string().eq_ignore_ascii_case(uid) || descriptor.name() == uid
    };
    if let Some(missing) = wanted.iter().find(|uid| !apps.iter().any(|app| is(uid, app))) {
        return Err(Failure::not_found("app-unknown", format!("no application is called `{missing}`"))
            .hint("`xwapps` shows those that there are"));
    }
    apps.retain(|app| wanted.is_empty() || wanted.iter().any(|uid| is(uid, app)));
    let owners = try_join_all(apps.iter().map(|(id, _)| chain.owner_of(*id))).await?;
    let mut rows = Vec::with_capacity(apps.len());
    for ((id, descriptor), owner) in apps.iter().zip(owners) {
        // Cheapest first.
        let offer = offers.iter().find(|offer| offer.order.app == id.get() && offer.listed.signer == owner);
        let price = offer.map(|offer| chain.token.show(offer.order.price.into()));
        let order = offer.map(|offer| (offer.listed.remaining, offer.listed.hash.to_string()));
        rows.push(row(*id, descriptor, owner.to_string(), (price, order))?);
    }
    Ok(call.show(&Objects { element: "app", columns: COLUMNS, short: SHORT, rows }))
}

/// One app as a row.
fn row(
    id: AssetId,
    descriptor: &Descriptor,
    owner: String,
    (price, order): (Option<String>, Option<(u32, String)>),
) -> Result<Vec<Option<String>>, Failure> {
    let Descriptor::App { name, runtime, sharing, image, disk, env, minimum, .. } = descriptor else {
        return Err(Failure::new(Exit::Error, "chain-log", format!("{id} says that it is a pool")));
    };
    let sharing = match sharing {
        Sharing::Shared => "shared",
        Sharing::Distributed => "distributed",
    };
    let (reference, digest) = match (image, disk) {
        (Some(image), _) => {
            (Some(image.reference.clone()), image.manifest.or(image.config).map(|digest| digest.to_string()))
        }
        (None, Some(disk)) => (Some(disk.name.clone()), Some(format!("sha256:{}", disk.sha256))),
        (None, None) => (None, None),
    };
    let (remaining, order) = order.unzip();
    let variables: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(vec![
        Some(id.to_string()),
        Some(name.clone()),
        Some(type_name(*runtime).to_owned()),
        Some(sharing.to_owned()),
        reference,
        digest,
        Some(owner),
        price,
        // An offer without end has nothing to count.
        remaining.filter(|remaining| *remaining != UNLIMITED).map(|remaining| remaining.to_string()),
        (!variables.is_empty()).then(|| variables.join(",")),
        Some(minimum.cpu_millis.to_string()),
        Some(minimum.memory_bytes.to_string()),
        Some(minimum.disk_bytes.to_string()),
        order,
    ])
}
