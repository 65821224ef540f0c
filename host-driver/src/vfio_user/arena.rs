//! The driver's DMA memory: one sealed file at a fixed bus address.

use super::client::HostMemory;
use super::sealed::{self, PAGE, SealError};
use super::shared::SharedMapping;
use rustix::io::Errno;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use twinpath_abi::bus::{AllocError, Iova};
use twinpath_abi::memory::ARENA_BASE;

/// DMA memory, given out once and kept over connections.
#[derive(Debug)]
pub(crate) struct Arena {
    file: OwnedFd,
    pub(crate) mapping: SharedMapping,
    allocated: AtomicU64,
}

impl Arena {
    /// An arena of at least so many bytes.
    pub(crate) fn new(bytes: usize) -> Result<Self, SealError> {
        let bytes = (bytes as u64).next_multiple_of(PAGE).max(PAGE);
        let file = sealed::create("twinpath-dma", bytes)?;
        let mapping = SharedMapping::new(file.as_fd(), 0, bytes)?;
        Ok(Self { file, mapping, allocated: AtomicU64::new(0) })
    }

    /// The arena of a former process, of which nothing is given out yet.
    pub(crate) fn resume(file: OwnedFd, bytes: usize) -> Result<Self, SealError> {
        let bytes = (bytes as u64).next_multiple_of(PAGE).max(PAGE);
        let mapping = SharedMapping::new(file.as_fd(), 0, bytes)?;
        Ok(Self { file, mapping, allocated: AtomicU64::new(0) })
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(crate) const fn base(&self) -> u64 {
        ARENA_BASE
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.mapping.bytes() as u64
    }

    pub(crate) fn alloc(&self, bytes: usize) -> Result<Iova, AllocError> {
        let size = (bytes as u64).next_multiple_of(PAGE);
        let total = self.bytes();
        let take = |used: u64| used.checked_add(size).filter(|end| *end <= total);
        let taken = self.allocated.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map(|start| Iova(ARENA_BASE + start)).map_err(|used| AllocError {
            wanted: bytes,
            free: usize::try_from(total - used).unwrap_or(usize::MAX),
        })
    }

    pub(crate) fn reclaim(&self) {
        self.allocated.store(0, Ordering::Relaxed);
    }

    /// Where `length` bytes at an address are in the mapping, if they are.
    pub(crate) fn locate(&self, address: u64, length: usize) -> Option<usize> {
        let start = address.checked_sub(ARENA_BASE)?;
        let end = start.checked_add(length as u64)?;
        if end <= self.bytes() { usize::try_from(start).ok() } else { None }
    }
}

impl HostMemory for Arena {
    fn read(&self, address: u64, out: &mut [u8]) -> Result<(), Errno> {
        let start = self.locate(address, out.len()).ok_or(Errno::FAULT)?;
        self.mapping.read(start, out);
        Ok(())
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let start = self.locate(address, bytes.len()).ok_or(Errno::FAULT)?;
        self.mapping.write(start, bytes);
        Ok(())
    }
}
