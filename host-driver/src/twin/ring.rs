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

/// The side that empties a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Consumer {
    size: Size,
    produced: u32,
    consumed: u32,
}

impl Consumer {
    pub(crate) const fn new(size: Size) -> Self {
        Self { size, produced: 0, consumed: 0 }
    }

    /// Filled slots known of.
    pub(crate) const fn filled(&self) -> u32 {
        self.produced.wrapping_sub(self.consumed)
    }

    /// Free-running consumer index.
    pub(crate) const fn consumed(&self) -> u32 {
        self.consumed
    }

    /// Gives one slot back.
    ///
    /// # Panics
    /// When nothing is filled: the caller asked [`Self::filled`] before.
    pub(crate) const fn pop(&mut self) {
        assert!(self.filled() > 0, "pop from an empty ring");
        self.consumed = self.consumed.wrapping_add(1);
    }

    /// Takes over the producer's index.
    ///
    /// # Errors
    /// [`Garbage`] when it went backwards or beyond the ring.
    pub(crate) const fn produced_to(&mut self, index: u32) -> Result<(), Garbage> {
        let filled = index.wrapping_sub(self.consumed);
        if filled > self.size.0 || filled < self.filled() {
            let high = self.consumed.wrapping_add(self.size.0);
            return Err(Garbage { index, low: self.produced, high });
        }
        self.produced = index;
        Ok(())
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
        Tell,
        Pop,
        Return,
        Lie(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        (0_u8..9, any::<u32>()).prop_map(|(kind, lie)| match kind {
            0..=2 => Step::Push,
            3 => Step::Tell,
            4..=6 => Step::Pop,
            7 => Step::Return,
            _ => Step::Lie(lie),
        })
    }

    proptest! {
        #[test]
        fn producer_and_consumer_behave_as_a_bounded_fifo(
            start in any::<u32>(),
            bits in 1_u32..6,
            steps in proptest::collection::vec(step(), 0..400),
        ) {
            let size = Size::new(1 << bits);
            let mut producer = Producer { size, produced: start, consumed: start };
            let mut consumer = Consumer { size, produced: start, consumed: start };
            let mut memory = vec![0_u32; 1 << bits];
            let (mut oracle, mut made) = (VecDeque::new(), 0_u32);
            for step in steps {
                match step {
                    Step::Push => {
                        if let Some(index) = producer.next() {
                            made += 1;
                            memory[size.slot(index)] = made;
                            producer.push();
                            oracle.push_back(made);
                        }
                    }
                    Step::Tell => consumer.produced_to(producer.produced()).unwrap(),
                    Step::Pop => {
                        if consumer.filled() > 0 {
                            let got = memory[size.slot(consumer.consumed())];
                            consumer.pop();
                            prop_assert_eq!(Some(got), oracle.pop_front());
                        }
                    }
                    Step::Return => {
                        producer.consumed_to(consumer.consumed()).unwrap();
                        prop_assert_eq!(oracle.len() as u32, size.slots() - producer.free());
                    }
                    Step::Lie(index) => {
                        let (p, c) = (producer, consumer);
                        if producer.consumed_to(index).is_ok() {
                            let advance = index.wrapping_sub(p.consumed);
                            assert!(advance <= p.produced.wrapping_sub(p.consumed));
                        }
                        if consumer.produced_to(index).is_ok() {
                            assert!(index.wrapping_sub(c.consumed) <= size.slots());
                        }
                        (producer, consumer) = (p, c);
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
