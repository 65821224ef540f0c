//! One burst through the software path: parse all, look all up, then decide each in order.

use super::exception;
use super::{Phase, SoftwarePath, holds};
use crate::compiled::{Effects, Program};
use crate::outbox::{DropCause, Hit, Made, Outbox};
use crate::packet::{Packet, PacketPool};
use crate::store::{Serves, Stored};
use std::sync::Arc;
use twinpath_flow::counters::Counts;
use twinpath_flow::field::Field;
use twinpath_flow::parse::{Parsed, Standing, parse};
use twinpath_flow::port::PortKind;
use twinpath_flow::steps::Flow;
use twinpath_flow::time::Time;

/// Packets looked up together.
const BURST: usize = 32;

/// Slot number that no flow has.
const NONE: u32 = u32::MAX;

/// What is known about the packets of a burst; kept between bursts for its memory.
#[derive(Debug, Default)]
pub(super) struct Lane {
    works: Vec<Work>,
}

/// A packet's way through a burst.
#[derive(Clone, Copy, Debug)]
struct Work {
    parsed: Parsed,
    hash: u64,
    /// Slot of its flow, or [`NONE`].
    flow: u32,
    /// Generation that decides it.
    serves: Serves,
    /// Why it is dropped unread.
    refused: Option<DropCause>,
}

impl SoftwarePath {
    /// Decides all packets of `burst`, in order, and empties it. Any length; 32 is best.
    ///
    /// Packets that are not sent go back to `pool`, which also gives the buffers for copies.
    /// Each packet is decided by the generation it carries: the prepared one if it is that or
    /// newer, else the current one.
    pub fn process(
        &mut self,
        now: Time,
        burst: &mut Vec<Packet>,
        pool: &mut PacketPool,
        out: &mut Outbox,
    ) {
        let mut lane = std::mem::take(&mut self.lane);
        let mut effects = Effects { pool, out };
        while !burst.is_empty() {
            let count = burst.len().min(BURST);
            lane.works.clear();
            lane.works.extend(burst[..count].iter().map(|packet| self.parse(packet)));
            lane.works.iter_mut().for_each(|work| self.look_up(work));
            self.sample(&lane.works, effects.out);
            for (packet, work) in burst.drain(..count).zip(&mut lane.works) {
                self.decide(now, packet, work, &mut effects);
            }
        }
        self.lane = lane;
    }

    fn parse(&self, packet: &Packet) -> Work {
        let serves = match &self.next {
            Some(next) if packet.generation >= next.generation => Serves::NEXT,
            _ => Serves::CURRENT,
        };
        let ports = &self.phase(serves).slow_path.pipeline().ports;
        let refused = match ports.find(packet.port) {
            Some(port) if port.kind != PortKind::Physical => Some(DropCause::NoPort),
            Some(port) if packet.len() > usize::from(port.mtu_in) => Some(DropCause::MtuIn),
            Some(_) => None,
            None => Some(DropCause::NoPort),
        };
        let mut work = Work { parsed: Parsed::default(), hash: 0, flow: NONE, serves, refused };
        if refused.is_none() {
            work.parsed = parse(packet.frame(), packet.port, ports);
            work.hash = self.hasher.hash_whole(&work.parsed.key);
        }
        work
    }

    fn phase(&self, serves: Serves) -> &Phase {
        self.next.as_ref().filter(|_| serves == Serves::NEXT).unwrap_or(&self.current)
    }

    /// Looks in the exact cache, then in the tuple space.
    fn look_up(&mut self, work: &mut Work) {
        if work.refused.is_some() || work.parsed.standing != Standing::Plain {
            return;
        }
        let key = &work.parsed.key;
        let is_it = |flow: &u32| {
            self.store.at(*flow).is_some_and(|stored| {
                stored.serves.meets(work.serves) && stored.matching.matches(key)
            })
        };
        if let Some(flow) = self.cache.guesses(work.hash).into_iter().find(is_it) {
            self.totals.cache_hits += 1;
            work.flow = flow;
        } else if let Some(flow) = self.tuples.lookup(key, work.serves, &self.store) {
            self.totals.tuple_hits += 1;
            self.cache.remember(work.hash, flow);
            work.flow = flow;
        }
    }

    /// Reports a few hits, at places that move from burst to burst.
    fn sample(&mut self, works: &[Work], out: &mut Outbox) {
        let stride = works.len().div_ceil(self.settings.hit_samples.max(1)).max(1);
        self.sample_clock = self.sample_clock.wrapping_add(7);
        let first = self.sample_clock % stride;
        let sampled = works.iter().skip(first).step_by(stride).take(self.settings.hit_samples);
        for work in sampled.filter(|work| work.flow != NONE) {
            out.hits.push(Hit { id: self.store.id(work.flow), key: work.parsed.key });
        }
    }

    fn decide(&mut self, now: Time, packet: Packet, work: &mut Work, effects: &mut Effects<'_>) {
        self.totals.packets += 1;
        if let Some(cause) = work.refused {
            self.totals.refused += 1;
            return effects.drop_packet(cause, packet);
        }
        match work.parsed.standing {
            Standing::Plain => {}
            Standing::Exception => return self.except(packet, work, effects),
            Standing::Malformed => {
                self.totals.refused += 1;
                return effects.drop_packet(DropCause::Malformed, packet);
            }
        }
        if work.flow == NONE {
            // An earlier packet of the burst may have made the flow.
            work.flow =
                self.tuples.lookup(&work.parsed.key, work.serves, &self.store).unwrap_or(NONE);
            if work.flow == NONE {
                return self.miss(now, packet, work, effects);
            }
            self.totals.tuple_hits += 1;
            self.cache.remember(work.hash, work.flow);
        }
        self.hit(now, packet, work, effects);
    }

    fn hit(&mut self, now: Time, packet: Packet, work: &Work, effects: &mut Effects<'_>) {
        let stored = self.store.at_mut(work.flow).expect("flows are only removed between bursts");
        let ttl = work.parsed.key.get(Field::IpTtl);
        if stored.ttl_threshold.is_some_and(|threshold| ttl <= u128::from(threshold)) {
            return self.except(packet, work, effects);
        }
        stored.counts += Counts::one(packet.len());
        stored.last_used = now;
        stored.program.run(packet, &work.parsed, effects);
    }

    /// Asks the slow path, and makes a flow unless the packet is an exception or there are enough.
    fn miss(&mut self, now: Time, packet: Packet, work: &mut Work, effects: &mut Effects<'_>) {
        let phase = self.phase(work.serves);
        let Ok(flow) = phase.slow_path.translate(&work.parsed.key) else {
            return self.except(packet, work, effects);
        };
        let mut program = Program::new(&flow, &phase.slow_path.pipeline().ports);
        if self.store.len() >= self.settings.flow_limit {
            self.totals.flow_limit += 1;
            let counts = Counts::one(packet.len());
            effects.out.rule_counts.extend(flow.rules.iter().map(|rule| (*rule, counts)));
            return program.run(packet, &work.parsed, effects);
        }
        self.make_flow(now, (flow, program), work, effects.out);
        self.hit(now, packet, work, effects);
    }

    fn make_flow(
        &mut self,
        now: Time,
        (flow, program): (Flow, Program),
        work: &mut Work,
        out: &mut Outbox,
    ) {
        self.totals.flows_made += 1;
        let flow = Arc::new(flow);
        let key = work.parsed.key;
        let from = self.phase(work.serves).generation;
        let mut serves = work.serves;
        let mut until = None;
        if let Some(next) = self.next.as_ref().filter(|_| serves == Serves::CURRENT) {
            if self.same_ports(next) && holds(&flow, &key, &next.slow_path) {
                serves = Serves::BOTH;
            } else {
                until = Some(next.generation);
            }
        }
        let id = self.store.insert(Stored {
            matching: flow.matching,
            sample: key,
            counts: Counts::default(),
            last_used: now,
            serves,
            tuple: 0,
            ttl_threshold: flow.ttl_threshold,
            program,
            flow: Arc::clone(&flow),
        });
        let tuple = self.tuples.insert(&flow.matching, id.index);
        self.store.at_mut(id.index).expect("just inserted").tuple = tuple;
        self.cache.remember(work.hash, id.index);
        work.flow = id.index;
        out.made.push(Made { id, flow, key, from, until });
    }

    /// Executes a packet by the specification, which needs no flow.
    fn except(&mut self, packet: Packet, work: &Work, effects: &mut Effects<'_>) {
        self.totals.exceptions += 1;
        let pipeline = self.phase(work.serves).slow_path.pipeline();
        exception::execute(packet, work.parsed.key.get(Field::InPort), pipeline, effects);
    }
}
