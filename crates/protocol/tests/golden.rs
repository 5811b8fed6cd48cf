//! The golden vectors are what this crate computes, and its types are those of ADR 0001, letter for letter.

#[path = "../examples/golden/vectors.rs"]
mod vectors;

use serde_json::Value;
use std::{fs, path::Path};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_committed_vectors_are_what_this_crate_computes() {
    let committed: Value =
        serde_json::from_str(&read("contracts/test/vectors/protocol.json")).expect("the vectors are JSON");
    let computed = vectors::document();
    let names = |value: &Value| -> Vec<String> {
        value.as_object().expect("the vectors are one object").keys().cloned().collect()
    };
    for name in names(&computed) {
        assert_eq!(
            committed.get(&name),
            computed.get(&name),
            "`{name}` differs: if that is meant, write the file anew with \
             `cargo run -p berth-protocol --example golden > contracts/test/vectors/protocol.json`, and supersede ADR 0001"
        );
    }
    let (mut left, mut right) = (names(&committed), names(&computed));
    left.sort();
    right.sort();
    assert_eq!(left, right);
    assert!(vectors::text().ends_with("}\n"));
}

#[test]
fn every_signed_type_stands_in_the_adr() {
    fn collect(value: &Value, types: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(text)) = object.get("type") {
                    types.push(text.clone());
                }
                object.values().for_each(|value| collect(value, types));
            }
            Value::Array(array) => array.iter().for_each(|value| collect(value, types)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let adr = read("docs/adr/0001-protocol.md");
    let mut types = Vec::new();
    collect(&vectors::document(), &mut types);
    types.sort();
    types.dedup();
    assert_eq!(types.len(), 11, "five orders, six statements: {types:?}");
    for kind in types {
        assert!(adr.contains(&kind), "the ADR has no `{kind}`");
    }
}
