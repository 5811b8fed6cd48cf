//! `berth wallet`.

use crate::{
    args::{WalletNew, WalletShow},
    chain::Chain,
    hint::Failure,
    keys,
    render::{Report, fields, table},
    settings::Settings,
};
use berth_chain::{
    Deployment,
    signer::{Signer, keystore::Cost},
};
use serde_json::json;

pub(super) fn new(settings: &Settings, args: &WalletNew) -> Result<Report, Failure> {
    keys::check_name(&args.name)?;
    let folder = settings.keystore()?;
    let password = keys::new_password(settings.password_file())?;
    let signer = Signer::random();
    let path = keys::create(folder, &args.name, &signer, &password, Cost::STANDARD)?;
    let address = signer.address();
    let text =
        fields(&[("name", args.name.clone()), ("address", address.to_string()), ("file", path.display().to_string())]);
    let mut report = Report::new(text, json!({ "name": args.name, "address": address, "file": path }));
    report.note = "Keep the file and the password: without both, what the account has is lost.".to_owned();
    Ok(report)
}

pub(super) fn list(settings: &Settings) -> Result<Report, Failure> {
    let keys = keys::list(settings.keystore()?)?;
    let address = |key: &keys::Named| key.address.map_or_else(|| "not in the file".to_owned(), |a| a.to_string());
    let rows: Vec<[String; 2]> = keys.iter().map(|key| [key.name.clone(), address(key)]).collect();
    let json = keys.iter().map(|key| json!({ "name": key.name, "address": key.address })).collect();
    let mut report = Report::new(table(["name", "address"], &rows), json);
    if keys.is_empty() {
        report.data.clear();
        report.note = format!("{} has no keys: `berth wallet new NAME` makes one.", settings.keystore()?.display());
    }
    Ok(report)
}

pub(super) async fn show(settings: &Settings, args: &WalletShow) -> Result<Report, Failure> {
    let address = match &args.account {
        Some(account) => keys::address(settings, account)?,
        None => keys::account(settings)?,
    };
    let chain = Chain::open(settings).await?;
    let (wei, tokens, balance) =
        tokio::join!(chain.rpc.balance_wei(address), chain.read.token_balance(address), chain.balance(address));
    let (wei, tokens, balance): (u128, _, _) = (wei?.saturating_to(), tokens?, balance?);
    let text = fields(&[
        ("address", address.to_string()),
        ("gas money", format!("{} ETH", berth_protocol::Amount::new(wei).in_tokens(18))),
        ("tokens", chain.token.show(tokens)),
        ("free in the market", chain.token.show(balance.free)),
        ("locked in deals", chain.token.show(balance.locked)),
    ]);
    let json = json!({
        "address": address,
        "wei": wei.to_string(),
        "token": chain.token.json(),
        "tokens": tokens.to_string(),
        "free": balance.free.to_string(),
        "locked": balance.locked.to_string(),
    });
    Ok(Report::new(text, json))
}

pub(super) fn recipient(settings: &Settings) -> Result<Report, Failure> {
    let domain = Deployment::load(settings.deployment()?)?.domain();
    let signer = keys::unlock(settings)?;
    let recipient = keys::result_key(&signer, &domain).recipient().to_string();
    let json = json!({ "account": signer.address(), "recipient": recipient });
    Ok(Report::new(recipient, json))
}
