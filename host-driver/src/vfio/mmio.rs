//! BAR 0 as registers: mapped where the kernel lets us map it, by system call where it does not.
//!
//! Order: a write is a release (what was written to DMA memory before is visible before), a read is
//! an acquire. On x86-64, where device memory is mapped uncached and stores stay in order, the
//! fences only hold the compiler.
#![expect(unsafe_code, reason = "registers are memory that only raw pointers may reach")]

use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use volatile_register::RW;

/// Where a BAR lies in the device's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    /// Offset in the file.
    pub(super) offset: u64,
    /// Bytes of the BAR.
    pub(super) length: u32,
    /// The parts that may be mapped, ascending, whole pages.
    pub(super) mappable: Vec<Range<u32>>,
}

/// A mapped part of the BAR.
#[derive(Debug)]
struct Area {
    range: Range<u32>,
    memory: MmapRaw,
}

/// The registers of BAR 0.
#[derive(Debug)]
pub(super) struct Bar {
    areas: Vec<Area>,
    /// The device's file, for what is not mapped (the page with the MSI-X table, say).
    file: Arc<File>,
    offset: u64,
    length: u32,
}

impl Bar {
    /// Maps the parts of the region that may be mapped.
    ///
    /// # Errors
    /// What mmap reports.
    pub(super) fn map(file: Arc<File>, region: &Region) -> io::Result<Self> {
        let mut areas = Vec::new();
        for range in &region.mappable {
            let within = range.start < range.end && range.end <= region.length;
            if !within || !range.start.is_multiple_of(8) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "area outside the BAR"));
            }
            let memory = MmapOptions::new()
                .offset(region.offset + u64::from(range.start))
                .len(range.len())
                .map_raw(&*file)?;
            areas.push(Area { range: range.clone(), memory });
        }
        Ok(Self { areas, file, offset: region.offset, length: region.length })
    }

    /// Length of the BAR in bytes.
    pub(super) const fn bytes(&self) -> u32 {
        self.length
    }

    /// Reads a register of 4 bytes.
    pub(super) fn read32(&self, offset: u32) -> u32 {
        let value = match self.locate(offset, 4) {
            Some(pointer) => {
                // SAFETY: `locate` gave 4 bytes inside a mapping that lives as long as `self`, and
                // aligned to 4; an RW<u32> is transparent over a volatile cell of 4 bytes, which
                // allows others (the device) to change what is behind it.
                let register = unsafe { &*pointer.cast::<RW<u32>>() };
                u32::from_le(register.read())
            }
            None => u32::from_le_bytes(self.read_outside(offset)),
        };
        fence(Ordering::Acquire);
        value
    }

    /// Reads a register of 8 bytes in one access.
    pub(super) fn read64(&self, offset: u32) -> u64 {
        let value = match self.locate(offset, 8) {
            Some(pointer) => {
                // SAFETY: as in `read32`, with 8 bytes aligned to 8.
                let register = unsafe { &*pointer.cast::<RW<u64>>() };
                u64::from_le(register.read())
            }
            None => u64::from_le_bytes(self.read_outside(offset)),
        };
        fence(Ordering::Acquire);
        value
    }

    /// Writes a register of 4 bytes.
    pub(super) fn write32(&self, offset: u32, value: u32) {
        fence(Ordering::Release);
        match self.locate(offset, 4) {
            Some(pointer) => {
                // SAFETY: as in `read32`.
                let register = unsafe { &*pointer.cast::<RW<u32>>() };
                // SAFETY: a write to a register can only make the device act, and the device
                // reaches no memory but the arena that the IOMMU maps, which we never hold
                // references to.
                unsafe { register.write(value.to_le()) };
            }
            None => self.write_outside(offset, &value.to_le_bytes()),
        }
    }

    /// Writes a register of 8 bytes in one access.
    pub(super) fn write64(&self, offset: u32, value: u64) {
        fence(Ordering::Release);
        match self.locate(offset, 8) {
            Some(pointer) => {
                // SAFETY: as in `read64`.
                let register = unsafe { &*pointer.cast::<RW<u64>>() };
                // SAFETY: as in `write32`.
                unsafe { register.write(value.to_le()) };
            }
            None => self.write_outside(offset, &value.to_le_bytes()),
        }
    }

    /// Where `bytes` at `offset` are mapped; none when they are not.
    ///
    /// # Panics
    /// When they are not aligned or not in the BAR: a bug of the driver's.
    fn locate(&self, offset: u32, bytes: u32) -> Option<*mut u8> {
        assert!(offset.is_multiple_of(bytes), "register offset {offset:#x} is not aligned");
        let end = offset.checked_add(bytes).filter(|end| *end <= self.length);
        let end = end.unwrap_or_else(|| panic!("register {offset:#x} is outside the BAR"));
        let area =
            self.areas.iter().find(|area| area.range.start <= offset && end <= area.range.end)?;
        let inside = (offset - area.range.start) as usize;
        assert!(inside + bytes as usize <= area.memory.len(), "an area is mapped in full");
        // A mapping starts at a page and areas at multiples of 8, so the alignment is kept.
        Some(area.memory.as_mut_ptr().wrapping_add(inside))
    }

    /// Reads by system call; a function that is gone reads as all ones, as on the bus.
    fn read_outside<const N: usize>(&self, offset: u32) -> [u8; N] {
        let mut bytes = [0; N];
        if self.file.read_exact_at(&mut bytes, self.offset + u64::from(offset)).is_err() {
            bytes = [0xff; N];
        }
        bytes
    }

    /// Writes by system call; a function that is gone takes no writes, as on the bus.
    fn write_outside(&self, offset: u32, bytes: &[u8]) {
        if let Err(error) = self.file.write_all_at(bytes, self.offset + u64::from(offset)) {
            tracing::debug!(%error, offset, "register not written");
        }
    }
}

#[cfg(test)]
mod tests;
