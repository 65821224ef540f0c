//! Descriptors that systemd gives a process at its start (sd_listen_fds(3)).
#![expect(unsafe_code, reason = "a number from the environment becomes a descriptor")]

use super::message::Name;
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first of them.
const FIRST: RawFd = 3;

/// Whether they were taken: they are owned once.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the descriptors with their names; none when systemd did not start this process, on a
/// second call, or when what the environment says is not so. Call it before anything is opened.
pub(super) fn take() -> Vec<(Name, OwnedFd)> {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let ours = number("LISTEN_PID") == Some(std::process::id());
    let count = number("LISTEN_FDS").unwrap_or(0);
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<&str> = names.split(':').collect();
    if !ours || names.len() != count as usize || TAKEN.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    (FIRST..)
        .zip(names)
        .filter_map(|(number, name)| Some((Name::new(name)?, own(number)?)))
        .collect()
}

/// Owns an open descriptor that nobody else in this process owns.
fn own(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: borrowed for one question, which is harmless for a number that is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_getfd(borrowed).ok()?;
    // SAFETY: it is open (just asked), was passed to this very process (LISTEN_PID) for it to own,
    // and is owned once, for `take` runs once and its numbers are distinct.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&owned, FdFlags::CLOEXEC).ok()?;
    Some(owned)
}
