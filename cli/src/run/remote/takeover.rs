//! How long a card was dead before that was seen, and until software went on: told, for it is what a user
//! of standby wires pays.

use std::time::Duration;
use twinpath_flow::time::Time;

/// The times of the last takeover. All are real: what a busy machine adds is in them.
#[derive(Debug, Default)]
pub(super) struct Takeover {
    /// The card's heartbeat as last seen, and when it was first seen to be that.
    beat: u32,
    alive: Time,
    /// When the card was found gone.
    found: Time,
    /// Whether the first packet over a standby wire is waited for.
    waits: bool,
    /// When it came.
    first: Option<Time>,
}

impl Takeover {
    /// Notes a sign of life.
    pub(super) const fn look(&mut self, now: Time, beat: u32) {
        if beat != self.beat && beat != u32::MAX {
            (self.beat, self.alive) = (beat, now);
        }
    }

    /// The card is gone: for how long it may have been, in words.
    pub(super) fn found(&mut self, now: Time) -> String {
        self.found = now;
        format!("{} after its last sign of life", milliseconds(now.since(self.alive)))
    }

    /// The standby wires are open: how long that took, in words.
    pub(super) fn opened(&mut self, now: Time) -> String {
        (self.waits, self.first) = (true, None);
        format!("standby wires are open after {}", milliseconds(now.since(self.found)))
    }

    /// Whether the next packet over a standby wire is the first.
    pub(super) const fn waits(&self) -> bool {
        self.waits
    }

    /// It came.
    pub(super) const fn came(&mut self, now: Time) {
        (self.waits, self.first) = (false, Some(now));
    }

    /// How long it was in coming, in words, once.
    pub(super) fn first(&mut self) -> Option<String> {
        let first = self.first.take()?;
        Some(format!("first packet over standby after {}", milliseconds(first.since(self.found))))
    }
}

fn milliseconds(span: Duration) -> String {
    format!("{:.2} ms", span.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_takeover_is_told_from_the_last_beat_to_the_first_packet() {
        let at = |microseconds: u64| Time(microseconds * 1_000);
        let mut takeover = Takeover::default();
        takeover.look(at(1_000), 7);
        takeover.look(at(2_000), 7);
        // What a card that is gone shows is no sign of life.
        takeover.look(at(2_500), u32::MAX);
        assert_eq!(takeover.found(at(3_000)), "2.00 ms after its last sign of life");
        assert_eq!(takeover.opened(at(3_200)), "standby wires are open after 0.20 ms");
        assert!(takeover.waits() && takeover.first().is_none());
        takeover.came(at(3_450));
        assert!(!takeover.waits());
        assert_eq!(takeover.first().unwrap(), "first packet over standby after 0.45 ms");
        assert_eq!(takeover.first(), None);
    }
}
