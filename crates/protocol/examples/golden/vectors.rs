//! What the golden vectors hold. Every amount and time is a decimal string and every byte string `0x…`, so that forge,
//! JavaScript and Rust all read them without loss.

#[path = "vectors/consensus.rs"]
mod consensus;
#[path = "vectors/deals.rs"]
mod deals;
#[path = "vectors/orders.rs"]
mod orders;
#[path = "vectors/rounds.rs"]
mod rounds;

use alloy::{
    primitives::{Address, B256, address, keccak256},
    signers::{SignerSync as _, local::PrivateKeySigner},
    sol_types::SolStruct,
};
use berth_protocol::domain::Domain;
use serde_json::{Map, Value, json};

/// Where all vectors are signed.
const DOMAIN: Domain = Domain { chain_id: 31_337, berth: address!("0x5FbDB2315678afecb367f032d93F642f64180aa3") };

/// The key whose secret is the hash of `name`: for tests only, on no chain.
fn key(name: &str) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&secret(name)).expect("a hash is below the curve's order")
}

fn secret(name: &str) -> B256 {
    keccak256(format!("berth golden key: {name}"))
}

fn who(name: &str) -> Address {
    key(name).address()
}

/// Some 32 bytes that nobody would take for anything else.
fn word(name: &str) -> B256 {
    keccak256(format!("berth golden word: {name}"))
}

/// All the document, as it is committed.
pub(crate) fn text() -> String {
    let mut text = format!("{:#}", document());
    text.push('\n');
    text
}

/// All the document.
pub(crate) fn document() -> Value {
    let mut whole = Map::new();
    whole.insert("domain".to_owned(), domain());
    whole.insert("keys".to_owned(), keys());
    for (name, part) in
        orders::parts().into_iter().chain(deals::parts()).chain(rounds::parts()).chain(consensus::parts())
    {
        whole.insert(name.to_owned(), part);
    }
    let mut whole = Value::Object(whole);
    whole.sort_all_objects();
    whole
}

fn domain() -> Value {
    json!({
        "name": "Berth",
        "version": "1",
        "chainId": DOMAIN.chain_id.to_string(),
        "verifyingContract": DOMAIN.berth,
        "separator": DOMAIN.separator(),
    })
}

fn keys() -> Value {
    let names = ["app owner", "dataset owner", "operator", "owner", "payer", "pool owner", "requester", "worker"];
    json!({
        "name": names,
        "secret": names.map(secret),
        "account": names.map(who),
    })
}

/// A message's fields by name. They are all of one word each, so that their EIP-712 encoding says everything.
fn fields<M: SolStruct>(message: &M) -> Value {
    let kind = M::eip712_root_type();
    let listed = kind.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).expect("a type reads Name(fields)");
    let words = message.eip712_encode_data();
    let one = |(field, word): (&str, &[u8])| {
        let (kind, name) = field.split_once(' ').expect("a field has type and name");
        let word = B256::from_slice(word);
        let value = match kind {
            "address" => json!(Address::from_word(word)),
            "bytes32" => json!(word),
            _ => json!(alloy::primitives::U256::from_be_bytes(word.0).to_string()),
        };
        (name.to_owned(), value)
    };
    Value::Object(listed.split(',').zip(words.chunks(32)).map(one).collect())
}

/// A message, its type, its hashes and the signature of the key called `signer`.
fn signed<M: SolStruct>(message: &M, signer: &str) -> Value {
    let digest = DOMAIN.digest(message);
    let signature = key(signer).sign_hash_sync(&digest).expect("a local key signs");
    json!({
        "message": fields(message),
        "type": M::eip712_encode_type(),
        "typeHash": message.eip712_type_hash(),
        "structHash": message.eip712_hash_struct(),
        "digest": digest,
        "signer": who(signer),
        "signature": format!("0x{}", alloy::hex::encode(signature.as_bytes())),
    })
}
