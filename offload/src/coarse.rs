//! Numbers to three digits in 16 bits: of a million flows, each byte counts.

/// Bits kept of a number.
const DIGITS: u32 = 11;

/// A number from 0 on: exact below 2048, else its highest 11 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coarse(u16);

impl Coarse {
    /// 0.
    pub(crate) const ZERO: Self = Self(0);

    /// The nearest number from below; what is too large is the largest.
    pub(crate) fn new(number: u32) -> Self {
        let shift = (u32::BITS - number.leading_zeros()).saturating_sub(DIGITS);
        let kept = u16::try_from(number >> shift).expect("11 bits");
        Self(u16::try_from(shift).expect("less than 32") << DIGITS | kept)
    }

    /// The number.
    pub(crate) fn value(self) -> u32 {
        u32::from(self.0 & ((1 << DIGITS) - 1)) << (self.0 >> DIGITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_are_exact_and_large_ones_to_three_digits() {
        for number in 0..2048 {
            assert_eq!(Coarse::new(number).value(), number);
        }
        for bit in 11..32 {
            for number in [1 << bit, (1 << bit) + 1, u32::MAX >> (31 - bit)] {
                let value = Coarse::new(number).value();
                assert!(value <= number && number - value <= number >> 10, "{number} {value}");
            }
        }
    }
}
