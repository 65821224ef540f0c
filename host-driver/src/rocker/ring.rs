//! Descriptor rings in DMA memory: 32-byte descriptors, head the driver's, tail the device's.

use super::io::RockerIo;
use super::register::RingRegisters;
use twinpath_abi::bus::Iova;

/// Bytes of a descriptor.
pub(crate) const DESCRIPTOR_BYTES: usize = 32;
/// Offset of the word that ends a descriptor; its top 16 bits are the completion.
const LAST_WORD: u64 = 24;
/// Completion bit 15: the device is done with the descriptor.
const DONE: u16 = 0x8000;

/// Entries of a ring: a power of two from 2 to 65,536; the device ignores others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingSize(u32);

impl RingSize {
    /// 2 to the power of `log2`, which is put between 1 and 16.
    pub(crate) const fn log2(log2: u32) -> Self {
        let log2 = if log2 < 1 { 1 } else { log2 };
        Self(1 << if log2 > 16 { 16 } else { log2 })
    }

    /// Entries.
    pub(crate) const fn entries(self) -> u32 {
        self.0
    }

    /// Bytes of the descriptors.
    pub(crate) const fn bytes(self) -> usize {
        self.0 as usize * DESCRIPTOR_BYTES
    }

    const fn next(self, index: u32) -> u32 {
        (index + 1) & (self.0 - 1)
    }
}

/// What the device is to work on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// TLVs.
    pub buffer: Iova,
    /// Bytes the device may use there.
    pub buffer_bytes: u16,
    /// Bytes of TLVs there now; never more than `buffer_bytes`.
    pub tlv_bytes: u16,
}

/// A descriptor the device is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    /// What the driver had put into the descriptor.
    pub cookie: u64,
    /// Bytes of TLVs in the buffer now.
    pub tlv_bytes: u16,
    /// 0, or a positive error number.
    pub error: u16,
}

/// One ring.
#[derive(Debug)]
pub(crate) struct Ring {
    registers: RingRegisters,
    base: Iova,
    size: RingSize,
    head: u32,
    tail: u32,
}

impl Ring {
    /// Gives the device a ring of zeroed descriptors; its former state is forgotten.
    ///
    /// `base` is no null address: that would mean "no ring".
    pub(crate) fn program(
        io: &impl RockerIo,
        registers: RingRegisters,
        base: Iova,
        size: RingSize,
    ) -> Self {
        for index in 0..u64::from(size.0) {
            io.copy_in(base.plus(index * DESCRIPTOR_BYTES as u64), &[0; DESCRIPTOR_BYTES]);
        }
        io.write32(registers.control(), 1);
        io.write64(registers.base(), base.0);
        io.write32(registers.size(), size.0);
        Self { registers, base, size, head: 0, tail: 0 }
    }

    /// Whether the device works with this ring.
    pub(crate) fn is_programmed(
        io: &impl RockerIo,
        registers: RingRegisters,
        base: Iova,
        size: RingSize,
    ) -> bool {
        io.read64(registers.base()) == base.0 && io.read32(registers.size()) == size.0
    }

    /// Goes on with a ring of a former driver, which refills what it takes: all descriptors are with
    /// the device, but for those that it is done with. What the former driver was about to hand
    /// over again is passed over; `None` when the device's indices make no sense.
    pub(crate) fn resume(
        io: &impl RockerIo,
        registers: RingRegisters,
        base: Iova,
        size: RingSize,
    ) -> Option<Self> {
        let completions = io.read32(registers.credits());
        let (head, done) = (io.read32(registers.head()), io.read32(registers.tail()));
        if head >= size.0 || done >= size.0 {
            return None;
        }
        let mut ring = Self { registers, base, size, head, tail: size.next(head) };
        // Ends: the indices wrap around to `done`.
        while ring.tail != done && !ring.is_done(io, ring.tail) {
            ring.tail = size.next(ring.tail);
        }
        let left = done.wrapping_sub(ring.tail) & (size.0 - 1);
        ring.give_back(io, completions.saturating_sub(left));
        Some(ring)
    }

    fn is_done(&self, io: &impl RockerIo, index: u32) -> bool {
        let last = io.load64(self.descriptor(index).plus(LAST_WORD)).to_le_bytes();
        u16::from_le_bytes([last[6], last[7]]) & DONE != 0
    }

    fn descriptor(&self, index: u32) -> Iova {
        self.base.plus(u64::from(index) * DESCRIPTOR_BYTES as u64)
    }

    /// Index of the descriptor to fill next; `None` when the ring is full.
    pub(crate) const fn vacancy(&self) -> Option<u32> {
        if self.size.next(self.head) == self.tail { None } else { Some(self.head) }
    }

    /// Fills the next descriptor; [`Ring::ring`] hands it over. The ring must have a vacancy.
    pub(crate) fn push(&mut self, io: &impl RockerIo, work: Work, cookie: u64) {
        debug_assert!(work.tlv_bytes <= work.buffer_bytes);
        let mut bytes = [0; DESCRIPTOR_BYTES];
        bytes[0..8].copy_from_slice(&work.buffer.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&cookie.to_le_bytes());
        bytes[16..18].copy_from_slice(&work.buffer_bytes.to_le_bytes());
        bytes[18..20].copy_from_slice(&work.tlv_bytes.min(work.buffer_bytes).to_le_bytes());
        io.copy_in(self.descriptor(self.head), &bytes);
        self.head = self.size.next(self.head);
    }

    /// Tells the device of all filled descriptors. The command ring and transmit rings have been
    /// worked through when this returns.
    pub(crate) fn ring(&self, io: &impl RockerIo) {
        io.write32(self.registers.head(), self.head);
    }

    /// Index of the oldest descriptor the device has.
    pub(crate) const fn oldest(&self) -> u32 {
        self.tail
    }

    /// The oldest descriptor, if the device is done with it; it is free then.
    pub(crate) fn pop(&mut self, io: &impl RockerIo) -> Option<Completion> {
        if self.tail == self.head {
            return None;
        }
        let at = self.descriptor(self.tail);
        let last = io.load64(at.plus(LAST_WORD)).to_le_bytes();
        let completion = u16::from_le_bytes([last[6], last[7]]);
        if completion & DONE == 0 {
            return None;
        }
        let mut cookie = [0; 8];
        io.copy_out(at.plus(8), &mut cookie);
        let mut tlv_bytes = [0; 2];
        io.copy_out(at.plus(18), &mut tlv_bytes);
        self.tail = self.size.next(self.tail);
        Some(Completion {
            cookie: u64::from_le_bytes(cookie),
            tlv_bytes: u16::from_le_bytes(tlv_bytes),
            error: completion & !DONE,
        })
    }

    /// Gives completions back, so that the next one interrupts again.
    pub(crate) fn give_back(&self, io: &impl RockerIo, completions: u32) {
        io.write32(self.registers.credits(), completions);
    }

    /// Consumer index as the device has it.
    pub(crate) fn device_tail(&self, io: &impl RockerIo) -> u32 {
        io.read32(self.registers.tail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_size_the_device_would_ignore_cannot_be_made() {
        assert_eq!(RingSize::log2(0).entries(), 2);
        assert_eq!(RingSize::log2(8).entries(), 256);
        assert_eq!(RingSize::log2(40).entries(), 65_536);
    }
}
