//! The software path does to every packet what the specification does, from the slow path, the
//! tuple space and the exact cache alike: frames, order, controller copies, drops, rule counters.

use std::collections::BTreeMap;
use std::sync::Arc;
use twinpath_fallback::outbox::DropCause;
use twinpath_fallback::{Outbox, PacketPool, Settings, SoftwarePath};
use twinpath_flow::apply;
use twinpath_flow::card::Generation;
use twinpath_flow::counters::Counts;
use twinpath_flow::encap;
use twinpath_flow::field::Field;
use twinpath_flow::parse::{Standing, parse};
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::{Port, PortNo, PortTable};
use twinpath_flow::reference::{self, Cause, Outcome};
use twinpath_flow::rule::RuleId;
use twinpath_flow::sample::{self, Random, Tunnels};
use twinpath_flow::steps::{Flow, Step};
use twinpath_flow::time::Time;

/// Pipelines in the default test, each with [`PACKETS`] packets sent [`ROUNDS`] times.
const PIPELINES: u64 = 500;
const PACKETS: usize = 100;
const ROUNDS: usize = 4;

/// What the specification says became of a packet, and what the software path made of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fate {
    outputs: Vec<(PortNo, Vec<u8>)>,
    controller: Vec<Vec<u8>>,
    losses: Vec<(DropCause, PortNo)>,
}

type RuleCounts = BTreeMap<RuleId, Counts>;

fn expected(outcome: Outcome, in_port: PortNo) -> Fate {
    let mut losses: Vec<_> = outcome
        .losses
        .iter()
        .map(|cause| match cause {
            Cause::NoPort => (DropCause::NoPort, in_port),
            Cause::MtuIn => (DropCause::MtuIn, in_port),
            Cause::Malformed => (DropCause::Malformed, in_port),
            Cause::MtuOut(port) => (DropCause::MtuOut, *port),
            Cause::Encap(port) => (DropCause::Encap, *port),
        })
        .collect();
    losses.sort_by_key(|(cause, port)| (format!("{cause:?}"), *port));
    Fate { outputs: outcome.outputs, controller: outcome.controller, losses }
}

/// A software path with the pool and outbox it works with, and all rule counts so far.
struct Bench {
    path: SoftwarePath,
    pool: PacketPool,
    out: Outbox,
    alone: RuleCounts,
}

impl Bench {
    fn new(pipeline: &Arc<Pipeline>, settings: Settings) -> Self {
        let path = SoftwarePath::new(settings, Generation(1), Arc::clone(pipeline));
        let (pool, out) = (PacketPool::new(4096), Outbox::default());
        Self { path, pool, out, alone: RuleCounts::new() }
    }

    /// Sends frames as one burst and returns the fate of each.
    fn send(&mut self, frames: &[(PortNo, Vec<u8>)], generation: Generation) -> Vec<Fate> {
        let mut burst = Vec::new();
        for (index, (port, frame)) in frames.iter().enumerate() {
            let mut packet = self.pool.take().expect("few packets are in use");
            assert!(packet.fill(frame));
            packet.port = *port;
            packet.time = Time(index as u64);
            packet.generation = generation;
            burst.push(packet);
        }
        self.path.process(Time(7), &mut burst, &mut self.pool, &mut self.out);
        let mut fates: Vec<Fate> = frames.iter().map(|_| Fate::default()).collect();
        let mut last = Time(0);
        for sent in self.out.transmissions.drain(..) {
            assert!(sent.packet.time >= last, "packets of a burst are sent out of order");
            last = sent.packet.time;
            let fate = &mut fates[index(sent.packet.time)];
            fate.outputs.push((sent.port, sent.packet.frame().to_vec()));
            self.pool.give(sent.packet);
        }
        for copy in self.out.controller.drain(..) {
            let fate = &mut fates[index(copy.packet.time)];
            fate.controller.push(copy.packet.frame().to_vec());
            self.pool.give(copy.packet);
        }
        for (rule, counts) in self.out.rule_counts.drain(..) {
            *self.alone.entry(rule).or_default() += counts;
        }
        fates
    }

    fn rule_counts(&self) -> RuleCounts {
        let mut counts = self.alone.clone();
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

/// What `flow` does to a frame, by the specification of steps.
fn fate_by_flow(flow: &Flow, pipeline: &Pipeline, in_port: PortNo, frame: &[u8]) -> Fate {
    let parsed = parse(frame, in_port, &pipeline.ports);
    let source_port = encap::source_port(&parsed.key.head);
    let mut packet = apply::Packet::new(&parsed, frame);
    let mut fate = Fate::default();
    for step in &flow.steps {
        match *step {
            Step::Output(port) => {
                let (over, frame) = match pipeline.ports.tunnel(port) {
                    None => (port, packet.bytes.clone()),
                    Some(tunnel) => match encap::encapsulate(&packet, source_port, tunnel) {
                        Ok(frame) => (tunnel.over, frame),
                        Err(_) => continue,
                    },
                };
                let mtu = pipeline.ports.find(over).and_then(|port| port.mtu_out);
                if mtu.is_none_or(|mtu| frame.len() <= usize::from(mtu)) {
                    fate.outputs.push((over, frame));
                }
            }
            Step::Controller { max_len } => {
                let len = packet.bytes.len().min(usize::from(max_len));
                fate.controller.push(packet.bytes[..len].to_vec());
            }
            step => packet.apply(step),
        }
    }
    fate
}

/// The same ports, but port 2 sends no more than 100 bytes.
fn with_narrow_port(ports: &PortTable) -> Arc<PortTable> {
    let narrow = |port: &Port| match port.number {
        PortNo(2) => Port { mtu_out: Some(100), ..port.clone() },
        _ => port.clone(),
    };
    Arc::new(PortTable::new(ports.iter().map(narrow).collect()).expect("as before"))
}

fn check_seed(seed: u64, settings: Settings) -> [u64; 4] {
    let mut random = Random::new(seed);
    let tunnels = if random.chance(60) { Tunnels::Some } else { Tunnels::None };
    let ports = with_narrow_port(&sample::port_table(&mut random, tunnels));
    let pipeline = Arc::new(sample::pipeline(&mut random, &ports));
    let frames: Vec<_> = (0..PACKETS).map(|_| sample::frame(&mut random, &ports)).collect();
    let mut bench = Bench::new(&pipeline, settings);
    let mut wanted = RuleCounts::new();
    for round in 0..ROUNDS {
        let mut at = 0;
        while at < frames.len() {
            let end = (at + 1 + random.below(50)).min(frames.len());
            let fates = bench.send(&frames[at..end], Generation(1));
            let losses = std::mem::take(&mut bench.out.drops);
            let mut expected_losses = Vec::new();
            for ((port, frame), mut fate) in frames[at..end].iter().zip(fates) {
                let outcome = reference::process(&pipeline, frame, *port);
                for rule in &outcome.rules {
                    *wanted.entry(*rule).or_default() += Counts::one(frame.len());
                }
                let dropped = outcome.outputs.is_empty() && outcome.losses.is_empty();
                let mut right = expected(outcome, *port);
                expected_losses.append(&mut right.losses);
                if dropped {
                    expected_losses.push((DropCause::Rules, *port));
                }
                fate.losses.clear();
                assert_eq!(fate, right, "seed {seed}, round {round}, port {port:?}, {frame:02x?}");
            }
            let mut losses: Vec<_> = losses.iter().map(|drop| (drop.cause, drop.port)).collect();
            for list in [&mut losses, &mut expected_losses] {
                list.sort_by_key(|(cause, port)| (format!("{cause:?}"), *port));
            }
            assert_eq!(losses, expected_losses, "seed {seed}, round {round}");
            bench.out.clear(&mut bench.pool);
            at = end;
        }
    }
    assert_eq!(bench.rule_counts(), wanted, "seed {seed}");
    overlapping_flows_agree(seed, &bench.path, &pipeline, &frames);
    let totals = bench.path.totals();
    [totals.cache_hits, totals.tuple_hits, totals.flows_made, totals.exceptions]
}

/// Every flow that matches a packet is right for it, whichever the lookup finds.
fn overlapping_flows_agree(
    seed: u64,
    path: &SoftwarePath,
    pipeline: &Pipeline,
    frames: &[(PortNo, Vec<u8>)],
) {
    for (port, frame) in frames {
        let parsed = parse(frame, *port, &pipeline.ports);
        if parsed.standing != Standing::Plain {
            continue;
        }
        let outcome = reference::process(pipeline, frame, *port);
        let ttl = parsed.key.get(Field::IpTtl);
        for view in path.flows().filter(|view| view.flow.matching.matches(&parsed.key)) {
            if view.flow.ttl_threshold.is_some_and(|threshold| ttl <= threshold.into()) {
                continue;
            }
            let fate = fate_by_flow(view.flow, pipeline, *port, frame);
            let context = format!("seed {seed}, {:?}, {frame:02x?}", view.flow);
            assert_eq!(view.flow.rules, outcome.rules, "{context}");
            assert_eq!(fate.outputs, outcome.outputs, "{context}");
            assert_eq!(fate.controller, outcome.controller, "{context}");
        }
    }
}

#[test]
fn random_pipelines_and_packets_meet_the_fate_of_the_specification() {
    let mut sums = [0; 4];
    for seed in 0..PIPELINES {
        let settings = Settings { seed, ..Settings::default() };
        for (sum, count) in sums.iter_mut().zip(check_seed(seed, settings)) {
            *sum += count;
        }
    }
    let [cache_hits, tuple_hits, made, exceptions] = sums;
    assert!(cache_hits > 20_000 && tuple_hits > 1_000, "{sums:?}");
    assert!(made > 3_000 && exceptions > 500, "{sums:?}");
}

#[test]
fn beyond_the_flow_limit_packets_meet_the_same_fate_without_a_flow() {
    for seed in 0..10 {
        let settings = Settings { seed, flow_limit: 3, ..Settings::default() };
        check_seed(1000 + seed, settings);
    }
}
