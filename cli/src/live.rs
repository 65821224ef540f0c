//! The line on standard error that shows a run's progress.

use crate::run::forwarder::Fates;
use crate::run::history::ratio;
use crate::view::known;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::Duration;
use twinpath_flow::time::Time;

/// How often the line is redrawn on a terminal.
const TERMINAL: Duration = Duration::from_millis(200);

/// How often a line is written elsewhere.
const ELSEWHERE: Duration = Duration::from_secs(5);

/// The live line.
#[derive(Debug)]
pub(crate) struct Live {
    terminal: bool,
    due: Time,
    last: (Time, u64),
}

impl Live {
    /// Looks where standard error goes.
    pub(crate) fn new() -> Self {
        let terminal = stderr().is_terminal();
        let due = Time::default().after(if terminal { TERMINAL } else { ELSEWHERE });
        Self { terminal, due, last: (Time::default(), 0) }
    }

    /// Whether the line should be written at real time `now`.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        now >= self.due
    }

    /// Writes the line. Standard error may be closed: nobody looks then.
    pub(crate) fn show(&mut self, now: Time, received: u64, fates: &Fates, elapsed: Duration) {
        self.due = now.after(if self.terminal { TERMINAL } else { ELSEWHERE });
        let line = line(received, fates, elapsed, rate(self.last, (now, received)));
        self.last = (now, received);
        let _ = if self.terminal {
            write!(stderr(), "\r\x1b[K{line}")
        } else {
            writeln!(stderr(), "{line}")
        };
    }

    /// Wipes the line off a terminal.
    pub(crate) fn clear(&self) {
        if self.terminal {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// Packets per second between two points.
fn rate(before: (Time, u64), now: (Time, u64)) -> u64 {
    let nanos = now.0.since(before.0).as_nanos().max(1);
    let packets = u128::from(now.1.saturating_sub(before.1));
    u64::try_from(packets * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

fn line(received: u64, fates: &Fates, elapsed: Duration, rate: u64) -> String {
    let lost: u64 = fates.lost.iter().map(|(_, count)| count).sum();
    let share = ratio(fates.card, fates.software)
        .map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0));
    format!(
        "{:.1} s  {received} received ({rate}/s)  card {}  software {}  offloaded {share}  lost {lost}",
        elapsed.as_secs_f64(),
        known(fates.card),
        fates.software,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_fits_a_terminal_and_says_what_counts() {
        let mut fates = Fates { card: Some(900), software: 100, ..Fates::default() };
        fates.lose("ring_full", 2);
        let text = line(1002, &fates, Duration::from_millis(1500), 668);
        assert_eq!(
            text,
            "1.5 s  1002 received (668/s)  card 900  software 100  offloaded 90.0 %  lost 2"
        );
        assert_eq!(rate((Time(0), 0), (Time::from_secs(2), 1000)), 500);
    }
}
