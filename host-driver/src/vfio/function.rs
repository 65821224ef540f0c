//! One PCI function held through VFIO: registers, DMA memory, interrupts, reset.

use super::device::Device;
use super::dma::{Arena, Backing};
use super::error::{OpenError, ResetError};
use super::interrupts::Interrupts;
use super::mmio::Bar;
use crate::pci::readiness::Process;
use crate::pci::{Address, ConfigSnapshot, Sysfs};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use twinpath_abi::bus::{AllocError, Iova};

/// How a function is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of DMA memory, all of it pinned at open.
    pub dma_bytes: usize,
    /// Most MSI-X vectors taken; the function may have fewer.
    pub vectors_max: u16,
}

impl Default for Settings {
    /// 64 MiB, which serve the rings and tables of every card we drive, and 256 vectors.
    fn default() -> Self {
        Self { dma_bytes: 64 << 20, vectors_max: 256 }
    }
}

/// What the kernel tells of the function beside its interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The function is being removed and the kernel waits for us: let go of it.
    RemovalRequested,
    /// An uncorrectable error was reported (AER): what is read may be anything, reset or let go.
    DeviceError,
}

/// What a function is made of, for a process to come. Interrupts are armed anew.
#[derive(Debug)]
pub struct Keepsakes {
    /// The device; as long as it is open, group and container stay, and nothing is reset.
    pub device: OwnedFd,
    /// Its container.
    pub container: OwnedFd,
    /// DMA memory.
    pub memory: OwnedFd,
}

/// A PCI function held through VFIO. Dropped, it stops DMA and gives the function back.
#[derive(Debug)]
pub struct Function {
    // In the order of their drop: a mapped BAR would keep the group busy after the device is
    // closed; memory goes when no device can reach it any more.
    bar: Bar,
    device: Device,
    arena: Arena,
    interrupts: Interrupts,
    config: ConfigSnapshot,
    address: Address,
    /// Whether a drop leaves it to a process to come.
    is_left: AtomicBool,
}

impl Function {
    /// Opens the function, maps BAR 0, pins DMA memory, arms MSI-X, error and removal events.
    /// Bus mastering stays off until [`Function::start_dma`].
    ///
    /// # Errors
    /// [`OpenError`]: one line with the remedy.
    pub fn open(address: Address, settings: Settings) -> Result<Self, OpenError> {
        let process = Process::current(settings.dma_bytes as u64);
        if let Some(obstacle) = Sysfs::system().obstacles(address, &process).into_iter().next() {
            return Err(OpenError::NotReady { address, obstacle });
        }
        let device = Device::open(address)?;
        device.stop_dma().map_err(|error| OpenError::Call {
            address,
            call: "write of config space",
            error,
        })?;
        let arena = device.arena(settings.dma_bytes)?;
        Self::with(address, device, arena, settings)
    }

    /// Goes on with the function of a process that is gone: its registers, its memory, of which
    /// nothing is allocated, and bus mastering as they are.
    ///
    /// # Errors
    /// [`OpenError`] when the function or its memory is not as it was.
    pub fn resume(
        address: Address,
        settings: Settings,
        keepsakes: Keepsakes,
    ) -> Result<Self, OpenError> {
        let Keepsakes { device, container, memory } = keepsakes;
        let device = Device::resume(address, device, container);
        let arena = device.resume_arena(File::from(memory), settings.dma_bytes)?;
        Self::with(address, device, arena, settings)
    }

    fn with(
        address: Address,
        device: Device,
        arena: Arena,
        settings: Settings,
    ) -> Result<Self, OpenError> {
        let config = device.config()?;
        let capabilities =
            config.capabilities().map_err(|error| OpenError::Config { address, error })?;
        let bar = device.bar(capabilities.msix)?;
        let interrupts = Interrupts::new(device.vectors().min(settings.vectors_max))
            .map_err(|error| OpenError::Events { address, error })?;
        device.arm(&interrupts)?;
        let is_left = AtomicBool::new(false);
        Ok(Self { bar, device, arena, interrupts, config, address, is_left })
    }

    /// Descriptors with which [`Function::resume`] goes on in another process.
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub fn keepsakes(&self) -> io::Result<Keepsakes> {
        let (device, container) = self.device.descriptors()?;
        Ok(Keepsakes { device, container, memory: self.arena.file().as_fd().try_clone_to_owned()? })
    }

    /// Leaves DMA on when it is dropped, for a process to come that has the keepsakes.
    pub fn leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Its configuration space as it was at open.
    #[must_use]
    pub const fn config(&self) -> &ConfigSnapshot {
        &self.config
    }

    /// What backs the DMA memory.
    #[must_use]
    pub const fn backing(&self) -> Backing {
        self.arena.backing()
    }

    /// Length of BAR 0 in bytes.
    #[must_use]
    pub const fn bar_bytes(&self) -> u32 {
        self.bar.bytes()
    }

    /// Reads a 32-bit register of BAR 0 in one access (acquire).
    ///
    /// # Panics
    /// When `offset` is not a multiple of 4 inside the BAR, as for all register accesses.
    #[must_use]
    pub fn read32(&self, offset: u32) -> u32 {
        self.bar.read32(offset)
    }

    /// Writes a 32-bit register of BAR 0 in one access (release).
    ///
    /// # Panics
    /// As [`Function::read32`].
    pub fn write32(&self, offset: u32, value: u32) {
        self.bar.write32(offset, value);
    }

    /// Reads a 64-bit register of BAR 0 in one access (acquire); `offset` is a multiple of 8.
    ///
    /// # Panics
    /// As [`Function::read32`].
    #[must_use]
    pub fn read64(&self, offset: u32) -> u64 {
        self.bar.read64(offset)
    }

    /// Writes a 64-bit register of BAR 0 in one access (release); `offset` is a multiple of 8.
    ///
    /// # Panics
    /// As [`Function::read32`].
    pub fn write64(&self, offset: u32, value: u64) {
        self.bar.write64(offset, value);
    }

    /// Allocates zeroed DMA memory, aligned to 4096 bytes, for the life of the function.
    ///
    /// # Errors
    /// [`AllocError`] when the arena is used up.
    pub fn alloc(&self, bytes: usize) -> Result<Iova, AllocError> {
        self.arena.alloc(bytes)
    }

    /// Takes back all that was allocated: the card is reset and the driver uses none of it.
    pub fn reclaim(&self) {
        self.arena.reclaim();
    }

    /// Copies DMA memory out. Not ordered: first see what publishes it with `load64`.
    ///
    /// # Panics
    /// Outside the arena, as for all accesses to DMA memory.
    pub fn copy_out(&self, from: Iova, out: &mut [u8]) {
        self.arena.copy_out(from, out);
    }

    /// Copies bytes into DMA memory. Not ordered: publish with `write32` or `store64`.
    ///
    /// # Panics
    /// As [`Function::copy_out`].
    pub fn copy_in(&self, to: Iova, bytes: &[u8]) {
        self.arena.copy_in(to, bytes);
    }

    /// Loads an aligned 64-bit word of DMA memory (acquire, little-endian).
    ///
    /// # Panics
    /// As [`Function::copy_out`].
    #[must_use]
    pub fn load64(&self, from: Iova) -> u64 {
        self.arena.load64(from)
    }

    /// Stores an aligned 64-bit word of DMA memory (release, little-endian).
    ///
    /// # Panics
    /// As [`Function::copy_out`].
    pub fn store64(&self, to: Iova, value: u64) {
        self.arena.store64(to, value);
    }

    /// Number of MSI-X vectors armed.
    #[must_use]
    pub fn vectors(&self) -> u16 {
        self.interrupts.count()
    }

    /// Takes the interrupts of `vector` that came since the last call; never waits. An unknown
    /// vector has none.
    #[must_use]
    pub fn poll_interrupt(&self, vector: u16) -> u64 {
        self.interrupts.take(vector)
    }

    /// Waits for an interrupt of any vector or a notice, at most `timeout`; whether one came.
    #[must_use]
    pub fn wait_interrupt(&self, timeout: Duration) -> bool {
        self.interrupts.wait(timeout)
    }

    /// A descriptor that polls readable while an interrupt or a notice waits to be taken; valid as
    /// long as the function is held.
    #[must_use]
    pub fn event_descriptor(&self) -> RawFd {
        self.interrupts.descriptor()
    }

    /// Takes what the kernel told since the last call; never waits. The wish to remove the function
    /// is repeated until it is let go of.
    #[must_use]
    pub fn poll_notice(&self) -> Option<Notice> {
        let notice = self.interrupts.notice();
        if notice == Some(Notice::RemovalRequested) {
            self.device.note_removal();
        }
        notice
    }

    /// Whether the function still answers: its vendor id does not read as all ones.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.device.is_present()
    }

    /// Lets the function read and write the DMA memory (bus master on). Call it after the
    /// registers of a former driver were reset.
    ///
    /// # Errors
    /// When configuration space cannot be written.
    pub fn start_dma(&self) -> io::Result<()> {
        self.device.start_dma()
    }

    /// Stops DMA (bus master off).
    ///
    /// # Errors
    /// When configuration space cannot be written.
    pub fn stop_dma(&self) -> io::Result<()> {
        self.device.stop_dma()
    }

    /// Resets the function by whatever method the kernel has (FLR, PM, bus). Interrupts stay
    /// armed, DMA memory stays mapped; bus mastering is as before.
    ///
    /// # Errors
    /// [`ResetError`].
    pub fn reset(&self) -> Result<(), ResetError> {
        self.device.reset()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // A function that is gone takes no writes; then it does no DMA either.
        if !self.is_left.load(Ordering::Relaxed)
            && let Err(error) = self.stop_dma()
        {
            tracing::debug!(%error, address = %self.address, "bus mastering not switched off");
        }
        // The device must know when it is being removed.
        let _ = self.poll_notice();
    }
}
