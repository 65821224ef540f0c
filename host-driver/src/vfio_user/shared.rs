//! Memory that another process writes at the same time.
//!
//! Words are atomics, as in `twinpath_abi::memory`, so nothing the peer does is a data race; no
//! reference to plain data is ever made into it. Copies are relaxed word by word, only what
//! publishes them is ordered.
#![expect(unsafe_code, reason = "memory shared with another process is reached through pointers")]

use super::sealed::{self, PAGE, SealError};
use memmap2::{MmapOptions, MmapRaw};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A mapped part of a sealed file.
#[derive(Debug)]
pub struct SharedMapping {
    pages: MmapRaw,
    bytes: usize,
}

/// Whose pages a replacement brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// The file's own: both processes see what either writes.
    Shared,
    /// Copies: what is written stays here.
    Private,
}

impl SharedMapping {
    /// Maps `bytes` of `file` from `offset` on, for reading and writing.
    ///
    /// # Errors
    /// [`SealError`] when the file could be cut off, is too short, or the system refuses.
    ///
    /// # Panics
    /// When the system maps at something else than a page, which it never does.
    pub fn new(file: BorrowedFd<'_>, offset: u64, bytes: u64) -> Result<Self, SealError> {
        sealed::check(file, offset, bytes)?;
        let length = usize::try_from(bytes).map_err(|_| SealError::NotPages { offset, bytes })?;
        let pages = MmapOptions::new().offset(offset).len(length).map_raw(file.as_raw_fd())?;
        let start = pages.as_mut_ptr().addr() as u64;
        assert!(start.is_multiple_of(PAGE), "mappings begin at pages");
        Ok(Self { pages, bytes: length })
    }

    /// Length in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts the pages of another file in place, at once: an access meets the old or the new ones.
    ///
    /// # Errors
    /// As [`SharedMapping::new`]; the old pages stay.
    pub fn replace(&self, file: BorrowedFd<'_>, pages: Pages) -> Result<(), SealError> {
        sealed::check(file, 0, self.bytes as u64)?;
        let sharing = match pages {
            Pages::Shared => MapFlags::SHARED,
            Pages::Private => MapFlags::PRIVATE,
        };
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let start = self.pages.as_mut_ptr().cast();
        // SAFETY: the range is exactly that of `self.pages`, which owns it until it is dropped and
        // unmaps it by address, so it will unmap the new pages. Accesses elsewhere go through
        // atomics that expect any value; nothing relies on the old contents.
        let mapped = unsafe {
            mmap(start, self.bytes, protection, sharing | MapFlags::FIXED, file.as_fd(), 0)
        };
        mapped.map(|_| ()).map_err(|error| io::Error::from(error).into())
    }

    fn word32(&self, offset: usize) -> &AtomicU32 {
        let inside = offset.checked_add(4).is_some_and(|end| end <= self.bytes);
        assert!(inside && offset.is_multiple_of(4), "no word at {offset:#x}");
        let word = self.pages.as_mut_ptr().wrapping_add(offset).cast::<u32>();
        // SAFETY: the word is inside the mapping and aligned (both just checked; the mapping
        // begins at a page), lives as long as `self`, cannot be cut off (sealed), and is reached
        // through atomics only, by this process here and by the peer's.
        unsafe { AtomicU32::from_ptr(word) }
    }

    fn word64(&self, offset: usize) -> &AtomicU64 {
        let inside = offset.checked_add(8).is_some_and(|end| end <= self.bytes);
        assert!(inside && offset.is_multiple_of(8), "no long word at {offset:#x}");
        let word = self.pages.as_mut_ptr().wrapping_add(offset).cast::<u64>();
        // SAFETY: as for the shorter word; that both sizes meet in one place is left to the
        // processor, whose aligned accesses are each whole, as for any memory-mapped device.
        unsafe { AtomicU64::from_ptr(word) }
    }

    /// Loads a word (acquire).
    #[must_use]
    pub fn load32(&self, offset: usize) -> u32 {
        u32::from_le(self.word32(offset).load(Ordering::Acquire))
    }

    /// Stores a word (release).
    pub fn store32(&self, offset: usize, value: u32) {
        self.word32(offset).store(value.to_le(), Ordering::Release);
    }

    /// Loads a long word (acquire).
    #[must_use]
    pub fn load64(&self, offset: usize) -> u64 {
        u64::from_le(self.word64(offset).load(Ordering::Acquire))
    }

    /// Stores a long word (release).
    pub fn store64(&self, offset: usize, value: u64) {
        self.word64(offset).store(value.to_le(), Ordering::Release);
    }

    /// Copies out; not ordered.
    ///
    /// # Panics
    /// When it reaches beyond the mapping.
    pub fn read(&self, start: usize, out: &mut [u8]) {
        let head = out.len().min(start.wrapping_neg() % 8);
        let (edge, body) = out.split_at_mut(head);
        self.read_part(start, edge);
        let mut at = start + head;
        let mut chunks = body.chunks_exact_mut(8);
        for chunk in &mut chunks {
            chunk.copy_from_slice(&self.word64(at).load(Ordering::Relaxed).to_ne_bytes());
            at += 8;
        }
        self.read_part(at, chunks.into_remainder());
    }

    /// Copies out bytes that lie in one long word.
    fn read_part(&self, start: usize, out: &mut [u8]) {
        if !out.is_empty() {
            let word = self.word64(start - start % 8).load(Ordering::Relaxed).to_ne_bytes();
            out.copy_from_slice(&word[start % 8..start % 8 + out.len()]);
        }
    }

    /// Copies in, in ascending order; the last aligned long word is published (release).
    ///
    /// # Panics
    /// When it reaches beyond the mapping.
    pub fn write(&self, start: usize, bytes: &[u8]) {
        let head = bytes.len().min(start.wrapping_neg() % 8);
        let (edge, body) = bytes.split_at(head);
        self.write_part(start, edge);
        let mut at = start + head;
        let (words, rest) = body.as_chunks::<8>();
        for (count, word) in words.iter().enumerate() {
            // The last word may be what the reader watches; the others hide behind it.
            let last = count + 1 == words.len();
            let order = if last { Ordering::Release } else { Ordering::Relaxed };
            self.word64(at).store(u64::from_ne_bytes(*word), order);
            at += 8;
        }
        self.write_part(at, rest);
    }

    /// Copies in bytes that lie in one long word, which the other side does not write meanwhile.
    fn write_part(&self, start: usize, bytes: &[u8]) {
        if !bytes.is_empty() {
            let word = self.word64(start - start % 8);
            let mut merged = word.load(Ordering::Relaxed).to_ne_bytes();
            merged[start % 8..start % 8 + bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(merged), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_mappings_of_a_file_see_the_same_at_any_alignment() {
        let file = sealed::create("test", 8192).unwrap();
        let one = SharedMapping::new(file.as_fd(), 0, 8192).unwrap();
        let other = SharedMapping::new(file.as_fd(), 4096, 4096).unwrap();
        for start in 4096..4112 {
            for length in 0..40 {
                let bytes: Vec<u8> = (1..=length).collect();
                one.write(start, &bytes);
                let mut read = vec![0; bytes.len()];
                other.read(start - 4096, &mut read);
                assert_eq!(read, bytes, "{length} bytes at {start}");
            }
        }
        one.store64(4096, 0x1122_3344_5566_7788);
        assert_eq!(other.load32(4), 0x1122_3344);
    }

    #[test]
    #[should_panic(expected = "no long word at 0x1000")]
    fn nothing_beyond_the_mapping_is_touched() {
        let file = sealed::create("test", 4096).unwrap();
        let mapping = SharedMapping::new(file.as_fd(), 0, 4096).unwrap();
        mapping.read(4090, &mut [0; 8]);
    }

    #[test]
    fn files_that_could_be_cut_off_are_not_mapped() {
        let file =
            rustix::fs::memfd_create("loose", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&file, 4096).unwrap();
        let refusal = SharedMapping::new(file.as_fd(), 0, 4096).unwrap_err();
        assert!(matches!(refusal, SealError::NotSealed));
        let file = sealed::create("short", 4096).unwrap();
        let refusal = SharedMapping::new(file.as_fd(), 4096, 4096).unwrap_err();
        assert!(matches!(refusal, SealError::Short { bytes: 4096, wanted: 8192 }));
        let refusal = SharedMapping::new(file.as_fd(), u64::MAX - 4095, 4096).unwrap_err();
        assert!(matches!(refusal, SealError::NotPages { .. }));
    }

    #[test]
    fn pages_are_replaced_in_place() {
        let (one, other) = (sealed::create("a", 4096).unwrap(), sealed::create("b", 4096).unwrap());
        let mapping = SharedMapping::new(one.as_fd(), 0, 4096).unwrap();
        let witness = SharedMapping::new(other.as_fd(), 0, 4096).unwrap();
        witness.store32(8, 7);
        mapping.replace(other.as_fd(), Pages::Private).unwrap();
        assert_eq!(mapping.load32(8), 7);
        mapping.store32(8, 9);
        assert_eq!(witness.load32(8), 7, "copies are private");
        mapping.replace(other.as_fd(), Pages::Shared).unwrap();
        mapping.store32(8, 9);
        assert_eq!(witness.load32(8), 9);
    }
}
