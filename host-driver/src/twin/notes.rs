//! What a driver notes for its successor, in the DMA memory that outlives it: what neither the card
//! nor its registers tell.
//!
//! One page: a head (magic, digest of the layout, the card's epoch, number of this driver) and a mask
//! for each bank, each under a check word. Written before the card is told, so that a driver killed
//! at any moment leaves no mask unknown that is in force. The card could scribble here, as in all of
//! this memory: check words find what is not ours.

use super::commands::RingMemory;
use super::geometry::Memory;
use super::queue::register_of;
pub(crate) use crate::digest::digest;
use twinpath_abi::bus::{Bus, Iova};
use twinpath_abi::capability::Capability;
use twinpath_abi::key::KEY_BYTES;
use twinpath_abi::register::{self, Register, queue};
use twinpath_flow::key::Line;

/// Bytes of the page.
pub(crate) const NOTES_BYTES: usize = 4096;
/// "TWNOTES" and the version of this page.
const MAGIC: u64 = u64::from_le_bytes(*b"TWNOTES1");
/// Offset of the digest of the layout.
const DIGEST: u64 = 8;
/// Offset of the card's epoch, and above it the number of this driver.
const EPOCH: u64 = 16;
/// Offset of the first mask.
const MASKS: u64 = 64;
/// Bytes of a mask with its check word before it.
const MASK_STRIDE: u64 = 8 + KEY_BYTES as u64;

/// The page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notes(pub Iova);

/// The check word of a mask; never 0.
fn check(table: u8, mask: &Line) -> u64 {
    digest([&[table][..], &mask.0[..]]) | 1
}

impl Notes {
    /// Begins a page for a card that was reset.
    pub(crate) fn begin(self, bus: &impl Bus, layout: u64, epoch: u32) {
        bus.store64(self.0, 0);
        bus.copy_in(self.0, &[0; NOTES_BYTES]);
        bus.store64(self.0.plus(DIGEST), layout);
        bus.store64(self.0.plus(EPOCH), u64::from(epoch));
        bus.store64(self.0, MAGIC);
    }

    /// Takes a page over: the number of the driver that does; `None` when the page is not one for
    /// that layout and epoch.
    pub(crate) fn take_over(self, bus: &impl Bus, layout: u64, epoch: u32) -> Option<u8> {
        let word = bus.load64(self.0.plus(EPOCH));
        let known = bus.load64(self.0) == MAGIC
            && bus.load64(self.0.plus(DIGEST)) == layout
            && word & u64::from(u32::MAX) == u64::from(epoch);
        let life = u8::try_from((word >> 32) & 0xff).expect("masked").wrapping_add(1);
        let word = u64::from(life) << 32 | u64::from(epoch);
        known.then(|| {
            bus.store64(self.0.plus(EPOCH), word);
            life
        })
    }

    /// Notes the mask of a bank, before the card is told.
    pub(crate) fn put_mask(self, bus: &impl Bus, table: u8, mask: &Line) {
        let at = self.0.plus(MASKS + u64::from(table) * MASK_STRIDE);
        bus.store64(at, 0);
        bus.copy_in(at.plus(8), &mask.0);
        bus.store64(at, check(table, mask));
    }

    /// The mask last noted for a bank.
    pub(crate) fn mask(self, bus: &impl Bus, table: u8) -> Option<Line> {
        let at = self.0.plus(MASKS + u64::from(table) * MASK_STRIDE);
        let wanted = bus.load64(at);
        let mut mask = Line::ZERO;
        bus.copy_out(at.plus(8), &mut mask.0);
        (wanted == check(table, &mask)).then_some(mask)
    }
}

/// Whether the card's rings and queues are those of `memory`.
pub(crate) fn is_programmed(bus: &impl Bus, memory: &Memory, card: &Capability) -> bool {
    let RingMemory { commands, completions, log2, completion_log2, .. } = memory.rings;
    let words = [
        (register::COMMAND_SIZE_LOG2.offset, log2),
        (register::COMPLETION_SIZE_LOG2.offset, completion_log2),
    ];
    let bases = [
        (register::COMMAND_BASE.offset, commands),
        (register::COMPLETION_BASE.offset, completions),
    ];
    let rings = words.iter().all(|(at, value)| bus.read32(*at) == *value)
        && bases.iter().all(|(at, base)| bus.read64(*at) == base.0);
    let enabled = |index: u16| bus.read32(register_of(index, &queue::ENABLE)) == 1;
    let count = u16::try_from(card.queues).unwrap_or(u16::MAX);
    let same = |index: u16| {
        let Some(wanted) = memory.queues.get(usize::from(index)) else { return !enabled(index) };
        let word = |register: &Register| bus.read32(register_of(index, register));
        let long = |register: &Register| bus.read64(register_of(index, register));
        enabled(index)
            && long(&queue::RX_BASE) == wanted.rx_base.0
            && long(&queue::RX_BUFFERS) == wanted.rx_buffers.0
            && long(&queue::TX_BASE) == wanted.tx_base.0
            && word(&queue::RX_SIZE_LOG2) == wanted.rx_log2
            && word(&queue::RX_STRIDE) == wanted.rx_stride
            && word(&queue::TX_SIZE_LOG2) == wanted.tx_log2
    };
    rings && (0..count).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_abi::memory::SharedMemory;

    #[test]
    fn a_page_is_taken_over_only_for_its_own_card_and_layout() {
        let bus = SharedMemory::new(4096, 2 * NOTES_BYTES, 1);
        let notes = Notes(bus.alloc(NOTES_BYTES).unwrap());
        assert_eq!(notes.take_over(&bus, 0, 0), None, "nobody has begun it");
        notes.begin(&bus, 7, 3);
        assert_eq!(notes.take_over(&bus, 8, 3), None);
        assert_eq!(notes.take_over(&bus, 7, 4), None);
        let lives: Vec<_> = (1..=300).filter_map(|_| notes.take_over(&bus, 7, 3)).collect();
        assert_eq!((lives.len(), lives[0], lives[299]), (300, 1, 44));
    }

    #[test]
    fn a_mask_that_was_torn_is_none() {
        let bus = SharedMemory::new(4096, 2 * NOTES_BYTES, 1);
        let notes = Notes(bus.alloc(NOTES_BYTES).unwrap());
        notes.begin(&bus, 7, 3);
        let mask = Line([0xf0; KEY_BYTES]);
        assert_eq!(notes.mask(&bus, 31), None);
        notes.put_mask(&bus, 31, &mask);
        assert_eq!((notes.mask(&bus, 31), notes.mask(&bus, 30)), (Some(mask), None));
        bus.copy_in(notes.0.plus(MASKS + 31 * MASK_STRIDE + 20), &[0]);
        assert_eq!(notes.mask(&bus, 31), None);
    }
}
