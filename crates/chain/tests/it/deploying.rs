//! Deployments that are interrupted, repeated, looked at before, and checked afterwards.

use crate::support::cut;
use alloy::{
    primitives::{Address, Bytes, U256},
    providers::{Provider as _, ext::AnvilApi as _},
};
use berth_chain::{
    Deployment, Rpc,
    anvil::{Anvil, AnvilConfig},
    deploy::{
        DeployConfig, DeployError, Deployed, Difference, Further, PROXY, Plan, contract_set_salt, deploy, preview,
        verify,
    },
    outbox::{OutboxError, SenderConfig},
    refusal::Revert,
    signer::Signer,
    tool::tool_path,
};
use berth_protocol::ledger::{Bounds, Refusal};
use core::time::Duration;

struct Site {
    anvil: Anvil,
    rpc: Rpc,
    own: Signer,
    config: DeployConfig,
}

impl Site {
    async fn open(arguments: &[&str]) -> eyre::Result<Self> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let chain = AnvilConfig { arguments, ..AnvilConfig::new(tool_path("anvil")?) };
        let anvil = Anvil::start(&chain)?;
        let rpc = Rpc::new(anvil.endpoint()?)?;
        let own = Signer::random();
        rpc.provider().anvil_set_balance(own.address(), U256::from(10).pow(U256::from(20))).await?;
        let sender = SenderConfig { poll: Duration::from_millis(20), ..SenderConfig::new(chain.chain_id) };
        let bounds = Bounds::new(10, 3_600, 86_400)?;
        let config = DeployConfig { token: None, bounds, salt: contract_set_salt(), sender };
        Ok(Self { anvil, rpc, own, config })
    }

    async fn deploy(&self) -> Result<Deployed, DeployError> {
        deploy(&self.rpc, &self.own, &self.config).await
    }

    async fn sent(&self) -> eyre::Result<u64> {
        Ok(self.rpc.provider().get_transaction_count(self.own.address()).await?)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_cut_anywhere_is_finished_by_the_next_one() -> eyre::Result<()> {
    let site = Site::open(&[]).await?;
    // Cut later and later, until one goes through: what the ones before left is neither lost nor done twice.
    let mut turns = 8;
    while cut(turns, site.deploy()).await.transpose()?.is_none() {
        turns += 9;
    }
    let Deployed { deployment, mined } = site.deploy().await?;
    assert!(mined.is_empty(), "what stands was deployed again: {mined:?}");
    assert_eq!(deployment, Plan::new(&site.config).deployment(31_337, deployment.block));
    assert!(site.rpc.provider().get_code_at(deployment.assets).number(deployment.block).await?.len() > 1);
    assert!(site.rpc.provider().get_code_at(deployment.assets).number(deployment.block - 1).await?.is_empty());
    let before = site.sent().await?;
    site.deploy().await?;
    assert_eq!(site.sent().await?, before);

    // Whoever deploys, and whenever, gets the same addresses.
    let other = Site::open(&[]).await?;
    let elsewhere = other.deploy().await?.deployment;
    assert_eq!(elsewhere, Deployment { block: elsewhere.block, ..deployment });
    let salted =
        DeployConfig { salt: contract_set_salt() ^ Address::repeat_byte(1).into_word(), ..other.config.clone() };
    let second = deploy(&other.rpc, &other.own, &DeployConfig { token: Some(deployment.token), ..salted }).await?;
    assert!(second.deployment.berth != deployment.berth && second.deployment.token == deployment.token);
    drop(site.anvil);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_without_the_proxy_is_given_it() -> eyre::Result<()> {
    let site = Site::open(&["--disable-default-create2-deployer"]).await?;
    assert!(site.rpc.code(PROXY).await?.is_empty());
    let before = preview(&site.rpc, site.own.address(), &site.config, &[]).await?;
    assert!(!before.has_proxy && before.proxy_wei() == U256::from(10).pow(U256::from(16)));
    let Deployed { deployment, mined } = site.deploy().await?;
    assert_eq!(mined.len(), 5, "the maker is funded, and four contracts are created");
    assert!(verify(&site.rpc, &deployment).await?.differences.is_empty());

    let taken = Site::open(&["--disable-default-create2-deployer"]).await?;
    taken.rpc.provider().anvil_set_code(PROXY, Bytes::from_static(&[0xfe])).await?;
    let refused = taken.deploy().await;
    assert!(matches!(refused, Err(DeployError::ForeignProxy)), "{refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_says_what_will_be_spent_and_changes_nothing() -> eyre::Result<()> {
    let site = Site::open(&[]).await?;
    let plan = Plan::new(&site.config);
    let calldata = berth_chain::call::register(berth_protocol::AssetKind::App, "{}".to_owned());
    let further = [Further { what: "register", to: plan.deployment(31_337, 0).assets, calldata }];
    let told = preview(&site.rpc, site.own.address(), &site.config, &further).await?;
    assert_eq!(site.sent().await?, 0);
    assert!(site.rpc.code(plan.parts[0].at).await?.is_empty());
    assert_eq!(told.steps.len(), plan.parts.len() + 1);
    assert!(told.steps.iter().all(|step| step.gas.is_some_and(|gas| gas > 21_000)), "{told:?}");
    let berth = told.steps.iter().find(|step| step.what == "create Berth").map(|step| step.arguments.clone());
    let recourse = plan.deployment(31_337, 0).recourse.to_string();
    assert!(
        berth.is_some_and(|all| all.contains(&("recourse", recourse)) && all.contains(&("maxSpan", "86400 s".into())))
    );

    let mined = site.deploy().await?.mined;
    let spent: u64 = mined.iter().map(|mined| mined.gas_used).sum();
    let estimated: u64 = told.steps.iter().take(plan.parts.len()).filter_map(|step| step.gas).sum();
    assert!((spent..spent + spent / 10).contains(&estimated), "{estimated} estimated, {spent} spent");
    let again = preview(&site.rpc, site.own.address(), &site.config, &[]).await?;
    assert_eq!((again.gas(), again.steps.len()), (0, plan.parts.len()));

    // A creation that would be refused says why, before anything is sent.
    let nowhere = DeployConfig { token: Some(Address::repeat_byte(7)), ..site.config.clone() };
    let refused = preview(&site.rpc, site.own.address(), &nowhere, &[]).await;
    let Err(DeployError::Send(OutboxError::Reverted { revert, .. })) = refused else { eyre::bail!("{refused:?}") };
    assert_eq!(Revert::decode(&revert), Revert::Contract(Refusal::NoContract { at: Address::repeat_byte(7) }));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_is_compared_with_what_should() -> eyre::Result<()> {
    let site = Site::open(&[]).await?;
    let good = site.deploy().await?.deployment;
    let verified = verify(&site.rpc, &good).await?;
    assert!(verified.differences.is_empty() && verified.usual_addresses, "{verified:?}");
    assert!(verified.seen.contains(&("Berth.token()", good.token.to_string())), "{verified:?}");

    // Another bound in the code alone, as a forger would have it: the getter tells of it, and the code does.
    let code = site.rpc.code(good.recourse).await?.to_vec();
    let place = code.windows(4).position(|bytes| bytes == 86_400_u32.to_be_bytes()).unwrap_or(code.len() - 1);
    let mut forged = code.clone();
    forged[place + 3] ^= 1;
    site.rpc.provider().anvil_set_code(good.recourse, forged.into()).await?;
    let found = verify(&site.rpc, &good).await?.differences;
    let of_code =
        |difference: &Difference| matches!(difference, Difference::Code { name: "Recourse", differing: 1, .. });
    assert!(found.iter().any(of_code), "{found:?}");
    site.rpc.provider().anvil_set_code(good.recourse, code.into()).await?;
    assert!(verify(&site.rpc, &good).await?.differences.is_empty());

    // A file that names another token, and contracts that are not there.
    let other = Deployment { token: good.assets, ..good };
    let found = verify(&site.rpc, &other).await?.differences;
    let of_token = |difference: &Difference| matches!(difference, Difference::Argument { name: "Berth.token()", .. });
    assert!(found.iter().any(of_token) && found.len() == 2, "{found:?}");
    let nowhere = Deployment { berth: Address::repeat_byte(9), ..good };
    let found = verify(&site.rpc, &nowhere).await?.differences;
    assert_eq!(found, [Difference::Absent { name: "Berth", at: Address::repeat_byte(9) }]);
    let swapped = Deployment { berth: good.assets, ..good };
    let found = verify(&site.rpc, &swapped).await?.differences;
    assert!(found.iter().any(|difference| difference.to_string().contains("not known to that contract")), "{found:?}");
    Ok(())
}
