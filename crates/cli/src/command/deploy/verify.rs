//! `berth deploy --verify`: whether the contracts of a deployment are what it says, and of this program's code.

use crate::{
    exit::Exit,
    hint::Failure,
    render::{Report, fields},
    settings::Settings,
};
use berth_chain::{
    Deployment, Endpoint, Rpc,
    deploy::{self, Verified},
};
use serde_json::json;

/// Reads code and arguments back, and says what differs.
pub(super) async fn verify(settings: &Settings) -> Result<Report, Failure> {
    let path = settings.deployment()?;
    let deployment = Deployment::load(path)?;
    let rpc = Rpc::new(Endpoint::parse(settings.rpc()?)?)?;
    let Verified { seen, usual_addresses, differences } = deploy::verify(&rpc, &deployment).await?;
    let mut rows = vec![("chain", deployment.chain_id.to_string())];
    rows.extend(seen.iter().map(|(name, value)| (*name, value.clone())));
    let addresses = if usual_addresses { "those of the contracts' version" } else { "of another salt" };
    rows.push(("addresses", addresses.to_owned()));
    let told: Vec<String> = differences.iter().map(ToString::to_string).collect();
    let json = json!({
        "deployment": deployment, "verified": differences.is_empty(), "usual_addresses": usual_addresses,
        "seen": seen.iter().map(|(name, value)| (*name, value)).collect::<std::collections::BTreeMap<_, _>>(),
        "differences": told,
    });
    let mut report = Report::new(fields(&rows), json);
    if told.is_empty() {
        report.note = "Verified: code and constructor arguments are what they should be.".to_owned();
    } else {
        let message = format!("the contracts are not those of {}", path.display());
        let mut failure = Failure::new(Exit::Refused, "not-verified", message);
        failure.causes = told;
        report.failure = Some(
            failure
                .hint("do not use them before you know why: another version of this program may have deployed them")
                .hint("check that --deployment is the file that `berth deploy` wrote, and --rpc a node of its chain"),
        );
    }
    Ok(report)
}
