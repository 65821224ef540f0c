//! A world around the engine: packets, a software path and a card, all as simple as can be.

pub(crate) mod card;
pub(crate) mod check;
pub(crate) mod shape;
pub(crate) mod world;

/// A small random generator (xorshift64*), so that a seed replays a run.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    /// An index below `bound`.
    pub(crate) fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("below a usize")
    }

    /// True once in `odds`; never for 0.
    pub(crate) fn once_in(&mut self, odds: u64) -> bool {
        odds > 0 && self.below(odds) == 0
    }
}
