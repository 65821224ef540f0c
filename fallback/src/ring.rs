//! A bounded queue from one thread to another: one producer, one consumer, no lock.
//!
//! Each end keeps its own place in its own cache line and looks at the other's only when it seems
//! that there is no room or nothing to take, so that in steady state a burst costs one transfer of a
//! line each way. Values pushed become visible by [`Producer::publish`], once per burst; the room of
//! values popped is given back when the consumer has taken all it knew of.
#![expect(unsafe_code, reason = "two threads share the slots, each its own part of them")]

mod cell;
#[cfg(all(loom, test))]
mod loom_tests;
#[cfg(all(not(loom), test))]
mod tests;

use crate::sync::{Arc, AtomicUsize, Ordering};
use cell::Slot;

/// A place, alone in two lines: prefetchers fetch pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place(AtomicUsize);

struct Shared<T> {
    /// Slot of a place is the place modulo their number, a power of two. Places count up and wrap.
    slots: Box<[Slot<T>]>,
    /// Next to be taken; only the consumer stores.
    head: Place,
    /// Next to be filled; only the producer stores. Slots from `head` to here hold values.
    tail: Place,
}

// SAFETY: a slot is touched by one thread at a time: by the producer while its place is in
// tail..head + slots, by the consumer while it is in head..tail; the places pass from one to the
// other by stores with release and loads with acquire. Values move between threads, hence `Send`.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn slot(&self, place: usize) -> &Slot<T> {
        &self.slots[place & (self.slots.len() - 1)]
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Whoever drops this has let go of both ends.
        let place = |place: &Place| place.0.load(Ordering::Relaxed);
        let (mut head, tail) = (place(&self.head), place(&self.tail));
        while head != tail {
            // SAFETY: both ends are gone, and slots from head to tail hold values that were
            // published and not taken.
            drop(unsafe { self.slot(head).read() });
            head = head.wrapping_add(1);
        }
    }
}

/// The end that fills.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// Next place to fill; what lies behind the shared `tail` is not yet published.
    tail: usize,
    /// The consumer's place when it was last looked at.
    head: usize,
}

/// The end that takes.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// Next place to take.
    head: usize,
    /// The producer's place when it was last looked at.
    tail: usize,
}

/// A queue of at least `capacity` values; rounded up to a power of two.
#[must_use]
pub fn ring<T: Send>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let count = capacity.max(1).next_power_of_two();
    let slots = (0..count).map(|_| Slot::empty()).collect();
    let shared = Arc::new(Shared { slots, head: Place::default(), tail: Place::default() });
    let producer = Producer { shared: Arc::clone(&shared), tail: 0, head: 0 };
    (producer, Consumer { shared, head: 0, tail: 0 })
}

impl<T: Send> Producer<T> {
    /// Appends a value, which the consumer sees after [`Self::publish`].
    ///
    /// # Errors
    /// The value, when the queue is full.
    pub fn push(&mut self, value: T) -> Result<(), T> {
        let count = self.shared.slots.len();
        if self.tail.wrapping_sub(self.head) == count {
            // Acquire: the consumer has moved values out of the slots before `head`.
            self.head = self.shared.head.0.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.head) == count {
                return Err(value);
            }
        }
        // SAFETY: the place is not published and less than one round ahead of the consumer, so
        // nobody else touches its slot, which holds no value.
        unsafe { self.shared.slot(self.tail).write(value) };
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    /// Lets the consumer see what was pushed. `true` when that was anything.
    pub fn publish(&mut self) -> bool {
        let fresh = self.shared.tail.0.load(Ordering::Relaxed) != self.tail;
        if fresh {
            // Release: the slots are written before the consumer may read them.
            self.shared.tail.0.store(self.tail, Ordering::Release);
        }
        fresh
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.shared.tail.0.store(self.tail, Ordering::Release);
    }
}

impl<T: Send> Consumer<T> {
    /// Takes the oldest value, if there is one.
    pub fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: the place is before the producer's, which was loaded with acquire, so its slot
        // holds a value, and it is read once, as `head` moves on.
        let value = unsafe { self.shared.slot(self.head).read() };
        self.head = self.head.wrapping_add(1);
        if self.head == self.tail {
            // Release: values were moved out before the producer may write there.
            self.shared.head.0.store(self.head, Ordering::Release);
        }
        Some(value)
    }

    /// Whether there is nothing to take now.
    pub fn is_empty(&mut self) -> bool {
        if self.head == self.tail {
            // Acquire: what the producer wrote before it published.
            self.tail = self.shared.tail.0.load(Ordering::Acquire);
        }
        self.head == self.tail
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.shared.head.0.store(self.head, Ordering::Release);
    }
}

impl<T> std::fmt::Debug for Producer<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Producer").field("tail", &self.tail).finish_non_exhaustive()
    }
}

impl<T> std::fmt::Debug for Consumer<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Consumer").field("head", &self.head).finish_non_exhaustive()
    }
}
