//! Elements by number, one behind the other in a range of addresses reserved for as many as there may
//! be: growing moves nothing, stops nobody, and finding one takes no second look.
#![expect(unsafe_code, reason = "the memory is mapped, and its elements counted by hand")]

use std::fmt;
use std::ptr::{self, NonNull};

/// Bytes of a huge page.
const HUGE_PAGE: usize = 2 << 20;

/// A growing array.
pub(crate) struct Slab<T> {
    /// Room for `limit` elements, of which the first `len` are initialised.
    base: NonNull<T>,
    len: usize,
    limit: usize,
}

// SAFETY: the slab owns its elements as a vector does.
unsafe impl<T: Send> Send for Slab<T> {}
// SAFETY: likewise.
unsafe impl<T: Sync> Sync for Slab<T> {}

impl<T> fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab").field("len", &self.len).field("limit", &self.limit).finish()
    }
}

impl<T: Copy> Slab<T> {
    /// An empty array for at most `limit` elements, or as many as there are addresses for.
    pub(crate) fn new(limit: usize) -> Self {
        const { assert!(size_of::<T>() > 0 && align_of::<T>() <= 4096) }
        let mut limit = limit.min(isize::MAX.unsigned_abs() / 2 / size_of::<T>());
        while limit > 0 {
            if let Some(base) = reserve(limit * size_of::<T>()) {
                return Self { base: base.cast(), len: 0, limit };
            }
            limit /= 2;
        }
        Self { base: NonNull::dangling(), len: 0, limit }
    }

    /// Number of elements.
    #[inline(always)]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Most elements there can be.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Adds an element behind the others.
    ///
    /// # Panics
    /// There are [`Self::limit`] of them.
    pub(crate) fn push(&mut self, element: T) {
        assert!(self.len < self.limit, "the slab is full");
        let place = self.base.as_ptr().wrapping_add(self.len);
        // SAFETY: the place is within the reserved range and belongs to no element yet.
        unsafe { place.write(element) };
        self.len += 1;
    }

    /// The element of that number.
    ///
    /// # Panics
    /// There is none.
    #[inline(always)]
    pub(crate) const fn at(&self, index: u32) -> &T {
        &self.elements()[index as usize]
    }

    /// The element of that number, to be changed.
    ///
    /// # Panics
    /// There is none.
    #[inline(always)]
    pub(crate) const fn at_mut(&mut self, index: u32) -> &mut T {
        // SAFETY: as in `elements`; the exclusive borrow of the slab makes this the only access.
        let elements = unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) };
        &mut elements[index as usize]
    }

    /// All elements in order.
    #[inline(always)]
    pub(crate) const fn elements(&self) -> &[T] {
        // SAFETY: the first `len` elements are initialised, and borrowed as long as the slab; without
        // any the pointer is aligned.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl<T> Drop for Slab<T> {
    fn drop(&mut self) {
        if self.limit > 0 {
            let length = self.limit * size_of::<T>();
            // SAFETY: this very range was mapped by `reserve`, and nothing borrows it any more.
            unsafe { libc::munmap(self.base.as_ptr().cast(), length) };
        }
    }
}

/// A range of zeros that takes memory as it is written; in huge pages but for the first few
/// elements, so that small arrays stay small.
fn reserve(length: usize) -> Option<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, access, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return None;
    }
    if length > HUGE_PAGE {
        let rest = start.wrapping_byte_add(HUGE_PAGE);
        // SAFETY: within the range just mapped; the advice changes no contents, and may fail.
        unsafe { libc::madvise(rest, length - HUGE_PAGE, libc::MADV_HUGEPAGE) };
    }
    NonNull::new(start.cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stay_where_they_are() {
        let mut slab = Slab::new(5000);
        slab.push(7_u32);
        let first = ptr::from_ref(slab.at(0));
        for number in 1..3000_u32 {
            slab.push(number);
        }
        *slab.at_mut(2048) = 7;
        assert_eq!((slab.len(), *slab.at(2047), *slab.at(2048)), (3000, 2047, 7));
        assert_eq!(slab.elements().len(), 3000);
        assert_eq!(ptr::from_ref(slab.at(0)), first);
    }

    #[test]
    fn a_limit_beyond_all_addresses_is_lowered() {
        let mut slab = Slab::new(usize::MAX);
        assert!(slab.limit() > 1 << 20);
        slab.push([1_u64; 16]);
        assert_eq!(slab.at(0), &[1; 16]);
    }

    #[test]
    #[should_panic = "out of bounds"]
    fn an_element_beyond_the_last_is_refused() {
        Slab::<u32>::new(10).at(0);
    }
}
