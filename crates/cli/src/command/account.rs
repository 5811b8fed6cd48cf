//! `berth account`.

use crate::{
    args::{Deposit, Show, Withdraw},
    chain::{Call, Chain, Spent},
    hint::Failure,
    keys,
    render::{Progress, Report, fields},
    settings::Settings,
};
use alloy::primitives::Address;
use berth_chain::{RpcError, call, outbox::Mined, signer::Signer};
use berth_protocol::{AccountAddr, Amount};
use serde_json::json;

/// How long a signed permit is good, in seconds: enough for a few blocks of a slow chain.
const PERMIT_GOOD_FOR_S: u64 = 600;

pub(super) async fn deposit(settings: &Settings, args: &Deposit) -> Result<Report, Failure> {
    let payer = keys::account(settings)?;
    let to = args.to.as_deref().map(|to| keys::address(settings, to)).transpose()?.unwrap_or(payer);
    let chain = Chain::open(settings).await?;
    let amount = positive(&chain, &args.amount)?;
    let (has, allowed) = tokio::join!(chain.read.token_balance(payer), chain.read.allowance(payer));
    let (has, allowed) = (has?, allowed?);
    if let Some(missing) = amount.checked_sub(has).filter(|missing| *missing > Amount::ZERO) {
        let token = &chain.token;
        let message = format!("{payer} has {}: {} are missing", token.show(has), token.show(missing));
        return Err(Failure::preflight("tokens-too-small", message)
            .hint(format!("send {} to {payer}, or deposit less", token.show(missing))));
    }
    let signer = keys::unlock(settings)?;
    let progress = Progress::new();
    progress.step(format!("depositing {}", chain.token.show(amount)));
    let calls = match permit(&chain, &signer, to, amount, allowed).await? {
        Some(call) => vec![call],
        None => approved(&chain, payer, to, amount, allowed),
    };
    let mined = chain.send(&signer, calls).await?;
    drop(progress);
    moved(&chain, to, "deposited", amount, &mined).await
}

/// A deposit with the account's permit: one transaction in place of two, where the token knows permits.
async fn permit(
    chain: &Chain,
    signer: &Signer,
    to: Address,
    amount: Amount,
    allowed: Amount,
) -> Result<Option<Call>, Failure> {
    let payer = signer.address();
    if to != payer || allowed >= amount {
        return Ok(None);
    }
    let deadline = chain.read.chain_time().await?.plus(PERMIT_GOOD_FOR_S);
    match chain.read.permit_digest(payer, amount, deadline).await {
        Ok(digest) => {
            let calldata = call::deposit_with_permit(amount, deadline, &signer.sign_digest(digest));
            Ok(calldata.map(|calldata| Call { to: chain.deployment.berth, calldata, note: "deposit" }))
        }
        // A token without permits refuses the questions, or answers what is no answer.
        Err(RpcError::Reverted { .. } | RpcError::Malformed { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// An approval of exactly this amount, unless there is one, and the deposit.
fn approved(chain: &Chain, payer: Address, to: Address, amount: Amount, allowed: Amount) -> Vec<Call> {
    let berth = chain.deployment.berth;
    let mut calls = Vec::new();
    if allowed < amount {
        calls.push(Call { to: chain.token.address, calldata: call::approve(berth, amount), note: "approve" });
    }
    let calldata = if to == payer { call::deposit(amount) } else { call::deposit_for(AccountAddr::new(to), amount) };
    calls.push(Call { to: berth, calldata, note: "deposit" });
    calls
}

pub(super) async fn withdraw(settings: &Settings, args: &Withdraw) -> Result<Report, Failure> {
    let account = keys::account(settings)?;
    let to = args.to.as_deref().map(|to| keys::address(settings, to)).transpose()?.unwrap_or(account);
    let chain = Chain::open(settings).await?;
    let amount = positive(&chain, &args.amount)?;
    let balance = chain.balance(account).await?;
    if amount > balance.free {
        let token = &chain.token;
        let message = format!(
            "{} are asked for, and {account} has {} free and {} locked",
            token.show(amount),
            token.show(balance.free),
            token.show(balance.locked)
        );
        return Err(Failure::preflight("balance-too-small", message).hint(format!(
            "withdraw at most {}; what is locked comes back or is paid when its deals end",
            token.plain(balance.free)
        )));
    }
    let signer = keys::unlock(settings)?;
    let progress = Progress::new();
    progress.step(format!("withdrawing {}", chain.token.show(amount)));
    let calls = vec![Call { to: chain.deployment.berth, calldata: call::withdraw(to, amount), note: "withdraw" }];
    let mined = chain.send(&signer, calls).await?;
    drop(progress);
    moved(&chain, account, "withdrawn", amount, &mined).await
}

pub(super) async fn show(settings: &Settings, args: &Show) -> Result<Report, Failure> {
    let account = match &args.account {
        Some(account) => keys::address(settings, account)?,
        None => keys::account(settings)?,
    };
    let chain = Chain::open(settings).await?;
    let (text, json) = balance(&chain, account).await?;
    Ok(Report::new(fields(&text), json))
}

/// Raises the account's epoch: whatever it signed in an earlier one is void.
pub(super) async fn cancel_orders(settings: &Settings) -> Result<Report, Failure> {
    let account = keys::account(settings)?;
    let chain = Chain::open(settings).await?;
    let epoch = chain.read.epoch_of(AccountAddr::new(account)).await?.saturating_add(1);
    let signer = keys::unlock(settings)?;
    let progress = Progress::new();
    progress.step("cancelling all orders");
    let calls = vec![Call { to: chain.deployment.berth, calldata: call::raise_epoch(epoch), note: "raise epoch" }];
    let Spent { gas, wei, transactions } = Spent::of(&chain.send(&signer, calls).await?);
    drop(progress);
    let text = fields(&[
        ("account", account.to_string()),
        ("cancelled", "all orders so far".to_owned()),
        ("epoch", epoch.to_string()),
        ("gas", gas.to_string()),
    ]);
    let json = json!({ "account": account, "epoch": epoch, "gas": gas, "gas_wei": wei.to_string(),
                       "transactions": transactions });
    Ok(Report::new(text, json))
}

fn positive(chain: &Chain, text: &str) -> Result<Amount, Failure> {
    let amount = chain.token.parse("amount", text)?;
    if amount > Amount::ZERO {
        return Ok(amount);
    }
    Err(Failure::usage("amount", "an amount of 0 moves nothing").hint("give how many tokens"))
}

type Fields = Vec<(&'static str, String)>;

async fn balance(chain: &Chain, account: Address) -> Result<(Fields, serde_json::Value), Failure> {
    let balance = chain.balance(account).await?;
    let text = vec![
        ("account", account.to_string()),
        ("free", chain.token.show(balance.free)),
        ("locked", chain.token.show(balance.locked)),
    ];
    let json = json!({
        "account": account,
        "free": balance.free.to_string(),
        "locked": balance.locked.to_string(),
        "token": chain.token.json(),
    });
    Ok((text, json))
}

async fn moved(
    chain: &Chain,
    account: Address,
    what: &'static str,
    amount: Amount,
    mined: &[Mined],
) -> Result<Report, Failure> {
    let (mut text, mut json) = balance(chain, account).await?;
    text.insert(1, (what, chain.token.show(amount)));
    json[what] = amount.to_string().into();
    let Spent { gas, wei, transactions } = Spent::of(mined);
    text.push((
        "gas",
        format!("{gas} in {} transaction{}", transactions.len(), if transactions.len() == 1 { "" } else { "s" }),
    ));
    json["gas"] = gas.into();
    json["gas_wei"] = wei.to_string().into();
    json["transactions"] = json!(transactions);
    Ok(Report::new(fields(&text), json))
}
