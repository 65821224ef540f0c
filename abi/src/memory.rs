//! BAR and DMA arena as shared memory in one process, with both ends.
//!
//! Words are atomics, so no access is a data race and no unsafe is needed. Copies of frames and
//! images are relaxed word by word; only what publishes them is ordered.

use crate::bus::{AllocError, Bus, CardMemory, DmaFault, Iova};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// First bus address of the arena; not 0, so that a forgotten address faults.
pub const ARENA_BASE: u64 = 0x1_0000_0000;

/// Alignment of allocations.
const PAGE: u64 = 4096;

/// BAR, arena and interrupts of one card; clones are handles to the same memory.
#[derive(Clone, Debug)]
pub struct SharedMemory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bar: Box<[AtomicU32]>,
    arena: Box<[AtomicU64]>,
    allocated: AtomicU64,
    raised: Box<[AtomicU64]>,
    bell: (Mutex<u64>, Condvar),
}

impl SharedMemory {
    /// Memory with a BAR of `bar_bytes`, an arena of `arena_bytes` (both rounded up to whole words
    /// of 8 bytes) and `vectors` interrupt vectors.
    #[must_use]
    pub fn new(bar_bytes: u32, arena_bytes: usize, vectors: u16) -> Self {
        let bar_words = bar_bytes as usize;
        let inner = Inner {
            bar: (0..bar_words.div_ceil(8) * 2).map(|_| AtomicU32::new(0)).collect(),
            arena: (0..arena_bytes.div_ceil(8)).map(|_| AtomicU64::new(0)).collect(),
            allocated: AtomicU64::new(0),
            raised: (0..vectors).map(|_| AtomicU64::new(0)).collect(),
            bell: (Mutex::new(0), Condvar::new()),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The arena's length in bytes.
    #[must_use]
    pub fn arena_bytes(&self) -> u64 {
        self.inner.arena.len() as u64 * 8
    }

    fn bar_word(&self, offset: u32) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4), "register offset {offset:#x} is not aligned");
        &self.inner.bar[offset as usize / 4]
    }

    /// Checks that `length` bytes from `iova` are inside and returns the byte index.
    fn locate(&self, iova: u64, length: usize) -> Result<usize, DmaFault> {
        let fault = DmaFault { iova, length };
        let start = iova.checked_sub(ARENA_BASE).ok_or(fault)?;
        let end = start.checked_add(length as u64).ok_or(fault)?;
        if end > self.arena_bytes() {
            return Err(fault);
        }
        usize::try_from(start).map_err(|_| fault)
    }

    fn word(&self, iova: u64) -> Result<&AtomicU64, DmaFault> {
        let index = self.locate(iova, 8)?;
        if !index.is_multiple_of(8) {
            return Err(DmaFault { iova, length: 8 });
        }
        Ok(&self.inner.arena[index / 8])
    }

    fn read(&self, iova: u64, out: &mut [u8]) -> Result<(), DmaFault> {
        let start = self.locate(iova, out.len())?;
        let head = out.len().min(start.wrapping_neg() % 8);
        let (edge, body) = out.split_at_mut(head);
        self.read_part(start, edge);
        let first = (start + head) / 8;
        let (words, rest) = body.as_chunks_mut::<8>();
        let end = first + words.len();
        for (word, place) in words.iter_mut().zip(&self.inner.arena[first..end]) {
            *word = place.load(Ordering::Relaxed).to_le_bytes();
        }
        self.read_part(end * 8, rest);
        Ok(())
    }

    /// Reads bytes that lie in one word.
    fn read_part(&self, start: usize, out: &mut [u8]) {
        if !out.is_empty() {
            let word = self.inner.arena[start / 8].load(Ordering::Relaxed).to_le_bytes();
            out.copy_from_slice(&word[start % 8..start % 8 + out.len()]);
        }
    }

    fn write(&self, iova: u64, bytes: &[u8]) -> Result<(), DmaFault> {
        let start = self.locate(iova, bytes.len())?;
        let head = bytes.len().min(start.wrapping_neg() % 8);
        let (edge, body) = bytes.split_at(head);
        self.write_part(start, edge);
        let first = (start + head) / 8;
        let (words, rest) = body.as_chunks::<8>();
        let end = first + words.len();
        let places = &self.inner.arena[first..end];
        if let (Some((last, words)), Some((end, places))) =
            (words.split_last(), places.split_last())
        {
            for (word, place) in words.iter().zip(places) {
                place.store(u64::from_le_bytes(*word), Ordering::Relaxed);
            }
            // The last word may be what the reader watches; the others hide behind it.
            end.store(u64::from_le_bytes(*last), Ordering::Release);
        }
        self.write_part(end * 8, rest);
        Ok(())
    }

    /// Writes bytes that lie in one word, which the other side does not write meanwhile.
    fn write_part(&self, start: usize, bytes: &[u8]) {
        if !bytes.is_empty() {
            let word = &self.inner.arena[start / 8];
            let mut merged = word.load(Ordering::Relaxed).to_le_bytes();
            merged[start % 8..start % 8 + bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(merged), Ordering::Release);
        }
    }
}

impl Bus for SharedMemory {
    fn bar_bytes(&self) -> u32 {
        u32::try_from(self.inner.bar.len() * 4).expect("made from a u32")
    }

    fn read32(&self, offset: u32) -> u32 {
        self.bar_word(offset).load(Ordering::Acquire)
    }

    fn write32(&self, offset: u32, value: u32) {
        self.bar_word(offset).store(value, Ordering::Release);
    }

    fn alloc(&self, bytes: usize) -> Result<Iova, AllocError> {
        let size = (bytes as u64).next_multiple_of(PAGE);
        let total = self.arena_bytes();
        let take = |used: u64| used.checked_add(size).filter(|end| *end <= total);
        self.inner
            .allocated
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .map(|start| Iova(ARENA_BASE + start))
            .map_err(|used| AllocError {
                wanted: bytes,
                free: usize::try_from(total - used).unwrap_or(usize::MAX),
            })
    }

    fn reclaim(&self) {
        self.inner.allocated.store(0, Ordering::Relaxed);
    }

    fn copy_out(&self, from: Iova, out: &mut [u8]) {
        self.read(from.0, out).expect("the driver reads what it allocated");
    }

    fn copy_in(&self, to: Iova, bytes: &[u8]) {
        self.write(to.0, bytes).expect("the driver writes what it allocated");
    }

    fn load64(&self, from: Iova) -> u64 {
        self.word(from.0).expect("the driver reads what it allocated").load(Ordering::Acquire)
    }

    fn store64(&self, to: Iova, value: u64) {
        let word = self.word(to.0).expect("the driver writes what it allocated");
        word.store(value, Ordering::Release);
    }

    fn vectors(&self) -> u16 {
        u16::try_from(self.inner.raised.len()).expect("made from a u16")
    }

    fn poll_interrupt(&self, vector: u16) -> u64 {
        self.inner.raised[usize::from(vector)].swap(0, Ordering::Acquire)
    }

    fn wait_interrupt(&self, timeout: Duration) -> bool {
        let pending = || self.inner.raised.iter().any(|count| count.load(Ordering::Acquire) > 0);
        let (lock, bell) = &self.inner.bell;
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = bell.wait_timeout_while(guard, timeout, |_| !pending());
        drop(waited);
        pending()
    }
}

impl CardMemory for SharedMemory {
    fn bar_bytes(&self) -> u32 {
        Bus::bar_bytes(self)
    }

    fn load32(&self, offset: u32) -> u32 {
        self.read32(offset)
    }

    fn store32(&self, offset: u32, value: u32) {
        self.write32(offset, value);
    }

    fn dma_read(&self, from: u64, out: &mut [u8]) -> Result<(), DmaFault> {
        self.read(from, out)
    }

    fn dma_write(&self, to: u64, bytes: &[u8]) -> Result<(), DmaFault> {
        self.write(to, bytes)
    }

    fn raise(&self, vector: u16) {
        if let Some(count) = self.inner.raised.get(usize::from(vector)) {
            count.fetch_add(1, Ordering::Release);
            let (lock, bell) = &self.inner.bell;
            // The lock orders the count before a waiter's decision to sleep.
            drop(lock.lock().unwrap_or_else(PoisonError::into_inner));
            bell.notify_all();
        }
    }
}
