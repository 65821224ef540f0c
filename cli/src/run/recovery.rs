//! What is done about a card that fails: it is reset, at once at first, then after pauses that
//! grow, in which it is a plain network card; one that keeps failing is left out.

use super::state::{CardAccount, KeptStanding};
use std::collections::VecDeque;
use std::time::Duration;
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::Mode;

/// How much failing is put up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Failures within the window after which the card is left out.
    pub failures: u32,
    /// What is longer ago is forgotten.
    pub window: Duration,
    /// Failures within the window that a reset alone answers.
    pub at_once: u32,
    /// How long the card rests after the next one; doubled for each further one.
    pub pause: Duration,
    /// Longest rest.
    pub pause_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            failures: 12,
            window: Duration::from_secs(30),
            at_once: 4,
            pause: Duration::from_millis(50),
            pause_max: Duration::from_secs(5),
        }
    }
}

/// Whether the card is trusted with flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Trusted,
    /// Not before this time: software forwards through its rings.
    Resting {
        /// When it is over.
        until: Time,
    },
    /// No more, until somebody says so: it failed too often.
    LeftOut,
    /// Not now: somebody said so.
    Drained,
}

/// The card's failures and what follows from them. Pure: time is an argument.
#[derive(Clone, Debug)]
pub struct Recovery {
    limits: Limits,
    /// Within the window; one more than the limit at most.
    recent: VecDeque<Time>,
    standing: Standing,
    failures: u64,
    last: Option<String>,
}

impl Recovery {
    /// A card that has not failed yet.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        let recent = VecDeque::new();
        Self { limits, recent, standing: Standing::Trusted, failures: 0, last: None }
    }

    /// As a former process left it: its word on the card stands, its failures are forgotten.
    pub(crate) fn resume(limits: Limits, account: &CardAccount) -> Self {
        let standing = match account.standing {
            KeptStanding::Trusted => Standing::Trusted,
            KeptStanding::LeftOut => Standing::LeftOut,
            KeptStanding::Drained => Standing::Drained,
        };
        let CardAccount { failures, ref last, .. } = *account;
        Self { standing, failures, last: last.clone(), ..Self::new(limits) }
    }

    /// What a next process is to know.
    pub(crate) fn account(&self) -> CardAccount {
        let standing = match self.standing {
            Standing::Trusted | Standing::Resting { .. } => KeptStanding::Trusted,
            Standing::LeftOut => KeptStanding::LeftOut,
            Standing::Drained => KeptStanding::Drained,
        };
        CardAccount { standing, failures: self.failures, last: self.last.clone() }
    }

    /// Notes a failure; how long to wait before the reset if the card is dead all the same.
    pub fn failed(&mut self, now: Time, cause: String) -> Duration {
        self.failures += 1;
        self.last = Some(cause);
        while self.recent.front().is_some_and(|old| now.since(*old) > self.limits.window) {
            self.recent.pop_front();
        }
        if self.recent.len() <= self.limits.failures as usize {
            self.recent.push_back(now);
        }
        let pause = self.pause();
        match self.standing {
            Standing::Drained | Standing::LeftOut => {}
            Standing::Trusted | Standing::Resting { .. } => {
                self.standing = if self.recent.len() > self.limits.failures as usize {
                    Standing::LeftOut
                } else if pause.is_zero() {
                    Standing::Trusted
                } else {
                    Standing::Resting { until: now.after(pause) }
                };
            }
        }
        match self.standing {
            Standing::LeftOut => self.limits.pause_max,
            _ => pause,
        }
    }

    /// Nothing after the first failures, then the pause, doubled each time.
    fn pause(&self) -> Duration {
        let rested = self.recent.len().checked_sub(self.limits.at_once as usize + 1);
        let Some(doublings) = rested else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(u32::try_from(doublings).unwrap_or(31)).unwrap_or(u32::MAX);
        self.limits.pause.saturating_mul(factor).min(self.limits.pause_max)
    }

    /// What the card is to do with packets.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        match self.standing {
            Standing::Trusted => Mode::Forward,
            Standing::Resting { .. } | Standing::LeftOut | Standing::Drained => Mode::Bypass,
        }
    }

    /// Ends a rest that is over; whether it has just ended.
    pub fn end_rest(&mut self, now: Time) -> bool {
        let over = matches!(self.standing, Standing::Resting { until } if until <= now);
        if over {
            self.standing = Standing::Trusted;
        }
        over
    }

    /// When a rest is over.
    #[must_use]
    pub const fn next_event(&self) -> Option<Time> {
        match self.standing {
            Standing::Resting { until } => Some(until),
            _ => None,
        }
    }

    /// The card is not to have flows.
    pub const fn drain(&mut self) {
        self.standing = Standing::Drained;
    }

    /// Failures are forgiven.
    pub fn trust(&mut self) {
        self.standing = Standing::Trusted;
        self.recent.clear();
    }

    /// Whether the card is trusted.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// Failures so far.
    #[must_use]
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    /// What the last failure was.
    #[must_use]
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// The standing in a word or two, with its reason.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.standing {
            Standing::Trusted => "trusted".to_owned(),
            Standing::Resting { .. } => format!("resting: {}", self.cause()),
            Standing::LeftOut if self.recent.is_empty() => {
                format!("left out before the last restart: {}", self.cause())
            }
            Standing::LeftOut => {
                let (count, window) = (self.recent.len(), self.limits.window.as_secs());
                format!("left out after {count} failures in {window} s: {}", self.cause())
            }
            Standing::Drained => "drained".to_owned(),
        }
    }

    fn cause(&self) -> &str {
        self.last.as_deref().unwrap_or("it failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        failures: 8,
        window: Duration::from_secs(60),
        at_once: 1,
        pause: Duration::from_millis(10),
        pause_max: Duration::from_secs(10),
    };

    fn at(milliseconds: u64) -> Time {
        Time::from_millis(milliseconds)
    }

    fn fail(recovery: &mut Recovery, milliseconds: u64) -> u128 {
        recovery.failed(at(milliseconds), "heartbeat stopped".to_owned()).as_millis()
    }

    #[test]
    fn the_first_failure_costs_no_rest_and_each_further_one_twice_the_rest() {
        let mut recovery = Recovery::new(LIMITS);
        assert_eq!((fail(&mut recovery, 0), recovery.mode()), (0, Mode::Forward));
        assert_eq!((fail(&mut recovery, 5), recovery.mode()), (10, Mode::Bypass));
        assert!(!recovery.end_rest(at(14)));
        assert!(recovery.end_rest(at(15)));
        assert_eq!(recovery.mode(), Mode::Forward);
        assert_eq!([fail(&mut recovery, 20), fail(&mut recovery, 60)], [20, 40]);
        assert_eq!(recovery.next_event(), Some(at(100)));
    }

    #[test]
    fn a_card_that_keeps_failing_is_left_out_until_it_is_forgiven() {
        let mut recovery = Recovery::new(LIMITS);
        (0..8).for_each(|second| _ = fail(&mut recovery, second * 1_000));
        assert_ne!(recovery.standing(), Standing::LeftOut);
        assert_eq!(fail(&mut recovery, 8_000), 10_000);
        assert_eq!(recovery.standing(), Standing::LeftOut);
        assert!(!recovery.end_rest(Time::from_secs(10_000)));
        let text = recovery.describe();
        assert_eq!(text, "left out after 9 failures in 60 s: heartbeat stopped");
        fail(&mut recovery, 9_000);
        recovery.trust();
        assert_eq!((recovery.mode(), fail(&mut recovery, 9_001)), (Mode::Forward, 0));
        assert_eq!(recovery.failures(), 11);
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut recovery = Recovery::new(LIMITS);
        for minute in 0..100 {
            assert_eq!(fail(&mut recovery, minute * 61_000), 0);
        }
        assert_eq!(recovery.standing(), Standing::Trusted);
    }

    #[test]
    fn the_word_on_a_card_outlives_the_process_and_its_failures_do_not() {
        let mut recovery = Recovery::new(LIMITS);
        (0..9).for_each(|number| _ = fail(&mut recovery, number));
        let mut next = Recovery::resume(LIMITS, &recovery.account());
        assert_eq!((next.standing(), next.failures()), (Standing::LeftOut, 9));
        assert_eq!(next.describe(), "left out before the last restart: heartbeat stopped");
        next.trust();
        assert_eq!(fail(&mut next, 10), 0);
        next.drain();
        assert_eq!(Recovery::resume(LIMITS, &next.account()).standing(), Standing::Drained);
        let mut resting = Recovery::new(LIMITS);
        (0..3).for_each(|number| _ = fail(&mut resting, number));
        assert_eq!(Recovery::resume(LIMITS, &resting.account()).standing(), Standing::Trusted);
    }

    #[test]
    fn a_drained_card_stays_so_when_it_fails() {
        let mut recovery = Recovery::new(LIMITS);
        recovery.drain();
        (0..20).for_each(|number| _ = fail(&mut recovery, number));
        assert_eq!((recovery.standing(), recovery.mode()), (Standing::Drained, Mode::Bypass));
        recovery.trust();
        assert_eq!(recovery.mode(), Mode::Forward);
    }
}
