//! Host time that updates of the card take, where time is real.

use crate::clock::Clock;
use std::time::Duration;

/// Adds up what updates take; in virtual time, nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    clock: Option<Clock>,
    spent: Duration,
}

/// When a part of the work began.
#[derive(Clone, Copy, Debug)]
#[must_use = "the time is counted when it is handed back"]
pub struct Begun(Option<Duration>);

impl Meter {
    /// A meter by this clock.
    pub(crate) const fn by(clock: Clock) -> Self {
        Self { clock: Some(clock), spent: Duration::ZERO }
    }

    /// A part of the work begins.
    pub fn begin(&self) -> Begun {
        Begun(self.clock.map(|clock| clock.elapsed()))
    }

    /// It has ended.
    pub fn end(&mut self, begun: Begun) {
        if let (Some(clock), Begun(Some(begun))) = (self.clock, begun) {
            self.spent += clock.elapsed().saturating_sub(begun);
        }
    }

    /// What was added up since the last time.
    pub(crate) const fn take(&mut self) -> Duration {
        std::mem::replace(&mut self.spent, Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_clock_nothing_takes_time() {
        let mut meter = Meter::default();
        let begun = meter.begin();
        meter.end(begun);
        assert_eq!(meter.take(), Duration::ZERO);
    }

    #[test]
    fn parts_add_up_until_they_are_taken() {
        let mut meter = Meter::by(Clock::start());
        let begun = meter.begin();
        // Ends: the clock goes on.
        while meter.take() == Duration::ZERO {
            meter.end(begun);
        }
        assert_eq!(meter.take(), Duration::ZERO);
    }
}
