//! Physical ports: settings, egress queues, counters (`docs/nic-abi.md` §3.6).

use std::collections::VecDeque;
use twinpath_abi::bus::CardMemory;
use twinpath_abi::port::{NO_LIMIT, SetPort};
use twinpath_abi::register::{PORT_ARRAY, PORT_STRIDE, port};

/// Counters of a port, by name of their register.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PortCounters {
    pub(crate) rx_packets: u64,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_packets: u64,
    pub(crate) tx_bytes: u64,
    pub(crate) rx_too_long: u64,
    pub(crate) rx_overrun: u64,
    pub(crate) rx_refused: u64,
    pub(crate) tx_too_long: u64,
    pub(crate) tx_overrun: u64,
    pub(crate) decided: u64,
    pub(crate) missed: u64,
}

/// A physical port.
#[derive(Debug)]
pub(crate) struct Port {
    index: u32,
    pub(crate) number: u16,
    pub(crate) enabled: bool,
    /// Whether the wire is there.
    link: bool,
    pub(crate) mtu_in: u32,
    mtu_out: u32,
    /// Frames on their way out with the time they leave.
    egress: VecDeque<(u64, Vec<u8>)>,
    egress_max: usize,
    pub(crate) counters: PortCounters,
    /// Whether registers lag behind.
    changed: bool,
}

impl Port {
    pub(crate) fn new(index: u32, egress_max: u32) -> Self {
        Self {
            index,
            number: 0,
            enabled: false,
            link: true,
            mtu_in: 0,
            mtu_out: NO_LIMIT,
            egress: VecDeque::new(),
            egress_max: egress_max as usize,
            counters: PortCounters::default(),
            changed: true,
        }
    }

    pub(crate) fn reset(&mut self) {
        self.egress.clear();
        (self.number, self.enabled, self.mtu_in, self.mtu_out) = (0, false, 0, NO_LIMIT);
        self.changed = true;
    }

    pub(crate) fn configure(&mut self, settings: &SetPort) {
        self.number = settings.number;
        self.enabled = settings.enabled;
        self.mtu_in = settings.mtu_in;
        self.mtu_out = settings.mtu_out;
        self.changed = true;
    }

    /// Cuts or mends the wire; whether that is a change.
    pub(crate) fn set_link(&mut self, up: bool) -> bool {
        let changed = self.link != up;
        self.link = up;
        self.changed |= changed;
        changed
    }

    /// Whether frames come in.
    pub(crate) fn is_open(&self) -> bool {
        self.enabled && self.link
    }

    /// The counters, to be changed.
    pub(crate) fn count(&mut self) -> &mut PortCounters {
        self.changed = true;
        &mut self.counters
    }

    /// Whether a frame of that many bytes may leave.
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        bytes as u64 <= u64::from(self.mtu_out)
    }

    /// Queues a frame to leave at `due`, or gives it back when it is dropped and counted.
    pub(crate) fn send(&mut self, frame: Vec<u8>, due: u64) -> Result<(), Vec<u8>> {
        self.changed = true;
        let too_long = frame.len() as u64 > u64::from(self.mtu_out);
        if too_long {
            self.counters.tx_too_long += 1;
            return Err(frame);
        }
        if !self.is_open() || self.egress.len() >= self.egress_max {
            self.counters.tx_overrun += 1;
            return Err(frame);
        }
        self.counters.tx_packets += 1;
        self.counters.tx_bytes += frame.len() as u64;
        self.egress.push_back((due, frame));
        Ok(())
    }

    /// The next frame that has left by `now`.
    pub(crate) fn leave(&mut self, now: u64) -> Option<Vec<u8>> {
        let due = self.next_departure()?;
        if due <= now { self.egress.pop_front().map(|(_, frame)| frame) } else { None }
    }

    pub(crate) fn next_departure(&self) -> Option<u64> {
        self.egress.front().map(|(due, _)| *due)
    }

    /// Brings the registers up to date.
    pub(crate) fn publish(&mut self, memory: &impl CardMemory) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let base = PORT_ARRAY + self.index * PORT_STRIDE;
        let settings = [
            (port::LINK, u32::from(self.link)),
            (port::ENABLED, u32::from(self.enabled)),
            (port::MTU_IN, self.mtu_in),
            (port::MTU_OUT, self.mtu_out),
        ];
        for (register, value) in settings {
            memory.store32(base + register.offset, value);
        }
        let counters = &self.counters;
        let values = [
            (port::RX_PACKETS, counters.rx_packets),
            (port::RX_BYTES, counters.rx_bytes),
            (port::TX_PACKETS, counters.tx_packets),
            (port::TX_BYTES, counters.tx_bytes),
            (port::RX_TOO_LONG, counters.rx_too_long),
            (port::RX_OVERRUN, counters.rx_overrun),
            (port::RX_REFUSED, counters.rx_refused),
            (port::TX_TOO_LONG, counters.tx_too_long),
            (port::TX_OVERRUN, counters.tx_overrun),
            (port::DECIDED, counters.decided),
            (port::MISSED, counters.missed),
        ];
        for (register, value) in values {
            crate::registers::store64(memory, base + register.offset, value);
        }
    }
}
