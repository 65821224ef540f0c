//! Waiting for descriptors with a deadline.

use super::ports::Ports;
use super::signals::Signals;
use crate::control::server::Server;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Waits until a wire, the control socket or a signal needs looking after, at most `timeout`.
pub(crate) fn wait(timeout: Duration, ports: &Ports, server: Option<&Server>, signals: &Signals) {
    let signals = std::iter::once((signals.descriptor(), false));
    wait_for(timeout, ports, server.into_iter().flat_map(Server::descriptors).chain(signals));
}

/// Waits until a wire or one of `others` (to be written too, if it says so) needs looking after, at
/// most `timeout`.
pub(super) fn wait_for<'a>(
    timeout: Duration,
    ports: &Ports,
    others: impl Iterator<Item = (BorrowedFd<'a>, bool)>,
) {
    let flags = |sending| if sending { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
    let mut descriptors = Vec::new();
    for line in ports.lines().iter().filter(|line| line.failure.is_none()) {
        if let Some(descriptor) = line.wire.descriptor() {
            let wanted = flags(line.wire.has_queued());
            descriptors.push(PollFd::from_borrowed_fd(descriptor, wanted));
        }
    }
    for (descriptor, sending) in others {
        descriptors.push(PollFd::from_borrowed_fd(descriptor, flags(sending)));
    }
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // An interrupted or refused poll only means that the caller looks again.
    let _ = poll(&mut descriptors, Some(&timeout));
}
