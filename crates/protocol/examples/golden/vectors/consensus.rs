//! Weights, groups, acceptance, slashes.

use alloy::primitives::U256;
use berth_protocol::{
    Failure,
    consensus::{SATURATION, accepted, group, share, slashed_score, weight},
};
use serde_json::{Value, json};

const SCORES: [u32; 16] = [0, 1, 2, 3, 8, 9, 11, 12, 14, 15, 26, 27, 95, 96, 1_000_000, u32::MAX];

pub(super) fn parts() -> Vec<(&'static str, Value)> {
    vec![("weights", weights()), ("groups", groups()), ("acceptance", acceptance()), ("failures", failures())]
}

fn weights() -> Value {
    json!({
        "score": SCORES.map(|score| score.to_string()),
        "weight": SCORES.map(|score| weight(score).to_string()),
        "share": SCORES.map(|score| share(weight(score)).to_string()),
        "slashed": SCORES.map(|score| slashed_score(score).to_string()),
    })
}

fn groups() -> Value {
    let of = |weights: Vec<u32>| {
        json!({
            "weights": weights.iter().map(u32::to_string).collect::<Vec<_>>(),
            "group": group(weights).to_string(),
        })
    };
    json!(
        [
            vec![],
            vec![2],
            vec![2, 2, 2],
            vec![2, 3, 5, 7, 11],
            vec![1 << 31; 5],
            vec![1 << 31, 1 << 31, 1 << 31, 1 << 31, 1 << 31, 1 << 5],
            vec![u32::MAX; 64],
            vec![2; 64],
        ]
        .map(of)
    )
}

fn acceptance() -> Value {
    let two = U256::from(2);
    let cases: Vec<(U256, U256, u32)> = vec![
        (two, U256::ZERO, 0),
        (two, U256::ZERO, 1),
        (two, U256::ZERO, 2),
        (two, U256::ZERO, 3),
        (U256::from(8), U256::ZERO, 8),
        (U256::from(8), U256::ZERO, 9),
        (U256::from(8), two, 5),
        (U256::from(16), two, 5),
        (U256::ZERO, U256::ZERO, 0),
        (U256::ZERO, U256::ZERO, 2),
        (SATURATION, U256::ZERO, u32::MAX),
        (SATURATION, SATURATION, 1),
        (SATURATION, SATURATION, 2),
    ];
    json!({
        "group": cases.iter().map(|(group, ..)| group.to_string()).collect::<Vec<_>>(),
        "dissent": cases.iter().map(|(_, dissent, _)| dissent.to_string()).collect::<Vec<_>>(),
        "trust": cases.iter().map(|(.., trust)| trust.to_string()).collect::<Vec<_>>(),
        "accepted": cases.iter().map(|(g, d, t)| accepted(*g, *d, *t)).collect::<Vec<_>>(),
    })
}

fn failures() -> Value {
    json!(Failure::ALL.map(|failure| failure.digest().get()))
}
