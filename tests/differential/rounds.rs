//! Calls of rounds as the contracts read them, with real signatures.

use crate::{
    abi::{closed_words, pairs},
    market::Market,
};
use alloy::{
    primitives::{Address, B256, Bytes},
    sol_types::SolValue as _,
};
use berth_protocol::{
    DealTerms, ResultDigest, WorkerAddr,
    domain::{Assignment, Commitment, Reveal},
    ledger::{Call, Contribution, Signature},
    round::{ClosedRound, Closing, LeftOut, Pair, commitment, extend, salt},
};

/// `Round`.
type Round = (B256, Vec<(B256, u32, u128)>);
/// `Contribution` and, without its commitment, `Reveal`.
type Shown = (Address, B256, B256, Bytes);

fn round(round: &ClosedRound) -> Round {
    (round.root, closed_words(round))
}

fn closing(closing: &Closing) -> (DealTerms, Vec<(u32, u128)>) {
    (closing.terms.clone(), closing.words.iter().map(|of| (of.word, of.bits)).collect())
}

impl Market {
    /// A worker's reveal of a root or a chain.
    pub(crate) fn reveal(&self, root: B256, (worker, seed): (WorkerAddr, B256), signer: Option<Address>) -> Bytes {
        self.keys.sign(signer, worker.get(), self.domain().digest(&Reveal { root, seed }))
    }

    fn some_reveal(&self, root: B256, (worker, seed): (WorkerAddr, B256), signature: Signature) -> Bytes {
        let signer = match signature {
            Signature::Empty => return Bytes::new(),
            Signature::Of(signer) => Some(signer),
            Signature::Nobodys => None,
        };
        self.keys.sign_some(signer, worker.get(), self.domain().digest(&Reveal { root, seed }))
    }

    pub(crate) fn encode_round(&self, call: &Call) -> Bytes {
        let berth = &self.abis.interface;
        match call {
            Call::Close { root, deals } => {
                let deals: Vec<_> = deals.iter().map(closing).collect();
                berth.call("close", &(*root, deals).abi_encode_params())
            }
            Call::Append { terms, index, round: of, leaf, proof, added } => {
                let arguments = ((**terms).clone(), *index, round(of), pairs(leaf), proof.clone(), pairs(added));
                berth.call("append", &arguments.abi_encode_params())
            }
            Call::AppendAssigned { terms, index, pair, assignment, signer } => {
                berth.call("appendAssigned", &self.assigned(terms, *index, *pair, (*assignment, *signer)))
            }
            Call::Settle { terms, round: of, workers, tasks, proof } => {
                let row = |row: &berth_protocol::ledger::TableRow| {
                    let signature = self.some_reveal(of.root, (row.worker, row.seed), row.signature);
                    (row.worker.get(), row.seed, signature)
                };
                let workers: Vec<_> = workers.iter().map(row).collect();
                let tasks = Bytes::from(tasks.clone());
                berth.call("settle", &((**terms).clone(), round(of), workers, tasks, proof.clone()).abi_encode_params())
            }
            Call::SettleOne { terms, index, digest, round: of, leaf, proof, appended } => {
                let (leaf, appended) = self.contributions(terms, (*index, *digest), of, (leaf, appended));
                let arguments = ((**terms).clone(), *index, *digest, round(of), leaf, proof.clone(), appended);
                berth.call("settleOne", &arguments.abi_encode_params())
            }
            Call::Publish { root, worker, seed, signer } => {
                let signature = self.reveal(*root, (*worker, *seed), *signer);
                berth.call("publish", &(*root, worker.get(), *seed, signature).abi_encode_params())
            }
            Call::Open { terms, left_out, openings } => {
                let openings: Vec<_> = openings.iter().map(|(entry, salt)| (u16::from(*entry), *salt)).collect();
                let left_out = Bytes::from(left_out.clone());
                berth.call("open", &((**terms).clone(), left_out, openings).abi_encode_params())
            }
            Call::Punish { terms, left_out, evidence } => {
                let evidence = self.evidence(terms, left_out, evidence);
                let left_out = Bytes::from(left_out.clone());
                berth.call("punish", &((**terms).clone(), left_out, evidence).abi_encode_params())
            }
            other => panic!("{other:?} is no call of rounds"),
        }
    }

    fn assigned(
        &self,
        terms: &DealTerms,
        index: u32,
        pair: Pair,
        (assignment, signer): (Option<Address>, Option<Address>),
    ) -> Vec<u8> {
        let (task, worker) = (terms.id().task(index).get(), pair.worker.get());
        let digest = self.domain().digest(&Assignment { task, worker });
        let assignment = self.keys.sign(assignment, terms.operator, digest);
        let digest = self.domain().digest(&Commitment { task, commitment: pair.commitment });
        let signature = self.keys.sign(signer, worker, digest);
        (terms.clone(), index, worker, pair.commitment, assignment, signature).abi_encode_params()
    }

    /// Leaf and appended pairs: the former reveal the round's root, each of the latter the chain that ends in it.
    fn contributions(
        &self,
        terms: &DealTerms,
        (index, digest): (u32, B256),
        of: &ClosedRound,
        (leaf, appended): (&[Contribution], &[Contribution]),
    ) -> (Vec<Shown>, Vec<Shown>) {
        let task = terms.id().task(index);
        let mut chain = B256::ZERO;
        let mut one = |pair: &Contribution, root: Option<B256>| {
            let opened = ResultDigest::new(digest).filter(|_| pair.signature != Signature::Empty);
            let hidden = opened.map(|digest| commitment(task, pair.worker, digest, salt(pair.seed, task)));
            chain = extend(chain, Pair { worker: pair.worker, commitment: hidden.unwrap_or(pair.commitment) });
            let signature = self.some_reveal(root.unwrap_or(chain), (pair.worker, pair.seed), pair.signature);
            (pair.worker.get(), pair.commitment, pair.seed, signature)
        };
        let shown = leaf.iter().map(|pair| one(pair, Some(of.root))).collect();
        // Where no round is shown, nobody looks at a leaf, and the chain begins with the appended pairs.
        (shown, appended.iter().map(|pair| one(pair, None)).collect())
    }

    fn evidence(&self, terms: &DealTerms, left_out: &[u8], evidence: &[(u8, Option<Address>)]) -> Vec<(u16, Bytes)> {
        let entries = LeftOut::parse(left_out).unwrap_or_default();
        let one = |(entry, signer): &(u8, Option<Address>)| {
            let left = entries.get(usize::from(*entry));
            let signature = left.map_or_else(Bytes::new, |left| {
                let task = terms.id().task(left.index).get();
                let digest = self.domain().digest(&Commitment { task, commitment: left.commitment });
                self.keys.sign(*signer, left.worker.get(), digest)
            });
            (u16::from(*entry), signature)
        };
        evidence.iter().map(one).collect()
    }
}
