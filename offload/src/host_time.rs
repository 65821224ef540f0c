//! Host time for updates: the share of the control thread's own time that they may take.
//!
//! A bucket of time that fills with time and is emptied by what updates took, as the host says
//! afterwards. Where nobody says, updates are free.

use std::time::Duration;
use twinpath_flow::time::Time;

/// Time that may be saved up for a burst of updates.
const SAVED_MAX: Duration = Duration::from_millis(5);

/// Time that may be owed: a thread that was kept from running for long does without updates no
/// longer than it takes to earn this.
const OWED_MAX: Duration = Duration::from_millis(10);

/// All of the time.
const WHOLE: i64 = 100;

/// A bucket of host time, in hundredths of nanoseconds.
#[derive(Debug)]
pub(crate) struct HostTime {
    /// Of time, in percent.
    share: i64,
    level: i64,
    filled: Time,
}

/// As hundredths.
fn hundredths(time: Duration, most: Duration) -> i64 {
    let nanos = i64::try_from(time.min(most).as_nanos()).expect("a few milliseconds");
    nanos * WHOLE
}

impl HostTime {
    /// A full bucket of `percent` of all time; 100 and more is no limit.
    pub(crate) fn new(percent: u32, now: Time) -> Self {
        let share = i64::from(percent).min(WHOLE);
        Self { share, level: hundredths(SAVED_MAX, SAVED_MAX), filled: now }
    }

    fn at(&self, now: Time) -> i64 {
        // No more than fills the bucket from its lowest level.
        let passed = u64::try_from(now.since(self.filled).as_nanos()).unwrap_or(u64::MAX);
        let gained = i64::try_from(passed).unwrap_or(i64::MAX).saturating_mul(self.share);
        self.level.saturating_add(gained).min(hundredths(SAVED_MAX, SAVED_MAX))
    }

    /// Updates took so long.
    pub(crate) fn spend(&mut self, now: Time, spent: Duration) {
        let lowest = -hundredths(OWED_MAX, OWED_MAX);
        let cost = hundredths(spent, OWED_MAX + SAVED_MAX);
        self.level = (self.at(now) - cost).max(lowest);
        self.filled = self.filled.max(now);
    }

    /// Whether there is time for another update.
    pub(crate) fn has(&self, now: Time) -> bool {
        self.share >= WHOLE || self.at(now) > 0
    }

    /// When there will be time; `None` for never.
    pub(crate) fn ready_at(&self) -> Option<Time> {
        if self.share >= WHOLE || self.level > 0 {
            return Some(self.filled);
        }
        let wait = (1 - self.level).checked_div(self.share)?;
        let wait = u64::try_from(wait).expect("levels are at most 0 here") + 1;
        Some(self.filled.after(Duration::from_nanos(wait)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Updates of 0.1 ms until there is no time.
    fn burst(host: &mut HostTime, now: Time) -> u32 {
        let mut count = 0;
        while host.has(now) {
            host.spend(now, MS / 10);
            count += 1;
            assert!(count < 1_000);
        }
        count
    }

    #[test]
    fn updates_take_their_share_of_time_and_no_more() {
        let mut host = HostTime::new(25, Time(0));
        assert_eq!(burst(&mut host, Time(0)), 50, "what is saved up");
        let later: u32 = (1..=100).map(|ms| burst(&mut host, Time::from_millis(ms))).sum();
        assert!((249..=251).contains(&later), "{later}: 25 ms in 100 ms");
        assert_eq!(burst(&mut host, Time::from_secs(60)), 50);
    }

    #[test]
    fn it_says_when_there_is_time_again() {
        let mut host = HostTime::new(20, Time(0));
        host.spend(Time(0), 7 * MS);
        let ready = host.ready_at().expect("it fills");
        assert!(!host.has(Time(ready.0 - 2)) && host.has(ready), "{ready:?}");
        assert!((10..=11).contains(&(ready.0 / 1_000_000)));
    }

    #[test]
    fn a_long_halt_is_not_owed_for_long() {
        let mut host = HostTime::new(20, Time(0));
        host.spend(Time(0), Duration::from_secs(3600));
        assert!(host.ready_at().expect("it fills") <= Time::from_millis(51));
    }

    #[test]
    fn without_a_share_there_are_no_updates_once_the_saved_time_is_gone_and_with_all_no_limit() {
        let mut none = HostTime::new(0, Time(0));
        assert_eq!((burst(&mut none, Time(0)), none.ready_at()), (50, None));
        let mut all = HostTime::new(100, Time(0));
        all.spend(Time(0), Duration::from_secs(1));
        assert!(all.has(Time(0)));
        assert_eq!(all.ready_at(), Some(Time(0)));
    }
}
