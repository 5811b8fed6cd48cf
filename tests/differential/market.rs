//! The real contracts on a real chain, asked what the ledger is asked.

use crate::{
    abi::{Abis, match_arguments},
    keys::Keys,
    world::{BOUNDS, GATE, REFUSER, Step, TAKER, WALLET, World},
};
use alloy::{
    primitives::{Address, B256, Bytes, LogData, U256, keccak256},
    providers::{Provider as _, RootProvider},
    rpc::types::TransactionReceipt,
    sol_types::{SolCall as _, SolValue as _},
};
use berth_protocol::{
    DealTerms, Timestamp,
    domain::{Assignment, Domain, Enlistment, SingleResults},
    ledger::{Call, Consent, Event, List, Orders, Refusal, Signers},
    order::Sponsorship,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const GAS: &str = "0x20000000";
/// What a callback has a right to: too little for it and all that comes before.
const CALLBACK_GAS: u64 = 210_000;

/// What a call comes to.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is good.
    Good,
    /// It is refused, with this revert data.
    Refused(Bytes),
}

/// Contracts that were deployed for one trace.
pub(crate) struct Market {
    pub(crate) abis: Abis,
    pub(crate) keys: Keys,
    provider: RootProvider,
    domain: Domain,
    assets: Address,
    token: Address,
    turn: usize,
}

impl Market {
    /// Deploys everything.
    pub(crate) async fn deploy(provider: RootProvider) -> Self {
        let chain_id = provider.get_chain_id().await.expect("the chain answers");
        let mut market = Self {
            abis: Abis::read(),
            keys: Keys::default(),
            provider,
            domain: Domain { chain_id, berth: Address::ZERO },
            assets: Address::ZERO,
            token: Address::ZERO,
            turn: 0,
        };
        market.token = market.create(market.abis.token.deployment(&[])).await;
        market.assets = market.create(market.abis.assets.deployment(&[])).await;
        let recourse = market.create(market.recourse(BOUNDS)).await;
        market.domain.berth = market.create(market.berth(market.token, market.assets, recourse, BOUNDS)).await;
        market
    }

    pub(crate) const fn domain(&self) -> Domain {
        self.domain
    }

    fn recourse(&self, (min, max, span): (u32, u32, u64)) -> Bytes {
        self.abis.recourse.deployment(&(self.assets, min, max, span).abi_encode_params())
    }

    fn berth(&self, token: Address, assets: Address, recourse: Address, (min, max, span): (u32, u32, u64)) -> Bytes {
        let arguments = (token, assets, recourse, min, max, span).abi_encode_params();
        self.abis.berth.deployment(&arguments)
    }

    /// Tries to build contracts that contradict themselves; gives what that is refused with, and should be.
    pub(crate) async fn bad_constructions(&self, recourse: Address) -> Vec<(Answer, Refusal)> {
        let (min, max, span) = BOUNDS;
        let nobody = Address::repeat_byte(0x99);
        let now = self.now().await;
        let mut answers = Vec::new();
        for (code, refusal) in [
            (
                self.recourse((max, min, span)),
                Refusal::BadBounds { min_duration: max, max_duration: min, max_span: span },
            ),
            (self.berth(nobody, self.assets, recourse, BOUNDS), Refusal::NoContract { at: nobody }),
            (self.berth(self.token, nobody, recourse, BOUNDS), Refusal::NoContract { at: nobody }),
            (self.berth(self.token, self.assets, nobody, BOUNDS), Refusal::NoContract { at: nobody }),
            (
                self.berth(self.token, self.assets, recourse, (min, max, span + 1)),
                Refusal::RecourseMismatch { recourse },
            ),
        ] {
            let transaction = json!({ "from": nobody, "data": code, "gas": GAS });
            answers.push((self.ask_raw(transaction, now).await, refusal));
        }
        answers
    }

    /// Gives everybody tokens and Berth an allowance of them, and puts the rule contract and the
    /// callbacks where orders look for them.
    pub(crate) async fn furnish(&self, world: &World) {
        let plenty = (U256::ONE << 200_usize, U256::MAX);
        for account in world.cast.all() {
            let mint = self.abis.token.call("mint", &(account, plenty.0).abi_encode_params());
            self.send_good(account, self.token, mint).await;
            let approve = self.abis.token.call("approve", &(self.domain.berth, plenty.1).abi_encode_params());
            self.send_good(account, self.token, approve).await;
        }
        // One callback does nothing at all, the other reverts.
        let codes = [
            (GATE, gate_code(world.permitted())),
            (WALLET, wallet_code(world.cast.wallet_key())),
            (TAKER, Bytes::from_static(&[0x00])),
            (REFUSER, Bytes::from_static(&[0x5f, 0x5f, 0xfd])),
        ];
        for (at, code) in codes {
            let _: Value = self.rpc("anvil_setCode", json!([at, code])).await;
        }
    }

    async fn rpc<T: serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + Unpin + 'static>(
        &self,
        method: &'static str,
        parameters: Value,
    ) -> T {
        self.provider.raw_request(method.into(), parameters).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The latest block's time.
    pub(crate) async fn now(&self) -> Timestamp {
        let block: Value = self.rpc("eth_getBlockByNumber", json!(["latest", false])).await;
        let time: U256 = serde_json::from_value(block["timestamp"].clone()).expect("a block has a time");
        Timestamp::new(time.to())
    }

    async fn mine(&self, transaction: Value, now: Timestamp) -> TransactionReceipt {
        let hash: B256 = self.rpc("eth_sendTransaction", json!([transaction])).await;
        let _: Value = self.rpc("evm_mine", json!([now.seconds()])).await;
        let receipt: Option<TransactionReceipt> = self.rpc("eth_getTransactionReceipt", json!([hash])).await;
        receipt.expect("the block was mined with the transaction in it")
    }

    async fn create(&self, code: Bytes) -> Address {
        let transaction = json!({ "from": Address::repeat_byte(0xde), "data": code, "gas": GAS, "gasPrice": "0x0" });
        let receipt = self.mine(transaction, self.now().await.plus(1)).await;
        assert!(receipt.status(), "a contract could not be deployed");
        receipt.contract_address.expect("a deployment has an address")
    }

    async fn send_good(&self, from: Address, to: Address, data: Bytes) {
        let transaction = json!({ "from": from, "to": to, "data": data, "gas": GAS, "gasPrice": "0x0" });
        assert!(self.mine(transaction, self.now().await.plus(1)).await.status());
    }

    async fn ask_raw(&self, transaction: Value, now: Timestamp) -> Answer {
        let overrides = json!({ "time": U256::from(now.seconds()) });
        let request = json!([transaction, "latest", null, overrides]);
        match self.provider.raw_request::<_, Bytes>("eth_call".into(), request).await {
            Ok(_) => Answer::Good,
            Err(error) => {
                let data = error.as_error_resp().and_then(|response| response.as_revert_data());
                Answer::Refused(data.unwrap_or_else(|| panic!("eth_call: {error}")))
            }
        }
    }

    /// Whether a step would go through. The state that a refused call leaves is the one before it, so this is all that
    /// there is to see of it.
    pub(crate) async fn ask(&self, step: &Step, data: &Bytes) -> Answer {
        let transaction = json!({ "from": step.sender, "to": self.target(&step.call), "data": data, "gas": GAS });
        self.ask_raw(transaction, step.now).await
    }

    /// Asks for a delivery that is good with less gas than its callback has a right to.
    pub(crate) async fn ask_with_little_gas(&self, step: &Step, data: &Bytes) -> Answer {
        let to = self.target(&step.call);
        let transaction = json!({ "from": step.sender, "to": to, "data": data, "gas": U256::from(CALLBACK_GAS) });
        self.ask_raw(transaction, step.now).await
    }

    /// Sends a step that is good, and gives what the contracts logged.
    pub(crate) async fn send(&self, step: &Step, data: &Bytes) -> Vec<LogData> {
        let to = self.target(&step.call);
        let transaction = json!({ "from": step.sender, "to": to, "data": data, "gas": GAS, "gasPrice": "0x0" });
        let receipt = self.mine(transaction, step.now).await;
        assert!(receipt.status(), "a call that would go through was refused");
        let ours = [self.domain.berth, self.assets];
        let logs = receipt.inner.logs().iter();
        logs.filter(|log| ours.contains(&log.address())).map(|log| log.data().clone()).collect()
    }

    /// What the contracts should log.
    pub(crate) fn expected(&self, events: &[Event]) -> Vec<LogData> {
        events.iter().flat_map(|event| self.abis.logs(&self.signed(event))).collect()
    }

    /// An event with the signature that the ledger does not know.
    fn signed(&self, event: &Event) -> Event {
        let mut event = event.clone();
        if let Event::RevealPublished { root, worker, seed, signature } = &mut event {
            *signature = self.reveal(*root, (*worker, *seed), Some(worker.get()));
        }
        event
    }

    const fn target(&self, call: &Call) -> Address {
        match call {
            Call::Register { .. } | Call::Give { .. } => self.assets,
            Call::Deposit { .. }
            | Call::Withdraw { .. }
            | Call::Match { .. }
            | Call::ApproveOrder { .. }
            | Call::CancelOrder { .. }
            | Call::Multicall { .. }
            | Call::RaiseEpoch { .. }
            | Call::Bond { .. }
            | Call::Unbond { .. }
            | Call::WithdrawBond { .. }
            | Call::SettleSingles { .. }
            | Call::Decline { .. }
            | Call::Claim { .. }
            | Call::Close { .. }
            | Call::Append { .. }
            | Call::AppendAssigned { .. }
            | Call::Settle { .. }
            | Call::SettleOne { .. }
            | Call::Publish { .. }
            | Call::Open { .. }
            | Call::Punish { .. }
            | Call::Deliver { .. } => self.domain.berth,
        }
    }

    /// A step's call as the contracts read it.
    pub(crate) fn encode(&mut self, step: &Step, world: &World) -> Bytes {
        self.turn += 1;
        let (berth, assets) = (&self.abis.interface, &self.abis.assets);
        match step.call.clone() {
            Call::Deposit { account, amount } => self.encode_deposit(step.sender, account, amount),
            Call::Withdraw { to, amount } => berth.call("withdraw", &(to, amount).abi_encode_params()),
            Call::Register { kind, descriptor } => {
                assets.call("register", &(U256::from(kind), descriptor).abi_encode_params())
            }
            Call::Give { asset, to } => assets.call("transferFrom", &(step.sender, to, asset).abi_encode_params()),
            Call::Match { orders, signers, consent } => self.encode_match(&orders, signers, consent, world),
            Call::ApproveOrder { order } => berth.call("approveOrder", order.get().as_slice()),
            Call::CancelOrder { order } => berth.call("cancelOrder", order.get().as_slice()),
            Call::Multicall { calls } => {
                let calls = calls.into_iter().map(|call| self.encode(&Step { call, ..step.clone() }, world));
                let calls: Vec<Bytes> = calls.collect();
                self.abis.interface.call("multicall", &(calls,).abi_encode_params())
            }
            Call::RaiseEpoch { epoch } => berth.call("raiseEpoch", &epoch.abi_encode()),
            Call::Bond { pool, worker, amount, enlistment } => {
                let statement = self.domain.digest(&Enlistment { pool, owner: step.sender });
                let signature = self.keys.sign(enlistment, worker.get(), statement);
                berth.call("bond", &(pool, worker.get(), amount, signature).abi_encode_params())
            }
            Call::Unbond { pool, worker, amount } => {
                berth.call("unbond", &(pool, worker.get(), amount).abi_encode_params())
            }
            Call::WithdrawBond { pool, worker } => {
                berth.call("withdrawBond", &(pool, worker.get()).abi_encode_params())
            }
            Call::SettleSingles { terms, lists } => {
                let lists: Vec<_> = lists.iter().map(|list| self.results(&terms, list)).collect();
                berth.call("settleSingles", &(*terms, lists).abi_encode_params())
            }
            Call::Decline { terms, indexes } => berth.call("decline", &(*terms, indexes).abi_encode_params()),
            Call::Claim { terms } => berth.call("claim", &terms.abi_encode()),
            Call::Deliver { terms, index, manifest, result } => {
                let arguments = (*terms, index, manifest, Bytes::from(result));
                berth.call("deliver", &arguments.abi_encode_params())
            }
            Call::Close { .. }
            | Call::Append { .. }
            | Call::AppendAssigned { .. }
            | Call::Settle { .. }
            | Call::SettleOne { .. }
            | Call::Publish { .. }
            | Call::Open { .. }
            | Call::Punish { .. } => self.encode_round(&step.call),
        }
    }

    /// One of the ways to pay in. Nobody's permit is good here: all have given an allowance before.
    fn encode_deposit(&self, sender: Address, account: Address, amount: U256) -> Bytes {
        let berth = &self.abis.interface;
        match self.turn % 3 {
            0 if sender == account => berth.call("deposit", &amount.abi_encode()),
            1 if sender == account => {
                let permit = (amount, U256::MAX, U256::from(27), B256::repeat_byte(1), B256::repeat_byte(2));
                berth.call("depositWithPermit", &permit.abi_encode_params())
            }
            _ => berth.call("depositFor", &(account, amount).abi_encode_params()),
        }
    }

    fn encode_match(&self, orders: &Orders, signers: Signers, consent: Option<Consent>, world: &World) -> Bytes {
        let signatures = self.order_signatures(orders, signers, world);
        let name = if consent.is_some() { "matchSponsored" } else { "matchOrders" };
        let consent = consent.map(|Consent { volume, expiry, signature }| {
            let statement = Sponsorship {
                request: self.domain.digest(&orders.request),
                poolOrder: self.domain.digest(&orders.pool),
                volume,
                expiry: expiry.seconds(),
            };
            let digest = self.domain.digest(&statement);
            let signature = self.keys.sign_order(signature, orders.request.payer, digest, self.turn.is_multiple_of(2));
            (volume, expiry.seconds(), signature)
        });
        self.abis.interface.call(name, &match_arguments(orders, signatures, consent))
    }

    fn order_signatures(&self, orders: &Orders, signers: Signers, world: &World) -> [Bytes; 4] {
        let owner = |asset| world.ledger.owner_of(asset).map_or(Address::ZERO, |owner| owner.get());
        let digest = &self.domain;
        let sign = |given, wanted, digest| self.keys.sign_order(given, wanted, digest, self.turn.is_multiple_of(2));
        [
            sign(signers.app, owner(orders.app.app), digest.digest(&orders.app)),
            sign(signers.dataset, owner(orders.dataset.dataset), digest.digest(&orders.dataset)),
            sign(signers.pool, owner(orders.pool.pool), digest.digest(&orders.pool)),
            sign(signers.request, orders.request.requester, digest.digest(&orders.request)),
        ]
    }

    /// A list as `WorkerResults`.
    fn results(&self, terms: &DealTerms, list: &List) -> (Address, Bytes, Bytes, Bytes) {
        let (deal, worker) = (terms.id(), list.worker.get());
        let statement = SingleResults { deal: deal.get(), root: keccak256(&list.entries) };
        let signature = self.keys.sign(list.signer, worker, self.domain.digest(&statement));
        let entries = list.entries.chunks(36).zip(&list.assignments.signers);
        let mut assignments = Vec::new();
        for (entry, signer) in entries {
            let mut index = [0; 4];
            index.copy_from_slice(&entry[..4]);
            let task = deal.task(u32::from_be_bytes(index)).get();
            let digest = self.domain.digest(&Assignment { task, worker });
            // A forged one must not be of another length here: that is another fault.
            assignments.extend_from_slice(&self.keys.sign_full(*signer, terms.operator, digest));
        }
        assignments.resize(list.assignments.bytes, 0);
        (worker, list.entries.clone().into(), signature, assignments.into())
    }

    /// What Berth answers to a selector that neither it nor Recourse has.
    pub(crate) async fn unknown_selector(&self) -> Bytes {
        let transaction = json!({ "to": self.domain.berth, "data": "0xdeadbeef", "gas": GAS });
        match self.ask_raw(transaction, self.now().await).await {
            Answer::Refused(data) => data,
            Answer::Good => panic!("nobody knows this selector"),
        }
    }

    /// Reads a view of Berth.
    pub(crate) async fn view(&self, function: &str, arguments: &[u8]) -> Bytes {
        self.read(self.domain.berth, self.abis.interface.call(function, arguments)).await
    }

    /// What the token says that an account has.
    pub(crate) async fn tokens_of(&self, holder: Address) -> U256 {
        let data = self.abis.token.call("balanceOf", &holder.abi_encode());
        U256::abi_decode(&self.read(self.token, data).await).expect("a balance is a number")
    }

    /// Who Assets says that owns an asset.
    pub(crate) async fn owner_of(&self, asset: B256) -> Address {
        let data = self.abis.assets.call("ownerOf", asset.as_slice());
        Address::abi_decode(&self.read(self.assets, data).await).expect("an owner is an address")
    }

    async fn read(&self, to: Address, data: Bytes) -> Bytes {
        self.rpc("eth_call", json!([{ "to": to, "data": data }, "latest"])).await
    }
}

alloy::sol! {
    function permits(bytes32 asset, address account) external view returns (bytes4);
    function isValidSignature(bytes32 hash, bytes signature) external view returns (bytes4);
}

/// Code that takes the key's signatures, of 65 bytes, for its own (ERC-1271).
fn wallet_code(key: Address) -> Bytes {
    // mstore(0, calldataload(4)): the digest; mstore(32, byte(0, calldataload(164))): v
    let mut code = vec![0x60, 0x04, 0x35, 0x5f, 0x52, 0x60, 0xa4, 0x35, 0x5f, 0x1a, 0x60, 0x20, 0x52];
    // mstore(64, calldataload(100)): r; mstore(96, calldataload(132)): s
    code.extend([0x60, 0x64, 0x35, 0x60, 0x40, 0x52, 0x60, 0x84, 0x35, 0x60, 0x60, 0x52]);
    // pop(staticcall(gas(), 1, 0, 128, 0, 32)): ecrecover
    code.extend([0x60, 0x20, 0x5f, 0x60, 0x80, 0x5f, 0x60, 0x01, 0x5a, 0xfa, 0x50]);
    // eq(mload(0), key)
    code.extend([0x5f, 0x51, 0x73]);
    code.extend(key);
    code.push(0x14);
    // push1 answer; jumpi; revert(0, 0); answer: return(selector)
    let answer = u8::try_from(code.len() + 6).expect("the code is short");
    code.extend([0x60, answer, 0x57, 0x5f, 0x5f, 0xfd, 0x5b, 0x63]);
    code.extend(isValidSignatureCall::SELECTOR);
    code.extend([0x60, 0xe0, 0x1b, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]);
    code.into()
}

/// Code that permits exactly these counterparties: it compares the hash of its arguments with each one's.
fn gate_code(permitted: &BTreeSet<(B256, Address)>) -> Bytes {
    // calldatacopy(0, 4, 64); keccak256(0, 64)
    let mut code = vec![0x60, 0x40, 0x60, 0x04, 0x5f, 0x37, 0x60, 0x40, 0x5f, 0x20];
    let one = 1 + 1 + 32 + 1 + 3 + 1;
    let revert = code.len() + permitted.len() * one;
    let answer = u16::try_from(revert + 3).expect("the code is short").to_be_bytes();
    for counterparty in permitted {
        // dup1; push32 hash; eq; push2 answer; jumpi
        code.extend([0x80, 0x7f]);
        code.extend(keccak256(counterparty.abi_encode()));
        code.extend([0x14, 0x61, answer[0], answer[1], 0x57]);
    }
    // revert(0, 0); answer: return(selector)
    code.extend([0x5f, 0x5f, 0xfd, 0x5b, 0x63]);
    code.extend(permitsCall::SELECTOR);
    code.extend([0x60, 0xe0, 0x1b, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]);
    code.into()
}
