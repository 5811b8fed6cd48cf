//! A pool's scheduler as commands meet it: found through the order book, checked to be the pool's, signed in to.

use crate::{book::Book, chain::Chain, exit::Exit, hint::Failure};
use alloy::primitives::{Address, B256};
use berth_chain::signer::Signer;
use berth_protocol::AssetId;
use berth_wire::{
    auth::SignIn,
    client::{ClientError, SchedulerClient},
    scheduler::DealView,
};
use core::time::Duration;

/// A scheduler that is restarted is back within this, and has read what the chain has; and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Checks that a scheduler is the pool's, and of this market, and gives how many workers are connected to it; or what is
/// wrong in words.
pub(crate) async fn check(
    client: &SchedulerClient,
    chain: &Chain,
    pool: B256,
    operator: Address,
) -> Result<u32, String> {
    let info = client.pool().await.map_err(|error| format!("its scheduler does not answer: {error}"))?;
    let domain = chain.domain();
    if (info.chain_id, info.berth) != (domain.chain_id, domain.berth) {
        return Err(format!("its scheduler at {} is of another market", client.url()));
    }
    if (info.pool, info.operator) != (pool, operator) {
        return Err(format!("at {} there is another pool's scheduler", client.url()));
    }
    Ok(info.workers)
}

/// Asks a scheduler that was there a moment ago: one that is being restarted is waited for.
pub(crate) async fn patiently<T>(ask: impl AsyncFnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
    until(ask, |_| true).await
}

/// The same where what it says may be too early: it has not read yet what the chain has. The last answer, if it never does.
pub(crate) async fn until<T>(
    mut ask: impl AsyncFnMut() -> Result<T, ClientError>,
    knows: impl Fn(&Result<T, ClientError>) -> bool,
) -> Result<T, ClientError> {
    let mut waited = Duration::ZERO;
    loop {
        let answer = ask().await;
        let gone = matches!(&answer, Err(error) if error.is_transient());
        if waited >= PATIENCE || !gone && knows(&answer) {
            return answer;
        }
        tokio::time::sleep(ASK_EVERY).await;
        waited += ASK_EVERY;
    }
}

/// Signs in: what is private there is then the signer's to see.
pub(crate) async fn sign_in(
    client: SchedulerClient,
    chain: &Chain,
    signer: &Signer,
) -> Result<SchedulerClient, Failure> {
    let message = client.challenge(signer.address()).await?.message;
    answer(client, chain, signer, message).await
}

/// The same with a scheduler that was there a moment ago.
pub(crate) async fn sign_in_patiently(
    client: SchedulerClient,
    chain: &Chain,
    signer: &Signer,
) -> Result<SchedulerClient, Failure> {
    let message = patiently(async || client.challenge(signer.address()).await).await?.message;
    answer(client, chain, signer, message).await
}

async fn answer(
    client: SchedulerClient,
    chain: &Chain,
    signer: &Signer,
    message: String,
) -> Result<SchedulerClient, Failure> {
    let address = signer.address();
    let foreign = || {
        let message = format!("{} asks for a signature under a text that is no sign-in to it", client.url());
        Failure::new(Exit::Refused, "sign-in", message).hint("nothing was signed; check the scheduler's URL")
    };
    // What is signed is what was meant: a sign-in, as this account, on this chain, to this host.
    let text = SignIn::parse(&message).map_err(|_| foreign())?;
    let host = client.url().split_once("://").map_or(client.url(), |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or(host);
    if text.address != address || text.chain_id != chain.deployment.chain_id || text.host != host {
        return Err(foreign());
    }
    let session = patiently(async || client.session(message.clone(), signer.sign_text(&message)).await).await?;
    Ok(client.with_token(session.token))
}

/// The scheduler of a pool, by the pool's offers.
pub(crate) async fn of_pool(book: &Book, pool: AssetId) -> Result<SchedulerClient, Failure> {
    let offers = book.pools(Some(pool)).await?;
    offers.iter().find_map(|offer| offer.listed.url.as_deref()).map(SchedulerClient::new).ok_or_else(|| {
        Failure::not_found("scheduler-unknown", format!("the order book does not say where the scheduler of {pool} is"))
            .hint("its pool order is over, or used up: ask the pool's owner")
    })
}

/// Every scheduler that the order book knows.
pub(crate) async fn all(book: &Book) -> Result<Vec<SchedulerClient>, Failure> {
    let offers = book.pools(None).await?;
    let mut urls: Vec<String> = offers.into_iter().filter_map(|offer| offer.listed.url).collect();
    urls.sort();
    urls.dedup();
    Ok(urls.iter().map(|url| SchedulerClient::new(url)).collect())
}

/// A deal, or `None` where the scheduler has not seen it.
pub(crate) async fn deal(client: &SchedulerClient, deal: B256) -> Result<Option<DealView>, ClientError> {
    match client.deal(deal, None, Duration::ZERO).await {
        Ok(view) => Ok(Some(view)),
        Err(ClientError::Refused(problem)) if problem.status == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
