//! The software path does to every packet what the specification does, from the slow path, the
//! tuple space and the exact cache alike: frames, order, controller copies, drops, rule counters.

use super::bench::{
    Arrival, Bench, Fate, RuleCounts, arrivals, demanded, pipeline, ports, settings, sorted,
};
use twinpath_fallback::{Settings, SoftwarePath};
use twinpath_flow::apply;
use twinpath_flow::counters::Counts;
use twinpath_flow::encap;
use twinpath_flow::field::Field;
use twinpath_flow::parse::{Standing, parse};
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::reference;
use twinpath_flow::sample::Random;
use twinpath_flow::steps::{Flow, Step};

/// Pipelines in the default test, each with [`PACKETS`] packets sent [`ROUNDS`] times.
const PIPELINES: u64 = 500;
const PACKETS: usize = 100;
const ROUNDS: usize = 4;

/// Runs the world of one seed; cache hits, tuple hits, flows made and exceptions.
fn check_seed(seed: u64, settings: Settings) -> [u64; 4] {
    let mut random = Random::new(seed);
    let ports = ports(&mut random);
    let pipeline = pipeline(&mut random, &ports);
    let frames = arrivals(&mut random, &ports, PACKETS);
    let mut bench = Bench::new(&pipeline, settings);
    let mut wanted = RuleCounts::new();
    for round in 0..ROUNDS {
        let mut rest = frames.as_slice();
        while !rest.is_empty() {
            let burst;
            (burst, rest) = rest.split_at(rest.len().min(1 + random.below(50)));
            let (fates, drops) = bench.send(burst);
            let mut wanted_drops = Vec::new();
            for (arrival, fate) in burst.iter().zip(fates) {
                let outcome = reference::process(&pipeline, &arrival.frame, arrival.port);
                for rule in &outcome.rules {
                    *wanted.entry(*rule).or_default() += Counts::one(arrival.frame.len());
                }
                let (right, mut more) = demanded(outcome, arrival.port);
                wanted_drops.append(&mut more);
                assert_eq!(fate, right, "seed {seed}, round {round}, {arrival:02x?}");
            }
            assert_eq!(sorted(drops), sorted(wanted_drops), "seed {seed}, round {round}");
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
    arrivals: &[Arrival],
) {
    for arrival in arrivals {
        let parsed = parse(&arrival.frame, arrival.port, &pipeline.ports);
        if parsed.standing != Standing::Plain {
            continue;
        }
        let outcome = reference::process(pipeline, &arrival.frame, arrival.port);
        let ttl = parsed.key.get(Field::IpTtl);
        for view in path.flows().filter(|view| view.flow.matching.matches(&parsed.key)) {
            if view.flow.ttl_threshold.is_some_and(|threshold| ttl <= threshold.into()) {
                continue;
            }
            let fate = fate_by_flow(&view.flow, pipeline, arrival);
            let context = format!("seed {seed}, {:?}, {arrival:02x?}", view.flow);
            assert_eq!(view.flow.rules, outcome.rules, "{context}");
            assert_eq!(fate.outputs, outcome.outputs, "{context}");
            assert_eq!(fate.controller, outcome.controller, "{context}");
        }
    }
}

/// What `flow` does to a packet, by the specification of steps.
fn fate_by_flow(flow: &Flow, pipeline: &Pipeline, arrival: &Arrival) -> Fate {
    let parsed = parse(&arrival.frame, arrival.port, &pipeline.ports);
    let source_port = encap::source_port(&parsed.key.head);
    let mut packet = apply::Packet::new(&parsed, &arrival.frame);
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

#[test]
fn random_pipelines_and_packets_meet_the_fate_of_the_specification() {
    let mut sums = [0; 4];
    for seed in 0..PIPELINES {
        let settings = settings(seed);
        for (sum, count) in sums.iter_mut().zip(check_seed(seed, settings)) {
            *sum += count;
        }
    }
    let [cache_hits, tuple_hits, made, exceptions] = sums;
    assert!(cache_hits > 50_000 && tuple_hits > 5_000, "{sums:?}");
    assert!(made > 5_000 && exceptions > 5_000, "{sums:?}");
}

#[test]
fn beyond_the_flow_limit_packets_meet_the_same_fate_without_a_flow() {
    for seed in 0..50 {
        let settings = Settings { flow_limit: 3, ..settings(seed) };
        check_seed(1000 + seed, settings);
    }
}
