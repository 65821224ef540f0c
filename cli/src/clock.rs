//! The clock: the one place of the whole workspace that reads it.

use std::time::{Duration, Instant};
use twinpath_flow::time::Time;

/// A monotonic clock whose origin is the moment it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Time passed since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Now, as the time of the run.
    pub(crate) fn now(&self) -> Time {
        Time::default().after(self.elapsed())
    }
}
