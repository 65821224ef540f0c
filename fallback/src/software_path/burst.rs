//! One burst through the software path: parse all, look all up, then decide each in order.

use super::exception;
use super::watch::{Stage, Watch};
use super::{Phase, SoftwarePath, holds};
use crate::compiled::{Effects, Program, Progress};
use crate::isa::Isa;
use crate::outbox::{DropCause, Hit, Made, Outbox};
use crate::packet::Packet;
use crate::prefetch::prefetch;
use crate::quick_tunnel;
use crate::slow_path::TtlExpires;
use crate::store::Serves;
use std::sync::Arc;
use twinpath_flow::counters::Counts;
use twinpath_flow::key::Line;
use twinpath_flow::parse::{Parsed, Standing, parse};
use twinpath_flow::port::{PortKind, PortNo};
use twinpath_flow::steps::Flow;
use twinpath_flow::time::Time;

/// Packets looked up together.
const BURST: usize = 32;

/// Slot number that no flow has.
const NONE: u32 = u32::MAX;

/// Lookups between two looks at the ranking of masks and the size of the exact cache.
const LOOKUPS_PER_RANKING: u32 = 1 << 14;

/// What is known about the packets of a burst; kept between bursts for its memory.
#[derive(Debug)]
pub(super) struct Lane {
    works: Box<[Work; BURST]>,
    /// Those to be looked up in the tuple space.
    wanted: Vec<u8>,
    /// Lookups since the masks were ranked.
    lookups: u32,
}

impl Default for Lane {
    fn default() -> Self {
        let works = Box::new([Work::EMPTY; BURST]);
        Self { works, wanted: Vec::with_capacity(BURST), lookups: 0 }
    }
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
    /// Whether the second line of its key may be other than zero.
    has_tail: bool,
    /// Why it is dropped unread.
    refused: Option<DropCause>,
    /// Whether it is to be looked up.
    is_wanted: bool,
    /// How far its flow's program got; `None` when it was not begun.
    progress: Option<Progress>,
}

impl Work {
    const EMPTY: Self = Self {
        parsed: Parsed {
            key: twinpath_flow::key::Key::ZERO,
            layout: EMPTY_LAYOUT,
            standing: Standing::Plain,
        },
        hash: 0,
        flow: NONE,
        serves: Serves::CURRENT,
        has_tail: false,
        refused: None,
        is_wanted: false,
        progress: None,
    };
}

const EMPTY_LAYOUT: twinpath_flow::parse::Layout = twinpath_flow::parse::Layout {
    strip: 0,
    prepend: 0,
    tags: 0,
    network: twinpath_flow::parse::Network::None,
    transport: twinpath_flow::parse::Transport::None,
    l3: 0,
    l4: 0,
    end: 0,
    checksum: 0,
};

/// What a burst needs to know of the port a packet came in on.
#[derive(Clone, Copy)]
struct Entrance {
    port: PortNo,
    serves: Serves,
    /// Length from which on it refuses frames, and why: 0 when it is no physical port.
    too_long: usize,
    refuses: DropCause,
    /// Whether a tunnel rides over it.
    has_tunnels: bool,
}

impl SoftwarePath {
    /// As [`SoftwarePath::process`], compiled for the kernel that calls it.
    #[inline(always)]
    pub(super) fn process_inlined<I: Isa>(
        &mut self,
        now: Time,
        burst: &mut Vec<Packet>,
        effects: &mut Effects<'_>,
        watch: &mut impl Watch,
    ) {
        let mut lane = std::mem::take(&mut self.lane).unwrap_or_default();
        while !burst.is_empty() {
            let count = burst.len().min(BURST);
            self.parse_all::<I>(&burst[..count], &mut lane, watch);
            self.look_up_all::<I>(&mut lane, count);
            self.sample(&lane.works[..count], effects.out);
            watch.passed(Stage::Lookup);
            self.totals.packets += count as u64;
            if self.decide_in_place(now, &mut burst[..count], &mut lane) {
                effects.out.transmissions.extend(burst.drain(..count));
            } else {
                for (packet, work) in burst.drain(..count).zip(lane.works.iter_mut()) {
                    self.decide_later(now, packet, work, effects);
                }
            }
            watch.passed(Stage::Edit);
        }
        self.lane = Some(lane);
    }

    #[inline(always)]
    fn parse_all<I: Isa>(&self, burst: &[Packet], lane: &mut Lane, watch: &mut impl Watch) {
        let Some(first) = burst.first() else { return };
        // Most bursts come in on one port, and most of the time there is one generation.
        let mut from = self.entrance(first.port, self.serves(first));
        let is_changing = self.next.is_some();
        let mut hint = I::Hint::default();
        for (packet, work) in burst.iter().zip(lane.works.iter_mut()) {
            let serves = if is_changing { self.serves(packet) } else { Serves::CURRENT };
            if packet.port != from.port || serves != from.serves {
                from = self.entrance(packet.port, serves);
            }
            (work.serves, work.flow, work.refused) = (serves, NONE, None);
            if packet.len() >= from.too_long {
                work.refused = Some(from.refuses);
                work.is_wanted = false;
                continue;
            }
            let read = I::read(packet.first_line(), packet.len(), packet.port, &mut hint);
            match read.filter(|quick| !from.has_tunnels || !quick_tunnel::may_carry(quick)) {
                Some(quick) => {
                    work.parsed.key.head = quick.head;
                    if work.has_tail {
                        work.parsed.key.tail = Line::ZERO;
                        work.has_tail = false;
                    }
                    work.parsed.layout = quick.layout;
                    work.parsed.standing = Standing::Plain;
                    work.is_wanted = true;
                }
                None => self.parse_whole(packet, work),
            }
        }
        watch.passed(Stage::Parse);
        // Not in the loop above: a key that was just stored whole is not there yet to be loaded in parts.
        for work in lane.works[..burst.len()].iter_mut().filter(|work| work.refused.is_none()) {
            self.hash::<I>(work);
        }
        watch.passed(Stage::Hash);
    }

    #[inline(always)]
    fn hash<I: Isa>(&self, work: &mut Work) {
        work.hash = I::hash(&self.hasher, &work.parsed.key.head);
        if work.has_tail {
            work.hash ^= self.hasher.hash_tail(&work.parsed.key.tail);
        }
        self.cache.touch(work.hash);
    }

    #[inline(never)]
    fn parse_whole(&self, packet: &Packet, work: &mut Work) {
        let ports = &self.phase(work.serves).slow_path.pipeline().ports;
        let (frame, port) = (packet.frame(), packet.port);
        if quick_tunnel::read(frame, port, ports, &mut work.parsed).is_none() {
            work.parsed = parse(frame, port, ports);
        }
        work.has_tail = !work.parsed.key.tail.is_zero();
        work.is_wanted = work.parsed.standing == Standing::Plain;
    }

    /// The generation that decides a packet.
    fn serves(&self, packet: &Packet) -> Serves {
        match &self.next {
            Some(next) if packet.generation >= next.generation => Serves::NEXT,
            _ => Serves::CURRENT,
        }
    }

    fn entrance(&self, number: PortNo, serves: Serves) -> Entrance {
        let ports = &self.phase(serves).slow_path.pipeline().ports;
        let port = ports.find(number).filter(|port| port.kind == PortKind::Physical);
        Entrance {
            port: number,
            serves,
            too_long: port.map_or(0, |port| usize::from(port.mtu_in) + 1),
            refuses: if port.is_some() { DropCause::MtuIn } else { DropCause::NoPort },
            has_tunnels: ports.has_tunnels_over(number),
        }
    }

    fn phase(&self, serves: Serves) -> &Phase {
        self.next.as_ref().filter(|_| serves == Serves::NEXT).unwrap_or(&self.current)
    }

    /// Looks in the exact cache, then in the tuple space.
    #[inline(always)]
    fn look_up_all<I: Isa>(&mut self, lane: &mut Lane, count: usize) {
        let Self { cache, store, tuples, totals, .. } = self;
        let works = &mut lane.works[..count];
        let (slots, many) = (store.slots(), store.has_many_recipes());
        for work in works.iter_mut().filter(|work| work.is_wanted) {
            let guess = cache.guess(work.hash).filter(|flow| (*flow as usize) < slots);
            if let Some(flow) = guess {
                work.flow = flow;
                prefetch(store.hot(flow));
                prefetch(store.head(flow));
            }
        }
        lane.wanted.clear();
        for (at, work) in (0_u8..).zip(works.iter_mut()).filter(|(_, work)| work.is_wanted) {
            let right = work.flow != NONE
                && tuples.decides::<I>(work.flow, &work.parsed.key, work.serves, store);
            if right {
                totals.cache_hits += 1;
                if many {
                    store.touch_recipe(work.flow);
                }
            } else {
                work.flow = NONE;
                lane.wanted.push(at);
            }
        }
        if !lane.wanted.is_empty() {
            let before = lane.wanted.len();
            let mut found = [NONE; BURST];
            let key = |at: u8| {
                let work: &Work = &works[usize::from(at)];
                (&work.parsed.key, work.serves)
            };
            tuples.find_many(&mut lane.wanted, key, store, |at, flow| {
                found[usize::from(at)] = flow;
            });
            totals.tuple_hits += (before - lane.wanted.len()) as u64;
            for (work, flow) in works.iter_mut().zip(found).filter(|(_, flow)| *flow != NONE) {
                work.flow = flow;
                cache.remember(work.hash, flow);
            }
        }
        lane.lookups += u32::try_from(count).expect("a burst");
        if lane.lookups >= LOOKUPS_PER_RANKING {
            tuples.rank();
            cache.adapt(std::mem::take(&mut lane.lookups));
        }
    }

    /// Reports a few hits, at places that move from burst to burst.
    #[inline(always)]
    fn sample(&mut self, works: &[Work], out: &mut Outbox) {
        if self.settings.hit_samples == 0 {
            return;
        }
        let stride = works.len().div_ceil(self.settings.hit_samples).max(1);
        self.sample_clock = self.sample_clock.wrapping_add(7);
        let first = self.sample_clock % stride;
        let sampled = works.iter().skip(first).step_by(stride).take(self.settings.hit_samples);
        for work in sampled.filter(|work| work.flow != NONE) {
            out.hits.push(Hit { id: self.store.id(work.flow), key: work.parsed.key });
        }
    }

    /// Counts and edits the packets that have a flow, where they lie: a handle that is moved right
    /// after a change waits for the change. Whether all are done with, and to be sent.
    #[inline(always)]
    fn decide_in_place(&mut self, now: Time, burst: &mut [Packet], lane: &mut Lane) -> bool {
        if self.store.has_many_recipes() {
            let flows = lane.works[..burst.len()].iter().map(|work| work.flow);
            flows.filter(|flow| *flow != NONE).for_each(|flow| self.store.touch_program(flow));
        }
        let mut all_sent = true;
        for (packet, work) in burst.iter_mut().zip(lane.works.iter_mut()) {
            work.progress = None;
            if work.flow != NONE {
                work.progress = self.store.hit(work.flow, now, packet, &work.parsed);
            }
            all_sent &= work.progress == Some(Progress::Sent);
        }
        all_sent
    }

    /// Does what is left to do with a packet.
    #[inline(never)]
    fn decide_later(
        &mut self,
        now: Time,
        packet: Packet,
        work: &mut Work,
        effects: &mut Effects<'_>,
    ) {
        match work.progress {
            Some(Progress::Sent) => effects.out.transmissions.push(packet),
            Some(progress) => {
                let program = self.store.program_mut(work.flow);
                program.run_on(progress, packet, &work.parsed, effects);
            }
            None if work.flow != NONE => self.except(packet, work, effects),
            None => self.decide_others(now, packet, work, effects),
        }
    }

    /// A packet without a flow yet.
    #[inline(never)]
    fn decide_others(
        &mut self,
        now: Time,
        packet: Packet,
        work: &mut Work,
        effects: &mut Effects<'_>,
    ) {
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
        // An earlier packet of the burst may have made the flow.
        let made = self.tuples.find(&work.parsed.key, work.serves, &self.store);
        let Some(flow) = made else {
            return self.miss(now, packet, work, effects);
        };
        work.flow = flow;
        self.totals.tuple_hits += 1;
        self.cache.remember(work.hash, flow);
        self.hit(now, packet, work, effects);
    }

    fn hit(&mut self, now: Time, mut packet: Packet, work: &mut Work, effects: &mut Effects<'_>) {
        work.progress = self.store.hit(work.flow, now, &mut packet, &work.parsed);
        self.decide_later(now, packet, work, effects);
    }

    /// Asks the slow path, and makes a flow unless the packet is an exception or there are enough.
    fn miss(&mut self, now: Time, packet: Packet, work: &mut Work, effects: &mut Effects<'_>) {
        let mut scratch = self.scratch.take().unwrap_or_default();
        let phase = self.phase(work.serves);
        let made = match phase.slow_path.translate_into(&work.parsed.key, &mut scratch) {
            Err(TtlExpires) => false,
            Ok(flow) if self.store.len() < self.settings.flow_limit => {
                self.make_flow(now, flow, work, effects.out);
                true
            }
            Ok(flow) => {
                let program = Program::new(flow, &phase.slow_path.pipeline().ports);
                let counts = Counts::one(packet.len());
                effects.out.rule_counts.extend(flow.rules.iter().map(|rule| (*rule, counts)));
                self.totals.flow_limit += 1;
                self.scratch = Some(scratch);
                return program.run_once(packet, &work.parsed, effects);
            }
        };
        self.scratch = Some(scratch);
        if made {
            self.hit(now, packet, work, effects);
        } else {
            self.except(packet, work, effects);
        }
    }

    fn make_flow(&mut self, now: Time, flow: &Flow, work: &mut Work, out: &mut Outbox) {
        self.totals.flows_made += 1;
        let key = work.parsed.key;
        let from = self.phase(work.serves).generation;
        let mut serves = work.serves;
        let mut until = None;
        if let Some(next) = self.next.as_ref().filter(|_| serves == Serves::CURRENT) {
            if self.same_ports(&next.slow_path) && holds(flow, &key, &next.slow_path) {
                serves = Serves::BOTH;
            } else {
                until = Some(next.generation);
            }
        }
        let phase = self.next.as_ref().filter(|_| work.serves == Serves::NEXT);
        let phase = phase.unwrap_or(&self.current);
        let ports = (&*phase.slow_path.pipeline().ports, phase.ports_epoch);
        let id = self.store.insert((flow, &key), ports, (serves, now));
        let tuple = self.tuples.insert(&flow.matching, id.index);
        self.store.hot_mut(id.index).tuple = tuple;
        self.cache.remember(work.hash, id.index);
        work.flow = id.index;
        out.made.push(Made { id, flow: Arc::new(flow.clone()), key, from, until });
    }

    /// Executes a packet without a flow.
    #[inline(never)]
    fn except(&mut self, packet: Packet, work: &Work, effects: &mut Effects<'_>) {
        self.totals.exceptions += 1;
        exception::execute(packet, &work.parsed, &self.phase(work.serves).slow_path, effects);
    }
}
