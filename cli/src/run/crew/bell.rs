//! Wakes a worker that sleeps in `poll`.

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use twinpath_fallback::sleep::Sleep;

/// A worker's bell. Ringing costs a system call only while the worker sleeps, and nobody writes the
/// flag's cache line while it does not.
#[derive(Debug)]
pub(super) struct Bell {
    sleep: Sleep,
    descriptor: OwnedFd,
}

impl Bell {
    /// A bell of a worker that is awake.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub(super) fn new() -> io::Result<Self> {
        let descriptor = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { sleep: Sleep::default(), descriptor })
    }

    /// Wakes the worker, if it sleeps, after something was put where it looks.
    pub(super) fn ring(&self) {
        if self.sleep.is_to_be_woken() {
            // Refused only when it rings already.
            let _ = write(&self.descriptor, &1_u64.to_ne_bytes());
        }
    }

    /// The worker is about to sleep; it must look once more for work after this.
    pub(super) fn lie_down(&self) {
        self.sleep.lie_down();
    }

    /// The worker is awake.
    pub(super) fn get_up(&self) {
        self.sleep.get_up();
        // Nothing to read when it was not the bell that woke it.
        let _ = read(&self.descriptor, &mut [0; 8]);
    }

    /// Readable when it rings.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::sync::Arc;
    use twinpath_fallback::ring::ring;

    #[test]
    fn nobody_sleeps_through_what_was_put_there() {
        const COUNT: u32 = 20_000;
        let bell = Arc::new(Bell::new().unwrap());
        let (mut producer, mut consumer) = ring(4);
        let ringer = Arc::clone(&bell);
        let filler = std::thread::spawn(move || {
            for number in 0..COUNT {
                while producer.push(number).is_err() {
                    std::thread::yield_now();
                }
                producer.publish();
                ringer.ring();
            }
        });
        let mut taken = 0;
        while taken < COUNT {
            if consumer.pop().is_some() {
                taken += 1;
                continue;
            }
            bell.lie_down();
            if consumer.is_empty() {
                let mut descriptors = [PollFd::from_borrowed_fd(bell.descriptor(), PollFlags::IN)];
                let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
                let woken = poll(&mut descriptors, Some(&patience)).unwrap();
                assert_eq!(woken, 1, "slept through number {taken}");
            }
            bell.get_up();
        }
        filler.join().unwrap();
    }
}
