//! One burst through the software path: parse all, look all up, then decide each in order.

use super::exception;
use super::lane::{BURST, Lane, NONE, Set};
use super::watch::{Stage, Watch};
use super::{Phase, SoftwarePath, holds};
use crate::compiled::{Effects, Program, Progress};
use crate::isa::Isa;
use crate::outbox::{DropCause, Hit, Made, Outbox};
use crate::packet::Packet;
use crate::prefetch::prefetch;
use crate::quick::Quick;
use crate::quick_tunnel;
use crate::slow_path::TtlExpires;
use crate::store::Serves;
use std::sync::Arc;
use twinpath_flow::counters::Counts;
use twinpath_flow::parse::{Standing, parse};
use twinpath_flow::port::{PortKind, PortNo};
use twinpath_flow::steps::Flow;
use twinpath_flow::time::Time;

/// Lookups between two looks at the ranking of masks and the size of the exact cache.
const LOOKUPS_PER_RANKING: u32 = 1 << 14;

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
            lane.begin(now, self.current.serves);
            self.parse_all::<I>(&burst[..count], &mut lane, watch);
            self.look_up_all::<I>(&mut lane, count);
            self.sample(&lane, count, effects.out);
            watch.passed(Stage::Lookup);
            self.totals.packets += count as u64;
            self.decide_in_place(&mut burst[..count], &mut lane);
            let sent = &mut effects.out.transmissions;
            if !lane.unsent.is_empty() {
                for (at, packet) in burst.drain(..count).enumerate() {
                    self.decide_later(packet, at, &mut lane, effects);
                }
            } else if sent.is_empty() && count == burst.len() {
                std::mem::swap(sent, burst);
            } else {
                sent.extend(burst.drain(..count));
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
        for (at, packet) in burst.iter().enumerate().take(BURST) {
            let serves = if is_changing { self.serves(packet) } else { self.current.serves };
            if packet.port != from.port || serves != from.serves {
                from = self.entrance(packet.port, serves);
            }
            if is_changing {
                lane.serves[at] = serves;
            }
            if packet.len() >= from.too_long {
                lane.causes[at] = from.refuses;
                lane.refused.add(at);
                continue;
            }
            let head = &mut lane.keys[at].head;
            let ways = (packet.port, &mut hint);
            match I::read(packet.first_line(), packet.len(), ways, head) {
                Some(quick) if !from.has_tunnels => lane.read_quickly(at, quick),
                Some(quick) => self.parse_tunnel(packet, quick, at, lane),
                None => self.parse_whole(packet, at, lane),
            }
        }
        watch.passed(Stage::Parse);
        // Not in the loop above: a key that was just stored whole is not there yet to be loaded in parts.
        for at in lane.wanted {
            let hash = I::hash(&self.hasher, &lane.keys[at].head);
            lane.hashes[at] = hash;
            self.cache.touch(hash);
        }
        for at in lane.has_tail {
            lane.hashes[at] ^= self.hasher.hash_tail(&lane.keys[at].tail);
            self.cache.touch(lane.hashes[at]);
        }
        watch.passed(Stage::Hash);
    }

    /// A packet that was read quickly and may be in a tunnel.
    #[inline(never)]
    fn parse_tunnel(&self, packet: &Packet, outer: Quick, at: usize, lane: &mut Lane) {
        let key = &mut lane.keys[at];
        if !quick_tunnel::may_carry(outer, &key.head) {
            return lane.read_quickly(at, outer);
        }
        let ports = &self.phase(lane.serves[at]).slow_path.pipeline().ports;
        match quick_tunnel::read(packet, ports, key) {
            Some(inner) => lane.read_tunnel(at, inner),
            None => self.parse_whole(packet, at, lane),
        }
    }

    #[inline(never)]
    fn parse_whole(&self, packet: &Packet, at: usize, lane: &mut Lane) {
        let ports = &self.phase(lane.serves[at]).slow_path.pipeline().ports;
        lane.read_whole(at, &parse(packet.frame(), packet.port, ports));
    }

    /// The generation that decides a packet.
    fn serves(&self, packet: &Packet) -> Serves {
        match &self.next {
            Some(next) if packet.generation >= next.generation => next.serves,
            _ => self.current.serves,
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
        self.next.as_ref().filter(|next| serves == next.serves).unwrap_or(&self.current)
    }

    /// Looks in the exact cache, then in the tuple space.
    #[inline(always)]
    fn look_up_all<I: Isa>(&mut self, lane: &mut Lane, count: usize) {
        let Self { cache, store, tuples, totals, .. } = self;
        let (slots, many) = (store.slots(), store.has_many_recipes());
        for at in lane.wanted {
            let guess = cache.guess::<I>(lane.hashes[at]).filter(|flow| (*flow as usize) < slots);
            if let Some(flow) = guess {
                lane.flows[at] = flow;
                prefetch(store.hot(flow));
                prefetch(store.head(flow));
            }
        }
        lane.missed.clear();
        for at in lane.wanted {
            let flow = lane.flows[at];
            let right =
                flow != NONE && tuples.decides::<I>(flow, &lane.keys[at], lane.serves[at], store);
            if right {
                totals.cache_hits += 1;
                if many {
                    store.touch_recipe(flow);
                }
            } else {
                lane.flows[at] = NONE;
                lane.missed.push(u8::try_from(at).expect("below 32"));
            }
        }
        if !lane.missed.is_empty() {
            self.look_up_missed(lane);
        }
        lane.lookups += u32::try_from(count).expect("a burst");
        if lane.lookups >= LOOKUPS_PER_RANKING {
            self.tuples.rank();
            self.cache.adapt(std::mem::take(&mut lane.lookups));
        }
    }

    /// Looks in the tuple space.
    #[inline(never)]
    fn look_up_missed(&mut self, lane: &mut Lane) {
        let Self { cache, store, tuples, totals, .. } = self;
        let Lane { missed, keys, serves, flows, hashes, .. } = lane;
        let before = missed.len();
        let key = |at: u8| (&keys[usize::from(at) % BURST], serves[usize::from(at) % BURST]);
        tuples.find_many(missed, key, store, |at, flow| {
            let at = usize::from(at) % BURST;
            flows[at] = flow;
            cache.remember(hashes[at], flow);
        });
        totals.tuple_hits += (before - missed.len()) as u64;
    }

    /// Reports a few hits, at places that move from burst to burst.
    #[inline(always)]
    fn sample(&mut self, lane: &Lane, count: usize, out: &mut Outbox) {
        if self.settings.hit_samples == 0 {
            return;
        }
        let stride = count.div_ceil(self.settings.hit_samples).max(1);
        self.sample_clock = self.sample_clock.wrapping_add(7);
        let places = (self.sample_clock % stride..count).step_by(stride);
        for at in places.take(self.settings.hit_samples).filter(|at| lane.flows[*at] != NONE) {
            out.hits.push(Hit { id: self.store.id(lane.flows[at]), key: lane.keys[at] });
        }
    }

    /// Counts and edits the packets that have a flow, where they lie: a handle that is moved right
    /// after a change waits for the change.
    #[inline(always)]
    fn decide_in_place(&mut self, burst: &mut [Packet], lane: &mut Lane) {
        let mut unsent = Set::EMPTY;
        for (at, packet) in burst.iter_mut().enumerate().take(BURST) {
            let flow = lane.flows[at];
            let progress = if flow == NONE { None } else { self.edit(packet, at, lane) };
            if progress != Some(Progress::Sent) {
                lane.progresses[at] = progress;
                unsent.add(at);
            }
        }
        lane.unsent = unsent;
    }

    /// Counts a packet that has a flow, and edits it as far as one rewrite does.
    #[inline(always)]
    fn edit(&mut self, packet: &mut Packet, at: usize, lane: &mut Lane) -> Option<Progress> {
        let (flow, shape) = (lane.flows[at], lane.shapes[at]);
        let recipe = self.store.count(flow, lane.now, packet.len(), lane.ttl(at))?;
        let Some(rewrite) = self.store.recipes().usual(recipe, shape) else {
            return Some(self.edit_otherwise(recipe, packet, at, lane));
        };
        if !rewrite.is_last() {
            lane.keep_layout(at, packet);
        }
        Some(rewrite.run(packet, lane.strip(at)))
    }

    /// The same for a packet of another shape than those seen first.
    #[inline(never)]
    fn edit_otherwise(
        &mut self,
        recipe: u32,
        packet: &mut Packet,
        at: usize,
        lane: &mut Lane,
    ) -> Progress {
        let layout = lane.keep_layout(at, packet);
        let rewrite = self.store.recipes_mut().any(recipe, lane.shapes[at], &layout);
        rewrite.run(packet, lane.strip(at))
    }

    /// Does what is left to do with a packet.
    #[inline(never)]
    fn decide_later(
        &mut self,
        packet: Packet,
        at: usize,
        lane: &mut Lane,
        effects: &mut Effects<'_>,
    ) {
        if !lane.unsent.has(at) {
            return effects.out.transmissions.push(packet);
        }
        match lane.progresses[at] {
            Some(progress) => {
                let parsed = lane.parsed(at, Some(progress), &packet);
                self.store.program(lane.flows[at]).run_on(progress, packet, &parsed, effects);
            }
            None if lane.flows[at] != NONE => self.except(packet, at, lane, effects),
            None => self.decide_others(packet, at, lane, effects),
        }
    }

    /// A packet without a flow yet.
    #[inline(never)]
    fn decide_others(
        &mut self,
        packet: Packet,
        at: usize,
        lane: &mut Lane,
        effects: &mut Effects<'_>,
    ) {
        if lane.refused.has(at) {
            self.totals.refused += 1;
            return effects.drop_packet(lane.causes[at], packet);
        }
        match lane.standing(at) {
            Standing::Plain => {}
            Standing::Exception => return self.except(packet, at, lane, effects),
            Standing::Malformed => {
                self.totals.refused += 1;
                return effects.drop_packet(DropCause::Malformed, packet);
            }
        }
        // An earlier packet of the burst may have made the flow.
        let made = self.tuples.find_fresh(&lane.keys[at], lane.serves[at], &self.store);
        let Some(flow) = made else {
            return self.miss(packet, at, lane, effects);
        };
        lane.flows[at] = flow;
        self.totals.tuple_hits += 1;
        self.cache.remember(lane.hashes[at], flow);
        self.hit(packet, at, lane, effects);
    }

    fn hit(&mut self, mut packet: Packet, at: usize, lane: &mut Lane, effects: &mut Effects<'_>) {
        lane.progresses[at] = self.edit(&mut packet, at, lane);
        self.decide_later(packet, at, lane, effects);
    }

    /// Asks the slow path, and makes a flow unless the packet is an exception or there are enough.
    fn miss(&mut self, packet: Packet, at: usize, lane: &mut Lane, effects: &mut Effects<'_>) {
        let mut scratch = self.scratch.take().unwrap_or_default();
        let phase = self.phase(lane.serves[at]);
        let made = match phase.slow_path.translate_into(&lane.keys[at], &mut scratch) {
            Err(TtlExpires) => false,
            Ok(flow) if self.store.len() < self.settings.flow_limit && self.store.has_room() => {
                self.make_flow(flow, (at, lane), effects.out);
                true
            }
            Ok(flow) => {
                let program = Program::new(flow, &phase.slow_path.pipeline().ports);
                let counts = Counts::one(packet.len());
                effects.out.rule_counts.extend(flow.rules.iter().map(|rule| (*rule, counts)));
                self.totals.flow_limit += 1;
                let parsed = lane.parsed(at, None, &packet);
                self.scratch = Some(scratch);
                return program.run_all(packet, &parsed, effects);
            }
        };
        self.scratch = Some(scratch);
        if made {
            self.hit(packet, at, lane, effects);
        } else {
            self.except(packet, at, lane, effects);
        }
    }

    fn make_flow(&mut self, flow: &Flow, (at, lane): (usize, &mut Lane), out: &mut Outbox) {
        self.totals.flows_made += 1;
        let (key, asked) = (lane.keys[at], lane.serves[at]);
        let from = self.phase(asked).generation;
        let mut serves = asked;
        let mut until = None;
        if let Some(next) = self.next.as_ref().filter(|next| serves != next.serves) {
            if self.same_ports(&next.slow_path) && holds(flow, &key, &next.slow_path) {
                serves = Serves::BOTH;
            } else {
                until = Some(next.generation);
            }
        }
        let phase = self.next.as_ref().filter(|next| asked == next.serves);
        let phase = phase.unwrap_or(&self.current);
        let ports = (&*phase.slow_path.pipeline().ports, phase.ports_epoch);
        let id = self.store.insert((flow, &key), ports, (serves, lane.now));
        let tuple = self.tuples.insert(&flow.matching, id.index);
        self.store.hot_mut(id.index).tuple = tuple;
        self.cache.remember(lane.hashes[at], id.index);
        lane.flows[at] = id.index;
        out.made.push(Made { id, flow: Arc::new(flow.clone()), key, from, until });
    }

    /// Executes a packet without a flow.
    #[inline(never)]
    fn except(&mut self, packet: Packet, at: usize, lane: &Lane, effects: &mut Effects<'_>) {
        self.totals.exceptions += 1;
        let parsed = lane.parsed(at, None, &packet);
        exception::execute(packet, &parsed, &self.phase(lane.serves[at]).slow_path, effects);
    }
}
