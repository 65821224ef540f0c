//! Heat: packets lately, decaying by 1/32 each round. Decayed when read, so idle flows cost nothing.

/// Heat of one packet.
pub(crate) const ONE: u64 = 256;

/// (31/32)^(2^i), with 32 fraction bits.
const FACTORS: [u64; 10] = {
    let mut factors = [31 << 27; 10];
    let mut i = 1;
    while i < 10 {
        factors[i] = (factors[i - 1] * factors[i - 1]) >> 32;
        i += 1;
    }
    factors
};

/// A decaying count of packets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heat {
    value: u64,
    round: u32,
}

impl Heat {
    /// A heat of `value` in `round`.
    pub(crate) const fn new(value: u64, round: u32) -> Self {
        Self { value, round }
    }

    /// The heat in `round`.
    pub(crate) fn at(self, round: u32) -> u64 {
        let rounds = round.saturating_sub(self.round);
        if rounds >= 1 << FACTORS.len() {
            return 0;
        }
        FACTORS.iter().enumerate().fold(self.value, |value, (bit, factor)| {
            if rounds >> bit & 1 == 0 {
                return value;
            }
            // At most the value itself, as a factor is below one.
            u64::try_from((u128::from(value) * u128::from(*factor)) >> 32).unwrap_or(value)
        })
    }

    /// Counts `packets` in `round`.
    pub(crate) fn add(&mut self, round: u32, packets: u64) {
        self.value = self.at(round).saturating_add(packets.saturating_mul(ONE));
        self.round = round;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_halves_in_about_22_rounds_and_dies_out() {
        let mut heat = Heat::default();
        heat.add(5, 1000);
        assert_eq!(heat.at(5), 256_000);
        assert_eq!(heat.at(6), 248_000);
        assert!((120_000..136_000).contains(&heat.at(27)), "{}", heat.at(27));
        assert_eq!(heat.at(5000), 0);
    }
}
