//! The exact cache: from the hash of a whole key to the flow that decided it last.
//!
//! An entry names a slot of the store and is only a guess: a hit counts when that flow matches the
//! packet. As overlapping flows agree, any flow that matches is right, so nothing has to be
//! invalidated when flows go, and no key is stored. While many guesses are pushed out, it grows: a larger, empty
//! one takes its place and learns again.

use crate::isa::Isa;
use crate::prefetch::prefetch;

/// Entries of one set, half a cache line: when all are taken, any one falls out.
const WAYS: usize = 4;

/// Most slots: 16 MB.
const SLOTS_MAX: usize = 1 << 21;

/// One in so many lookups may push a guess out before it grows.
const PUSHED: u32 = 16;

/// A guess: upper half of the hash, and slot of the flow plus one; 0 for none.
type Guess = u64;

/// A set-associative cache of guesses.
#[derive(Debug)]
pub(crate) struct ExactCache {
    sets: Vec<[Guess; WAYS]>,
    /// Guesses pushed out since it was last looked whether it is large enough.
    pushed: u32,
}

impl ExactCache {
    /// A cache of about `slots` guesses.
    pub(crate) fn new(slots: usize) -> Self {
        let sets = (slots / WAYS).next_power_of_two();
        Self { sets: vec![[0; WAYS]; sets], pushed: 0 }
    }

    /// Asks for the set of a hash ahead of its use.
    #[inline(always)]
    pub(crate) fn touch(&self, hash: u64) {
        prefetch(&self.sets[self.set(hash)]);
    }

    /// Slot that may hold the flow for a key of that hash.
    #[inline(always)]
    pub(crate) fn guess<I: Isa>(&self, hash: u64) -> Option<u32> {
        slot(I::find(&self.sets[self.set(hash)], hash))
    }

    /// Remembers the flow for a key.
    pub(crate) fn remember(&mut self, hash: u64, flow: u32) {
        let guess = tag(hash) << 32 | (u64::from(flow) + 1);
        let set = self.set(hash);
        let set = &mut self.sets[set];
        // What stood for this key before, a free place, or the last one goes.
        let gone = set.iter().position(|old| tag(*old) == tag(guess) || *old == 0);
        // No order among them: five keys in turn would always push out the one that is next.
        let gone = gone.unwrap_or_else(|| {
            self.pushed = self.pushed.saturating_add(1);
            (self.pushed.wrapping_mul(0x9e37_79b1) >> 30) as usize % WAYS
        });
        set[gone] = guess;
    }

    /// Grows when too many of the last `lookups` pushed others out; all guesses are forgotten then.
    pub(crate) fn adapt(&mut self, lookups: u32) {
        let pushed = std::mem::take(&mut self.pushed);
        let slots = self.sets.len() * WAYS;
        if pushed > lookups / PUSHED && slots < SLOTS_MAX {
            *self = Self::new(slots * 4);
        }
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
    fn set(&self, hash: u64) -> usize {
        hash as usize & (self.sets.len() - 1)
    }
}

/// The upper half.
#[inline(always)]
const fn tag(hash: u64) -> u64 {
    hash >> 32
}

/// Slot of a guess.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "takes the lower half")]
const fn slot(guess: Guess) -> Option<u32> {
    (guess as u32).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Scalar;

    const fn hash(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ number.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 31
    }

    #[test]
    fn it_grows_while_guesses_push_each_other_out_and_no_longer() {
        let mut cache = ExactCache::new(8);
        let mut missed = 0;
        for round in 0..2000 {
            for number in 0..64_u32 {
                let hash = hash(number.into());
                if cache.guess::<Scalar>(hash) != Some(number) {
                    cache.remember(hash, number);
                    missed += u32::from(round > 1000);
                }
            }
            cache.adapt(64);
        }
        assert!(missed < 4000, "one in sixteen at most: {missed}");
        assert!((64..=1024).contains(&(cache.sets.len() * WAYS)), "{}", cache.sets.len());
    }
}
