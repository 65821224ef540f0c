//! The event descriptors by which the kernel passes on what the function signals.

use super::function::Notice;
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::Duration;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// One descriptor for each MSI-X vector, one for errors, one for removal; one to wait on.
#[derive(Debug)]
pub(super) struct Interrupts {
    vectors: Vec<EventFd>,
    count: u16,
    error: EventFd,
    removal: EventFd,
    any: Epoll,
}

impl Interrupts {
    /// Descriptors for `vectors` vectors.
    ///
    /// # Errors
    /// When the process has no descriptors left (RLIMIT_NOFILE).
    pub(super) fn new(count: u16) -> io::Result<Self> {
        let event = || EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC);
        let vectors = (0..count).map(|_| event()).collect::<io::Result<_>>()?;
        let made = Self { vectors, count, error: event()?, removal: event()?, any: Epoll::new()? };
        for source in made.vectors.iter().chain([&made.error, &made.removal]) {
            let descriptor = source.as_raw_fd();
            let readable = EpollEvent::new(EventSet::IN, 0);
            made.any.ctl(ControlOperation::Add, descriptor, readable)?;
        }
        Ok(made)
    }

    /// How many vectors.
    pub(super) const fn count(&self) -> u16 {
        self.count
    }

    /// The descriptors of the vectors, in order.
    pub(super) fn vectors(&self) -> &[EventFd] {
        &self.vectors
    }

    /// The descriptor of errors.
    pub(super) const fn error(&self) -> &EventFd {
        &self.error
    }

    /// The descriptor of the wish to remove the function.
    pub(super) const fn removal(&self) -> &EventFd {
        &self.removal
    }

    /// The descriptor that is readable while something has come and was not taken.
    pub(super) fn descriptor(&self) -> RawFd {
        self.any.as_raw_fd()
    }

    /// Takes the interrupts of a vector; never waits.
    pub(super) fn take(&self, vector: u16) -> u64 {
        // Nothing came: EAGAIN.
        self.vectors.get(usize::from(vector)).map_or(0, |source| source.read().unwrap_or(0))
    }

    /// Takes what the kernel told; removal first, for nothing else counts then.
    pub(super) fn notice(&self) -> Option<Notice> {
        if self.removal.read().is_ok() {
            return Some(Notice::RemovalRequested);
        }
        self.error.read().is_ok().then_some(Notice::DeviceError)
    }

    /// Waits until something has come, at most `timeout` rounded up to milliseconds.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
        let milliseconds = i32::try_from(milliseconds).unwrap_or(i32::MAX);
        // Interrupted by a signal counts as nothing: the caller looks again.
        self.any.wait(milliseconds, &mut [EpollEvent::default()]).is_ok_and(|count| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_are_counted_by_vector_and_taken_once() {
        let interrupts = Interrupts::new(3).unwrap();
        assert!(!interrupts.wait(Duration::ZERO));
        interrupts.vectors()[2].write(1).unwrap();
        interrupts.vectors()[2].write(1).unwrap();
        assert!(interrupts.wait(Duration::from_secs(5)));
        assert_eq!([0, 1, 2, 3].map(|vector| interrupts.take(vector)), [0, 0, 2, 0]);
        assert_eq!(interrupts.take(2), 0);
        assert!(!interrupts.wait(Duration::from_micros(1)));
    }

    #[test]
    fn a_removal_is_told_before_an_error() {
        let interrupts = Interrupts::new(0).unwrap();
        interrupts.error().write(1).unwrap();
        interrupts.removal().write(1).unwrap();
        assert!(interrupts.wait(Duration::ZERO));
        assert_eq!(interrupts.notice(), Some(Notice::RemovalRequested));
        assert_eq!(interrupts.notice(), Some(Notice::DeviceError));
        assert_eq!(interrupts.notice(), None);
    }
}
