//! A remote card's counters of its ports, summed over the cards that come and go.

use super::registers::{PortRegister, Registers};
use twinpath_abi::bus::Bus;

/// Values of one port's counters, in order of [`PortRegister::ALL`].
type Values = [u64; PortRegister::ALL.len()];

/// What was counted while a card was ours.
#[derive(Debug)]
pub(super) struct Odometer {
    /// By port: what the card showed when it was looked at last.
    shown: Vec<Values>,
    /// By port: all that it moved on since we have it, and its predecessors.
    total: Vec<Values>,
}

impl Odometer {
    pub(super) fn new(ports: usize) -> Self {
        let none = vec![Values::default(); ports];
        Self { shown: none.clone(), total: none }
    }

    /// Takes what a card shows as its beginning: it counts for us from here on.
    pub(super) fn begin<B: Bus>(&mut self, registers: &Registers<B>) {
        for (index, shown) in self.shown.iter_mut().enumerate() {
            *shown = PortRegister::ALL.map(|counter| registers.read(index, counter));
        }
    }

    /// Adds what it moved on since it was looked at last; a counter that went back adds nothing.
    pub(super) fn look<B: Bus>(&mut self, registers: &Registers<B>) {
        for (index, total) in self.total.iter_mut().enumerate() {
            let shown = &mut self.shown[index];
            for (at, counter) in PortRegister::ALL.into_iter().enumerate() {
                let value = registers.read(index, counter);
                total[at] = total[at].saturating_add(value.saturating_sub(shown[at]));
                shown[at] = value;
            }
        }
    }

    /// A counter of the port at `index`.
    pub(super) fn read(&self, index: usize, counter: PortRegister) -> u64 {
        self.total[index][counter as usize]
    }

    /// A counter of all ports.
    pub(super) fn sum(&self, counter: PortRegister) -> u64 {
        self.total.iter().map(|values| values[counter as usize]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use twinpath_abi::memory::SharedMemory;
    use twinpath_abi::register::{BAR_BYTES, PORT_ARRAY, PORT_STRIDE, port};

    #[test]
    fn only_what_a_card_counts_while_it_is_ours_counts() {
        let memory = SharedMemory::new(BAR_BYTES, 0, 1);
        let registers = Registers::new(Arc::new(memory.clone()), 2);
        let show = |value| {
            memory.write64(PORT_ARRAY + PORT_STRIDE + port::RX_PACKETS.offset, value);
        };
        let mut odometer = Odometer::new(2);
        show(100);
        odometer.begin(&registers);
        show(130);
        odometer.look(&registers);
        // Another card begins anew, and then one that has been used.
        show(0);
        odometer.begin(&registers);
        show(5);
        odometer.look(&registers);
        show(u64::MAX / 2);
        odometer.begin(&registers);
        odometer.look(&registers);
        assert_eq!(odometer.read(1, PortRegister::RxPackets), 35);
        assert_eq!(odometer.sum(PortRegister::RxPackets), 35);
        assert_eq!(odometer.sum(PortRegister::TxPackets), 0);
    }
}
