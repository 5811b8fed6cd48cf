//! Some leaves of a round, and what shows that they are its (ADR 0003, section 2).

use super::{node, root_of_top};
use alloy_primitives::B256;

/// The siblings that show the leaves in `places`, which rise: level by level from the leaves up, and from left to right
/// in a level. Empty for all leaves. Places outside the round are passed over.
pub fn multiproof(leaves: &[B256], places: &[u32]) -> Vec<B256> {
    let within = |place: &u32| usize::try_from(*place).ok().filter(|place| *place < leaves.len());
    let mut known: Vec<usize> = places.iter().filter_map(within).collect();
    let mut level = leaves.to_vec();
    let mut proof = Vec::new();
    while level.len() > 1 {
        for place in &known {
            let sibling = place ^ 1;
            if sibling < level.len() && known.binary_search(&sibling).is_err() {
                proof.push(level[sibling]);
            }
        }
        known = known.into_iter().map(|place| place / 2).collect();
        known.dedup();
        level =
            level.chunks(2).map(|pair| if let [left, right] = pair { node(*left, *right) } else { pair[0] }).collect();
    }
    proof
}

/// The root of a round of `count` leaves that has `leaves` in these places, with the siblings that are missing. `None`
/// if there is no leaf, if places don't rise or are outside, or if the proof is too short or too long.
pub fn proven_root(count: u32, leaves: &[(u32, B256)], proof: &[B256]) -> Option<B256> {
    let rising = leaves.windows(2).all(|pair| pair[0].0 < pair[1].0);
    if !rising || leaves.last()?.0 >= count {
        return None;
    }
    let mut level = leaves.to_vec();
    let mut proof = proof.iter().copied();
    let mut width = count;
    while width > 1 {
        let mut above = Vec::with_capacity(level.len());
        let mut nodes = level.into_iter().peekable();
        while let Some((place, hash)) = nodes.next() {
            let joined = if place.is_multiple_of(2) {
                if place == width - 1 {
                    hash
                } else if let Some((_, right)) = nodes.next_if(|(next, _)| *next == place + 1) {
                    node(hash, right)
                } else {
                    node(hash, proof.next()?)
                }
            } else {
                node(proof.next()?, hash)
            };
            above.push((place / 2, joined));
        }
        level = above;
        width = width.div_ceil(2);
    }
    let (_, top) = level.first()?;
    proof.next().is_none().then(|| root_of_top(count, *top))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::root;
    use alloy_primitives::keccak256;

    fn leaves(count: u32) -> Vec<B256> {
        (0..count).map(|i| keccak256(i.to_be_bytes())).collect()
    }

    #[test]
    fn any_leaves_of_a_small_round_are_shown_by_their_proof() {
        for count in 1..=9_u32 {
            let all = leaves(count);
            for chosen in 1..1_u32 << count {
                let places: Vec<u32> = (0..count).filter(|place| chosen >> place & 1 == 1).collect();
                let proof = multiproof(&all, &places);
                let shown: Vec<_> = places.iter().map(|place| (*place, all[*place as usize])).collect();
                assert_eq!(proven_root(count, &shown, &proof), root(&all), "{places:?} of {count}");
                if let [short @ .., _] = &proof[..] {
                    assert_eq!(proven_root(count, &shown, short), None);
                }
                let long = [&proof[..], &[B256::ZERO]].concat();
                assert_eq!(proven_root(count, &shown, &long), None);
            }
            let whole: Vec<_> = (0..).zip(all.iter().copied()).collect();
            assert_eq!(proven_root(count, &whole, &[]), root(&all));
        }
    }

    #[test]
    fn leaves_elsewhere_show_another_root_or_none() {
        let all = leaves(7);
        let proof = multiproof(&all, &[2]);
        assert_ne!(proven_root(7, &[(3, all[2])], &proof), root(&all));
        assert_ne!(proven_root(8, &[(2, all[2])], &proof), root(&all));
        assert_eq!(proven_root(7, &[], &proof), None);
        assert_eq!(proven_root(7, &[(7, all[2])], &proof), None);
        assert_eq!(proven_root(7, &[(2, all[2]), (2, all[2])], &proof), None);
        assert_eq!(proven_root(0, &[], &[]), None);
    }
}
