//! The budget of updates: as many a second as the settings allow, the card has shown to manage, and
//! the host has time for.

use crate::host_time::HostTime;
use crate::view::Settings;
use std::time::Duration;
use twinpath_flow::time::Time;

/// One update, in the units of the level.
const UPDATE: u128 = 1_000_000_000;

/// Shortest busy time on which the card's pace is judged.
const MEASURE_MIN: Duration = Duration::from_millis(50);

/// Updates a second that are tried with any card.
const PER_SECOND_MIN: u64 = 100;

/// A bucket that holds a tenth of a second.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Updates a second that the settings allow.
    limit: u64,
    /// Updates a second now.
    per_second: u64,
    /// In 1/1,000,000,000 updates.
    level: u128,
    filled: Time,
    /// Since when operations always waited for the card, and how many it has done since.
    busy: Option<(Time, u64)>,
    host: HostTime,
}

impl Budget {
    pub(crate) fn new(settings: &Settings, now: Time) -> Self {
        let limit = u64::from(settings.updates_per_second);
        let host = HostTime::new(settings.host_percent, now);
        let mut budget = Self { limit, per_second: limit, level: 0, filled: now, busy: None, host };
        budget.level = budget.depth();
        budget
    }

    fn depth(&self) -> u128 {
        (u128::from(self.per_second) * UPDATE / 10).max(2 * UPDATE)
    }

    fn fill(&mut self, now: Time) {
        let gained = u128::from(self.per_second) * now.since(self.filled).as_nanos();
        self.level = self.depth().min(self.level + gained);
        self.filled = self.filled.max(now);
    }

    /// Updates have taken so much of the host's time.
    pub(crate) fn spend_host_time(&mut self, now: Time, spent: Duration) {
        self.host.spend(now, spent);
    }

    /// Takes `count` updates if so many are left.
    pub(crate) fn take(&mut self, now: Time, count: u32) -> bool {
        if !self.host.has(now) {
            return false;
        }
        self.fill(now);
        let paid = self.level.checked_sub(u128::from(count) * UPDATE);
        self.level = paid.unwrap_or(self.level);
        paid.is_some()
    }

    /// Whether `count` updates are left.
    pub(crate) fn has(&mut self, now: Time, count: u32) -> bool {
        self.fill(now);
        self.host.has(now) && self.level >= u128::from(count) * UPDATE
    }

    /// Updates a second that are made now.
    pub(crate) const fn per_second(&self) -> u64 {
        self.per_second
    }

    /// When `count` updates will be left; `None` for never.
    pub(crate) fn ready_at(&self, count: u32) -> Option<Time> {
        let lacking = (u128::from(count) * UPDATE).saturating_sub(self.level);
        let wait = lacking.div_ceil(u128::from(self.per_second).max(1));
        let wait = Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX));
        let filled = (self.limit > 0 || lacking == 0).then(|| self.filled.after(wait))?;
        Some(self.host.ready_at()?.max(filled))
    }

    /// The card has ended an operation while `queued` others wait because as many are under way as
    /// may be.
    pub(crate) fn completed(&mut self, now: Time, queued: usize) {
        self.busy = match self.busy {
            _ if queued == 0 => None,
            None => Some((now, 0)),
            Some((since, done)) => Some((since, done + 1)),
        };
    }

    /// Follows the card: slower than it when it was busy all the time, so that its queue gets
    /// shorter; faster by and by when it keeps up.
    pub(crate) fn follow(&mut self, now: Time) {
        self.fill(now);
        match self.busy {
            Some((since, done)) if now.since(since) >= MEASURE_MIN => {
                let pace = u128::from(done) * UPDATE / now.since(since).as_nanos();
                let pace = u64::try_from(pace).unwrap_or(u64::MAX);
                self.per_second = (pace - pace / 8).max(PER_SECOND_MIN).min(self.limit);
                self.busy = Some((now, 0));
            }
            Some(_) => {}
            None => self.per_second = (self.per_second * 5 / 4 + 1).min(self.limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(updates_per_second: u32) -> Budget {
        Budget::new(&Settings { updates_per_second, ..Settings::default() }, Time(0))
    }

    fn taken(budget: &mut Budget, now: Time) -> usize {
        (0..100_000).filter(|_| budget.take(now, 1)).count()
    }

    #[test]
    fn the_budget_holds_a_tenth_of_a_second_and_refills_with_time() {
        let mut budget = limited(100);
        assert_eq!(taken(&mut budget, Time(0)), 10);
        assert_eq!(taken(&mut budget, Time::from_millis(50)), 5);
        assert_eq!(taken(&mut budget, Time::from_secs(60)), 10);
    }

    #[test]
    fn it_says_when_it_can_be_taken_from_again() {
        let mut budget = limited(30);
        taken(&mut budget, Time(0));
        let ready = budget.ready_at(2).expect("it refills");
        assert!(!budget.take(Time(ready.0 - 1), 2));
        assert!(budget.take(ready, 2));
        assert_eq!(limited(0).ready_at(3), None);
    }

    #[test]
    fn a_host_without_time_makes_none_however_fast_the_card() {
        let mut budget = limited(1_000_000);
        budget.spend_host_time(Time(0), Duration::from_millis(10));
        let ready = budget.ready_at(2).expect("there will be time");
        assert!(ready > Time(0) && !budget.has(Time(0), 1) && !budget.take(Time(0), 1));
        assert!(budget.has(ready, 2) && budget.take(ready, 2));
    }

    #[test]
    fn it_follows_the_pace_of_a_slow_card_and_recovers_when_the_card_does() {
        let mut budget = limited(10_000);
        let mut now = Time(0);
        let mut round = |budget: &mut Budget, done: u64, queued| {
            taken(budget, now);
            (0..done).for_each(|_| budget.completed(now, queued));
            now = now.after(Duration::from_millis(100));
            budget.follow(now);
            taken(budget, now)
        };
        round(&mut budget, 100, 5);
        let slow = round(&mut budget, 100, 5);
        assert!((80..=100).contains(&slow), "{slow}");
        for _ in 0..40 {
            round(&mut budget, 1, 0);
        }
        assert_eq!(round(&mut budget, 1, 0), 1000);
    }
}
