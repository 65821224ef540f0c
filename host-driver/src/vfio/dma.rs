//! Memory that the card reads and writes too: one memfd, mapped here and in the IOMMU.
//!
//! No reference is ever made into it. Frames and images are copied word by word with volatile
//! accesses; only [`Arena::load64`] and [`Arena::store64`] are ordered.
#![expect(unsafe_code, reason = "memory shared with a device is reached by raw pointers only")]

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use twinpath_abi::bus::{AllocError, Iova};

/// Alignment of allocations.
const PAGE: usize = 4096;
/// Size of the hugepages tried first.
pub(crate) const HUGEPAGE: usize = 2 << 20;
/// Bytes of a word.
const WORD: usize = size_of::<u64>();

/// What backs an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Hugepages of 2 MiB.
    Hugepages,
    /// Ordinary pages, because there were not enough hugepages or too little is wanted.
    Pages,
}

/// DMA memory at consecutive bus addresses.
#[derive(Debug)]
pub(crate) struct Arena {
    memory: MmapRaw,
    file: File,
    backing: Backing,
    base: Iova,
    used: AtomicUsize,
}

impl Arena {
    /// Zeroed memory of at least `bytes`, in hugepages if at least one would be full and enough are
    /// free. It is at bus address 0 until [`Arena::place`].
    ///
    /// # Errors
    /// When the kernel has not that much memory.
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        if bytes >= HUGEPAGE
            && let Ok(arena) = Self::with(bytes.next_multiple_of(HUGEPAGE), Backing::Hugepages)
        {
            return Ok(arena);
        }
        Self::with(bytes.max(1).next_multiple_of(PAGE), Backing::Pages)
    }

    fn with(length: usize, backing: Backing) -> io::Result<Self> {
        let flags = match backing {
            Backing::Hugepages => MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
            Backing::Pages => MemfdFlags::empty(),
        };
        let file = File::from(memfd_create("twinpath-dma", MemfdFlags::CLOEXEC | flags)?);
        ftruncate(&file, length as u64)?;
        // Mapping hugepages reserves them, so touching them later cannot fail.
        let memory = MmapOptions::new().len(length).map_raw(&file)?;
        Ok(Self { memory, file, backing, base: Iova(0), used: AtomicUsize::new(0) })
    }

    /// The memory of a process that is gone, which was made for as many `bytes`. Nothing of it is
    /// allocated.
    ///
    /// # Errors
    /// It is of another size, or cannot be mapped.
    pub(crate) fn resume(file: File, bytes: usize) -> io::Result<Self> {
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let pages = bytes.max(1).next_multiple_of(PAGE);
        let backing = match length {
            _ if length == pages => Backing::Pages,
            _ if length == bytes.next_multiple_of(HUGEPAGE) => Backing::Hugepages,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "memory of another size")),
        };
        let memory = MmapOptions::new().len(length).map_raw(&file)?;
        Ok(Self { memory, file, backing, base: Iova(0), used: AtomicUsize::new(0) })
    }

    /// The memory's file.
    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Says at which bus address the card sees the first byte.
    pub(crate) const fn place(&mut self, base: Iova) {
        self.base = base;
    }

    /// Bus address of the first byte.
    pub(crate) const fn base(&self) -> Iova {
        self.base
    }

    /// Bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.memory.len()
    }

    /// What backs it.
    pub(crate) const fn backing(&self) -> Backing {
        self.backing
    }

    /// The first byte in this process; for the kernel's map call only.
    pub(super) fn start(&self) -> *mut u8 {
        self.memory.as_mut_ptr()
    }

    /// Allocates, aligned to 4096 bytes, until [`Self::reclaim`].
    ///
    /// # Errors
    /// [`AllocError`] when it is used up.
    pub(crate) fn alloc(&self, bytes: usize) -> Result<Iova, AllocError> {
        let total = self.bytes();
        let take = |used: usize| {
            let size = bytes.checked_next_multiple_of(PAGE)?;
            used.checked_add(size).filter(|end| *end <= total)
        };
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .map(|start| self.base.plus(start as u64))
            .map_err(|used| AllocError { wanted: bytes, free: total - used })
    }

    /// Takes back all that was allocated.
    pub(crate) fn reclaim(&self) {
        self.used.store(0, Ordering::Relaxed);
    }

    /// Where `bytes` at `iova` are in this process.
    ///
    /// # Panics
    /// When they are not all inside: a bug of the driver's, whose addresses these are.
    fn locate(&self, iova: Iova, bytes: usize) -> *mut u8 {
        let start = iova.0.checked_sub(self.base.0).and_then(|start| usize::try_from(start).ok());
        let inside = start
            .filter(|start| start.checked_add(bytes).is_some_and(|end| end <= self.memory.len()));
        let inside = inside.unwrap_or_else(|| panic!("{bytes} bytes at {iova:?} are not ours"));
        self.memory.as_mut_ptr().wrapping_add(inside)
    }

    /// Where the aligned word at `iova` is in this process.
    fn word(&self, iova: Iova) -> *mut u64 {
        assert!(iova.0.is_multiple_of(WORD as u64), "word address {iova:?} is not aligned");
        // The mapping and the base start at a page, so the pointer is as aligned as the address.
        self.locate(iova, WORD).cast()
    }

    /// Loads an aligned word (acquire).
    pub(crate) fn load64(&self, from: Iova) -> u64 {
        let word = self.word(from);
        // SAFETY: `word` gave 8 bytes inside the mapping, aligned to 8. The device may write them
        // meanwhile, which a volatile read allows; no reference to them exists.
        let value = unsafe { word.read_volatile() };
        fence(Ordering::Acquire);
        u64::from_le(value)
    }

    /// Stores an aligned word (release).
    pub(crate) fn store64(&self, to: Iova, value: u64) {
        let word = self.word(to);
        fence(Ordering::Release);
        // SAFETY: as in `load64`, for a write.
        unsafe { word.write_volatile(value.to_le()) };
    }

    /// Copies memory out; not ordered.
    pub(crate) fn copy_out(&self, from: Iova, out: &mut [u8]) {
        let mut pointer = self.locate(from, out.len());
        let head = pointer.align_offset(WORD).min(out.len());
        let (edge, body) = out.split_at_mut(head);
        pointer = copy_bytes_out(pointer, edge);
        let (words, rest) = body.as_chunks_mut::<WORD>();
        for word in words {
            // SAFETY: `locate` checked that all of `out` is inside the mapping and the pointer has
            // gone on by what is already copied; after the edge it is aligned to 8.
            let value = unsafe { pointer.cast::<u64>().read_volatile() };
            *word = value.to_ne_bytes();
            pointer = pointer.wrapping_add(WORD);
        }
        copy_bytes_out(pointer, rest);
    }

    /// Copies bytes into memory; not ordered.
    pub(crate) fn copy_in(&self, to: Iova, bytes: &[u8]) {
        let mut pointer = self.locate(to, bytes.len());
        let head = pointer.align_offset(WORD).min(bytes.len());
        let (edge, body) = bytes.split_at(head);
        pointer = copy_bytes_in(pointer, edge);
        let (words, rest) = body.as_chunks::<WORD>();
        for word in words {
            // SAFETY: as in `copy_out`, for a write.
            unsafe { pointer.cast::<u64>().write_volatile(u64::from_ne_bytes(*word)) };
            pointer = pointer.wrapping_add(WORD);
        }
        copy_bytes_in(pointer, rest);
    }
}

/// Copies from the memory at `pointer`, which the caller located; where it ends.
fn copy_bytes_out(mut pointer: *mut u8, out: &mut [u8]) -> *mut u8 {
    for byte in out {
        // SAFETY: only `Arena::copy_out` calls this, with a pointer of which it checked that as
        // many bytes as `out` has are inside the mapping.
        *byte = unsafe { pointer.read_volatile() };
        pointer = pointer.wrapping_add(1);
    }
    pointer
}

/// Copies to the memory at `pointer`, which the caller located; where it ends.
fn copy_bytes_in(mut pointer: *mut u8, bytes: &[u8]) -> *mut u8 {
    for byte in bytes {
        // SAFETY: as in `copy_bytes_out`, for a write.
        unsafe { pointer.write_volatile(*byte) };
        pointer = pointer.wrapping_add(1);
    }
    pointer
}

#[cfg(test)]
mod tests;
