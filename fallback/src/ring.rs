//! A bounded queue from one thread to another: one producer, one consumer, no lock.
//!
//! Each end keeps its own place in its own cache line and looks at the other's only when it seems
//! that there is no room or nothing to take, so that in steady state a burst costs one transfer of a
//! line each way. Values pushed become visible by [`Producer::publish`], once per burst; the room of
//! values popped is given back when the consumer has taken all it knew of.
#![expect(unsafe_code, reason = "two threads share the slots, each its own part of them")]

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A place, alone in two lines: prefetchers fetch pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place(AtomicUsize);

struct Shared<T> {
    /// Slot of a place is the place modulo their number, a power of two. Places count up and wrap.
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
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
    fn slot(&self, place: usize) -> *mut T {
        self.slots[place & (self.slots.len() - 1)].get().cast()
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let (mut head, tail) = (*self.head.0.get_mut(), *self.tail.0.get_mut());
        while head != tail {
            // SAFETY: both ends are gone, and slots from head to tail hold values that were
            // published and not taken.
            unsafe { self.slot(head).drop_in_place() };
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
    let slots = (0..count).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// What one end does.
    #[derive(Clone, Copy, Debug)]
    enum Deed {
        Push,
        Publish,
        Pop,
    }

    proptest! {
        #[test]
        fn it_is_a_queue_of_what_was_published(
            capacity in 1_usize..9,
            deeds in proptest::collection::vec(
                prop_oneof![Just(Deed::Push), Just(Deed::Publish), Just(Deed::Pop)], 0..200)
        ) {
            let (mut producer, mut consumer) = ring(capacity);
            let (mut hidden, mut visible) = (VecDeque::new(), VecDeque::new());
            for (number, deed) in deeds.into_iter().enumerate() {
                match deed {
                    Deed::Push => {
                        if producer.push(Box::new(number)).is_ok() {
                            hidden.push_back(number);
                        } else {
                            prop_assert!(hidden.len() + visible.len() > 0);
                        }
                        prop_assert!(
                            hidden.len() + visible.len() <= capacity.next_power_of_two()
                        );
                    }
                    Deed::Publish => {
                        prop_assert_eq!(producer.publish(), !hidden.is_empty());
                        visible.append(&mut hidden);
                    }
                    Deed::Pop => {
                        prop_assert_eq!(consumer.pop().map(|value| *value), visible.pop_front());
                    }
                }
            }
        }
    }

    fn fill(mut producer: Producer<Box<u64>>, count: u64) {
        for number in 0..count {
            let mut value = Box::new(number);
            while let Err(back) = producer.push(value) {
                producer.publish();
                std::thread::yield_now();
                value = back;
            }
            if number % 7 == 0 {
                producer.publish();
            }
        }
    }

    #[test]
    fn values_cross_threads_once_and_in_order() {
        const COUNT: u64 = 300_000;
        for capacity in [1, 2, 64] {
            let (producer, mut consumer) = ring(capacity);
            let filler = std::thread::spawn(move || fill(producer, COUNT));
            let mut expected = 0;
            while expected < COUNT {
                let Some(value) = consumer.pop() else {
                    std::thread::yield_now();
                    continue;
                };
                assert_eq!(*value, expected);
                expected += 1;
            }
            assert!(consumer.pop().is_none());
            filler.join().unwrap();
        }
    }

    #[test]
    fn what_is_left_is_dropped_once_whichever_end_goes_first() {
        let value = Arc::new(());
        for pushed in 0..4 {
            let (mut producer, mut consumer) = ring(4);
            for _ in 0..pushed {
                producer.push(Arc::clone(&value)).unwrap();
            }
            producer.publish();
            drop(consumer.pop());
            if pushed % 2 == 0 {
                drop(producer);
                drop(consumer);
            } else {
                drop(consumer);
                drop(producer);
            }
            assert_eq!(Arc::strong_count(&value), 1, "{pushed}");
        }
    }
}
