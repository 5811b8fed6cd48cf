//! `berth deploy --dry-run`: what it would do and cost.

use crate::{
    exit::Exit,
    hint::Failure,
    render::{Report, fields, table},
};
use alloy::primitives::{Address, U256};
use berth_chain::{
    Rpc, call,
    deploy::{self, DeployConfig, Further, Plan, Preview, Step},
};
use berth_protocol::AssetKind;
use serde_json::json;

/// Asks the chain what a deployment would take, and sends nothing.
pub(super) async fn preview(rpc: &Rpc, from: Address, config: &DeployConfig) -> Result<Report, Failure> {
    let chain_id = config.sender.chain_id;
    let assets = Plan::new(config).deployment(chain_id, 0).assets;
    let descriptor = super::shared_descriptor();
    let calldata = call::register(AssetKind::App, descriptor);
    let further = [Further { what: "register the shared app", to: assets, calldata }];
    let preview = deploy::preview(rpc, from, config, &further).await?;
    Ok(shown(&preview, from, config))
}

/// An amount of the chain's coin.
pub(super) fn coins(wei: U256) -> String {
    let text = alloy::primitives::utils::format_ether(wei);
    format!("{} coins", text.trim_end_matches('0').trim_end_matches('.'))
}

fn shown(preview: &Preview, from: Address, config: &DeployConfig) -> Report {
    let (gas, cost, balance) = (preview.gas(), preview.cost_wei(), preview.balance_wei);
    let mut rows = Vec::new();
    if !preview.has_proxy {
        let paid = format!("{} to its maker", coins(preview.proxy_wei()));
        rows.push(["make the deployment proxy".into(), deploy::PROXY.to_string(), paid, String::new()]);
    }
    for Step { what, at, arguments, gas } in &preview.steps {
        let gas = gas.map_or_else(|| "stands already".to_owned(), |gas| format!("{gas} gas"));
        let arguments: Vec<String> = arguments.iter().map(|(name, value)| format!("{name} {value}")).collect();
        rows.push([what.clone(), at.to_string(), gas, arguments.join(", ")]);
    }
    let steps = table(["step", "at", "takes", "constructor's arguments"], &rows);
    let sums = fields(&[
        ("chain", config.sender.chain_id.to_string()),
        ("sender", from.to_string()),
        ("gas", gas.to_string()),
        ("gas price", format!("{} wei now", preview.gas_price_wei)),
        ("cost", coins(cost)),
        ("balance", coins(balance)),
    ]);
    let json = json!({
        "chain_id": config.sender.chain_id, "sender": from, "dry_run": true, "has_proxy": preview.has_proxy,
        "steps": preview.steps.iter().map(|step| json!({
            "what": step.what, "at": step.at, "gas": step.gas,
            "arguments": step.arguments.iter().map(|(name, value)| (*name, value)).collect::<std::collections::BTreeMap<_, _>>(),
        })).collect::<Vec<_>>(),
        "gas": gas, "gas_price_wei": preview.gas_price_wei.to_string(), "cost_wei": cost.to_string(),
        "balance_wei": balance.to_string(),
    });
    let mut report = Report::new(format!("{steps}\n{sums}"), json);
    report.note = "Nothing was sent.".to_owned();
    if balance < cost {
        let message = format!("{from} has {} and would need {}", coins(balance), coins(cost));
        let failure = Failure::new(Exit::Preflight, "gas-too-small", message);
        report.failure = Some(failure.hint(format!("send it {} of the chain's own", coins(cost - balance))));
    }
    report
}
