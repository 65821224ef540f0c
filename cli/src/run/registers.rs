//! The card's own counters of its ports, summed over resets.

use std::collections::HashMap;
use twinpath_abi::bus::Bus as _;
use twinpath_abi::memory::SharedMemory;
use twinpath_abi::register::{PORT_ARRAY, PORT_STRIDE, Register, port};
use twinpath_flow::port::PortNo;

/// A counter of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortRegister {
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

/// All of them, in order of declaration.
const ALL: [PortRegister; 6] = [
    PortRegister::Decided,
    PortRegister::RxTooLong,
    PortRegister::RxOverrun,
    PortRegister::RxRefused,
    PortRegister::TxTooLong,
    PortRegister::TxOverrun,
];

impl PortRegister {
    const fn register(self) -> &'static Register {
        match self {
            Self::Decided => &port::DECIDED,
            Self::RxTooLong => &port::RX_TOO_LONG,
            Self::RxOverrun => &port::RX_OVERRUN,
            Self::RxRefused => &port::RX_REFUSED,
            Self::TxTooLong => &port::TX_TOO_LONG,
            Self::TxOverrun => &port::TX_OVERRUN,
        }
    }
}

/// Reads the counters; remembers what a reset is about to clear.
#[derive(Debug)]
pub(crate) struct Registers {
    memory: SharedMemory,
    /// By port: what was counted before the last reset.
    past: Vec<[u64; ALL.len()]>,
    /// Frames software could not send, by port.
    dropped: HashMap<PortNo, u64>,
}

impl Registers {
    /// The counters of a card with so many ports.
    pub(crate) fn new(memory: SharedMemory, ports: usize) -> Self {
        Self { memory, past: vec![[0; ALL.len()]; ports], dropped: HashMap::new() }
    }

    /// A counter of one port.
    pub(crate) fn read(&self, index: usize, counter: PortRegister) -> u64 {
        self.past[index][counter as usize] + self.now(index, counter)
    }

    /// A counter of all ports.
    pub(crate) fn sum(&self, counter: PortRegister) -> u64 {
        (0..self.past.len()).map(|index| self.read(index, counter)).sum()
    }

    /// Keeps what a reset clears.
    pub(crate) fn remember(&mut self) {
        for index in 0..self.past.len() {
            for counter in ALL {
                let now = self.now(index, counter);
                self.past[index][counter as usize] += now;
            }
        }
    }

    /// Counts a frame that software could not send out of `port`.
    pub(crate) fn drop_at(&mut self, port: PortNo) {
        *self.dropped.entry(port).or_default() += 1;
    }

    /// Frames that software could not send out of `port`.
    pub(crate) fn dropped_at(&self, port: PortNo) -> u64 {
        self.dropped.get(&port).copied().unwrap_or_default()
    }

    fn now(&self, index: usize, counter: PortRegister) -> u64 {
        let index = u32::try_from(index).expect("a card has at most 64 ports");
        self.memory.read64(PORT_ARRAY + index * PORT_STRIDE + counter.register().offset)
    }
}
