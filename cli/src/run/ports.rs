//! The physical ports of a run: each one's wire and counters.

use super::cable::Cable;
use super::software::BURST_MAX;
use std::collections::HashMap;
use twinpath_fallback::wire::{Wire, WireError};
use twinpath_fallback::{Packet, PacketPool};
use twinpath_flow::counters::Counts;
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;

/// A physical port and the wire it is attached to.
pub struct PortLine {
    /// Number.
    pub number: PortNo,
    /// Name.
    pub name: String,
    /// Wire.
    pub wire: Box<dyn Wire>,
    /// Frames that came in.
    pub received: Counts,
    /// Frames that went out and that the present wire did not count.
    pub sent: Counts,
    /// Frames that should have gone out and did not, by the device (MTU, full queues).
    pub dropped: u64,
    /// Frames that the system dropped before a worker read them.
    pub missed: u64,
    /// Why its source ended early.
    pub failure: Option<WireError>,
    /// Packets of this round that leave here.
    outgoing: Vec<Packet>,
}

impl PortLine {
    /// A port at which nothing has passed.
    pub fn new(number: PortNo, name: String, wire: Box<dyn Wire>) -> Self {
        let (received, sent, outgoing) = (Counts::default(), Counts::default(), Vec::new());
        Self { number, name, wire, received, sent, dropped: 0, missed: 0, failure: None, outgoing }
    }

    /// Frames that went out; those that still wait in the wire are not among them.
    pub fn sent(&self) -> Counts {
        self.sent + self.wire.counters().sent
    }

    /// Frames that the system dropped before they were read.
    pub fn missed(&self) -> u64 {
        self.missed + self.wire.counters().receive_dropped
    }

    /// Frames that should have gone out and did not, anywhere.
    pub fn send_dropped(&self) -> u64 {
        self.dropped + self.wire.counters().send_dropped
    }
}

/// What workers counted at a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PortTotals {
    /// Frames that came in.
    pub received: Counts,
    /// Frames that went out.
    pub sent: Counts,
    /// Frames that should have gone out and did not.
    pub dropped: u64,
    /// Frames that the system dropped before they were read.
    pub missed: u64,
}

impl std::fmt::Debug for PortLine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PortLine").field("number", &self.number).finish_non_exhaustive()
    }
}

/// All physical ports, ascending by number.
#[derive(Debug)]
pub struct Ports {
    lines: Vec<PortLine>,
    index: HashMap<PortNo, usize>,
    /// Virtual sources whose next arrival may have changed are asked again; others are remembered.
    arrivals: Vec<Option<Time>>,
    /// Why an output cannot be written.
    unwritten: Option<WireError>,
}

impl Ports {
    /// Ports with open wires, ascending by number.
    pub fn new(lines: Vec<PortLine>) -> Self {
        let index = lines.iter().enumerate().map(|(at, line)| (line.number, at)).collect();
        let arrivals = vec![None; lines.len()];
        let mut ports = Self { arrivals, lines, index, unwritten: None };
        for at in 0..ports.lines.len() {
            ports.ask_arrival(at);
        }
        ports
    }

    /// The ports, ascending by number.
    pub fn lines(&self) -> &[PortLine] {
        &self.lines
    }

    /// Position of a port.
    pub fn position(&self, port: PortNo) -> Option<usize> {
        self.index.get(&port).copied()
    }

    /// Whether every wire brings its own time.
    pub fn are_virtual(&self) -> bool {
        self.lines.iter().all(|line| line.wire.is_virtual())
    }

    /// Whether no wire will ever bring another frame.
    pub fn are_finished(&self) -> bool {
        self.lines.iter().all(|line| line.failure.is_some() || line.wire.is_finished())
    }

    /// The earliest arrival of a virtual source, ties to the lower port.
    pub fn next_arrival(&self) -> Option<(Time, usize)> {
        let known = self.arrivals.iter().enumerate();
        known.filter_map(|(at, time)| time.map(|time| (time, at))).min()
    }

    /// Takes at most `limit` frames that arrived by `now` from the wire at `at`. A failing wire is
    /// finished from then on.
    pub fn receive(
        &mut self,
        at: usize,
        now: Time,
        limit: usize,
        take: &mut dyn FnMut(PortNo, &[u8], Time),
    ) -> usize {
        let line = &mut self.lines[at];
        if line.failure.is_some() {
            return 0;
        }
        let (number, received) = (line.number, &mut line.received);
        let result = line.wire.receive(now, limit, &mut |frame, time| {
            *received += Counts::one(frame.len());
            take(number, frame, time);
        });
        let count = result.unwrap_or_else(|failure| {
            tracing::error!("port {}: {failure}", line.number.0);
            line.failure = Some(failure);
            0
        });
        self.ask_arrival(at);
        count
    }

    /// As [`Self::receive`], into packets of `pool` that are appended to `into`, their port set. How
    /// many arrived, and how many of those found no buffer.
    pub(super) fn receive_packets(
        &mut self,
        at: usize,
        now: Time,
        pool: &mut PacketPool,
        into: &mut Vec<Packet>,
    ) -> (usize, usize) {
        let line = &mut self.lines[at];
        if line.failure.is_some() {
            return (0, 0);
        }
        let before = into.len();
        let counted = line.wire.counters().received;
        let result = line.wire.receive_packets(now, BURST_MAX, pool, into);
        let received = line.wire.counters().received.since(counted).unwrap_or_default();
        line.received += received;
        let count = result.unwrap_or_else(|failure| {
            tracing::error!("port {}: {failure}", line.number.0);
            line.failure = Some(failure);
            into.len() - before
        });
        into[before..].iter_mut().for_each(|packet| packet.port = line.number);
        let missing = count.saturating_sub(into.len() - before);
        self.ask_arrival(at);
        (count, missing)
    }

    /// Takes a packet that leaves by `port`; [`Self::send_waiting`] sends it. One for an unknown
    /// port is nobody's.
    pub(super) fn enqueue(&mut self, port: PortNo, packet: Packet, pool: &mut PacketPool) {
        match self.position(port) {
            Some(at) => self.lines[at].outgoing.push(packet),
            None => pool.give(packet),
        }
    }

    /// Sends what [`Self::enqueue`] took, in order, and gives the buffers to `pool`.
    pub(super) fn send_waiting(&mut self, departure: Time, pool: &mut PacketPool) {
        for line in &mut self.lines {
            if !line.outgoing.is_empty() {
                line.wire.send_packets(&mut line.outgoing, departure, pool);
            }
        }
    }

    fn ask_arrival(&mut self, at: usize) {
        let line = &mut self.lines[at];
        self.arrivals[at] = if line.failure.is_some() { None } else { line.wire.next_arrival() };
    }

    /// Sends a frame out of a port; one for an unknown port is nobody's.
    pub fn send(&mut self, port: PortNo, frame: &[u8], departure: Time) {
        if let Some(at) = self.position(port) {
            self.lines[at].wire.send(frame, departure);
        }
    }

    /// Puts another wire at a port in place of the one there, which ends; what it sent and failed
    /// to send stays counted. Returns the one that ended.
    pub(super) fn replace(
        &mut self,
        at: usize,
        wire: Box<dyn Wire>,
    ) -> Result<Box<dyn Wire>, WireError> {
        let line = &mut self.lines[at];
        let mut former = std::mem::replace(&mut line.wire, wire);
        line.failure = None;
        let flushed = former.finish();
        line.sent += former.counters().sent;
        line.dropped += former.counters().send_dropped;
        self.ask_arrival(at);
        flushed.map(|()| former)
    }

    /// Counts frames that passed the port out of our sight.
    pub(super) fn count(&mut self, at: usize, received: Counts, sent: Counts) {
        let line = &mut self.lines[at];
        line.received += received;
        line.sent += sent;
    }

    /// Makes what workers counted the counters of a port whose wire is theirs.
    pub(super) fn set_totals(&mut self, port: PortNo, totals: PortTotals) {
        if let Some(at) = self.position(port) {
            let line = &mut self.lines[at];
            (line.received, line.sent) = (totals.received, totals.sent);
            (line.dropped, line.missed) = (totals.dropped, totals.missed);
        }
    }

    /// Deals the ports to `count` workers, round and round; and what stands for all of them.
    pub(super) fn deal(self, count: usize) -> (Vec<Self>, Self) {
        let mut shares: Vec<Vec<PortLine>> = (0..count).map(|_| Vec::new()).collect();
        let mut shown = Vec::with_capacity(self.lines.len());
        for (at, line) in self.lines.into_iter().enumerate() {
            shown.push(PortLine::new(line.number, line.name.clone(), Box::new(Cable::default())));
            shares[at % count].push(line);
        }
        (shares.into_iter().map(Self::new).collect(), Self::new(shown))
    }

    /// Counts a frame that should have gone out of `port` and did not.
    pub fn drop_at(&mut self, port: PortNo) {
        if let Some(at) = self.position(port) {
            self.lines[at].dropped += 1;
        }
    }

    /// Pushes out what waits in the wires.
    pub fn flush(&mut self) {
        for line in &mut self.lines {
            if let Err(failure) = line.wire.flush() {
                self.unwritten.get_or_insert(failure);
            }
        }
    }

    /// Whether an output cannot be written: going on would only lose frames.
    pub const fn are_blocked(&self) -> bool {
        self.unwritten.is_some()
    }

    /// Lets virtual sources begin at `now`, for runs with live wires.
    pub fn start_at(&mut self, now: Time) {
        for at in 0..self.lines.len() {
            self.lines[at].wire.start_at(now);
            self.ask_arrival(at);
        }
    }

    /// Lets the source of one port begin at `now`.
    pub(super) fn start_one_at(&mut self, at: usize, now: Time) {
        self.lines[at].wire.start_at(now);
        self.ask_arrival(at);
    }

    /// Ends all wires and returns the first failure of any: reading, then writing.
    pub fn finish(&mut self) -> Option<WireError> {
        let read = self.lines.iter_mut().find_map(|line| line.failure.take());
        let mut first = read.or_else(|| self.unwritten.take());
        for line in &mut self.lines {
            if let Err(failure) = line.wire.finish() {
                first.get_or_insert(failure);
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::BorrowedFd;
    use twinpath_fallback::wire::{FrameSink, WireCounters};

    /// Takes one frame at once, queues all others, and is refused them when it ends.
    #[derive(Default)]
    struct Stuck {
        counters: WireCounters,
        queued: u64,
    }

    impl Wire for Stuck {
        fn receive(
            &mut self,
            _: Time,
            _: usize,
            _: &mut FrameSink<'_>,
        ) -> Result<usize, WireError> {
            Ok(0)
        }

        fn next_arrival(&mut self) -> Option<Time> {
            None
        }

        fn start_at(&mut self, _: Time) {}

        fn send(&mut self, frame: &[u8], _: Time) {
            if self.counters.sent.packets == 0 {
                self.counters.sent += Counts::one(frame.len());
            } else {
                self.queued += 1;
            }
        }

        fn flush(&mut self) -> Result<(), WireError> {
            Ok(())
        }

        fn has_queued(&self) -> bool {
            self.queued > 0
        }

        fn is_finished(&self) -> bool {
            true
        }

        fn is_virtual(&self) -> bool {
            false
        }

        fn descriptor(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        fn counters(&self) -> WireCounters {
            self.counters
        }

        fn finish(&mut self) -> Result<(), WireError> {
            self.counters.send_dropped += std::mem::take(&mut self.queued);
            Ok(())
        }
    }

    #[test]
    fn a_frame_is_sent_or_dropped_and_never_both() {
        let mut ports =
            Ports::new(vec![PortLine::new(PortNo(1), "a".into(), Box::<Stuck>::default())]);
        for _ in 0..3 {
            ports.send(PortNo(1), &[0; 60], Time(0));
        }
        assert_eq!(ports.lines()[0].sent(), Counts { packets: 1, bytes: 60 });
        assert_eq!(ports.lines()[0].send_dropped(), 0);
        ports.replace(0, Box::<Stuck>::default()).unwrap();
        assert_eq!(ports.lines()[0].sent(), Counts { packets: 1, bytes: 60 });
        assert_eq!(ports.lines()[0].send_dropped(), 2);
    }
}
