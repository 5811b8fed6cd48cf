//! How replicated results are weighed (ADR 0001, section 3, after Sarmenta's credibility as PoCo uses it).

use alloy_primitives::U256;

/// The clamp of every group's weight.
pub const SATURATION: U256 = U256::from_limbs([0, 0, 1 << 32, 0]);

/// A worker's weight by its score in the pool.
pub const fn weight(score: u32) -> u32 {
    let third = score / 3;
    (if third > 3 { third } else { 3 }) - 1
}

/// ⌊log2 weight⌋: the worker's part in the split of the pot. At least 1.
pub const fn share(weight: u32) -> u32 {
    weight.ilog2()
}

/// A group's weight: the product of its members', saturating at 2^160; zero for nobody.
pub fn group(weights: impl IntoIterator<Item = u32>) -> U256 {
    weights
        .into_iter()
        .fold(None, |product: Option<U256>, weight| {
            let product = product.unwrap_or(U256::ONE).saturating_mul(U256::from(weight));
            Some(product.min(SATURATION))
        })
        .unwrap_or(U256::ZERO)
}

/// Whether the group outweighs everybody else far enough for the trust asked for.
pub fn accepted(group: U256, dissent: U256, trust: u32) -> bool {
    let trust = U256::from(trust.max(1));
    group * trust > (U256::ONE + group + dissent) * (trust - U256::ONE)
}

/// A score after a slash: a third is lost, rounding against the worker.
pub const fn slashed_score(score: u32) -> u32 {
    score / 3 * 2 + (score % 3) * 2 / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_workers_reach_two_to_the_n() {
        for (agreeing, most) in [(1_usize, 2_u32), (2, 4), (3, 8), (4, 16), (5, 32), (10, 1024)] {
            let agreed = group(vec![weight(0); agreeing]);
            assert!(accepted(agreed, U256::ZERO, most));
            assert!(!accepted(agreed, U256::ZERO, most + 1));
        }
    }

    #[test]
    fn one_dissenter_asks_for_a_fourth_at_trust_five() {
        let liar = group([weight(0)]);
        assert!(!accepted(group([2, 2, 2]), liar, 5));
        assert!(accepted(group([2, 2, 2, 2]), liar, 5));
    }

    #[test]
    fn groups_saturate() {
        assert_eq!(group(vec![u32::MAX; 64]), SATURATION);
        assert!(accepted(SATURATION, U256::ZERO, u32::MAX));
    }

    #[test]
    fn a_slash_takes_a_third() {
        for (before, after) in [(0, 0), (1, 0), (2, 1), (3, 2), (18, 12), (u32::MAX, 2_863_311_530)] {
            assert_eq!(slashed_score(before), after);
        }
    }
}
