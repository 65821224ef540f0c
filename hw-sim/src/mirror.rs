//! Samples of what the card does, for a host that checks it (`docs/nic-abi.md` §8.9).

use std::collections::VecDeque;
use twinpath_abi::receive::MirrorOrder;

/// 2^32 divided by the golden ratio: multiples of it spread evenly.
const SPREAD: u32 = 2_654_435_769;

/// Entries of which the next frame is awaited at most; the oldest is forgotten.
const SUCCESSORS_MAX: usize = 16;

/// Chooses frames.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    /// About one in so many; 0 for none.
    every: u32,
    decided: u32,
    samples: u32,
    successors: VecDeque<u32>,
}

impl Mirror {
    /// Follows the register.
    pub(crate) fn follow(&mut self, every: u32) {
        self.every = every;
    }

    /// Forgets all; counting goes on.
    pub(crate) fn reset(&mut self) {
        self.every = 0;
        self.successors.clear();
    }

    /// Whether the next decided frame, of entry `id` with `packets` before it, is sampled.
    pub(crate) fn choose(&mut self, id: u32, packets: u64) -> Option<MirrorOrder> {
        if self.every == 0 {
            return None;
        }
        self.decided = self.decided.wrapping_add(1);
        let awaited = self.successors.iter().position(|awaited| *awaited == id);
        if let Some(at) = awaited {
            self.successors.remove(at);
            return Some(MirrorOrder::Successor);
        }
        let chance = u32::MAX / self.every;
        let order = if packets == 0 {
            MirrorOrder::First
        } else if self.decided.wrapping_mul(SPREAD) < chance {
            MirrorOrder::Sampled
        } else {
            return None;
        };
        if self.successors.len() == SUCCESSORS_MAX {
            self.successors.pop_front();
        }
        self.successors.push_back(id);
        Some(order)
    }

    /// The frame chosen last, of entry `id`, cannot be sampled: its successor would have nothing
    /// before it.
    pub(crate) fn withdraw(&mut self, id: u32) {
        self.successors.retain(|awaited| *awaited != id);
    }

    /// Number of a new sample.
    pub(crate) fn begin(&mut self) -> u32 {
        self.samples = self.samples.wrapping_add(1);
        self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_frames_their_successors_and_about_one_in_n_are_sampled() {
        let mut mirror = Mirror::default();
        assert_eq!(mirror.choose(1, 0), None, "off");
        mirror.follow(100);
        assert_eq!(mirror.choose(7, 0), Some(MirrorOrder::First));
        assert_eq!(mirror.choose(7, 1), Some(MirrorOrder::Successor));
        let sampled = (0..100_000).filter(|n| mirror.choose(8, 5 + n).is_some()).count();
        mirror.withdraw(8);
        assert_eq!(mirror.choose(9, 0), Some(MirrorOrder::First));
        mirror.withdraw(9);
        assert_ne!(mirror.choose(9, 1), Some(MirrorOrder::Successor));
        assert!((1_900..=2_100).contains(&sampled), "1,000 and their successors: {sampled}");
    }
}
