//! `berth account`.

use crate::{
    args::{Deposit, Show, Withdraw},
    chain::{Call, Chain, Spent},
    hint::Failure,
    keys,
    render::{Progress, Report, fields},
    settings::Settings,
};
use alloy::primitives::{Address, Bytes};
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
    has_tokens(&chain, payer, amount).await?;
    let signer = keys::unlock(settings)?;
    let progress = Progress::new();
    progress.step(format!("depositing {}", chain.token.show(amount)));
    let (approval, deposit) = paying_in(&chain, &signer, to, amount).await?;
    let calls = approval.into_iter().chain([deposit]).collect();
    let mined = chain.send(&signer, calls).await?;
    drop(progress);
    moved(&chain, to, "deposited", amount, &mined).await
}

/// That the account has so many tokens outside the market.
pub(super) async fn has_tokens(chain: &Chain, payer: Address, amount: Amount) -> Result<(), Failure> {
    let (has, token) = (chain.read.token_balance(payer).await?, &chain.token);
    let Some(missing) = amount.checked_sub(has).filter(|missing| *missing > Amount::ZERO) else { return Ok(()) };
    let message = format!("{payer} has {}: {} are missing", token.show(has), token.show(missing));
    Err(Failure::preflight("tokens-too-small", message)
        .hint(format!("send {} to {payer}, or deposit less", token.show(missing))))
}

/// A deposit, and what comes before it: an approval of exactly this amount, unless there is one, or a permit will do.
async fn paying_in(
    chain: &Chain,
    signer: &Signer,
    to: Address,
    amount: Amount,
) -> Result<(Option<Call>, Call), Failure> {
    let (payer, berth) = (signer.address(), chain.deployment.berth);
    let deposit = |calldata| Call { to: berth, calldata, note: "deposit" };
    let allowed = chain.read.allowance(payer).await?;
    if to == payer
        && allowed < amount
        && let Some(calldata) = permit(chain, signer, amount).await?
    {
        return Ok((None, deposit(calldata)));
    }
    let approve = || Call { to: chain.token.address, calldata: call::approve(berth, amount), note: "approve" };
    let calldata = if to == payer { call::deposit(amount) } else { call::deposit_for(AccountAddr::new(to), amount) };
    Ok(((allowed < amount).then(approve), deposit(calldata)))
}

/// A deposit into the account's own, and another call of the market's contract that needs it: both, or neither.
pub(super) async fn paying_in_for(
    chain: &Chain,
    signer: &Signer,
    amount: Amount,
    then: Call,
) -> Result<Vec<Call>, Failure> {
    let (approval, deposit) = paying_in(chain, signer, signer.address(), amount).await?;
    let both = Call { calldata: call::several(vec![deposit.calldata, then.calldata]), ..then };
    Ok(approval.into_iter().chain([both]).collect())
}

/// A deposit with the account's permit: one transaction in place of two, where the token knows permits.
async fn permit(chain: &Chain, signer: &Signer, amount: Amount) -> Result<Option<Bytes>, Failure> {
    let deadline = chain.read.chain_time().await?.plus(PERMIT_GOOD_FOR_S);
    match chain.read.permit_digest(signer.address(), amount, deadline).await {
        Ok(digest) => Ok(call::deposit_with_permit(amount, deadline, &signer.sign_digest(digest))),
        // A token without permits refuses the questions, or answers what is no answer.
        Err(RpcError::Reverted { .. } | RpcError::Malformed { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
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
