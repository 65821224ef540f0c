//! Two readings of time: how long the card was watched, and its own clock in the host's terms.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use twinpath_flow::time::Time;

/// How long the card was watched: all deadlines are measured on it.
///
/// A host that was busy, asleep, or jumped in virtual time gave the card no chance to work, so one
/// gap between two looks counts at most `step_max`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    last: Option<Time>,
    watched: Time,
    step_max: Duration,
}

impl Watch {
    pub(crate) const fn new(step_max: Duration) -> Self {
        Self { last: None, watched: Time(0), step_max }
    }

    /// A look at the card; returns the time watched so far.
    pub(crate) fn look(&mut self, now: Time) -> Time {
        let gap = self.last.map_or(Duration::ZERO, |last| now.since(last));
        self.last = Some(now);
        self.watched = self.watched.after(gap.min(self.step_max));
        self.watched
    }

    /// Time watched at the last look.
    pub(crate) const fn watched(&self) -> Time {
        self.watched
    }
}

/// Samples of the card's clock are compared over windows of this length.
const WINDOW: Duration = Duration::from_secs(1);

/// Offset from the card's clock to the host's, shared with the queues.
#[derive(Clone, Debug, Default)]
pub(crate) struct CardClock {
    offset: Arc<AtomicU64>,
}

/// The least offset seen in a window: a sample can only be late, by the time it took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sampler {
    window_ends: Time,
    least: Option<i64>,
}

impl CardClock {
    /// Host time of a reading of the card's clock; nonsense stays nonsense but never panics.
    pub(crate) fn host_time(&self, card_ns: u64) -> Time {
        let offset = self.offset.load(Ordering::Relaxed).cast_signed();
        Time(card_ns.saturating_add_signed(offset))
    }

    /// Takes a sample of the card's clock into account.
    pub(crate) fn sample(&self, sampler: &mut Sampler, now: Time, card_ns: u64) {
        let offset = now.0.wrapping_sub(card_ns).cast_signed();
        let least = sampler.least.map_or(offset, |least| least.min(offset));
        if sampler.least.is_none() || least < self.offset.load(Ordering::Relaxed).cast_signed() {
            self.offset.store(least.cast_unsigned(), Ordering::Relaxed);
        }
        sampler.least = Some(least);
        if now >= sampler.window_ends {
            self.offset.store(least.cast_unsigned(), Ordering::Relaxed);
            *sampler = Sampler { window_ends: now.after(WINDOW), least: Some(offset) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_host_does_not_use_up_the_cards_time() {
        let mut watch = Watch::new(Duration::from_millis(4));
        assert_eq!(watch.look(Time::from_secs(5)), Time(0));
        assert_eq!(watch.look(Time::from_secs(9)), Time::from_millis(4));
        assert_eq!(watch.look(Time(9_001_000_000)), Time::from_millis(5));
        assert_eq!(watch.look(Time::from_secs(1)), Time::from_millis(5));
    }

    #[test]
    fn late_samples_of_the_cards_clock_do_not_count() {
        let (clock, mut sampler) = (CardClock::default(), Sampler::default());
        clock.sample(&mut sampler, Time(1_000), 400);
        assert_eq!(clock.host_time(500), Time(1_100));
        clock.sample(&mut sampler, Time(1_200), 700);
        assert_eq!(clock.host_time(500), Time(1_000));
        clock.sample(&mut sampler, Time(1_900), 900);
        assert_eq!(clock.host_time(500), Time(1_000));
        assert_eq!(clock.host_time(u64::MAX), Time(u64::MAX));
    }

    #[test]
    fn a_drifting_clock_is_followed_within_two_windows() {
        let (clock, mut sampler) = (CardClock::default(), Sampler::default());
        for second in 0..10 {
            let now = Time::from_secs(second);
            clock.sample(&mut sampler, now, now.0 - second * 1_000);
        }
        assert_eq!(clock.host_time(0), Time(8_000));
    }
}
