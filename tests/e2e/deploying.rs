//! The contracts on a chain of somebody's own.

use alloy::{primitives::U256, providers::ext::AnvilApi as _};
use berth_chain::{
    Deployment, Rpc,
    anvil::{Anvil, AnvilConfig, Mining},
    tool::tool_path,
};
use berth_tests::{binary::Call, folder::Folder};
use eyre::{ContextCompat as _, ensure};
use serde_json::Value;
use std::path::Path;

/// Where a deployment on the local chain is kept, from where the command is run.
const FILE: &str = "contracts/deployments/31337.json";
/// Nobody has put a contract there.
const NOWHERE: &str = "0x00000000000000000000000000000000000d0d0d";

/// A chain, and calls of `berth` about it.
struct Site<'a> {
    anvil: Anvil,
    folder: &'a Path,
}

impl<'a> Site<'a> {
    fn new(folder: &'a Path, chain_id: u64) -> eyre::Result<Self> {
        let config = AnvilConfig { chain_id, mining: Mining::Every(0.1), ..AnvilConfig::new(tool_path("anvil")?) };
        Ok(Self { anvil: Anvil::start(&config)?, folder })
    }

    fn rpc(&self) -> eyre::Result<Rpc> {
        Ok(Rpc::new(self.anvil.endpoint()?)?)
    }

    async fn fund(&self, account: &str) -> eyre::Result<()> {
        let coins = U256::from(10).pow(U256::from(18));
        Ok(self.rpc()?.provider().anvil_set_balance(account.parse()?, coins).await?)
    }

    fn deploy(&self, arguments: &[&str]) -> eyre::Result<Call> {
        let url = self.anvil.http_url();
        let mine = ["--rpc", &url, "--keystore", "keys", "--account", "alice", "--password-file", "secret"];
        Ok(Call::new(self.folder, "")?.args(["deploy"]).args(mine).args(arguments))
    }

    /// What stands, checked on chain.
    async fn stands(&self, file: &str) -> eyre::Result<Deployment> {
        let deployment = Deployment::load(&self.folder.join(file))?;
        deployment.check(&self.rpc()?).await?;
        Ok(deployment)
    }
}

#[tokio::test]
async fn contracts_are_put_on_a_chain_by_one_command_and_never_forgotten() -> eyre::Result<()> {
    let folder = Folder::new()?;
    std::fs::write(folder.path().join("secret"), "open sesame\n")?;
    let new = ["wallet", "new", "alice", "--keystore", "keys", "--password-file", "secret"];
    let made: Value = Call::new(folder.path(), "")?.args(new).json().await?;
    let alice = made["address"].as_str().wrap_err("no address")?;
    let site = Site::new(folder.path(), 31_337)?;

    // Nothing is sent for what can't work.
    site.deploy(&["--play-token"])?.run().await?.require_failure(4, &["gas"])?;
    site.fund(alice).await?;
    let without = site.deploy(&[])?.run().await?;
    ensure!(without.code == Some(2) && without.stderr.contains("--token"), "{without}");
    site.deploy(&["--token", NOWHERE])?.run().await?.require_failure(4, &["no contract"])?;
    let unordered = ["--play-token", "--min-duration", "2d"];
    site.deploy(&unordered)?.run().await?.require_failure(2, &["not in order"])?;
    ensure!(!folder.path().join(FILE).exists(), "a deployment that there is not");

    // What it would do is shown, and not done.
    let dry: Value = site.deploy(&["--play-token", "--dry-run"])?.json().await?;
    ensure!(!folder.path().join(FILE).exists(), "a dry run writes no file");
    let estimated = dry["gas"].as_u64().wrap_err("no gas")?;

    let told: Value = site.deploy(&["--play-token"])?.json().await?;
    let spent = told["gas"].as_u64().wrap_err("no gas")?;
    ensure!((spent..spent * 11 / 10).contains(&estimated), "{estimated} estimated, {spent} spent");
    let berth = |step: &&Value| step["what"] == "create Berth";
    let planned = dry["steps"].as_array().and_then(|steps| steps.iter().find(berth)).map(|step| &step["at"]);
    ensure!(planned == Some(&told["berth"]), "{dry} {told}");
    let first = site.stands(FILE).await?;
    ensure!(told["berth"].as_str().wrap_err("no address")?.parse() == Ok(first.berth), "{told}");
    ensure!(told["token"]["symbol"] == "LOCAL" && told["file"] == FILE, "{told}");

    // The same again sends nothing; code and arguments are read back.
    let again: Value = site.deploy(&["--play-token"])?.json().await?;
    ensure!(again["gas"] == 0 && again["berth"] == told["berth"], "{again}");
    ensure!(site.stands(FILE).await? == first, "the file has changed");
    let verified: Value = site.deploy(&["--verify", "--deployment", FILE])?.json().await?;
    ensure!(verified["verified"] == true && verified["usual_addresses"] == true, "{verified}");
    Deployment { token: first.assets, ..first }.save(&folder.path().join("forged.json"))?;
    let forged = site.deploy(&["--verify", "--deployment", "forged.json"])?.run().await?;
    forged.require_failure(8, &["Berth.token()", &first.token.to_string()])?;
    site.deploy(&["--verify", "--deployment", "none.json"])?.run().await?.require_failure(2, &["none.json"])?;

    // What stands stays: another market has a file of its own.
    let longer = ["--play-token", "--max-duration", "2d"];
    site.deploy(&longer)?.run().await?.require_failure(8, &["stands", "--out"])?;
    ensure!(site.stands(FILE).await? == first, "the file has changed");
    let assets = first.assets.to_string();
    let wrong = site.deploy(&["--out", "wrong.json", "--token", &assets])?.run().await?;
    wrong.require_failure(4, &["no ERC-20"])?;
    let token = first.token.to_string();
    site.deploy(&["--out", "second.json", "--token", &token, "--salt", "second"])?.must().await?;
    let second = site.stands("second.json").await?;
    ensure!(second.token == first.token && second.berth != first.berth && second.block > first.block, "{second:?}");

    // Another chain: no play money, and no file of the first one's.
    let other = Site::new(folder.path(), 4_711)?;
    other.fund(alice).await?;
    other.deploy(&["--play-token"])?.run().await?.require_failure(2, &["--token"])?;
    other.deploy(&["--token", &token, "--out", FILE])?.run().await?.require_failure(8, &["of chain 31337"])?;

    // A local chain that was started anew has forgotten its contracts.
    drop(site);
    let anew = Site::new(folder.path(), 31_337)?;
    anew.fund(alice).await?;
    anew.deploy(&["--play-token"])?.must().await?;
    anew.stands(FILE).await?;
    Ok(())
}
