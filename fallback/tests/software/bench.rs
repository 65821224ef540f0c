//! A software path on a bench: bursts in, the fate of each packet and the counts of all rules out.

use std::collections::BTreeMap;
use std::sync::Arc;
use twinpath_fallback::outbox::DropCause;
use twinpath_fallback::software_path::Removed;
use twinpath_fallback::{Kernel, Outbox, PacketPool, Settings, SoftwarePath};
use twinpath_flow::card::Generation;
use twinpath_flow::counters::Counts;
use twinpath_flow::pipeline::{Pipeline, PlacedRule};
use twinpath_flow::port::{Port, PortNo, PortTable};
use twinpath_flow::reference::{Cause, Outcome};
use twinpath_flow::rule::RuleId;
use twinpath_flow::sample::{self, Random, Tunnels};
use twinpath_flow::time::Time;

/// A frame, the port it comes in on, and the generation that decides it.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) port: PortNo,
    pub(crate) frame: Vec<u8>,
    pub(crate) generation: Generation,
}

/// What became of a packet.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) outputs: Vec<(PortNo, Vec<u8>)>,
    pub(crate) controller: Vec<Vec<u8>>,
}

/// Counts by rule.
pub(crate) type RuleCounts = BTreeMap<RuleId, Counts>;

/// Frames not sent, sorted.
pub(crate) type Drops = Vec<(DropCause, PortNo)>;

/// The fate, and the drops, that the specification demands.
pub(crate) fn demanded(outcome: Outcome, in_port: PortNo) -> (Fate, Drops) {
    let by_rules = outcome.outputs.is_empty() && outcome.losses.is_empty();
    let drop = |cause: &Cause| match *cause {
        Cause::NoPort => (DropCause::NoPort, in_port),
        Cause::MtuIn => (DropCause::MtuIn, in_port),
        Cause::Malformed => (DropCause::Malformed, in_port),
        Cause::MtuOut(port) => (DropCause::MtuOut, port),
        Cause::Encap(port) => (DropCause::Encap, port),
    };
    let mut drops: Drops = outcome.losses.iter().map(drop).collect();
    drops.extend(by_rules.then_some((DropCause::Rules, in_port)));
    (Fate { outputs: outcome.outputs, controller: outcome.controller }, drops)
}

/// Sorts drops for comparison: within a burst their order says nothing.
pub(crate) fn sorted(mut drops: Drops) -> Drops {
    drops.sort_by_key(|(cause, port)| (format!("{cause:?}"), *port));
    drops
}

/// Random ports, with a port 2 that sends no more than 100 bytes.
pub(crate) fn ports(random: &mut Random) -> Arc<PortTable> {
    let tunnels = if random.chance(60) { Tunnels::Some } else { Tunnels::None };
    let ports = sample::port_table(random, tunnels);
    let narrow = |port: &Port| match port.number {
        PortNo(2) => Port { mtu_out: Some(100), ..port.clone() },
        _ => port.clone(),
    };
    Arc::new(PortTable::new(ports.iter().map(narrow).collect()).expect("as before"))
}

/// A random pipeline; in every other one many rules share a priority, so that their order decides.
pub(crate) fn pipeline(random: &mut Random, ports: &Arc<PortTable>) -> Arc<Pipeline> {
    let mut rules = sample::rules(random, ports);
    if random.chance(50) {
        rules.iter_mut().for_each(|rule| rule.priority = rule.priority.div_ceil(400));
    }
    let place = |(id, rule)| PlacedRule { id: RuleId(id), rule: Arc::new(rule) };
    Arc::new(Pipeline::new(Arc::clone(ports), (1..).zip(rules).map(place)))
}

/// Random frames, all of one generation.
pub(crate) fn arrivals(random: &mut Random, ports: &PortTable, count: usize) -> Vec<Arrival> {
    let arrival = |_| {
        let (port, mut frame) = sample::frame(random, ports);
        if random.chance(10) {
            mark_congestion(&mut frame);
        }
        Arrival { port, frame, generation: Generation(1) }
    };
    (0..count).map(arrival).collect()
}

/// Sets the mark of the outermost IPv4 header, if there is one without options, and its checksum.
fn mark_congestion(frame: &mut [u8]) {
    let [_, _, 0x08, 0x00, 0x45, tos, ..] = &mut frame[10..] else { return };
    *tos |= 3;
    let Some(header) = frame.get_mut(14..34) else { return };
    header[10..12].fill(0);
    let words = header.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = (!(sum + (sum >> 16))).to_be_bytes();
    header[10..12].copy_from_slice(&[high, low]);
}

/// Settings with a seed, on a kernel that goes with it: each run judges all that are here.
pub(crate) fn settings(seed: u64) -> Settings {
    let here: Vec<Kernel> = Kernel::ALL.into_iter().filter(|kernel| kernel.is_here()).collect();
    let kernel = usize::try_from(seed).ok().and_then(|seed| here.get(seed % here.len())).copied();
    Settings { seed, kernel, ..Settings::default() }
}

/// A software path with the pool and outbox it works with.
pub(crate) struct Bench {
    pub(crate) path: SoftwarePath,
    pool: PacketPool,
    out: Outbox,
    /// Counts that are on no flow, or on one that is gone.
    settled: RuleCounts,
}

impl Bench {
    /// An empty software path in generation 1.
    pub(crate) fn new(pipeline: &Arc<Pipeline>, settings: Settings) -> Self {
        let path = SoftwarePath::new(settings, Generation(1), Arc::clone(pipeline));
        let (pool, out) = (PacketPool::new(4096), Outbox::default());
        Self { path, pool, out, settled: RuleCounts::new() }
    }

    /// Sends one burst; the fate of each packet, and all drops.
    pub(crate) fn send(&mut self, arrivals: &[Arrival]) -> (Vec<Fate>, Drops) {
        let mut burst = Vec::new();
        for (index, arrival) in (0..).zip(arrivals) {
            let mut packet = self.pool.take().expect("few packets are in use");
            assert!(packet.fill(&arrival.frame));
            packet.port = arrival.port;
            packet.time = Time(index);
            packet.generation = arrival.generation;
            burst.push(packet);
        }
        self.path.process(Time(7), &mut burst, &mut self.pool, &mut self.out);
        let mut fates: Vec<Fate> = arrivals.iter().map(|_| Fate::default()).collect();
        let mut last = Time(0);
        for sent in self.out.transmissions.drain(..) {
            assert!(sent.time >= last, "packets of a burst are sent out of order");
            last = sent.time;
            fates[index(last)].outputs.push((sent.leaves_by, sent.frame().to_vec()));
            self.pool.give(sent);
        }
        for copy in self.out.controller.drain(..) {
            fates[index(copy.packet.time)].controller.push(copy.packet.frame().to_vec());
            self.pool.give(copy.packet);
        }
        for (rule, counts) in self.out.rule_counts.drain(..) {
            *self.settled.entry(rule).or_default() += counts;
        }
        let drops = self.out.drops.iter().map(|drop| (drop.cause, drop.port)).collect();
        self.out.clear(&mut self.pool);
        (fates, drops)
    }

    /// Counts of flows that are gone count on.
    pub(crate) fn settle(&mut self, removed: &[Removed]) {
        for gone in removed {
            for rule in &gone.flow.rules {
                *self.settled.entry(*rule).or_default() += gone.usage.counts;
            }
        }
    }

    /// What each rule counted, on flows and otherwise.
    pub(crate) fn rule_counts(&self) -> RuleCounts {
        let mut counts = self.settled.clone();
        for view in self.path.flows() {
            for rule in &view.flow.rules {
                *counts.entry(*rule).or_default() += view.usage.counts;
            }
        }
        counts.retain(|_, counts| counts.packets > 0);
        counts
    }
}

/// Packets carry their place in the burst as time.
fn index(time: Time) -> usize {
    usize::try_from(time.0).expect("a place in a burst")
}
