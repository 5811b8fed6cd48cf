//! What is signed, as wallets ask for it: the JSON of `eth_signTypedData_v4`. Every type of the protocol is flat, so that
//! a wallet shows each field by its name.

use alloy::{
    primitives::{Address, U256, hex},
    sol_types::SolStruct,
};
use berth_protocol::domain::Domain;
use serde_json::{Map, Value, json};

/// The typed data of a message, for wallets and other programs to sign.
///
/// # Panics
/// If the message is not flat, of addresses, whole numbers and words alone: no type of the protocol is otherwise.
pub fn typed_data<M: SolStruct>(domain: &Domain, message: &M) -> Value {
    let fields = fields::<M>();
    let data = message.eip712_encode_data();
    let (words, rest) = data.as_chunks::<32>();
    assert!(rest.is_empty() && words.len() == fields.len(), "{} is not flat", M::NAME);
    let values: Map<String, Value> =
        fields.iter().zip(words).map(|((kind, name), word)| (name.clone(), value(kind, word))).collect();
    let named = |(kind, name): &(String, String)| json!({ "name": name, "type": kind });
    let own: Vec<Value> = fields.iter().map(named).collect();
    json!({
        "types": {
            "EIP712Domain": [
                { "name": "name", "type": "string" },
                { "name": "version", "type": "string" },
                { "name": "chainId", "type": "uint256" },
                { "name": "verifyingContract", "type": "address" },
            ],
            M::NAME: own,
        },
        "primaryType": M::NAME,
        "domain": {
            "name": domain.eip712().name,
            "version": domain.eip712().version,
            "chainId": domain.chain_id,
            "verifyingContract": domain.berth,
        },
        "message": values,
    })
}

/// A type's fields: (type, name), in their order.
fn fields<M: SolStruct>() -> Vec<(String, String)> {
    let signature = M::eip712_root_type();
    let list = signature.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or_default();
    let one = |field: &str| field.split_once(' ').map(|(kind, name)| (kind.to_owned(), name.to_owned()));
    list.split(',').filter_map(one).collect()
}

fn value(kind: &str, word: &[u8; 32]) -> Value {
    match kind {
        "address" => Address::from_word(word.into()).to_string().into(),
        "bytes32" => hex::encode_prefixed(word).into(),
        // As a text: JSON's own numbers end at 2^53.
        number if number.starts_with("uint") => U256::from_be_bytes(*word).to_string().into(),
        other => unreachable!("no type of the protocol has a {other}"),
    }
}
