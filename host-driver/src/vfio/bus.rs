//! A twin card behind VFIO: its BAR 0, DMA memory and vectors as a `Bus`.

use super::{Function, OpenError, Settings};
use crate::pci::Address;
use std::io;
use std::time::Duration;
use twinpath_abi::bus::{AllocError, Bus, Iova};

/// The bus of a twin card on a real PCI function.
///
/// 64-bit registers are accessed as two words (`docs/nic-abi.md` §1.3).
#[derive(Debug)]
pub struct VfioBus {
    function: Function,
}

impl VfioBus {
    /// Opens the function and lets it reach the DMA memory. The kernel has reset it, if it can.
    ///
    /// # Errors
    /// [`OpenError`]: one line with the remedy.
    pub fn open(address: Address, settings: Settings) -> Result<Self, OpenError> {
        let function = Function::open(address, settings)?;
        function.start_dma().map_err(|error: io::Error| OpenError::Call {
            address,
            call: "write of config space",
            error,
        })?;
        Ok(Self { function })
    }

    /// The function, for notices and resets.
    #[must_use]
    pub const fn function(&self) -> &Function {
        &self.function
    }
}

impl Bus for VfioBus {
    fn bar_bytes(&self) -> u32 {
        self.function.bar_bytes()
    }

    fn read32(&self, offset: u32) -> u32 {
        self.function.read32(offset)
    }

    fn write32(&self, offset: u32, value: u32) {
        self.function.write32(offset, value);
    }

    fn alloc(&self, bytes: usize) -> Result<Iova, AllocError> {
        self.function.alloc(bytes)
    }

    fn reclaim(&self) {
        self.function.reclaim();
    }

    fn copy_out(&self, from: Iova, out: &mut [u8]) {
        self.function.copy_out(from, out);
    }

    fn copy_in(&self, to: Iova, bytes: &[u8]) {
        self.function.copy_in(to, bytes);
    }

    fn load64(&self, from: Iova) -> u64 {
        self.function.load64(from)
    }

    fn store64(&self, to: Iova, value: u64) {
        self.function.store64(to, value);
    }

    fn vectors(&self) -> u16 {
        self.function.vectors()
    }

    fn poll_interrupt(&self, vector: u16) -> u64 {
        self.function.poll_interrupt(vector)
    }

    fn wait_interrupt(&self, timeout: Duration) -> bool {
        self.function.wait_interrupt(timeout)
    }
}
