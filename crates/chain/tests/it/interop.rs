//! Other people's tools: what ethers and cast hash and sign is what the protocol hashes and the contracts take, and what
//! a wallet shows is readable.

use crate::contracts::{Market, key, listen, signer};
use alloy::{
    primitives::{Address, B256, Bytes, hex, keccak256},
    sol_types::SolStruct,
};
use berth_chain::{
    Deployment,
    call::{self, Consent, Signatures, WorkerResults},
    tool::tool_path,
    typed::typed_data,
};
use berth_protocol::{
    AccountAddr, Amount, DealTerms, ResultDigest, Timestamp,
    domain::{Assignment, Commitment, Domain, Enlistment, ResultKey, Reveal, Session, SingleResults},
    ledger::{Event, Orders},
    order::{DatasetOrder, Sponsorship},
    single::SingleList,
};
use eyre::{ContextCompat as _, ensure};
use serde_json::{Value, json};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Something that is signed.
struct Sample {
    name: &'static str,
    typed: Value,
    digest: B256,
    /// What our own signer makes of it, with `key("own")`.
    signature: Bytes,
}

fn sample<M: SolStruct>(market: &Market, message: &M) -> Sample {
    let domain = market.deployment.domain();
    Sample {
        name: M::NAME,
        typed: typed_data(&domain, message),
        digest: domain.digest(message),
        signature: market.own.sign(&domain, message),
    }
}

/// One of everything that people or machines sign, with values that show a wrong width or order of bytes.
fn samples(market: &Market, orders: &Orders) -> Vec<Sample> {
    let word = |name: &str| keccak256(name);
    let account = |name: &str| Address::from_word(word(name));
    let dataset = DatasetOrder {
        dataset: word("dataset"),
        price: u128::MAX - 1,
        volume: u32::MAX,
        tag: word("tag"),
        appRule: word("app rule"),
        poolRule: account("pool rule").into_word(),
        requesterRule: B256::ZERO,
        expiry: u64::MAX,
        epoch: (1 << 53) + 1,
        salt: word("salt"),
    };
    let sponsorship =
        Sponsorship { request: word("request"), poolOrder: word("pool order"), volume: 3, expiry: 1_800_000_000 };
    let result_key = ResultKey::of(market.own.address());
    let own_domain = market.deployment.domain();
    let result_key = Sample {
        name: ResultKey::NAME,
        // Its purpose is a sentence, for whoever is asked to sign it.
        typed: json!({
            "types": {
                "EIP712Domain": typed_data(&own_domain, &orders.app)["types"]["EIP712Domain"],
                "ResultKey": [{ "name": "purpose", "type": "string" }, { "name": "account", "type": "address" }],
            },
            "primaryType": "ResultKey",
            "domain": typed_data(&own_domain, &orders.app)["domain"],
            "message": { "purpose": result_key.purpose, "account": result_key.account },
        }),
        digest: own_domain.digest(&result_key),
        signature: market.own.sign(&own_domain, &result_key),
    };
    vec![
        sample(market, &orders.app),
        sample(market, &dataset),
        sample(market, &orders.pool),
        sample(market, &orders.request),
        sample(market, &sponsorship),
        sample(market, &Enlistment { pool: word("pool"), owner: account("owner") }),
        sample(market, &Assignment { task: word("task"), worker: account("worker") }),
        sample(market, &SingleResults { deal: word("deal"), root: word("root") }),
        sample(market, &Commitment { task: word("task"), commitment: word("commitment") }),
        sample(market, &Reveal { root: word("root"), seed: word("seed") }),
        sample(
            market,
            &Session { pool: word("pool"), operator: account("operator"), nonce: word("nonce"), expiry: 1_800_000_000 },
        ),
        result_key,
    ]
}

fn contracts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts")
}

/// What ethers makes of typed data and a key.
struct Signed {
    digest: B256,
    signature: Bytes,
    /// The same signature in 64 bytes.
    short: Bytes,
}

fn by_ethers(asked: &[(&Value, &str)]) -> eyre::Result<Vec<Signed>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/ethers.cjs");
    let mut node = Command::new("node")
        .arg(script)
        .arg(contracts())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let asked: Vec<Value> = asked.iter().map(|(typed, key)| json!({ "typed": typed, "key": key })).collect();
    node.stdin.take().wrap_err("it has a stdin")?.write_all(&serde_json::to_vec(&asked)?)?;
    let output = node.wait_with_output()?;
    ensure!(output.status.success(), "ethers: {}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let text = |value: &Value| value.as_str().map(str::to_owned).wrap_err("a text");
    let signed = |of: &Value| {
        Ok(Signed {
            digest: text(&of["digest"])?.parse()?,
            signature: text(&of["signature"])?.parse()?,
            short: text(&of["short"])?.parse()?,
        })
    };
    answers.iter().map(signed).collect()
}

/// The signature of cast, which says no digest: equal signatures by one key, drawn without chance, are of equal digests.
fn by_cast(typed: &Value, key: &str) -> eyre::Result<Bytes> {
    let output = Command::new(tool_path("cast")?)
        .args(["wallet", "sign", "--private-key", key, "--data", &typed.to_string()])
        .output()?;
    ensure!(output.status.success(), "cast: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ethers_and_cast_hash_and_sign_as_the_protocol_does() -> eyre::Result<()> {
    let market = Market::open().await?;
    let orders = market.orders();
    let samples = samples(&market, &orders);
    let own = key("own");
    let asked: Vec<(&Value, &str)> = samples.iter().map(|sample| (&sample.typed, own.as_str())).collect();
    for (sample, Signed { digest, signature, .. }) in samples.iter().zip(by_ethers(&asked)?) {
        let Sample { name, .. } = sample;
        assert_eq!(digest, sample.digest, "ethers hashes {name} otherwise");
        assert_eq!(signature, sample.signature, "ethers signs {name} otherwise");
        assert_eq!(by_cast(&sample.typed, &own)?, sample.signature, "cast signs {name} otherwise");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deal_is_matched_and_settled_by_signatures_of_ethers_and_cast() -> eyre::Result<()> {
    let market = Market::open().await?;
    market.furnish().await?;
    let (orders, domain, berth) = (market.orders(), market.deployment.domain(), market.deployment.berth);
    let (own, worker) = (key("own"), key("worker"));
    let (app, pool, request) =
        (typed_data(&domain, &orders.app), typed_data(&domain, &orders.pool), typed_data(&domain, &orders.request));
    let [of_pool, of_request] = &by_ethers(&[(&pool, &own), (&request, &own)])?[..] else { eyre::bail!("two answers") };
    let signatures = Signatures {
        app: by_cast(&app, &own)?,
        dataset: Bytes::new(),
        pool: of_pool.signature.clone(),
        request: of_request.signature.clone(),
    };
    market.send(vec![(berth, call::match_orders(&orders, &signatures))]).await?;
    let matched = |event| if let Event::DealMatched { terms, .. } = event { Some(*terms) } else { None };
    let terms: DealTerms = listen(&market).await?.into_iter().find_map(matched).wrap_err("no deal")?;

    let digest = ResultDigest::new(keccak256("result")).wrap_err("a digest")?;
    let one = |index: u32| SingleList::new(&terms, vec![(index, digest)]);
    let results = |list: &SingleList, signature: Bytes| WorkerResults {
        worker: market.worker_addr(),
        entries: list.encode().into(),
        signature,
        assignments: Bytes::new(),
    };
    let (first, second) = (one(0)?, one(1)?);
    let typed = |list: &SingleList| typed_data(&domain, &list.statement(terms.id()));
    let of_ethers = by_ethers(&[(&typed(&first), &worker)])?.remove(0).signature;
    let of_cast = by_cast(&typed(&second), &worker)?;
    let lists = [results(&first, of_ethers), results(&second, of_cast)];
    // A reveal is taken as it is, whatever root it names.
    let reveal = Reveal { root: keccak256("root"), seed: keccak256("seed") };
    let revealed = by_cast(&typed_data(&domain, &reveal), &worker)?;
    market
        .send(vec![
            (berth, call::settle_singles(&terms, &lists)),
            (berth, call::publish(reveal.root, market.worker_addr(), reveal.seed, revealed)),
        ])
        .await?;
    assert_eq!(market.reader.deal(terms.id()).await?.map(|state| state.open), Some(1));
    assert!(listen(&market).await?.iter().any(|event| matches!(event, Event::RevealPublished { .. })));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sponsored_deal_is_matched_by_short_signatures_of_ethers() -> eyre::Result<()> {
    let market = Market::open().await?;
    market.furnish().await?;
    let (domain, Deployment { token, berth, .. }) = (market.deployment.domain(), market.deployment);
    let sponsor = signer("sponsor").address();
    market
        .send(vec![
            (token, call::approve(berth, Amount::new(33))),
            (berth, call::deposit_for(AccountAddr::new(sponsor), Amount::new(33))),
        ])
        .await?;
    let mut orders = market.orders();
    orders.request.payer = sponsor;
    let expiry = Timestamp::new(u64::MAX);
    let sponsorship = Sponsorship {
        request: domain.digest(&orders.request),
        poolOrder: domain.digest(&orders.pool),
        volume: orders.request.volume,
        expiry: expiry.seconds(),
    };
    let (own, payer) = (key("own"), key("sponsor"));
    let asked = [
        (&typed_data(&domain, &orders.app), own.as_str()),
        (&typed_data(&domain, &orders.pool), &own),
        (&typed_data(&domain, &orders.request), &own),
        (&typed_data(&domain, &sponsorship), &payer),
    ];
    let [app, pool, request, consent] = &by_ethers(&asked)?[..] else { eyre::bail!("four answers") };
    for signed in [app, pool, request, consent] {
        assert_eq!((signed.signature.len(), signed.short.len()), (65, 64));
    }
    let signatures = Signatures {
        app: app.short.clone(),
        dataset: Bytes::new(),
        pool: pool.short.clone(),
        request: request.short.clone(),
    };
    let consent = Consent { volume: sponsorship.volume, expiry, signature: consent.short.clone() };
    market.send(vec![(berth, call::match_sponsored(&orders, &signatures, &consent))]).await?;
    let matched = |event| if let Event::DealMatched { terms, .. } = event { Some(*terms) } else { None };
    let terms: DealTerms = listen(&market).await?.into_iter().find_map(matched).wrap_err("no deal")?;
    assert_eq!((terms.payer, terms.size), (sponsor, 3));
    Ok(())
}

/// What a wallet shows of orders and sponsorships: fields with names, each of a plain type, none of them the hash of the
/// rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_sign_is_shown_field_by_field() -> eyre::Result<()> {
    const SIGNED_BY_PEOPLE: usize = 5;
    /// Words that are names of things, sets of bits, or random: nothing of an order is behind them unseen.
    const WORDS: &[&str] = &["app", "dataset", "pool", "tag", "salt", "jobHash", "request", "poolOrder"];
    let market = Market::open().await?;
    for Sample { name, typed, .. } in samples(&market, &market.orders()).into_iter().take(SIGNED_BY_PEOPLE) {
        let types = typed["types"].as_object().wrap_err("types")?;
        assert_eq!(types.len(), 2, "{name} is nested: wallets show structs in structs badly");
        let fields = types[name].as_array().wrap_err("fields")?;
        assert!(fields.len() >= 4, "{name} is hardly more than a hash");
        for field in fields {
            let (kind, field) = (field["type"].as_str().wrap_err("type")?, field["name"].as_str().wrap_err("name")?);
            let plain = kind == "address"
                || kind.strip_prefix("uint").is_some_and(|bits| bits.parse::<u32>().is_ok_and(|bits| bits <= 128))
                || kind == "bytes32" && (WORDS.contains(&field) || field.ends_with("Rule"));
            assert!(plain, "{name}.{field} is a {kind}: nobody can read that");
            let shown = typed["message"][field].as_str().wrap_err("a value")?;
            assert!(!shown.is_empty() && field.chars().next().is_some_and(|c| c.is_ascii_lowercase()));
        }
        assert_eq!(typed["primaryType"], name);
        assert_eq!(typed["domain"]["name"], "Berth");
    }
    let Domain { chain_id, berth } = market.deployment.domain();
    assert_eq!((chain_id, hex::encode(berth).len()), (31_337, 40));
    Ok(())
}
