//! Which flow the next packet belongs to: rank k of N with probability proportional to k^-s.
//!
//! Alias table (Walker 1977, Vose's way to build it): one random number, one look-up, no loop.

use super::random::below;

/// One column: its own rank below the threshold, the alias above.
#[derive(Clone, Copy, Debug)]
struct Column {
    threshold: u32,
    alias: u32,
}

/// Sampler of flow numbers `0..flows`; flow 0 is the most frequent.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    columns: Vec<Column>,
}

impl Zipf {
    /// `exponent` 0 makes all flows equally frequent.
    pub(super) fn new(flows: u32, exponent: f64) -> Self {
        let weights: Vec<f64> = (1..=flows).map(|rank| f64::from(rank).powf(-exponent)).collect();
        let mean = weights.iter().sum::<f64>() / f64::from(flows);
        // Shares of the mean: columns below 1 are filled up by one above 1.
        let mut shares: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let mut columns: Vec<Column> =
            (0..flows).map(|rank| Column { threshold: u32::MAX, alias: rank }).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..flows).partition(|rank| shares[*rank as usize] < 1.0);
        while let (Some(poor), Some(rich)) = (small.pop(), large.last().copied()) {
            let share = shares[poor as usize];
            columns[poor as usize] = Column { threshold: threshold(share), alias: rich };
            shares[rich as usize] -= 1.0 - share;
            if shares[rich as usize] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self { columns }
    }

    /// The flow chosen by `bits`: the upper half takes the column, the lower half the side.
    pub(super) fn choose(&self, bits: u64) -> u32 {
        let count = self.columns.len() as u64;
        let index = below(bits & 0xffff_ffff_0000_0000, count);
        let column = self.columns[usize::try_from(index).expect("below the number of columns")];
        let own = u32::try_from(index).expect("flows have 32 bits");
        let side = u32::try_from(bits & 0xffff_ffff).expect("32 bits are left");
        if side <= column.threshold { own } else { column.alias }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share between 0 and 1 times 2^32 - 1 fits; `as` saturates in any case"
)]
fn threshold(share: f64) -> u32 {
    (share * f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    #[test]
    fn frequencies_follow_the_law() {
        const DRAWS: u32 = 1_000_000;
        let (flows, exponent) = (1_000u32, 1.2);
        let zipf = Zipf::new(flows, exponent);
        let mut random = Random::new(42);
        let mut seen = vec![0u32; flows as usize];
        for _ in 0..DRAWS {
            seen[zipf.choose(random.bits()) as usize] += 1;
        }
        let norm: f64 = (1..=flows).map(|rank| f64::from(rank).powf(-exponent)).sum();
        for rank in [1u32, 2, 3, 10, 100] {
            let want = f64::from(DRAWS) * f64::from(rank).powf(-exponent) / norm;
            let got = f64::from(seen[rank as usize - 1]);
            // Five standard deviations of a Poisson count.
            assert!((got - want).abs() < 5.0 * want.sqrt(), "rank {rank}: {got}, wanted {want}");
        }
    }

    #[test]
    fn exponent_zero_is_uniform_and_one_flow_is_always_chosen() {
        let (uniform, single) = (Zipf::new(4, 0.0), Zipf::new(1, 1.2));
        let mut random = Random::new(1);
        let mut seen = [0u32; 4];
        for _ in 0..40_000 {
            let bits = random.bits();
            seen[uniform.choose(bits) as usize] += 1;
            assert_eq!(single.choose(bits), 0);
        }
        assert!(seen.iter().all(|count| (9_500..10_500).contains(count)), "{seen:?}");
    }
}
