//! When the last sweeps of counters were true: an entry notes the number of one, not its time.

use twinpath_flow::time::Time;

/// Sweeps that are remembered. An entry that so many have not seen is long found missing.
const REMEMBERED: usize = 256;

/// Times of the last sweeps.
#[derive(Debug)]
pub(crate) struct Sweeps {
    times: Box<[Time; REMEMBERED]>,
    /// The last one, modulo [`REMEMBERED`].
    last: u8,
}

impl Sweeps {
    /// None yet; nothing was counted at `now`.
    pub(crate) fn new(now: Time) -> Self {
        Self { times: Box::new([now; REMEMBERED]), last: 0 }
    }

    /// A sweep begins whose counts were true at `as_of`; those of earlier ones never later.
    pub(crate) fn begin(&mut self, as_of: Time) {
        let as_of = as_of.max(self.time(self.last));
        self.last = self.last.wrapping_add(1);
        self.times[usize::from(self.last)] = as_of;
    }

    /// Number of the last one.
    pub(crate) const fn number(&self) -> u8 {
        self.last
    }

    /// When the counts of a sweep were true.
    pub(crate) fn time(&self, number: u8) -> Time {
        self.times[usize::from(number)]
    }
}
