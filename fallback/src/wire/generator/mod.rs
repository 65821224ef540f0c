//! A wire that makes its own frames, the same for the same seed, in virtual time.
//!
//! `docs/wires.md` documents the parameters. Streams are merged by time, ties to the stream written first.
//! What is sent to a generator is counted and gone.

pub mod choice;
mod frame;
mod number;
mod random;
pub mod spec;
mod zipf;

use std::os::fd::BorrowedFd;

use twinpath_flow::counters::Counts;
use twinpath_flow::time::Time;

use super::{FrameSink, Wire, WireCounters, WireError};
use frame::{FlowFields, PacketFields};
use random::Random;
use spec::{GeneratorSpec, StreamSpec};
use zipf::Zipf;

/// Flows whose fields are kept; the rest are derived at every packet.
const CACHED_FLOWS_MAX: usize = 1 << 16;

/// One stream and how far it is.
struct Stream {
    spec: StreamSpec,
    zipf: Zipf,
    /// Fields of the first flows, the most frequent ones.
    cached: Vec<FlowFields>,
    random: Random,
    /// Packets made.
    made: u64,
    /// Time of packet 0.
    origin: Time,
}

/// The wire.
pub(super) struct Generator {
    streams: Vec<Stream>,
    frame: Vec<u8>,
    counters: WireCounters,
}

impl Generator {
    pub(super) fn new(spec: &GeneratorSpec) -> Self {
        let streams = spec.streams.iter().cloned().map(Stream::new).collect();
        let frame = Vec::with_capacity(usize::from(spec::FRAME_MAX));
        Self { streams, frame, counters: WireCounters::default() }
    }

    /// Time and number of the stream whose packet comes next.
    fn next_stream(&self) -> Option<(Time, usize)> {
        let arrivals = self.streams.iter().enumerate();
        arrivals.filter_map(|(number, stream)| Some((stream.next_arrival()?, number))).min()
    }
}

impl Stream {
    fn new(spec: StreamSpec) -> Self {
        let cached =
            usize::try_from(spec.flows).map_or(CACHED_FLOWS_MAX, |n| n.min(CACHED_FLOWS_MAX));
        let cached = (0..u32::try_from(cached).expect("bounded"))
            .map(|flow| FlowFields::derive(&spec, flow))
            .collect();
        let zipf = Zipf::new(spec.flows, spec.zipf);
        let (random, origin) = (Random::new(spec.seed), Time(spec.start_ns));
        Self { spec, zipf, cached, random, made: 0, origin }
    }

    /// Packet n comes n / rate after the first, rounded down: no error adds up.
    fn next_arrival(&self) -> Option<Time> {
        if self.made >= self.spec.count {
            return None;
        }
        let passed = u128::from(self.made) * 1_000_000_000 / u128::from(self.spec.rate);
        Some(Time(self.origin.0.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))))
    }

    fn make(&mut self, frame: &mut Vec<u8>) {
        let number = self.zipf.choose(self.random.bits());
        let packet = PacketFields::draw(&self.spec, &mut self.random);
        let derived;
        let flow = match self.cached.get(number as usize) {
            Some(flow) => flow,
            None => {
                derived = FlowFields::derive(&self.spec, number);
                &derived
            }
        };
        frame::build(frame, &self.spec, flow, packet, self.made);
        self.made += 1;
    }
}

impl Wire for Generator {
    fn receive(
        &mut self,
        now: Time,
        limit: usize,
        sink: &mut FrameSink<'_>,
    ) -> Result<usize, WireError> {
        let mut taken = 0;
        while taken < limit
            && let Some((arrival, number)) = self.next_stream()
            && arrival <= now
        {
            self.streams[number].make(&mut self.frame);
            self.counters.received += Counts::one(self.frame.len());
            sink(&self.frame, arrival);
            taken += 1;
        }
        Ok(taken)
    }

    fn next_arrival(&mut self) -> Option<Time> {
        self.next_stream().map(|(arrival, _)| arrival)
    }

    fn start_at(&mut self, time: Time) {
        for stream in &mut self.streams {
            stream.origin = Time(time.0.saturating_add(stream.spec.start_ns));
        }
    }

    fn send(&mut self, frame: &[u8], _departure: Time) {
        self.counters.sent += Counts::one(frame.len());
    }

    fn flush(&mut self) -> Result<(), WireError> {
        Ok(())
    }

    fn has_queued(&self) -> bool {
        false
    }

    fn is_finished(&self) -> bool {
        self.next_stream().is_none()
    }

    fn is_virtual(&self) -> bool {
        true
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn counters(&self) -> WireCounters {
        self.counters
    }

    fn finish(&mut self) -> Result<(), WireError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
