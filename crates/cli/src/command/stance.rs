//! `berth account cancel-order`, `approve-order` and `sponsor`: what an account says of single orders.

use super::sponsored::{self, ConsentFile, RequestFile};
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
use std::path::Path;

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

/// What a sponsor agrees to.
struct Agreed {
    request: OrderHash,
    pool_order: OrderHash,
    tasks: u32,
    /// What the request itself says, where it was shown.
    shown: Option<RequestFile>,
}

impl Agreed {
    fn new(args: &SponsorArgs, chain: &Chain) -> Result<Self, Failure> {
        if args.request.parse::<B256>().is_err() && Path::new(&args.request).exists() {
            let file = RequestFile::read(Path::new(&args.request), chain)?;
            let ((request, pool_order), tasks) = (file.hashes(&chain.domain()), file.tasks());
            if args.pool_order.is_some() || args.tasks.is_some_and(|given| given != tasks) {
                return Err(Failure::usage("sponsor", "the file says which pool order and how many tasks it is about")
                    .hint("leave --pool-order and --tasks out"));
            }
            return Ok(Self { request, pool_order, tasks, shown: Some(file) });
        }
        let (Some(pool_order), Some(tasks)) = (&args.pool_order, args.tasks) else {
            hash("FILE|REQUEST", &args.request)?;
            return Err(Failure::usage("sponsor", "a bare hash does not say what the request is matched with")
                .hint("give --pool-order and --tasks, or the file that `berth run --payer` wrote"));
        };
        let request = hash("FILE|REQUEST", &args.request)?;
        Ok(Self { request, pool_order: hash("--pool-order", pool_order)?, tasks, shown: None })
    }
}

/// Signs a sponsorship; whoever sends the match shows it.
pub(super) async fn sponsor(settings: &Settings, args: &SponsorArgs) -> Result<Report, Failure> {
    let good_for = units::duration("--expires", &args.expires)?;
    let account = keys::account(settings)?;
    let chain = Chain::open(settings).await?;
    let Agreed { request, pool_order, tasks, shown } = Agreed::new(args, &chain)?;
    if let Some(file) = shown.as_ref().filter(|file| file.payer() != account) {
        let message = format!("the request names {} as its payer, not {account}", file.payer());
        return Err(Failure::preflight("not-payer", message).hint("nobody else can agree to it: --account"));
    }
    let expiry = chain.read.chain_time().await?.plus(good_for.as_secs());
    let signer = keys::unlock(settings)?;
    let sponsorship =
        Sponsorship { request: request.get(), poolOrder: pool_order.get(), volume: tasks, expiry: expiry.seconds() };
    let domain = chain.deployment.domain();
    let (digest, signature) = (OrderHash::new(domain.digest(&sponsorship)), signer.sign(&domain, &sponsorship));
    let consent = ConsentFile {
        payer: signer.address(),
        request: request.get(),
        pool_order: pool_order.get(),
        volume: tasks,
        expiry: expiry.seconds(),
        sponsorship: digest.get(),
        signature: signature.clone(),
    };
    let mut text = vec![
        ("payer", signer.address().to_string()),
        ("request", request.to_string()),
        ("pool order", pool_order.to_string()),
        ("tasks", tasks.to_string()),
    ];
    if let Some(file) = shown {
        text.push(("requester", file.requester().to_string()));
        text.push(("price", chain.token.show(file.total())));
    }
    text.push(("until", expiry.to_string()));
    text.push(("sponsorship", digest.to_string()));
    if let Some(path) = &args.out {
        sponsored::save(path, &consent)?;
        text.push(("file", path.display().to_string()));
    }
    text.push(("signature", signature.to_string()));
    let json = serde_json::to_value(&consent).expect("texts and numbers are JSON");
    Ok(Report::new(fields(&text), json))
}

fn hash(flag: &str, text: &str) -> Result<OrderHash, Failure> {
    text.parse::<B256>().map(OrderHash::new).map_err(|error| {
        Failure::usage("order-hash", format!("{flag}: `{text}` is no hash of an order"))
            .because(&error)
            .hint("give 0x and 64 hexadecimal digits, as publishing an order prints them")
    })
}
