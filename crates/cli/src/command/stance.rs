//! `berth account cancel-order`, `approve-order` and `sponsor`: what an account says of single orders.

use crate::{
    args::{OneOrder, SponsorArgs},
    chain::{Call, Chain, Spent},
    hint::Failure,
    intent::units,
    keys,
    render::{Progress, Report, fields},
    settings::Settings,
};
use alloy::primitives::{B256, Bytes};
use berth_chain::call;
use berth_protocol::{OrderHash, order::Sponsorship};
use serde_json::json;

/// Cancels one order: whatever the account has signed of it is void.
pub(super) async fn cancel_order(settings: &Settings, args: &OneOrder) -> Result<Report, Failure> {
    let order = hash("ORDER", &args.order)?;
    say(settings, order, ("cancelled", "cancel order"), call::cancel_order(order)).await
}

/// Stands for one order.
pub(super) async fn approve_order(settings: &Settings, args: &OneOrder) -> Result<Report, Failure> {
    let order = hash("ORDER", &args.order)?;
    say(settings, order, ("approved", "approve order"), call::approve_order(order)).await
}

async fn say(
    settings: &Settings,
    order: OrderHash,
    (said, note): (&'static str, &'static str),
    calldata: Bytes,
) -> Result<Report, Failure> {
    let account = keys::account(settings)?;
    let chain = Chain::open(settings).await?;
    let signer = keys::unlock(settings)?;
    let progress = Progress::new();
    progress.step(note);
    let calls = vec![Call { to: chain.deployment.berth, calldata, note }];
    let Spent { gas, wei, transactions } = Spent::of(&chain.send(&signer, calls).await?);
    drop(progress);
    let text = fields(&[("account", account.to_string()), (said, order.to_string()), ("gas", gas.to_string())]);
    let json = json!({ "account": account, said: order.to_string(), "gas": gas, "gas_wei": wei.to_string(),
                       "transactions": transactions });
    Ok(Report::new(text, json))
}

/// Signs a sponsorship; whoever sends the match shows it.
pub(super) async fn sponsor(settings: &Settings, args: &SponsorArgs) -> Result<Report, Failure> {
    let (request, pool_order) = (hash("REQUEST", &args.request)?, hash("--pool-order", &args.pool_order)?);
    let good_for = units::duration("--expires", &args.expires)?;
    let chain = Chain::open(settings).await?;
    let expiry = chain.read.chain_time().await?.plus(good_for.as_secs());
    let signer = keys::unlock(settings)?;
    let sponsorship = Sponsorship {
        request: request.get(),
        poolOrder: pool_order.get(),
        volume: args.tasks,
        expiry: expiry.seconds(),
    };
    let domain = chain.deployment.domain();
    let (digest, signature) = (OrderHash::new(domain.digest(&sponsorship)), signer.sign(&domain, &sponsorship));
    let text = fields(&[
        ("payer", signer.address().to_string()),
        ("request", request.to_string()),
        ("pool order", pool_order.to_string()),
        ("tasks", args.tasks.to_string()),
        ("until", expiry.to_string()),
        ("sponsorship", digest.to_string()),
        ("signature", signature.to_string()),
    ]);
    let json = json!({ "payer": signer.address(), "request": request.to_string(),
                       "pool_order": pool_order.to_string(), "volume": args.tasks, "expiry": expiry.seconds(),
                       "sponsorship": digest.to_string(), "signature": signature });
    Ok(Report::new(text, json))
}

fn hash(flag: &str, text: &str) -> Result<OrderHash, Failure> {
    text.parse::<B256>().map(OrderHash::new).map_err(|error| {
        Failure::usage("order-hash", format!("{flag}: `{text}` is no hash of an order"))
            .because(&error)
            .hint("give 0x and 64 hexadecimal digits, as publishing an order prints them")
    })
}
