//! A remote card's counters of its ports, summed over the cards that come and go.

use super::registers::{PortRegister, Registers};
use twinpath_abi::bus::Bus;

/// Values of one port's counters, in order of [`PortRegister::ALL`].
type Values = [u64; PortRegister::ALL.len()];

/// What becomes of received frames other than going to the host.
const FATES: [PortRegister; 3] =
    [PortRegister::Decided, PortRegister::RxTooLong, PortRegister::RxOverrun];

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

    /// Goes on from what a former process had seen of the card and its predecessors.
    pub(super) fn resume(&mut self, index: usize, shown: &[u64], total: &[u64]) {
        let put = |values: &mut [Values], from: &[u64]| {
            if let Some(values) = values.get_mut(index) {
                values.iter_mut().zip(from).for_each(|(value, from)| *value = *from);
            }
        };
        put(&mut self.shown, shown);
        put(&mut self.total, total);
    }

    /// What was shown last at a port, and what that amounts to.
    pub(super) fn values(&self, index: usize) -> (Vec<u64>, Vec<u64>) {
        (self.shown[index].to_vec(), self.total[index].to_vec())
    }

    /// Takes what a card shows as its beginning: it counts for us from here on. Of the frames it
    /// received those are ours that it neither decided nor lost before: they went, or will go, to
    /// the host.
    pub(super) fn begin<B: Bus>(&mut self, registers: &Registers<B>) {
        for (index, shown) in self.shown.iter_mut().enumerate() {
            *shown = PortRegister::ALL.map(|counter| registers.read(index, counter));
            let fates = FATES.map(|counter| shown[counter as usize]);
            shown[PortRegister::RxPackets as usize] = fates.iter().sum();
        }
    }

    /// So many of the frames that went to the host were not ours after all.
    pub(super) fn disown(&mut self, index: usize, frames: u64) {
        self.shown[index][PortRegister::RxPackets as usize] += frames;
    }

    /// Frames of a port are at least those of known fate, `to_host` of them in the host's hands: a
    /// card that is gone cannot be asked any more.
    pub(super) fn end(&mut self, index: usize, to_host: u64) {
        let total = &mut self.total[index];
        let known = to_host + FATES.iter().map(|counter| total[*counter as usize]).sum::<u64>();
        let received = &mut total[PortRegister::RxPackets as usize];
        *received = known.max(*received);
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
            for register in [port::RX_PACKETS, port::DECIDED] {
                memory.write64(PORT_ARRAY + PORT_STRIDE + register.offset, value);
            }
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

    #[test]
    fn frames_on_their_way_to_the_host_when_a_card_is_taken_over_are_ours() {
        let memory = SharedMemory::new(BAR_BYTES, 0, 1);
        let registers = Registers::new(Arc::new(memory.clone()), 1);
        let show = |register: twinpath_abi::register::Register, value| {
            memory.write64(PORT_ARRAY + register.offset, value);
        };
        let mut odometer = Odometer::new(1);
        // 20 were decided by the card before; of 10 for the host 7 came another way too.
        show(port::RX_PACKETS, 30);
        show(port::DECIDED, 20);
        odometer.begin(&registers);
        odometer.disown(0, 7);
        odometer.look(&registers);
        assert_eq!(odometer.read(0, PortRegister::RxPackets), 3);
        show(port::RX_PACKETS, 40);
        show(port::DECIDED, 25);
        odometer.look(&registers);
        assert_eq!(odometer.read(0, PortRegister::RxPackets), 13);
        // The host has 3 of then and 9 since: the card's last word was older than 4 of them.
        odometer.end(0, 12);
        assert_eq!(odometer.read(0, PortRegister::RxPackets), 17);
        odometer.end(0, 1);
        assert_eq!(odometer.read(0, PortRegister::RxPackets), 17);
    }
}
