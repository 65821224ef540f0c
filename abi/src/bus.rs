//! The two ends of the memory that host and card share (`docs/nic-abi.md` §1.3).
//!
//! The BAR is an array of 32-bit words; a 64-bit register is two of them, low word first. DMA
//! memory is bytes at bus addresses; what one side publishes to the other goes through aligned
//! 64-bit words with release and acquire order.

use std::time::Duration;

/// Bus address of DMA memory, as the card sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Iova(pub u64);

impl Iova {
    /// The address `bytes` further on.
    ///
    /// # Panics
    /// When the address would wrap around, which no allocation does.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self(self.0.checked_add(bytes).expect("an allocation never wraps the address space"))
    }
}

/// Why DMA memory was not allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("dma arena has {free} bytes left, {wanted} wanted")]
pub struct AllocError {
    /// Bytes wanted.
    pub wanted: usize,
    /// Bytes left.
    pub free: usize,
}

/// The card asked for memory it was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("dma fault at {iova:#x}, {length} bytes")]
pub struct DmaFault {
    /// First address.
    pub iova: u64,
    /// Bytes.
    pub length: usize,
}

/// The host's end: what a driver needs of a transport, and no more.
///
/// Offsets into the BAR and addresses of DMA memory are the driver's own, so a wrong one is a bug
/// and panics; what is *read* there was written by the card and is not to be trusted.
pub trait Bus: Send + Sync {
    /// Length of the BAR in bytes.
    fn bar_bytes(&self) -> u32;

    /// Reads a register (acquire). `offset` is a multiple of 4.
    fn read32(&self, offset: u32) -> u32;

    /// Writes a register (release: everything written to DMA memory before is visible before).
    fn write32(&self, offset: u32, value: u32);

    /// Reads a 64-bit register: high, low, high, at most four times until the high words agree.
    fn read64(&self, offset: u32) -> u64 {
        let mut high = self.read32(offset + 4);
        let mut low = self.read32(offset);
        for _ in 0..3 {
            let again = self.read32(offset + 4);
            if again == high {
                break;
            }
            high = again;
            low = self.read32(offset);
        }
        u64::from(high) << 32 | u64::from(low)
    }

    /// Writes a 64-bit register, low word first.
    fn write64(&self, offset: u32, value: u64) {
        let low = value & 0xffff_ffff;
        self.write32(offset, u32::try_from(low).expect("masked to 32 bits"));
        self.write32(offset + 4, u32::try_from(value >> 32).expect("shifted to 32 bits"));
    }

    /// Allocates zeroed DMA memory, aligned to 4096 bytes, for the life of the bus or until
    /// [`Bus::reclaim`].
    ///
    /// # Errors
    /// [`AllocError`] when the arena is used up.
    fn alloc(&self, bytes: usize) -> Result<Iova, AllocError>;

    /// Takes back all that was allocated: the card is reset and the driver uses none of it. What is
    /// allocated from now on is not zeroed.
    fn reclaim(&self);

    /// Copies DMA memory out. Not ordered: first see what publishes it with [`Bus::load64`].
    fn copy_out(&self, from: Iova, out: &mut [u8]);

    /// Copies bytes into DMA memory. Not ordered: publish with [`Bus::write32`].
    fn copy_in(&self, to: Iova, bytes: &[u8]);

    /// Loads an aligned 64-bit word (acquire, little-endian).
    fn load64(&self, from: Iova) -> u64;

    /// Stores an aligned 64-bit word (release, little-endian).
    fn store64(&self, to: Iova, value: u64);

    /// Number of interrupt vectors.
    fn vectors(&self) -> u16;

    /// Takes the interrupts of `vector` that came since the last call; never waits.
    fn poll_interrupt(&self, vector: u16) -> u64;

    /// Waits for an interrupt of any vector, at most `timeout`; whether one came. Taken by
    /// [`Bus::poll_interrupt`].
    fn wait_interrupt(&self, timeout: Duration) -> bool;
}

/// The card's end.
pub trait CardMemory {
    /// Length of the BAR in bytes.
    fn bar_bytes(&self) -> u32;

    /// Reads a register (acquire).
    fn load32(&self, offset: u32) -> u32;

    /// Writes a register (release).
    fn store32(&self, offset: u32, value: u32);

    /// Reads DMA memory.
    ///
    /// # Errors
    /// [`DmaFault`] outside what the host gave.
    fn dma_read(&self, from: u64, out: &mut [u8]) -> Result<(), DmaFault>;

    /// Writes DMA memory, in ascending order; the last aligned word is published (release).
    ///
    /// # Errors
    /// [`DmaFault`] outside what the host gave.
    fn dma_write(&self, to: u64, bytes: &[u8]) -> Result<(), DmaFault>;

    /// Raises an interrupt; an unknown vector does nothing.
    fn raise(&self, vector: u16);
}
