//! The event ring: the device tells when a link changes.
//!
//! Events are lost when no descriptor is posted, so they say only that something changed; what is
//! true is read from the link register.

use super::io::RockerIo;
use super::register::RingRegisters;
use super::ring::{Ring, RingSize, Work};
use twinpath_abi::bus::Iova;
use twinpath_flow::card::DeathCause;

/// Descriptors of the event ring.
pub(crate) const RING: RingSize = RingSize::log2(6);
/// Bytes of an event's buffer; the longest event takes 72.
pub(crate) const BUFFER_BYTES: u16 = 128;

/// Memory of the event ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventMemory {
    /// Descriptors.
    pub base: Iova,
    /// Buffers of [`BUFFER_BYTES`].
    pub buffers: Iova,
}

/// The event ring.
#[derive(Debug)]
pub(crate) struct Events {
    ring: Ring,
    buffers: Iova,
}

impl Events {
    /// Sets the ring up with every descriptor posted.
    pub(crate) fn program(io: &impl RockerIo, memory: EventMemory) -> Self {
        let ring = Ring::program(io, RingRegisters::EVENT, memory.base, RING);
        let mut events = Self { ring, buffers: memory.buffers };
        events.post(io);
        events
    }

    fn post(&mut self, io: &impl RockerIo) {
        while let Some(index) = self.ring.vacancy() {
            let offset = u64::from(index) * u64::from(BUFFER_BYTES);
            let buffer = self.buffers.plus(offset);
            let work = Work { buffer, buffer_bytes: BUFFER_BYTES, tlv_bytes: 0 };
            self.ring.push(io, work, u64::from(index));
        }
        self.ring.ring(io);
    }

    /// Takes the events that arrived; whether there were any.
    ///
    /// # Errors
    /// [`DeathCause::Garbage`] for a completion the device would not write.
    pub(crate) fn drain(&mut self, io: &impl RockerIo) -> Result<bool, DeathCause> {
        let mut taken = 0;
        loop {
            let slot = u64::from(self.ring.oldest());
            let Some(completion) = self.ring.pop(io) else { break };
            if completion.cookie != slot || completion.tlv_bytes > BUFFER_BYTES {
                return Err(DeathCause::Garbage);
            }
            taken += 1;
        }
        if taken > 0 {
            self.post(io);
            self.ring.give_back(io, taken);
        }
        Ok(taken > 0)
    }
}
