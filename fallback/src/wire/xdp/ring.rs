//! The four rings between an AF_XDP socket and the kernel: one writes, the other reads.
//!
//! Both indices run on and wrap at 2³²; the writer's is stored with release after the entries, the
//! reader's after they were read, and each side loads the other's with acquire. So an entry is never
//! read before it is written, nor overwritten before it was read. What the kernel stores as its index
//! is not believed beyond the ring's size.
//!
//! Linux `include/uapi/linux/if_xdp.h`, `net/xdp/xsk_queue.h`.
#![expect(unsafe_code, reason = "the rings lie in memory that the kernel maps")]

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

/// Entries of each ring.
pub(super) const ENTRIES: u32 = 2048;
const _: () = assert!(ENTRIES.is_power_of_two());

/// Offsets in a ring's mapping.
#[derive(Clone, Copy)]
struct Places {
    producer: usize,
    consumer: usize,
    flags: usize,
    entries: usize,
}

/// What both ends of a ring are.
struct Ring<T> {
    base: NonNull<u8>,
    length: usize,
    /// Where in the mapping are the writer's index, the reader's, the flags and the entries.
    places: Places,
    /// Our index, as it will be published.
    index: u32,
    entry: PhantomData<T>,
}

// SAFETY: the mapping belongs to this value alone on our side, and addresses are good in any thread.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T: Copy> Ring<T> {
    /// Maps the ring that lies at `place` of the socket.
    fn map(
        socket: BorrowedFd<'_>,
        offsets: libc::xdp_ring_offset,
        place: libc::off_t,
    ) -> io::Result<Self> {
        let whole = |offset: u64| usize::try_from(offset).expect("small offsets of a ring");
        let places = Places {
            producer: whole(offsets.producer),
            consumer: whole(offsets.consumer),
            flags: whole(offsets.flags),
            entries: whole(offsets.desc),
        };
        let length = places.entries + ENTRIES as usize * size_of::<T>();
        for index in [places.producer, places.consumer, places.flags] {
            assert!(index.is_multiple_of(4) && index + 4 <= length, "an index outside its ring");
        }
        assert!(places.entries.is_multiple_of(align_of::<T>()), "entries out of line");
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe {
            libc::mmap(ptr::null_mut(), length, access, flags, socket.as_raw_fd(), place)
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).expect("a mapping is not at zero");
        Ok(Self { base, length, places, index: 0, entry: PhantomData })
    }

    fn atomic(&self, place: usize) -> &AtomicU32 {
        let at = self.base.as_ptr().wrapping_add(place).cast();
        // SAFETY: `map` has checked that the four bytes lie in the mapping, which is page aligned,
        // and are aligned; both sides access them atomically; the mapping outlives the borrow.
        unsafe { AtomicU32::from_ptr(at) }
    }

    fn producer(&self) -> &AtomicU32 {
        self.atomic(self.places.producer)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.atomic(self.places.consumer)
    }

    fn entry(&self, index: u32) -> *mut T {
        let entries = self.base.as_ptr().wrapping_add(self.places.entries).cast::<T>();
        // Inside: the index is taken modulo the entries that `map` has counted in.
        entries.wrapping_add((index & (ENTRIES - 1)) as usize)
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this length, and no borrow of it is left.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// A ring that we fill.
pub(super) struct Producer<T>(Ring<T>);

impl<T: Copy> Producer<T> {
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        offsets: libc::xdp_ring_offset,
        place: libc::off_t,
    ) -> io::Result<Self> {
        Ring::map(socket, offsets, place).map(Self)
    }

    /// Entries that can be pushed.
    pub(super) fn room(&self) -> usize {
        ENTRIES as usize - self.waiting()
    }

    /// Entries that the kernel has not taken yet, those not yet published among them.
    pub(super) fn waiting(&self) -> usize {
        let taken = self.0.consumer().load(Ordering::Acquire);
        self.0.index.wrapping_sub(taken).min(ENTRIES) as usize
    }

    /// Writes an entry; the kernel sees it after [`Self::publish`].
    ///
    /// # Panics
    /// When there is no room: the caller asks [`Self::room`] before.
    pub(super) fn push(&mut self, entry: T) {
        assert!(self.room() > 0, "a push into a full ring");
        // SAFETY: the address is inside the mapping and aligned, and the kernel, which has taken
        // what lay there, reads it only after the index is published.
        unsafe { self.0.entry(self.0.index).write_volatile(entry) };
        self.0.index = self.0.index.wrapping_add(1);
    }

    /// Shows the kernel what was pushed.
    pub(super) fn publish(&self) {
        self.0.producer().store(self.0.index, Ordering::Release);
    }

    /// Whether the kernel sleeps and wants to be called. An answer that is just out of date is
    /// mended by the next round's question.
    pub(super) fn wants_call(&self) -> bool {
        self.0.atomic(self.0.places.flags).load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

/// A ring that the kernel fills.
pub(super) struct Consumer<T>(Ring<T>);

impl<T: Copy> Consumer<T> {
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        offsets: libc::xdp_ring_offset,
        place: libc::off_t,
    ) -> io::Result<Self> {
        Ring::map(socket, offsets, place).map(Self)
    }

    /// Entries that wait to be read.
    pub(super) fn available(&self) -> usize {
        let written = self.0.producer().load(Ordering::Acquire);
        written.wrapping_sub(self.0.index).min(ENTRIES) as usize
    }

    /// Reads `count` entries into `into`, or as many as there are, and gives their places back.
    pub(super) fn take(&mut self, count: usize, into: &mut Vec<T>) {
        for _ in 0..count.min(self.available()) {
            // SAFETY: the address is inside the mapping and aligned, any bits are a T (an integer
            // or a structure of such), and the kernel does not write there until our index is stored.
            into.push(unsafe { self.0.entry(self.0.index).read_volatile() });
            self.0.index = self.0.index.wrapping_add(1);
        }
        self.0.consumer().store(self.0.index, Ordering::Release);
    }
}
