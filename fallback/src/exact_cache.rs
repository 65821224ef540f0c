//! The exact cache: from the hash of a whole key to the flow that decided it last.
//!
//! An entry names a slot of the store and is only a guess: a hit counts when that flow matches the
//! packet. As overlapping flows agree, any flow that matches is right, so nothing has to be
//! invalidated when flows go, and no key is stored.

/// Entries of one set: a new one goes to the front, the last falls out.
const WAYS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Guess {
    tag: u32,
    flow: u32,
}

/// A set-associative cache of guesses.
#[derive(Debug)]
pub(crate) struct ExactCache {
    sets: Vec<[Guess; WAYS]>,
}

impl ExactCache {
    /// A cache of about `slots` guesses.
    pub(crate) fn new(slots: usize) -> Self {
        let sets = (slots / WAYS).next_power_of_two();
        Self { sets: vec![[Guess { tag: 0, flow: u32::MAX }; WAYS]; sets] }
    }

    /// Slots that may hold the flow for a key of that hash; `u32::MAX` for none.
    pub(crate) fn guesses(&self, hash: u64) -> [u32; WAYS] {
        let tag = tag(hash);
        self.sets[self.set(hash)].map(|guess| if guess.tag == tag { guess.flow } else { u32::MAX })
    }

    /// Remembers the flow for a key.
    pub(crate) fn remember(&mut self, hash: u64, flow: u32) {
        let guess = Guess { tag: tag(hash), flow };
        let set = self.set(hash);
        let set = &mut self.sets[set];
        if set[0].tag != guess.tag {
            set[1] = set[0];
        }
        set[0] = guess;
    }

    #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
    fn set(&self, hash: u64) -> usize {
        hash as usize & (self.sets.len() - 1)
    }
}

/// The upper half of the hash.
const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}
