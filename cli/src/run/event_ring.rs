//! What happened lately, bounded: shown by `twinpath events`.

use serde::Serialize;
use std::collections::VecDeque;
use std::time::Duration;
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;

/// Events kept, and as many copies for the controller; the oldest go first.
pub const KEPT_MAX: usize = 256;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Happening {
    /// Seconds since the origin: the first packet of captures, or the start of the run.
    pub seconds: f64,
    /// `event`, `error`, `refusal` (of a flow by the card) or `controller`.
    pub kind: &'static str,
    /// For people.
    pub text: String,
    /// A packet for the controller: input port as rules see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_port: Option<u16>,
    /// Its length before it was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// Its bytes in hexadecimal, cut as the rule says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<String>,
}

/// Kind of events that come in swarms.
const SWARM: &str = "refusal";

#[derive(Debug)]
struct Copy {
    time: Time,
    in_port: PortNo,
    length: usize,
    frame: Vec<u8>,
}

/// The rings of events and of packets for the controller.
#[derive(Debug, Default)]
pub struct EventRing {
    events: VecDeque<(Time, &'static str, String)>,
    copies: VecDeque<Copy>,
    copy_count: u64,
    /// Length of the row of swarming events at the end.
    swarm: u64,
}

impl EventRing {
    /// Keeps and logs an event.
    pub fn event(&mut self, now: Time, text: String) {
        tracing::info!("{text}");
        self.keep(now, "event", text);
    }

    /// Keeps and logs an event that somebody should look at.
    pub fn error(&mut self, now: Time, text: String) {
        tracing::error!("{text}");
        self.keep(now, "error", text);
    }

    /// Keeps an event that comes in swarms: only the last of a row, and how many they were.
    pub fn repeated(&mut self, now: Time, swarm: &'static str, text: String) {
        tracing::debug!("{text}");
        let in_row = self.events.back().is_some_and(|(_, kind, _)| *kind == SWARM);
        self.swarm = if in_row { self.swarm + 1 } else { 1 };
        if in_row {
            self.events.pop_back();
        }
        let count = self.swarm;
        let text = if in_row { format!("{count} {swarm}, last: {text}") } else { text };
        self.keep(now, SWARM, text);
    }

    fn keep(&mut self, now: Time, kind: &'static str, text: String) {
        if self.events.len() == KEPT_MAX {
            self.events.pop_front();
        }
        self.events.push_back((now, kind, text));
    }

    /// Keeps a packet for the controller, reusing the buffer of the one it displaces.
    pub fn copy(&mut self, time: Time, in_port: PortNo, length: usize, bytes: &[u8]) {
        self.copy_count += 1;
        let full = self.copies.len() == KEPT_MAX;
        let oldest = full.then(|| self.copies.pop_front()).flatten();
        let mut frame = oldest.map_or_else(Vec::new, |copy| copy.frame);
        frame.clear();
        frame.extend_from_slice(bytes);
        self.copies.push_back(Copy { time, in_port, length, frame });
    }

    /// Counts packets for the controller that are forgotten already.
    pub const fn forget_copies(&mut self, count: u64) {
        self.copy_count += count;
    }

    /// Packets copied to the controller so far.
    pub const fn copy_count(&self) -> u64 {
        self.copy_count
    }

    /// Everything kept, oldest first, with times from `origin` on.
    pub fn happenings(&self, origin: Time) -> Vec<Happening> {
        let events = self.events.iter().map(|(time, kind, text)| {
            let text = text.clone();
            let none = (None, None, None);
            (*time, Happening::new(time.since(origin), kind, text, none))
        });
        let copies = self.copies.iter().map(|copy| {
            let text = format!("packet of {} bytes from port {}", copy.length, copy.in_port.0);
            let packet = (Some(copy.in_port.0), Some(copy.length), Some(hex(&copy.frame)));
            (copy.time, Happening::new(copy.time.since(origin), "controller", text, packet))
        });
        let mut all: Vec<_> = events.chain(copies).collect();
        all.sort_by_key(|(time, _)| *time);
        all.into_iter().map(|(_, happening)| happening).collect()
    }
}

impl Happening {
    fn new(
        since: Duration,
        kind: &'static str,
        text: String,
        (in_port, length, frame): (Option<u16>, Option<usize>, Option<String>),
    ) -> Self {
        Self { seconds: since.as_secs_f64(), kind, text, in_port, length, frame }
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rings_forget_the_oldest_and_tell_in_order() {
        let mut ring = EventRing::default();
        ring.event(Time(5), "late".into());
        for number in 0..300_u16 {
            ring.copy(Time(u64::from(number)), PortNo(number), 60, &[1, 0xab]);
        }
        let all = ring.happenings(Time(2));
        assert_eq!((all.len(), ring.copy_count()), (257, 300));
        assert_eq!((all[0].text.as_str(), all[0].seconds), ("late", 3e-9), "from the origin");
        for number in 1..4 {
            ring.repeated(Time(400), "flows refused", format!("flow {number} refused"));
        }
        let all = ring.happenings(Time(2));
        assert_eq!((all.len(), all[257].kind), (258, "refusal"));
        assert_eq!(all[257].text, "3 flows refused, last: flow 3 refused");
        assert_eq!(all[1].in_port, Some(44));
        assert_eq!(all[1].frame.as_deref(), Some("01ab"));
    }
}
