//! What receipts say, kept in a file and compared: `BERTH_SNAPSHOTS=write cargo test -p berth-cli receipts`.

use super::{Done, Match, Receipt};
use crate::{
    chain::{Chain, Token},
    command::run::{
        ending::{By, Close, Ending, Endings, How, Part, Place},
        request::Matched,
        result::Outcome,
    },
};
use alloy::primitives::{Address, B256};
use berth_chain::{Deployment, Endpoint, Rpc, read::Reader};
use berth_protocol::{
    AccountAddr, AssetId, AssetKind, DealTerms, Failure, JobHash, ResultDigest, WorkerAddr, round::Standing,
};
use berth_wire::manifest::{Content, Manifest};
use std::{collections::BTreeMap, path::PathBuf};

const fn address(n: u8) -> Address {
    Address::repeat_byte(n)
}

/// A market that is never asked.
fn chain() -> Chain {
    let deployment = Deployment {
        chain_id: 31_337,
        block: 1,
        token: address(1),
        assets: address(2),
        recourse: address(3),
        berth: address(4),
    };
    let rpc = Rpc::new(Endpoint::parse("http://127.0.0.1:1").expect("a URL")).expect("a client");
    let token = Token { address: address(1), symbol: "LOCAL".to_owned(), decimals: 18 };
    Chain { read: Reader::new(rpc.clone(), deployment), rpc, deployment, token }
}

fn matched(size: u32) -> Matched {
    let terms = DealTerms {
        request: B256::repeat_byte(1),
        pool: B256::with_last_byte(3),
        appOwner: address(0xa1),
        datasetOwner: Address::ZERO,
        poolOwner: address(0xa3),
        operator: address(0xa4),
        payer: address(0xa5),
        callback: Address::ZERO,
        appPrice: 10_000_000_000_000_000,
        datasetPrice: 0,
        poolPrice: 1_000_000_000_000_000_000,
        poolStake: 50,
        workerStake: 100,
        operatorShareBps: 1_000,
        parallel: 4,
        duration: 100,
        trust: 5,
        first: 0,
        size,
        start: 1_000,
    };
    Matched {
        deal: terms.id(),
        terms,
        job: JobHash::new(B256::repeat_byte(0xee)),
        app: AssetId::derive(AssetKind::App, address(0xa1), b"{}"),
        requester: address(0xa5),
        transaction: B256::repeat_byte(0x11),
        block: 40,
    }
}

fn parts(standings: &[Standing]) -> By {
    let part = |(n, standing): (u8, &Standing)| Part {
        worker: WorkerAddr::new(address(0x10 + n)),
        owner: AccountAddr::new(address(0x20 + n)),
        standing: *standing,
        share: 1,
    };
    By::Many((1..).zip(standings).map(part).collect())
}

fn settled(digest: ResultDigest, by: By, tasks: u32) -> Ending {
    let close = Close { at: Place { transaction: B256::repeat_byte(0x12), block: 44 }, tasks };
    let at = Place { transaction: B256::repeat_byte(0x13), block: 47 };
    Ending { how: How::Settled { digest, by, close: Some(close) }, at }
}

fn verified(text: &str) -> (ResultDigest, Outcome) {
    let manifest = Manifest::new(0, Vec::new(), Content::of(text.as_bytes()));
    let digest = manifest.digest();
    (digest, Outcome::Verified { manifest, folder: PathBuf::from("out"), stdout: None, stderr: None, callback: None })
}

fn shown(matched: &Matched, all: Vec<(Ending, Outcome)>) -> String {
    let chain = chain();
    let endings = Endings((0..).zip(&all).map(|(index, (ending, _))| (index, ending.clone())).collect());
    let receipt = Receipt {
        chain: &chain,
        matched,
        endings: &endings,
        cost: Some(Match { gas: 226_108, wei: 226_108_000 }),
        keys: None,
    };
    let done = |(index, (_, outcome)): (u32, (Ending, Outcome))| {
        let ending = &endings.0[&index];
        let close_gas = matches!(ending.how, How::Settled { .. }).then_some(65_150);
        Done { index, task: matched.deal.task(index), ending, outcome, gas: 148_225, close_gas }
    };
    let tasks: Vec<Done<'_>> = (0..).zip(all).map(done).collect();
    let failure = receipt.failure(&tasks, false).map(|failure| format!("\n{failure}\n")).unwrap_or_default();
    format!("{}{failure}", receipt.text(&tasks))
}

#[test]
fn receipts_of_replicated_tasks_are_as_reviewed() {
    use Standing::{LeftOut, Opened, Refused};
    let (digest, outcome) = verified("hello\n");
    let alone = shown(&matched(1), vec![(settled(digest, parts(&[Opened; 3]), 1), outcome)]);
    let (digest, outcome) = verified("hello\n");
    let mixed = parts(&[Opened, Opened, LeftOut, Opened, Refused, Opened]);
    let outvoted = shown(&matched(1), vec![(settled(digest, mixed, 1), outcome)]);
    let disagreed = Failure::NoAgreement.digest();
    let failed = Outcome::Failed {
        digest: disagreed,
        detail: Some("three answers".to_owned()),
        stderr: None,
        has_partial: false,
    };
    let nobody = shown(&matched(1), vec![(settled(disagreed, parts(&[Opened; 3]), 1), failed)]);
    let (first, second) = (verified("one\n"), verified("two\n"));
    let given_back = Ending { how: How::Claimed, at: Place { transaction: B256::repeat_byte(0x14), block: 99 } };
    let bag = shown(
        &matched(3),
        vec![
            (settled(first.0, parts(&[Opened; 3]), 2), first.1),
            (settled(second.0, parts(&[Opened, Opened, Opened, LeftOut]), 2), second.1),
            (given_back, Outcome::GivenBack),
        ],
    );
    let all = BTreeMap::from([
        ("1. three agree", alone),
        ("2. one is left out, and one has no bond", outvoted),
        ("3. no agreement", nobody),
        ("4. a bag, one task of which came to nothing", bag),
    ]);
    let text: String = all.into_iter().map(|(name, receipt)| format!("=== {name}\n\n{receipt}\n")).collect();
    crate::snapshots::compare(&crate::snapshots::folder().join("receipts.txt"), &text);
}
