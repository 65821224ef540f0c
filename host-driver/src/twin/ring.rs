//! Index arithmetic of rings: free-running 32-bit indices over a power-of-two number of slots.
//!
//! Nothing here touches memory. Indices that the card writes are untrusted: an index that no card
//! would write is [`Garbage`], never a panic.

/// An index that cannot be: beyond what was produced, or more than the ring holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ring index {index:#x} is outside {low:#x}..={high:#x}")]
pub(crate) struct Garbage {
    /// What was read.
    pub index: u32,
    /// Lowest index possible.
    pub low: u32,
    /// Highest index possible.
    pub high: u32,
}

/// Number of slots of a ring: a power of two from 2 to 2^16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(u32);

impl Size {
    /// A ring of `slots` slots.
    ///
    /// # Panics
    /// When `slots` is not a power of two from 2 to 2^16; sizes are the driver's own choice.
    pub(crate) const fn new(slots: u32) -> Self {
        assert!(slots.is_power_of_two() && slots >= 2 && slots <= 1 << 16, "ring size");
        Self(slots)
    }

    /// Slots.
    pub(crate) const fn slots(self) -> u32 {
        self.0
    }

    /// Slot of a free-running index.
    pub(crate) const fn slot(self, index: u32) -> usize {
        (index & (self.0 - 1)) as usize
    }

    /// Phase bit of the lap that `index` is in: 1 on the first lap, so that zeroed memory is
    /// never taken for a completion.
    pub(crate) const fn phase(self, index: u32) -> bool {
        (index / self.0) & 1 == 0
    }
}

/// The side that fills a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Producer {
    size: Size,
    produced: u32,
    consumed: u32,
}

impl Producer {
    pub(crate) const fn new(size: Size) -> Self {
        Self { size, produced: 0, consumed: 0 }
    }

    /// A ring in use.
    ///
    /// # Errors
    /// [`Garbage`] when the two are further apart than the ring is long.
    pub(crate) const fn resume(size: Size, produced: u32, consumed: u32) -> Result<Self, Garbage> {
        if produced.wrapping_sub(consumed) > size.0 {
            return Err(Garbage {
                index: consumed,
                low: produced.wrapping_sub(size.0),
                high: produced,
            });
        }
        Ok(Self { size, produced, consumed })
    }

    /// Free slots.
    pub(crate) const fn free(&self) -> u32 {
        self.size.0 - self.produced.wrapping_sub(self.consumed)
    }

    /// Index of the next slot to fill, if there is one; the caller fills it, then [`Self::push`]es.
    pub(crate) const fn next(&self) -> Option<u32> {
        if self.free() == 0 { None } else { Some(self.produced) }
    }

    /// Takes the next slot.
    ///
    /// # Panics
    /// When the ring is full: the caller asked [`Self::next`] before.
    pub(crate) const fn push(&mut self) {
        assert!(self.free() > 0, "push into a full ring");
        self.produced = self.produced.wrapping_add(1);
    }

    /// Free-running producer index, for the doorbell.
    pub(crate) const fn produced(&self) -> u32 {
        self.produced
    }

    /// Takes over the consumer's index and returns how many slots became free.
    ///
    /// # Errors
    /// [`Garbage`] when the index is not between the last one and what was produced.
    pub(crate) const fn consumed_to(&mut self, index: u32) -> Result<u32, Garbage> {
        let advance = index.wrapping_sub(self.consumed);
        if advance > self.produced.wrapping_sub(self.consumed) {
            return Err(Garbage { index, low: self.consumed, high: self.produced });
        }
        self.consumed = index;
        Ok(advance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};
    use std::collections::VecDeque;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push,
        Pop,
        Tell,
        Lie(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        (0_u8..9, any::<u32>()).prop_map(|(kind, lie)| match kind {
            0..=2 => Step::Push,
            3..=5 => Step::Pop,
            6..=7 => Step::Tell,
            _ => Step::Lie(lie),
        })
    }

    proptest! {
        #[test]
        fn a_ring_is_a_bounded_fifo_and_takes_no_impossible_index(
            start in any::<u32>(),
            bits in 1_u32..6,
            steps in proptest::collection::vec(step(), 0..400),
        ) {
            let size = Size::new(1 << bits);
            let mut producer = Producer { size, produced: start, consumed: start };
            let mut memory = vec![0_u32; 1 << bits];
            let (mut oracle, mut made, mut popped, mut told) = (VecDeque::new(), 0, start, 0);
            for step in steps {
                match step {
                    Step::Push => {
                        prop_assert_eq!(producer.next().is_none(), told == size.slots());
                        if let Some(index) = producer.next() {
                            made += 1;
                            told += 1;
                            memory[size.slot(index)] = made;
                            producer.push();
                            oracle.push_back(made);
                        }
                    }
                    Step::Pop => {
                        if let Some(wanted) = oracle.pop_front() {
                            prop_assert_eq!(memory[size.slot(popped)], wanted);
                            popped = popped.wrapping_add(1);
                        }
                    }
                    Step::Tell => {
                        producer.consumed_to(popped).unwrap();
                        told = u32::try_from(oracle.len()).unwrap();
                        prop_assert_eq!(producer.free(), size.slots() - told);
                    }
                    Step::Lie(index) => {
                        let mut copy = producer;
                        let possible = index.wrapping_sub(producer.consumed) <= told;
                        prop_assert_eq!(copy.consumed_to(index).is_ok(), possible);
                    }
                }
            }
        }
    }

    #[test]
    fn the_phase_is_one_on_the_first_lap_and_flips_on_each() {
        let size = Size::new(4);
        let phases: Vec<bool> = (0..12).map(|index| size.phase(index)).collect();
        assert_eq!(phases[..4], [true; 4]);
        assert_eq!(phases[4..8], [false; 4]);
        assert_eq!(phases[8..], [true; 4]);
        // Wrapping of the index does not break the alternation.
        assert!(!size.phase(u32::MAX) && size.phase(0));
    }
}
