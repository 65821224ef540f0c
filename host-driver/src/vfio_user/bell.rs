//! Event descriptors as interrupt vectors.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{CWD, readlinkat};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A new bell.
pub(crate) fn create() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?)
}

/// Whether a peer's descriptor is a bell: writing anything else could block.
pub(crate) fn is_bell(descriptor: BorrowedFd<'_>) -> bool {
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    readlinkat(CWD, path, Vec::new()).is_ok_and(|name| name.as_bytes() == b"anon_inode:[eventfd]")
}

/// Rings a bell; one whose count is at its end is loud already.
pub(crate) fn ring(bell: BorrowedFd<'_>) {
    if is_ready(&mut [PollFd::from_borrowed_fd(bell, PollFlags::OUT)], Duration::ZERO) {
        // The count is told by the next read; an error here means the peer closed its bell.
        let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
    }
}

/// Takes the rings since the last call.
pub(crate) fn take(bell: impl AsFd) -> u64 {
    let mut count = [0; 8];
    match rustix::io::read(bell, &mut count) {
        Ok(8) => u64::from_ne_bytes(count),
        _ => 0,
    }
}

/// Waits until one of the descriptors is ready.
pub(crate) fn is_ready(descriptors: &mut [PollFd<'_>], timeout: Duration) -> bool {
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    poll(descriptors, Some(&timeout)).is_ok_and(|ready| ready > 0)
}
