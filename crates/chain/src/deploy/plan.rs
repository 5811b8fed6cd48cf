//! Which contracts are created, from which code, and at which addresses. The addresses follow from the code, its
//! arguments and a salt alone: whoever deploys, on whichever chain, gets the same ones.

use super::{DeployConfig, Deployment, proxy::PROXY};
use crate::bindings::{assets::Assets, code::Berth, recourse::Recourse, token::PermitToken};
use alloy::{
    primitives::{Address, B256, Bytes, keccak256},
    sol_types::SolConstructor as _,
};
use berth_protocol::ledger::Bounds;

/// What the salt is made of: the contracts' set, with the version that its signatures are for (ADR 0001, section 1).
const CONTRACT_SET: &str = "Berth 1";

/// The salt of the contract set.
pub fn contract_set_salt() -> B256 {
    keccak256(CONTRACT_SET)
}

/// One contract of a plan.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// Where it comes to stand.
    pub at: Address,
    /// What its constructor is given, by name.
    pub arguments: Vec<(&'static str, String)>,
    /// Its creation code, arguments included.
    pub(super) creation: Bytes,
}

impl Part {
    fn new(
        name: &'static str,
        salt: B256,
        code: &Bytes,
        encoded: &[u8],
        arguments: Vec<(&'static str, String)>,
    ) -> Self {
        let creation = Bytes::from([code.as_ref(), encoded].concat());
        Self { name, at: PROXY.create2_from_code(salt, &creation), arguments, creation }
    }

    /// What the proxy is sent to create it.
    pub(super) fn calldata(&self, salt: B256) -> Bytes {
        [salt.as_slice(), &self.creation].concat().into()
    }
}

/// The contracts of one deployment, in the order in which they are created.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) salt: B256,
    /// The contracts.
    pub parts: Vec<Part>,
    token: Address,
}

impl Plan {
    /// The plan for a configuration. Nothing is asked of any chain.
    pub fn new(config: &DeployConfig) -> Self {
        let salt = config.salt;
        let assets = assets(salt);
        let local = config.token.is_none().then(|| token(salt));
        let token = config.token.or_else(|| local.as_ref().map(|part| part.at)).expect("one of the two is there");
        let recourse = recourse(salt, assets.at, Terms::of(&config.bounds));
        let berth = berth(salt, token, assets.at, recourse.at, Terms::of(&config.bounds));
        let parts = [Some(assets), local, Some(recourse), Some(berth)].into_iter().flatten().collect();
        Self { salt, parts, token }
    }

    /// Where everything is once the plan is carried out, if their logs begin in `block`.
    pub fn deployment(&self, chain_id: u64, block: u64) -> Deployment {
        let at = |name| self.parts.iter().find(|part| part.name == name).map(|part| part.at);
        let at = |name| at(name).expect("every plan has these");
        Deployment {
            chain_id,
            block,
            token: self.token,
            assets: at("Assets"),
            recourse: at("Recourse"),
            berth: at("Berth"),
        }
    }
}

/// Bounds as constructors take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) span: u64,
}

impl Terms {
    pub(super) const fn of(bounds: &Bounds) -> Self {
        Self { min: bounds.min_duration_s(), max: bounds.max_duration_s(), span: bounds.max_span_s() }
    }

    fn named(self) -> [(&'static str, String); 3] {
        [
            ("minDuration", format!("{} s", self.min)),
            ("maxDuration", format!("{} s", self.max)),
            ("maxSpan", format!("{} s", self.span)),
        ]
    }
}

pub(super) fn assets(salt: B256) -> Part {
    Part::new("Assets", salt, &Assets::BYTECODE, &[], Vec::new())
}

fn token(salt: B256) -> Part {
    Part::new("PermitToken", salt, &PermitToken::BYTECODE, &[], Vec::new())
}

pub(super) fn recourse(salt: B256, assets: Address, terms: Terms) -> Part {
    let Terms { min, max, span } = terms;
    let encoded = Recourse::constructorCall { assets_: assets, minDuration: min, maxDuration: max, maxSpan: span };
    let arguments = [("assets", assets.to_string())].into_iter().chain(terms.named()).collect();
    Part::new("Recourse", salt, &Recourse::BYTECODE, &encoded.abi_encode(), arguments)
}

pub(super) fn berth(salt: B256, token: Address, assets: Address, recourse: Address, terms: Terms) -> Part {
    let Terms { min, max, span } = terms;
    let encoded = Berth::constructorCall {
        token_: token,
        assets_: assets,
        recourse_: recourse,
        minDuration: min,
        maxDuration: max,
        maxSpan: span,
    };
    let named = [("token", token), ("assets", assets), ("recourse", recourse)].map(|(name, at)| (name, at.to_string()));
    let arguments = named.into_iter().chain(terms.named()).collect();
    Part::new("Berth", salt, &Berth::BYTECODE, &encoded.abi_encode(), arguments)
}
