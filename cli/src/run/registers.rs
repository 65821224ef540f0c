//! The card's own counters of its ports; a reset leaves them (`docs/nic-abi.md` §2.3).

use std::cell::Cell;
use std::sync::Arc;
use twinpath_abi::bus::Bus;
use twinpath_abi::register::{
    PORT_ARRAY, PORT_STRIDE, QUEUE_ARRAY, QUEUE_STRIDE, QUEUES_MAX, Register, port, queue,
};

/// A counter of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortRegister {
    /// Frames received, whatever became of them.
    RxPackets,
    /// Their bytes.
    RxBytes,
    /// Frames sent.
    TxPackets,
    /// Their bytes.
    TxBytes,
    /// Frames the card decided alone.
    Decided,
    /// Received frames that were too long.
    RxTooLong,
    /// Received frames that found the host's ring full.
    RxOverrun,
    /// Received frames refused at the entrance.
    RxRefused,
    /// Frames too long to send.
    TxTooLong,
    /// Frames that found the port's queue full.
    TxOverrun,
}

impl PortRegister {
    /// All of them, in order of declaration.
    pub(crate) const ALL: [Self; 10] = [
        Self::RxPackets,
        Self::RxBytes,
        Self::TxPackets,
        Self::TxBytes,
        Self::Decided,
        Self::RxTooLong,
        Self::RxOverrun,
        Self::RxRefused,
        Self::TxTooLong,
        Self::TxOverrun,
    ];

    const fn register(self) -> &'static Register {
        match self {
            Self::RxPackets => &port::RX_PACKETS,
            Self::RxBytes => &port::RX_BYTES,
            Self::TxPackets => &port::TX_PACKETS,
            Self::TxBytes => &port::TX_BYTES,
            Self::Decided => &port::DECIDED,
            Self::RxTooLong => &port::RX_TOO_LONG,
            Self::RxOverrun => &port::RX_OVERRUN,
            Self::RxRefused => &port::RX_REFUSED,
            Self::TxTooLong => &port::TX_TOO_LONG,
            Self::TxOverrun => &port::TX_OVERRUN,
        }
    }
}

/// Reads the counters.
#[derive(Debug)]
pub(crate) struct Registers<B> {
    bus: Arc<B>,
    ports: u32,
    /// By port and counter: what it showed last. A card that is gone shows all ones.
    last: Vec<[Cell<u64>; PortRegister::ALL.len()]>,
}

impl<B: Bus> Registers<B> {
    /// The counters of a card with so many ports.
    pub(crate) fn new(bus: Arc<B>, ports: usize) -> Self {
        let last = (0..ports).map(|_| Default::default()).collect();
        let ports = u32::try_from(ports).expect("a card has at most 64 ports");
        Self { bus, ports, last }
    }

    /// A counter of the port at `index`.
    pub(crate) fn read(&self, index: usize, counter: PortRegister) -> u64 {
        let index = u32::try_from(index).expect("a card has at most 64 ports");
        self.at(index, counter)
    }

    /// A counter of all ports.
    pub(crate) fn sum(&self, counter: PortRegister) -> u64 {
        // What a card says is not trusted to stay below 2^64 together.
        (0..self.ports).map(|index| self.at(index, counter)).fold(0, u64::saturating_add)
    }

    /// Frames that wait in the receive rings for the host.
    pub(crate) fn waiting(&self) -> u64 {
        let rings = (QUEUE_ARRAY..).step_by(QUEUE_STRIDE as usize).take(QUEUES_MAX);
        let waiting = |ring: u32| {
            let read = |register: &Register| self.bus.read32(ring + register.offset);
            let is_used = read(&queue::ENABLE) == 1;
            let count = read(&queue::RX_PRODUCER).wrapping_sub(read(&queue::RX_CONSUMER));
            if is_used { u64::from(count) } else { 0 }
        };
        rings.map(waiting).sum()
    }

    fn at(&self, index: u32, counter: PortRegister) -> u64 {
        let shown = self.bus.read64(PORT_ARRAY + index * PORT_STRIDE + counter.register().offset);
        let last = &self.last[index as usize][counter as usize];
        if shown != u64::MAX {
            last.set(shown);
        }
        last.get()
    }
}
