//! One PCI function held through VFIO: registers, DMA memory, interrupts, reset.

use crate::pci::Address;
use std::time::Duration;
use twinpath_abi::bus::{AllocError, Iova};

/// How a function is opened.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of DMA memory, all of it pinned at open.
    pub dma_bytes: usize,
    /// Most MSI-X vectors taken; the function may have fewer.
    pub vectors_max: u16,
}

/// Why a function was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not bound to `vfio-pci`.
    #[error("{address}: not bound to vfio-pci: twinpath bind {address}")]
    NotBound {
        /// The function.
        address: Address,
    },
}

/// Why a function was not reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// The kernel knows no way to reset it alone.
    #[error("{address}: the function has no reset method")]
    Unsupported {
        /// The function.
        address: Address,
    },
}

/// What the kernel tells of the function beside its interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The function is being removed and the kernel waits for us: let go of it.
    RemovalRequested,
    /// An uncorrectable error was reported (AER): what is read may be anything, reset or let go.
    DeviceError,
}

/// A PCI function held through VFIO. Dropped, it stops DMA and gives the function back.
#[derive(Debug)]
pub struct Function {
    address: Address,
}

impl Function {
    /// Opens the function, maps BAR 0, pins DMA memory, arms MSI-X, error and removal events.
    /// Bus mastering stays off until [`Function::start_dma`].
    ///
    /// # Errors
    /// [`OpenError`]: one line with the remedy.
    pub fn open(address: Address, settings: Settings) -> Result<Self, OpenError> {
        let _ = settings;
        Err(OpenError::NotBound { address })
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Length of BAR 0 in bytes.
    #[must_use]
    pub fn bar_bytes(&self) -> u32 {
        unimplemented!()
    }

    /// Reads a 32-bit register of BAR 0 in one access (acquire).
    ///
    /// # Panics
    /// When `offset` is not a multiple of 4 inside the BAR, as for all register accesses.
    #[must_use]
    pub fn read32(&self, offset: u32) -> u32 {
        let _ = offset;
        unimplemented!()
    }

    /// Writes a 32-bit register of BAR 0 in one access (release).
    ///
    /// # Panics
    /// As [`Function::read32`].
    pub fn write32(&self, offset: u32, value: u32) {
        let _ = (offset, value);
        unimplemented!()
    }

    /// Reads a 64-bit register of BAR 0 in one access (acquire); `offset` is a multiple of 8.
    ///
    /// # Panics
    /// As [`Function::read32`].
    #[must_use]
    pub fn read64(&self, offset: u32) -> u64 {
        let _ = offset;
        unimplemented!()
    }

    /// Writes a 64-bit register of BAR 0 in one access (release); `offset` is a multiple of 8.
    ///
    /// # Panics
    /// As [`Function::read32`].
    pub fn write64(&self, offset: u32, value: u64) {
        let _ = (offset, value);
        unimplemented!()
    }

    /// Allocates zeroed DMA memory, aligned to 4096 bytes, for the life of the function.
    ///
    /// # Errors
    /// [`AllocError`] when the arena is used up.
    pub fn alloc(&self, bytes: usize) -> Result<Iova, AllocError> {
        Err(AllocError { wanted: bytes, free: 0 })
    }

    /// Copies DMA memory out. Not ordered: first see what publishes it with `load64`.
    ///
    /// # Panics
    /// Outside what was allocated, as for all accesses to DMA memory.
    pub fn copy_out(&self, from: Iova, out: &mut [u8]) {
        let _ = (from, out);
        unimplemented!()
    }

    /// Copies bytes into DMA memory. Not ordered: publish with `write32` or `store64`.
    ///
    /// # Panics
    /// As [`Function::copy_out`].
    pub fn copy_in(&self, to: Iova, bytes: &[u8]) {
        let _ = (to, bytes);
        unimplemented!()
    }

    /// Loads an aligned 64-bit word of DMA memory (acquire, little-endian).
    ///
    /// # Panics
    /// As [`Function::copy_out`].
    #[must_use]
    pub fn load64(&self, from: Iova) -> u64 {
        let _ = from;
        unimplemented!()
    }

    /// Stores an aligned 64-bit word of DMA memory (release, little-endian).
    ///
    /// # Panics
    /// As [`Function::copy_out`].
    pub fn store64(&self, to: Iova, value: u64) {
        let _ = (to, value);
        unimplemented!()
    }

    /// Number of MSI-X vectors armed.
    #[must_use]
    pub fn vectors(&self) -> u16 {
        0
    }

    /// Takes the interrupts of `vector` that came since the last call; never waits. An unknown
    /// vector has none.
    #[must_use]
    pub fn poll_interrupt(&self, vector: u16) -> u64 {
        let _ = vector;
        0
    }

    /// Waits for an interrupt of any vector or a notice, at most `timeout`; whether one came.
    #[must_use]
    pub fn wait_interrupt(&self, timeout: Duration) -> bool {
        let _ = timeout;
        false
    }

    /// Takes what the kernel told since the last call; never waits.
    #[must_use]
    pub fn poll_notice(&self) -> Option<Notice> {
        None
    }

    /// Whether the function still answers: its vendor id does not read as all ones.
    #[must_use]
    pub fn is_present(&self) -> bool {
        false
    }

    /// Lets the function read and write the DMA memory (bus master on). Call it after the
    /// registers of a former driver were reset.
    ///
    /// # Errors
    /// When configuration space cannot be written.
    pub fn start_dma(&self) -> std::io::Result<()> {
        unimplemented!()
    }

    /// Stops DMA (bus master off).
    ///
    /// # Errors
    /// When configuration space cannot be written.
    pub fn stop_dma(&self) -> std::io::Result<()> {
        unimplemented!()
    }

    /// Resets the function by whatever method the kernel has (FLR, PM, bus). Interrupts stay
    /// armed, DMA memory stays mapped; bus mastering is as before.
    ///
    /// # Errors
    /// [`ResetError`].
    pub fn reset(&self) -> Result<(), ResetError> {
        Err(ResetError::Unsupported { address: self.address })
    }
}
