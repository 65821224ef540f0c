//! One slot of a ring: room for a value that two threads use in turn.
#![expect(unsafe_code, reason = "whose turn it is, the ring knows")]

#[cfg(loom)]
use loom::cell::UnsafeCell;
#[cfg(not(loom))]
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

/// The slot.
pub(super) struct Slot<T>(UnsafeCell<MaybeUninit<T>>);

impl<T> Slot<T> {
    /// A slot without a value.
    pub(super) fn empty() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    #[cfg(not(loom))]
    fn place(&self) -> *mut T {
        self.0.get().cast()
    }

    /// Puts a value in.
    ///
    /// # Safety
    /// 1. It is the caller's turn: nobody else touches the slot now. 2. It holds no value, else
    ///    that one is never dropped.
    #[inline(always)]
    pub(super) unsafe fn write(&self, value: T) {
        #[cfg(not(loom))]
        // SAFETY: the place is in this slot, which is the caller's alone by 1.
        unsafe {
            self.place().write(value);
        }
        #[cfg(loom)]
        // SAFETY: as above; loom watches that 1 holds.
        self.0.with_mut(|place| unsafe {
            place.cast::<T>().write(value);
        });
    }

    /// Moves the value out.
    ///
    /// # Safety
    /// 1. It is the caller's turn: nobody else touches the slot now. 2. It holds a value, which is
    ///    not moved out again.
    #[inline(always)]
    pub(super) unsafe fn read(&self) -> T {
        #[cfg(not(loom))]
        // SAFETY: the place is in this slot, which is the caller's alone by 1 and full by 2.
        unsafe {
            self.place().read()
        }
        #[cfg(loom)]
        // SAFETY: as above; loom watches that 1 holds.
        self.0.with_mut(|place| unsafe { place.cast::<T>().read() })
    }
}
