//! What the driver needs of the function it drives: registers, DMA memory, interrupts, bus master.
//!
//! `vfio::Function` is one; tests have a scripted device.

use std::io;
use twinpath_abi::bus::{AllocError, Iova};

/// A PCI function as the driver sees it.
///
/// Registers are little-endian and accessed whole, in one access of 4 or 8 bytes. A write to a
/// register is ordered behind all earlier writes to DMA memory; a `load64` ahead of all later
/// reads of it.
pub trait RockerIo: Send + Sync {
    /// Reads a 32-bit register of BAR 0.
    fn read32(&self, offset: u32) -> u32;

    /// Writes a 32-bit register of BAR 0.
    fn write32(&self, offset: u32, value: u32);

    /// Reads a 64-bit register of BAR 0.
    fn read64(&self, offset: u32) -> u64;

    /// Writes a 64-bit register of BAR 0.
    fn write64(&self, offset: u32, value: u64);

    /// Allocates zeroed DMA memory for the life of the function, aligned to at least 64 bytes.
    ///
    /// # Errors
    /// [`AllocError`] when there is none left.
    fn alloc(&self, bytes: usize) -> Result<Iova, AllocError>;

    /// Copies DMA memory out.
    fn copy_out(&self, from: Iova, out: &mut [u8]);

    /// Copies bytes into DMA memory.
    fn copy_in(&self, to: Iova, bytes: &[u8]);

    /// Loads an aligned 64-bit word of DMA memory.
    fn load64(&self, from: Iova) -> u64;

    /// Number of MSI-X vectors armed.
    fn vectors(&self) -> u16;

    /// Takes the interrupts of a vector that came since the last call; never waits.
    fn poll_interrupt(&self, vector: u16) -> u64;

    /// Turns bus mastering on.
    ///
    /// # Errors
    /// When configuration space cannot be written.
    fn start_dma(&self) -> io::Result<()>;

    /// Turns bus mastering off.
    ///
    /// # Errors
    /// When configuration space cannot be written.
    fn stop_dma(&self) -> io::Result<()>;
}
