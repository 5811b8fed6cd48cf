//! The money behind workers, and what they are: `berth worker bond|unbond|withdraw-bond|enlist|status`.

use crate::{
    args::{Bond, Enlist, Unbond, WithdrawBond, WorkerStatus},
    book::{Book, parse_pool},
    chain::{Call, Chain},
    hint::Failure,
    keys,
    render::{Progress, Report, fields, table, time},
    scheduler,
    settings::Settings,
};
use alloy::primitives::{Address, Bytes, U256};
use berth_chain::{call, signer::Signer};
use berth_protocol::{Amount, AssetId, WorkerAddr, domain::Enlistment, ledger::Bond as BondState};
use berth_wire::scheduler::WorkerView;
use core::time::Duration;
use serde_json::{Value, json};

/// What a worker's own transactions take: to publish a reveal, open a share, settle one task.
const OWN_GAS: u64 = 500_000;

/// A worker of a pool, and who asks about it.
struct Subject {
    chain: Chain,
    pool: AssetId,
    worker: WorkerAddr,
    account: Address,
    bond: Option<BondState>,
}

impl Subject {
    async fn find(settings: &Settings, worker: &str, pool: Option<&str>) -> Result<Self, Failure> {
        let account = keys::account(settings)?;
        let worker = WorkerAddr::new(keys::address(settings, worker)?);
        let (chain, pool) = open(settings, pool).await?;
        let bond = chain.read.bond(pool, worker).await?;
        Ok(Self { chain, pool, worker, account, bond })
    }

    /// The bond, which has to be the account's.
    fn owned(&self) -> Result<BondState, Failure> {
        let Some(bond) = self.bond else {
            return Err(Failure::not_found("not-bonded", format!("{} has no bond in this pool", self.worker))
                .hint(format!("`berth worker bond TOKENS --worker {}` makes one", self.worker)));
        };
        if bond.owner.get() == self.account {
            return Ok(bond);
        }
        let message = format!("the owner of {} is {}, not {}", self.worker, bond.owner, self.account);
        Err(Failure::preflight("not-owner", message).hint("give the owner's key: --account NAME"))
    }

    async fn send(&self, settings: &Settings, calldata: Bytes, note: &'static str) -> Result<Report, Failure> {
        let signer = keys::unlock(settings)?;
        self.send_with(&signer, calldata, note).await
    }

    async fn send_with(&self, signer: &Signer, calldata: Bytes, note: &'static str) -> Result<Report, Failure> {
        let progress = Progress::new();
        progress.step("waiting for the transaction");
        let calls = vec![Call { to: self.chain.deployment.berth, calldata, note }];
        let mined = self.chain.send(signer, calls).await?.remove(0);
        drop(progress);
        let bond = self.chain.read.bond(self.pool, self.worker).await?;
        let mut text = vec![("worker", self.worker.get().to_string()), ("pool", self.pool.to_string())];
        let mut json = bond_json(self.worker, bond.as_ref());
        json["pool"] = self.pool.to_string().into();
        json["token"] = self.chain.token.json();
        json["transaction"] = json!(mined.tx);
        json["block"] = mined.block.get().into();
        json["gas"] = mined.gas_used.into();
        if let Some(bond) = bond {
            text.push(("owner", bond.owner.get().to_string()));
            text.push(("bonded", self.chain.token.show(bond.bonded)));
            if bond.unbonding > Amount::ZERO {
                let unbonding = self.chain.token.show(bond.unbonding);
                text.push(("on its way back", format!("{unbonding}, from {} on", time(bond.release_at))));
            }
        }
        text.push(("gas", mined.gas_used.to_string()));
        Ok(Report::new(fields(&text), json))
    }
}

async fn open(settings: &Settings, pool: Option<&str>) -> Result<(Chain, AssetId), Failure> {
    // An id says it all; a name needs the order book.
    let pool = async {
        match pool.filter(|pool| pool.starts_with("0x")) {
            Some(id) => parse_pool(id),
            None => Book::of(settings)?.pool(pool).await,
        }
    };
    let (chain, pool) = tokio::join!(Chain::open(settings), pool);
    Ok((chain?, pool?))
}

fn bond_json(worker: WorkerAddr, bond: Option<&BondState>) -> Value {
    json!({
        "worker": worker.to_string(),
        "owner": bond.map(|bond| bond.owner.to_string()),
        "bonded": bond.map_or(Amount::ZERO, |bond| bond.bonded).to_string(),
        "unbonding": bond.map_or(Amount::ZERO, |bond| bond.unbonding).to_string(),
        "release_at": bond.map(|bond| bond.release_at.seconds()),
    })
}

pub(super) async fn bond(settings: &Settings, args: &Bond) -> Result<Report, Failure> {
    let subject = Subject::find(settings, &args.worker, args.pool.as_deref()).await?;
    let amount = subject.chain.token.parse("amount", &args.amount)?;
    let account = settings.account()?;
    let enlistment = match &subject.bond {
        Some(_) => {
            subject.owned()?;
            Bytes::new()
        }
        None => enlistment(settings, &subject, args)?,
    };
    let free = subject.chain.balance(subject.account).await?.free;
    if let Some(missing) = amount.checked_sub(free).filter(|missing| *missing > Amount::ZERO) {
        let token = &subject.chain.token;
        let message = format!("{account} has {} free: {} are missing", token.show(free), token.show(missing));
        return Err(Failure::preflight("balance-too-small", message)
            .hint(format!("`berth account deposit {} --account {account}` pays them in", token.plain(missing))));
    }
    let calldata = call::bond(subject.pool, subject.worker, amount, enlistment);
    subject.send(settings, calldata, "bond").await
}

/// The worker's word that names its owner: given, or signed here by a key of the keystore.
fn enlistment(settings: &Settings, subject: &Subject, args: &Bond) -> Result<Bytes, Failure> {
    if let Some(text) = &args.enlistment {
        return text.parse().map_err(|_| {
            Failure::usage("enlistment", format!("`{text}` is no signature"))
                .hint("give what `berth worker enlist` printed")
        });
    }
    let file = args.worker_password_file.as_deref().or_else(|| settings.password_file());
    let key = keys::open(settings, &args.worker, file).map_err(|failure| {
        failure.hint(
            "the first bond needs the worker's word: `berth worker enlist` on its machine, then --enlistment here",
        )
    })?;
    let word = Enlistment { pool: subject.pool.get(), owner: subject.account };
    Ok(key.sign(&subject.chain.domain(), &word))
}

pub(super) async fn unbond(settings: &Settings, args: &Unbond) -> Result<Report, Failure> {
    let subject = Subject::find(settings, &args.worker, args.pool.as_deref()).await?;
    let amount = subject.chain.token.parse("amount", &args.amount)?;
    let bond = subject.owned()?;
    if amount > bond.bonded {
        let token = &subject.chain.token;
        let message = format!("{} are bonded behind {}", token.show(bond.bonded), subject.worker);
        return Err(
            Failure::preflight("bond-too-small", message).hint(format!("unbond at most {}", token.plain(bond.bonded)))
        );
    }
    subject.send(settings, call::unbond(subject.pool, subject.worker, amount), "unbond").await
}

pub(super) async fn withdraw(settings: &Settings, args: &WithdrawBond) -> Result<Report, Failure> {
    let subject = Subject::find(settings, &args.worker, args.pool.as_deref()).await?;
    let bond = subject.owned()?;
    if bond.unbonding == Amount::ZERO {
        return Err(Failure::preflight(
            "nothing-unbonding",
            format!("nothing is on its way back from {}", subject.worker),
        )
        .hint(format!("`berth worker unbond TOKENS --worker {}` starts it", args.worker)));
    }
    let now = subject.chain.read.chain_time().await?;
    if now < bond.release_at {
        let message = format!("the bond is released at {}, and now it is {}", time(bond.release_at), time(now));
        let left = bond.release_at.seconds().saturating_sub(now.seconds());
        return Err(Failure::preflight("bond-held", message)
            .hint(format!("try again in {}", humantime::format_duration(Duration::from_secs(left)))));
    }
    subject.send(settings, call::withdraw_bond(subject.pool, subject.worker), "withdraw-bond").await
}

pub(super) async fn enlist(settings: &Settings, args: &Enlist) -> Result<Report, Failure> {
    let owner = keys::address(settings, &args.owner)?;
    let (chain, pool) = open(settings, args.pool.as_deref()).await?;
    let signer = keys::unlock(settings)?;
    let signature = signer.sign(&chain.domain(), &Enlistment { pool: pool.get(), owner });
    let json = json!({ "worker": signer.address(), "owner": owner, "pool": pool.to_string(), "enlistment": signature });
    let mut report = Report::new(signature.to_string(), json);
    report.note =
        format!("`berth worker bond TOKENS --worker {} --enlistment …` takes it, sent by the owner.", signer.address());
    Ok(report)
}

pub(super) async fn status(settings: &Settings, args: &WorkerStatus) -> Result<Report, Failure> {
    let (chain, pool) = open(settings, args.pool.as_deref()).await?;
    let book = Book::of(settings)?;
    let client = scheduler::of_pool(&book, pool).await?;
    let mut workers = client.workers().await?;
    if let Some(worker) = &args.worker {
        let address = keys::address(settings, worker)?;
        workers.retain(|view| view.worker == address);
        if workers.is_empty() {
            let bond = chain.read.bond(pool, WorkerAddr::new(address)).await?;
            let failure = Failure::not_found(
                "worker-unknown",
                format!("the scheduler at {} does not know {address}", client.url()),
            );
            return Err(match bond {
                Some(_) => failure.hint("it is bonded, but has not signed in yet: `berth worker run`"),
                None => failure.hint(format!("it has no bond: `berth worker bond TOKENS --worker {worker}`")),
            });
        }
    }
    let poor = without_gas(&chain, &workers).await?;
    let rows: Vec<[String; 6]> = workers
        .iter()
        .map(|view| {
            let said = view.announced.as_ref().map(|announced| &announced.said);
            let slots = said.map_or_else(|| "-".to_owned(), |said| said.capacity.slots.to_string());
            [
                view.worker.to_string(),
                view.owner.to_string(),
                chain.token.show(view.bonded.into()),
                view.score.to_string(),
                if view.connected { "connected".to_owned() } else { "away".to_owned() },
                format!("{} of {slots}", view.running),
            ]
        })
        .collect();
    let json = json!({ "pool": pool.to_string(), "scheduler": client.url(), "token": chain.token.json(), "workers": workers,
                "without_gas": poor });
    let mut report = Report::new(table(["worker", "owner", "bonded", "score", "socket", "running"], &rows), json);
    report.note = gas_hint(&poor);
    Ok(report)
}

/// Those that could not pay for a transaction of their own.
async fn without_gas(chain: &Chain, workers: &[WorkerView]) -> Result<Vec<Address>, Failure> {
    let price = chain.rpc.head().await?.base_fee_wei.max(1);
    let mut poor = Vec::new();
    for view in workers {
        if chain.rpc.balance_wei(view.worker).await? < U256::from(OWN_GAS) * U256::from(price) {
            poor.push(view.worker);
        }
    }
    Ok(poor)
}

/// What to tell the owners of workers that can't pay for gas.
fn gas_hint(poor: &[Address]) -> String {
    let one = |worker: &Address| {
        format!(
            "hint: {worker} has no money for gas, to claim what its scheduler does not settle: send it a little of the \
             chain's coin\n"
        )
    };
    poor.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_without_money_for_gas_are_named_with_what_to_do() {
        assert_eq!(gas_hint(&[]), "");
        let hint = gas_hint(&[Address::repeat_byte(0x11)]);
        assert!(hint.starts_with("hint: 0x1111111111111111111111111111111111111111 has no money for gas"), "{hint}");
        assert!(hint.contains("send it a little of the chain's coin"), "{hint}");
    }
}
