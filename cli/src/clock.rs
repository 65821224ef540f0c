//! The clock: the one place of the whole workspace that reads it.

use std::time::{Duration, Instant};
use twinpath_flow::time::Time;

/// Nanoseconds since the machine was started, sleep included: the same for all processes.
pub(crate) fn boot_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// A monotonic clock whose origin is the moment it was made, or when a former process began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// Time of the run at the origin.
    base: Duration,
}

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now(), base: Duration::ZERO }
    }

    /// A clock that starts now at a time of the run.
    pub(crate) fn going_on_from(time: Time) -> Self {
        Self { base: time.since(Time::default()), ..Self::start() }
    }

    /// Time passed since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.base + self.origin.elapsed()
    }

    /// Now, as the time of the run.
    pub(crate) fn now(&self) -> Time {
        Time::default().after(self.elapsed())
    }
}
