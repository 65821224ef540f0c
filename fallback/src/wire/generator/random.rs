//! A small generator of pseudo-random numbers: the same numbers for the same seed, everywhere.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): a counter with a fixed odd step, and a mixing function that
//! serves as a hash as well. Good enough to choose packets, not to keep secrets.

/// 2^64 divided by the golden ratio, the step of the counter.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The generator; its state is one counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits, each as likely as another.
    pub(super) const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }
}

/// A number below `limit` chosen by `bits`; the bias is at most `limit` / 2^64.
pub(super) fn below(bits: u64, limit: u64) -> u64 {
    let product = u128::from(bits) * u128::from(limit);
    u64::try_from(product >> 64).expect("the upper half of a 128-bit product has 64 bits")
}

/// Mixes all bits of `value` into all bits of the result.
pub(super) const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_generator() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.bits(), 6_457_827_717_110_365_317);
        assert_eq!(random.bits(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn choices_stay_below_the_limit_and_reach_every_value() {
        let mut random = Random::new(7);
        let mut seen = [0; 5];
        for _ in 0..1_000 {
            seen[usize::try_from(below(random.bits(), 5)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| *count > 150), "{seen:?}");
    }
}
