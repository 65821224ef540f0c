//! The one arena all packet buffers of the process lie in, and the ownership of each.
//!
//! One range of addresses is reserved at the first use and filled segment by segment as buffers are
//! needed, with huge pages where the system has some. It is never unmapped: a buffer's address is
//! good for as long as the process lives, so that packets need no count of references and the kernel
//! may be told of the memory once (AF_XDP).
//!
//! All buffers have one length. It is an odd multiple of a cache line, so that the first lines of
//! frames spread over all sets of the caches; pages of a buffer that no frame reaches cost no memory,
//! and as pools reuse the buffer given back last, few buffers are touched at all.
#![expect(unsafe_code, reason = "the memory of buffers is mapped, and shared out by hand")]

use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Bytes of a buffer: headroom, the longest frame, a line to look ahead; 151 cache lines.
pub(crate) const STRIDE: usize = 151 * LINE;
/// Bytes of a cache line.
const LINE: usize = 64;
/// Bytes of a huge page.
const HUGE_PAGE: usize = 2 << 20;
/// Bytes mapped at once: 4,340 buffers.
const SEGMENT: usize = 20 * HUGE_PAGE;
/// Most segments; beyond it pools get no buffers.
const SEGMENTS_MAX: usize = 24;
/// Buffers there can be.
pub(crate) const BUFFERS_MAX: usize = SEGMENT * SEGMENTS_MAX / STRIDE;
const _: () = assert!((STRIDE / LINE) % 2 == 1);

/// What the memory of packet buffers is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Huge pages that were set aside (`vm.nr_hugepages`).
    Huge,
    /// Huge pages the kernel makes by itself where it can (`madvise`).
    Transparent,
    /// Pages of 4 KB.
    Plain,
}

/// One buffer, owned. Dropping it gives it back to the arena.
pub(crate) struct Buffer(NonNull<[u8; STRIDE]>);

// SAFETY: a buffer is the only owner of its bytes, and plain bytes may change threads.
unsafe impl Send for Buffer {}
// SAFETY: through a shared reference bytes are only read.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Its bytes.
    pub(crate) const fn bytes(&self) -> &[u8; STRIDE] {
        // SAFETY: the pointer is to STRIDE mapped, initialised bytes that nobody else owns (see
        // `State::next` and `Lent::take_back`), and they are never unmapped.
        unsafe { self.0.as_ref() }
    }

    /// Its bytes.
    pub(crate) const fn bytes_mut(&mut self) -> &mut [u8; STRIDE] {
        // SAFETY: as in `bytes`; the exclusive reference makes this the only access.
        unsafe { self.0.as_mut() }
    }

    /// Its distance from the arena's beginning.
    pub(crate) fn offset(&self) -> usize {
        let base = arena().map_or(0, |arena| arena.base.addr().get());
        self.0.addr().get() - base
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(arena) = arena() {
            arena.lock().idle.push(Self(self.0));
        }
    }
}

/// The reserved range and what of it is in use.
struct Arena {
    base: NonNull<u8>,
    state: Mutex<State>,
}

// SAFETY: the base is only an address; what lies behind it is handed out under the lock.
unsafe impl Send for Arena {}
// SAFETY: likewise.
unsafe impl Sync for Arena {}

/// What has been mapped and handed out.
struct State {
    /// Segments mapped.
    segments: usize,
    /// Buffers that were handed out at least once.
    used: usize,
    /// Buffers that came back.
    idle: Vec<Buffer>,
    pages: Pages,
}

fn arena() -> Option<&'static Arena> {
    static ARENA: OnceLock<Option<Arena>> = OnceLock::new();
    ARENA.get_or_init(Arena::reserve).as_ref()
}

impl Arena {
    /// Reserves the range of addresses; no memory yet.
    fn reserve() -> Option<Self> {
        let length = SEGMENT * SEGMENTS_MAX + HUGE_PAGE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        let start: *mut u8 = start.cast();
        let padding = start.align_offset(HUGE_PAGE);
        // Within the mapping, which is one huge page longer than what is used.
        let base = NonNull::new(start.wrapping_add(padding))?;
        let state = State { segments: 0, used: 0, idle: Vec::new(), pages: Pages::Plain };
        Some(Self { base, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Maps one more segment; false when there is no room or no memory.
    fn grow(&self, state: &mut State) -> bool {
        if state.segments == SEGMENTS_MAX {
            return false;
        }
        let at = self.base.as_ptr().wrapping_add(state.segments * SEGMENT);
        let place = |huge| {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | huge;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: the range is reserved, ours, and was not handed out yet, so nothing that is
            // in use is replaced; new anonymous memory is initialised (zeros).
            unsafe { libc::mmap(at.cast(), SEGMENT, access, flags, -1, 0) != libc::MAP_FAILED }
        };
        let pages = if place(libc::MAP_HUGETLB) {
            Pages::Huge
        } else if !place(0) {
            return false;
        } else {
            // SAFETY: the range was just mapped; the advice changes no contents.
            let advised = unsafe { libc::madvise(at.cast(), SEGMENT, libc::MADV_HUGEPAGE) };
            if advised == 0 { Pages::Transparent } else { Pages::Plain }
        };
        state.pages = pages;
        state.segments += 1;
        true
    }

    /// One buffer, or `None` when all are in use.
    fn next(&self, state: &mut State) -> Option<Buffer> {
        if let Some(buffer) = state.idle.pop() {
            return Some(buffer);
        }
        if (state.used + 1) * STRIDE > state.segments * SEGMENT && !self.grow(state) {
            return None;
        }
        let buffer = self.at(state.used);
        state.used += 1;
        Some(buffer)
    }

    /// The buffer of that number. The caller owns it and nobody else does.
    fn at(&self, number: usize) -> Buffer {
        assert!(number < BUFFERS_MAX, "buffer {number} is outside the arena");
        let address = self.base.as_ptr().wrapping_add(number * STRIDE);
        Buffer(NonNull::new(address.cast()).expect("inside the reserved range"))
    }
}

/// Takes at most `count` buffers into `into`.
pub(crate) fn take(count: usize, into: &mut Vec<Buffer>) {
    let Some(arena) = arena() else { return };
    let mut state = arena.lock();
    into.extend((0..count).map_while(|_| arena.next(&mut state)));
}

/// Gives the last `count` buffers of `from` back.
pub(crate) fn give(count: usize, from: &mut Vec<Buffer>) {
    let Some(arena) = arena() else { return };
    let rest = from.len().saturating_sub(count);
    arena.lock().idle.extend(from.drain(rest..));
}

/// What the newest packet buffers are made of.
#[must_use]
pub fn pages() -> Pages {
    arena().map_or(Pages::Plain, |arena| arena.lock().pages)
}

/// The mapped memory, at least room for `buffers` if there is so much: first address and length.
pub(crate) fn region(buffers: usize) -> Option<(NonNull<u8>, usize)> {
    let arena = arena()?;
    let mut state = arena.lock();
    while state.segments * SEGMENT < buffers * STRIDE && arena.grow(&mut state) {}
    (state.segments > 0).then_some((arena.base, state.segments * SEGMENT))
}

/// The buffers that the kernel holds for one socket. Dropping it gives all of them back: the socket
/// must be closed before.
#[derive(Debug)]
pub(crate) struct Lent {
    held: Box<[u64]>,
}

impl Lent {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { held: vec![0; BUFFERS_MAX.div_ceil(64)].into_boxed_slice() }
    }

    /// Lends a buffer; its distance from the arena's beginning.
    pub(crate) fn lend(&mut self, buffer: Buffer) -> usize {
        let offset = buffer.offset();
        let number = offset / STRIDE;
        self.held[number / 64] |= 1 << (number % 64);
        std::mem::forget(buffer);
        offset
    }

    /// The buffer that the byte at `offset` lies in, if it was lent here.
    pub(crate) fn take_back(&mut self, offset: usize) -> Option<Buffer> {
        let number = offset / STRIDE;
        let word = self.held.get_mut(number / 64)?;
        let bit = 1 << (number % 64);
        if *word & bit == 0 {
            return None;
        }
        *word &= !bit;
        // The bit stood for the ownership that `lend` took over.
        Some(arena()?.at(number))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        for number in 0..BUFFERS_MAX {
            drop(self.take_back(number * STRIDE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_distinct_and_keep_what_is_written() {
        let mut buffers = Vec::new();
        take(300, &mut buffers);
        assert_eq!(buffers.len(), 300);
        for (number, buffer) in buffers.iter_mut().enumerate() {
            buffer.bytes_mut().fill(u8::try_from(number % 251).unwrap());
        }
        for (number, buffer) in buffers.iter().enumerate() {
            assert!(buffer.bytes().iter().all(|byte| usize::from(*byte) == number % 251));
            assert_eq!(buffer.bytes().as_ptr().addr() % LINE, 0);
        }
    }

    #[test]
    fn a_lent_buffer_comes_back_once() {
        let mut buffers = Vec::new();
        take(2, &mut buffers);
        let mut lent = Lent::new();
        let address = buffers[0].bytes().as_ptr();
        let offset = lent.lend(buffers.remove(0));
        let back = lent.take_back(offset + 256).unwrap();
        assert_eq!(back.bytes().as_ptr(), address);
        assert!(lent.take_back(offset).is_none());
        assert!(lent.take_back(usize::MAX).is_none());
    }

    #[test]
    fn segments_appear_as_buffers_are_needed() {
        let (first, length) = region(5_000).unwrap();
        assert!(length >= 5_000 * STRIDE);
        assert_eq!(first.addr().get() % HUGE_PAGE, 0);
        assert_eq!(region(1).unwrap().0, first);
    }
}
