use super::*;
use crate::bindings::token::PermitToken;
use alloy::{
    json_abi::{Error, JsonAbi, Param},
    primitives::{B256, address, keccak256},
};
use std::{collections::BTreeMap, fs, path::Path};

/// Every error of every committed ABI, once. Not those of receivers: Berth tells that they failed, and nobody else may
/// call them.
fn errors() -> BTreeMap<String, Error> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/abi");
    let files = fs::read_dir(folder).expect("the ABIs are committed").map(|entry| entry.expect("readable").path());
    let mut all = BTreeMap::new();
    for file in files.filter(|file| file.extension().is_some_and(|ending| ending == "json")) {
        let artifact: serde_json::Value =
            serde_json::from_slice(&fs::read(&file).expect("readable")).expect("an artifact is JSON");
        let abi: JsonAbi = serde_json::from_value(artifact["abi"].clone()).expect("it has an ABI");
        all.extend(
            abi.errors()
                .filter(|error| !error.name.starts_with("ResultBox_"))
                .map(|error| (error.signature(), error.clone())),
        );
    }
    assert!(all.len() > 80, "these are not all errors: {}", all.len());
    all
}

/// A value of a parameter, and what a person must be told of it.
struct Sample {
    word: B256,
    told: String,
    /// In tokens, where it is an amount.
    in_tokens: Option<String>,
}

const AMOUNTS: &[&str] = &["free", "needed", "held", "price", "maxPrice", "bonded", "bond", "allowance", "balance"];
const TIMES: &[&str] = &["deadline", "expiry", "releaseAt", "time"];
/// Those whose numbers are bytes or gas, though they are called as amounts are.
const NO_MONEY: &[&str] = &["Berth_BadAssignmentsLength", "Berth_GasTooLow"];

fn sample(error: &Error, place: usize, param: &Param) -> Sample {
    let seed = keccak256(format!("{}{place}", error.name));
    let number = |number: u64| U256::from(number);
    let plain = |word: U256, told: String| Sample { word: word.into(), told, in_tokens: None };
    let name = param.name.as_str();
    match (param.ty.as_str(), name) {
        ("address", _) => {
            let account = Address::from_word(seed);
            Sample { word: account.into_word(), told: account.to_string(), in_tokens: None }
        }
        ("bytes32", "missing") => plain(number(0x101), "TEE (bit 0), GPU (bit 8)".into()),
        ("bytes32", "rule") => plain(number(0xaaaa), format!("only {}", Address::from_word(number(0xaaaa).into()))),
        ("bytes32", _) => Sample { word: seed, told: format!("{seed:?}"), in_tokens: None },
        ("uint256", "tokenId") => Sample { word: seed, told: format!("{seed:?}"), in_tokens: None },
        ("uint104", "bits") => plain(number(0b101), "0, 2".into()),
        ("uint8", "wanted") => plain(number(3), "pool".into()),
        (_, name) if TIMES.contains(&name) => plain(number(1_800_000_000), "2027-01-15 08:00:00 UTC".into()),
        (_, name) if AMOUNTS.contains(&name) && !NO_MONEY.contains(&error.name.as_str()) => {
            let amount = 5_250_000 + place as u64;
            let in_tokens = Some(format!("5.25000{place} LOCAL").replace("5.250000", "5.25"));
            Sample { in_tokens, ..plain(number(amount), format!("{amount} base units")) }
        }
        ("uint8", _) => plain(number(77), "77".into()),
        ("uint16", _) => plain(number(10_001), "10001".into()),
        ("uint32" | "uint64" | "uint128" | "uint256", _) => {
            // Indexes are numbers of 32 bits, whatever the word that carries them.
            let value = 4_000_000_000 + place as u64;
            plain(number(value), value.to_string())
        }
        (other, name) => panic!("{} has a {other} {name}: say how a person is told of it", error.signature()),
    }
}

/// The one error with a text in it is never reached, since the name is compiled in.
fn samples(error: &Error) -> (Vec<Sample>, Vec<u8>) {
    let selector = error.selector().to_vec();
    if error.name == "StringTooLong" {
        let text = "a name".to_owned();
        let word = U256::from(0x20).into();
        let data = alloy::sol_types::SolValue::abi_encode(&text);
        return (vec![Sample { word, told: text, in_tokens: None }], [selector, data].concat());
    }
    let samples: Vec<Sample> =
        error.inputs.iter().enumerate().map(|(place, param)| sample(error, place, param)).collect();
    let words: Vec<u8> = samples.iter().flat_map(|sample| sample.word).collect();
    (samples, [selector, words].concat())
}

#[test]
fn every_error_of_every_contract_has_a_sentence_with_its_values_and_a_hint() {
    let mut complaints = Vec::new();
    for (signature, error) in errors() {
        let (samples, data) = samples(&error);
        let revert = Revert::decode(&data);
        let mut complain = |what: String| complaints.push(format!("{signature}: {what}"));
        if matches!(revert, Revert::Unknown(_)) {
            complain("is decoded by nobody".into());
            continue;
        }
        if let Revert::Contract(refusal) = &revert
            && hint::of(refusal).is_none()
        {
            complain("has no hint in refusal/hint.rs".into());
        }
        let (sentence, hint) = (revert.to_string(), revert.hint());
        let in_tokens = revert.tell(&Unit::new("LOCAL", 6)).0;
        let mut rest = sentence.to_lowercase();
        for sample in &samples {
            // Ids are written in small letters, addresses in the letters of their checksum.
            if !sentence.to_lowercase().contains(&sample.told.to_lowercase()) {
                complain(format!("`{sentence}` does not say {}", sample.told));
            }
            if let Some(amount) = sample.in_tokens.as_ref().filter(|amount| !in_tokens.contains(*amount)) {
                complain(format!("`{in_tokens}` does not say {amount}"));
            }
            rest = rest.replace(&sample.told.to_lowercase(), "");
        }
        if rest.contains("0x") || hint.contains("0x") && !samples.iter().any(|sample| hint.contains(&sample.told)) {
            complain(format!("shows raw hexadecimals: `{sentence}`, `{hint}`"));
        }
        if hint.is_empty() || hint == sentence {
            complain("has no hint of its own".into());
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_hint_is_of_an_error_that_there_is() {
    let errors = errors();
    for (name, _) in hint::HINTS {
        assert!(errors.values().any(|error| error.name == *name), "no contract has an error {name}");
        assert_eq!(hint::HINTS.iter().filter(|(other, _)| other == name).count(), 1, "{name} has two hints");
    }
}

#[test]
fn reverts_say_what_is_missing_and_what_to_do() {
    let owner = address!("00000000000000000000000000000000000000aa");
    let error = PermitToken::ERC20InsufficientBalance { sender: owner, balance: U256::from(2), needed: U256::from(9) };
    let revert = Revert::decode(&error.abi_encode());
    assert_eq!(revert, Revert::TokenBalance { account: owner, has: U256::from(2), needed: U256::from(9) });
    assert!(revert.hint().contains("send 7 base units"), "{}", revert.hint());
    assert_eq!(Revert::decode(&[]), Revert::Silent);
    assert_eq!(Revert::decode(&[1, 2, 3, 4]).class(), Class::Bug);
    assert_eq!(Revert::decode(&Message::from("no".to_owned()).abi_encode()), Revert::Message("no".to_owned()));
    let panic = Revert::decode(&Panic { code: U256::from(0x11) }.abi_encode());
    assert_eq!(panic, Revert::Panic(0x11));
    assert!(panic.to_string().contains("a number left its range"), "{panic}");
}

#[test]
fn amounts_are_told_in_tokens_where_the_token_is_known() {
    let unit = Unit::new("LOCAL", 18);
    let account = berth_protocol::AccountAddr::new(address!("00000000000000000000000000000000000000aa"));
    let refusal = Refusal::FreeTooSmall { account, free: U256::from(1), needed: U256::from(10).pow(U256::from(18)) };
    let (sentence, hint) = Revert::Contract(refusal).tell(&unit);
    assert!(sentence.ends_with("has 0.000000000000000001 LOCAL free and needs 1 LOCAL"), "{sentence}");
    assert_eq!(hint, "deposit 0.999999999999999999 LOCAL more: `berth account deposit`");
    assert_eq!(Unit::new("WHOLE", 0).show(U256::from(100)), "100 WHOLE");
    assert_eq!(Unit::new("FINE", 255).show(U256::from(100)), "100 base units");
}

/// A refusal's own values can mean nobody.
#[test]
fn nobody_is_named_as_such() {
    let sender = address!("00000000000000000000000000000000000000aa");
    let refusal = Refusal::NotBondOwner { sender, owner: Address::ZERO };
    assert!(refusal.to_string().starts_with("the worker belongs to nobody"), "{refusal}");
}
