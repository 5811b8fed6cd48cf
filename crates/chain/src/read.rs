//! What the contracts hold now, in the protocol's types.

use crate::{
    bindings::{assets::Assets, berth::IBerth, token::PermitToken},
    convert,
    deploy::Deployment,
    rpc::{Rpc, RpcError},
};
use alloy::{
    eips::BlockId,
    network::TransactionBuilder as _,
    primitives::{Address, B256, Bytes, U256},
    rpc::types::TransactionRequest,
    sol_types::{SolCall, SolError as _, SolStruct as _, eip712_domain},
};
use berth_protocol::{
    AccountAddr, Amount, AssetId, DealId, DealTerms, OrderHash, RecordId, ResultDigest, RoundId, Timestamp, WorkerAddr,
    ledger::{Account, Appends, Bond, Bounds, Stance},
};

alloy::sol! {
    /// What an ERC-2612 permit signs, in the domain of its token.
    #[derive(Debug, PartialEq, Eq)]
    struct Permit { address owner; address spender; uint256 value; uint256 nonce; uint256 deadline; }
}

/// What is kept of a deal on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DealState {
    /// How many tasks have not ended.
    pub open: u32,
    /// Whether what was open at the final deadline was claimed.
    pub claimed: bool,
    /// Which of the first 104 tasks were settled or declined, by their place in the deal, from the lowest bit on.
    pub ended: u128,
    /// Which of them a round has closed, likewise.
    pub closed: u128,
}

/// The settlement token, as people write its amounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// Its symbol.
    pub symbol: String,
    /// How many decimals its amounts are written with.
    pub decimals: u8,
}

/// Reads the contracts of one deployment, as they are at the head of the chain. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    rpc: Rpc,
    deployment: Deployment,
}

impl Reader {
    /// Reads `deployment` through `rpc`.
    pub const fn new(rpc: Rpc, deployment: Deployment) -> Self {
        Self { rpc, deployment }
    }

    /// What is read.
    pub const fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    async fn view<C: SolCall>(&self, to: Address, call: C) -> Result<C::Return, RpcError> {
        let tx = TransactionRequest::default().to(to).with_input(call.abi_encode());
        let data = self.rpc.execute(tx, BlockId::latest()).await?;
        C::abi_decode_returns(&data).map_err(|error| malformed(&error))
    }

    /// What an account has in `Berth`.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn account(&self, of: AccountAddr) -> Result<Account, RpcError> {
        let found = self.view(self.deployment.berth, IBerth::accountCall { holder: of.get() }).await?;
        Ok(Account { free: Amount::new(found.free), locked: Amount::new(found.locked) })
    }

    /// A worker's bond in a pool, if it has an owner there.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn bond(&self, pool: AssetId, worker: WorkerAddr) -> Result<Option<Bond>, RpcError> {
        let call = IBerth::bondOfCall { pool: pool.get(), worker: worker.get() };
        let found = self.view(self.deployment.berth, call).await?;
        Ok((!found.owner.is_zero()).then(|| Bond {
            owner: AccountAddr::new(found.owner),
            bonded: Amount::new(found.bonded),
            unbonding: Amount::new(found.unbonding),
            release_at: Timestamp::new(found.releaseAt),
            score: found.score,
        }))
    }

    /// Whether a worker's bond covers a deal now.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn covers(&self, terms: &DealTerms, worker: WorkerAddr) -> Result<bool, RpcError> {
        let call = IBerth::coversCall { terms: convert::terms(terms), worker: worker.get() };
        self.view(self.deployment.berth, call).await
    }

    /// What is kept of a deal; `None` if it was never matched.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn deal(&self, deal: DealId) -> Result<Option<DealState>, RpcError> {
        let found = self.view(self.deployment.berth, IBerth::dealStateCall { deal: deal.get() }).await?;
        let (ended, closed) = (found.ended.to(), found.closed.to());
        let state = DealState { open: found.open, claimed: found.claimed, ended, closed };
        // A known deal's word is never zero.
        Ok((state.open > 0 || state.claimed || state.ended > 0).then_some(state))
    }

    /// Whether the task in a deal's place `offset` (from 0) has ended.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn has_ended(&self, deal: DealId, offset: u32) -> Result<bool, RpcError> {
        let call = IBerth::endedCall { deal: deal.get(), offset: U256::from(offset) };
        self.view(self.deployment.berth, call).await
    }

    /// Whether a round has closed the task in a deal's place `offset` (from 0).
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn is_closed(&self, deal: DealId, offset: u32) -> Result<bool, RpcError> {
        let call = IBerth::closedCall { deal: deal.get(), offset: U256::from(offset) };
        self.view(self.deployment.berth, call).await
    }

    /// Whether there is such a round.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn is_round(&self, round: RoundId) -> Result<bool, RpcError> {
        self.view(self.deployment.berth, IBerth::isRoundCall { round: round.get() }).await
    }

    /// What was appended to a task, by its index; `None` if nothing was.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn appends_of(&self, deal: DealId, index: u32) -> Result<Option<Appends>, RpcError> {
        let found = self.view(self.deployment.berth, IBerth::appendsOfCall { deal: deal.get(), index }).await?;
        Ok((found.pairs > 0).then_some(Appends { chain: found.chain, pairs: found.pairs }))
    }

    /// Which entries of a record were opened or punished, from the lowest bit on; `None` if there is no such record.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn record_of(&self, record: RecordId) -> Result<Option<U256>, RpcError> {
        let found = self.view(self.deployment.berth, IBerth::recordOfCall { record: record.get() }).await?;
        Ok(found.bit(255).then_some(found))
    }

    /// What a deal's callback waits for of a task; `None`: for nothing.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn due_of(&self, deal: DealId, index: u32) -> Result<Option<ResultDigest>, RpcError> {
        let call = IBerth::dueOfCall { deal: deal.get(), index };
        Ok(ResultDigest::new(self.view(self.deployment.berth, call).await?))
    }

    /// How many tasks of an order are used up.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn consumed(&self, order: OrderHash) -> Result<u32, RpcError> {
        self.view(self.deployment.berth, IBerth::consumedCall { order: order.get() }).await
    }

    /// Whether the contracts take this for an account's word over an order, whichever way it gives it: a key's signature,
    /// a contract's own (ERC-1271) or, without any bytes, an approval on chain; and not cancelled alone.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn is_order_signed(
        &self,
        signer: AccountAddr,
        order: OrderHash,
        signature: Bytes,
    ) -> Result<bool, RpcError> {
        let call = IBerth::isOrderSignedCall { signer: signer.get(), order: order.get(), signature };
        self.view(self.deployment.berth, call).await
    }

    /// What an account has said of one order on chain.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn stance_of(&self, signer: AccountAddr, order: OrderHash) -> Result<Option<Stance>, RpcError> {
        let call = IBerth::stanceOfCall { signer: signer.get(), order: order.get() };
        Ok(match self.view(self.deployment.berth, call).await? {
            1 => Some(Stance::Approved),
            2 => Some(Stance::Cancelled),
            _ => None,
        })
    }

    /// The epoch of an account: its orders of an earlier one are cancelled.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn epoch_of(&self, signer: AccountAddr) -> Result<u64, RpcError> {
        self.view(self.deployment.berth, IBerth::epochOfCall { signer: signer.get() }).await
    }

    /// What the contract was built with.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn bounds(&self) -> Result<Bounds, RpcError> {
        let found = self.view(self.deployment.berth, IBerth::boundsCall {}).await?;
        Bounds::new(found.minDuration, found.maxDuration, found.maxSpan)
            .map_err(|error| RpcError::Malformed { method: "eth_call", cause: error.to_string() })
    }

    /// Who owns an asset; `None` if it is not registered.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn owner_of(&self, asset: AssetId) -> Result<Option<AccountAddr>, RpcError> {
        let call = Assets::ownerOfCall { tokenId: asset.get().into() };
        match self.view(self.deployment.assets, call).await {
            Ok(owner) => Ok(Some(AccountAddr::new(owner))),
            Err(RpcError::Reverted { data }) if data.starts_with(&Assets::ERC721NonexistentToken::SELECTOR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How to write amounts of the settlement token.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn token(&self) -> Result<TokenInfo, RpcError> {
        Ok(TokenInfo {
            symbol: self.view(self.deployment.token, PermitToken::symbolCall {}).await?,
            decimals: self.view(self.deployment.token, PermitToken::decimalsCall {}).await?,
        })
    }

    /// What an account has of the settlement token, outside of `Berth`.
    ///
    /// # Errors
    /// [`RpcError`], as every call; `Malformed` past 2^128.
    pub async fn token_balance(&self, of: Address) -> Result<Amount, RpcError> {
        let units = self.view(self.deployment.token, PermitToken::balanceOfCall { account: of }).await?;
        convert::amount(units).map_err(|error| malformed(&error))
    }

    /// How much of an account's tokens `Berth` may take. An allowance without end is the largest amount.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn allowance(&self, owner: Address) -> Result<Amount, RpcError> {
        let call = PermitToken::allowanceCall { owner, spender: self.deployment.berth };
        Ok(Amount::new(self.view(self.deployment.token, call).await?.saturating_to()))
    }

    /// The digest that an account signs to let `Berth` take `amount` of its tokens (ERC-2612).
    ///
    /// # Errors
    /// [`RpcError`], as every call; `Reverted` if the token knows no permits.
    pub async fn permit_digest(&self, owner: Address, amount: Amount, deadline: Timestamp) -> Result<B256, RpcError> {
        let token = self.deployment.token;
        let domain = self.view(token, PermitToken::eip712DomainCall {}).await?;
        let permit = Permit {
            owner,
            spender: self.deployment.berth,
            value: U256::from(amount.units()),
            nonce: self.view(token, PermitToken::noncesCall { owner }).await?,
            deadline: U256::from(deadline.seconds()),
        };
        Ok(permit.eip712_signing_hash(&eip712_domain! {
            name: domain.name,
            version: domain.version,
            chain_id: self.deployment.chain_id,
            verifying_contract: token,
        }))
    }

    /// The chain's time: that of its head.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn chain_time(&self) -> Result<Timestamp, RpcError> {
        Ok(self.rpc.head().await?.block.timestamp)
    }

    pub(crate) async fn parts(&self) -> Result<[Address; 3], RpcError> {
        let berth = self.deployment.berth;
        Ok([
            self.view(berth, IBerth::tokenCall {}).await?,
            self.view(berth, IBerth::assetsCall {}).await?,
            self.view(berth, IBerth::recourseCall {}).await?,
        ])
    }
}

fn malformed(error: &dyn core::error::Error) -> RpcError {
    RpcError::Malformed { method: "eth_call", cause: error.to_string() }
}
