//! Access to BAR words (`docs/nic-abi.md` §1.3, §3).

use twinpath_abi::bus::CardMemory;
use twinpath_abi::register::{
    CAPABILITY, CLOCK, EPOCH, GENERATION, HEARTBEAT, IDENTITY, IDENTITY_VALUE, QUEUE_ARRAY,
    QUEUE_STRIDE, RESET_DONE, Register, STATUS, SYNDROME, VERSION,
};

/// Writes a 64-bit register: low, then high.
pub(crate) fn store64(memory: &impl CardMemory, offset: u32, value: u64) {
    let (low, high) = halves(value);
    memory.store32(offset, low);
    memory.store32(offset + 4, high);
}

/// Reads a 64-bit register that the host wrote before what made the card look.
pub(crate) fn load64(memory: &impl CardMemory, offset: u32) -> u64 {
    u64::from(memory.load32(offset + 4)) << 32 | u64::from(memory.load32(offset))
}

/// Low and high word.
fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

/// The low 32 bits of a count.
pub(crate) fn low32(value: u64) -> u32 {
    halves(value).0
}

/// Offset of a register of a queue.
pub(crate) fn of_queue(queue: u32, register: Register) -> u32 {
    QUEUE_ARRAY + queue * QUEUE_STRIDE + register.offset
}

/// Writes bytes into BAR words; their length is a multiple of 4.
pub(crate) fn store_bytes(memory: &impl CardMemory, mut offset: u32, bytes: &[u8]) {
    for word in bytes.as_chunks::<4>().0 {
        memory.store32(offset, u32::from_le_bytes(*word));
        offset += 4;
    }
}

/// Reads bytes from BAR words; their length is a multiple of 4.
pub(crate) fn load_bytes(memory: &impl CardMemory, mut offset: u32, bytes: &mut [u8]) {
    for word in bytes.as_chunks_mut::<4>().0 {
        *word = memory.load32(offset).to_le_bytes();
        offset += 4;
    }
}

/// What the global registers of §3.2 show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Front {
    pub(crate) status: u32,
    pub(crate) syndrome: u32,
    pub(crate) epoch: u32,
    pub(crate) generation: u32,
    pub(crate) clock: u64,
}

impl Front {
    /// Brings the registers up to date.
    pub(crate) fn publish(&self, memory: &impl CardMemory) {
        memory.store32(STATUS.offset, self.status);
        memory.store32(SYNDROME.offset, self.syndrome);
        memory.store32(HEARTBEAT.offset, low32(self.clock / 1_000_000));
        memory.store32(EPOCH.offset, self.epoch);
        memory.store32(GENERATION.offset, self.generation);
        store64(memory, CLOCK.offset, self.clock);
    }
}

/// Writes what never changes.
pub(crate) fn power_up(memory: &impl CardMemory, capability: &[u8]) {
    memory.store32(IDENTITY.offset, IDENTITY_VALUE);
    memory.store32(VERSION.offset, twinpath_abi::ABI_VERSION);
    memory.store32(RESET_DONE.offset, 0);
    store_bytes(memory, CAPABILITY, capability);
}
