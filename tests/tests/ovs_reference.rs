//! The executable specification against Open vSwitch 3.1: generated rule sets, byte for byte.

use std::sync::Arc;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::reference;
use twinpath_flow::sample::{self, Random, Tunnels};
use twinpath_tests::judge::{ByteCounters, Case, Comparison, Device, by_reference, hex};
use twinpath_tests::mask;
use twinpath_tests::ovs::Ovs;

/// Generated rule sets; the environment variable `RULE_SETS` changes it.
const RULE_SETS: u64 = 40;
const PACKETS: usize = 500;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("RULE_SETS").unwrap_or(RULE_SETS)).collect(),
    }
}

/// A case with the ports of one daemon.
fn case(seed: u64, ports: &Arc<PortTable>) -> Case {
    let mut random = Random::new(seed);
    let rules = sample::rules(&mut random, ports);
    let mut case =
        Case { name: format!("SEED={seed}"), ports: Arc::clone(ports), rules, packets: vec![] };
    let pipeline = case.pipeline();
    while case.packets.len() < PACKETS {
        let (port, mut frame) = sample::frame(&mut random, ports);
        // What becomes of a third tag depends on earlier packets in Open vSwitch: such a packet is
        // given fewer tags, from the inside.
        while tag_count(&frame) > 0 && has_third_tag(&pipeline, &frame, port) {
            let inner = 8 + 4 * tag_count(&frame);
            frame.drain(inner..inner + 4);
        }
        if !has_third_tag(&pipeline, &frame, port) {
            case.packets.push((port, frame));
        }
    }
    case
}

fn has_third_tag(pipeline: &Pipeline, frame: &[u8], port: PortNo) -> bool {
    reference::process(pipeline, frame, port).tags_max > 2
}

/// VLAN tags of a frame.
fn tag_count(frame: &[u8]) -> usize {
    let is_tag = |at: &usize| matches!(frame.get(*at..*at + 2), Some([0x81, 0] | [0x88, 0xa8]));
    (12..).step_by(4).take_while(is_tag).filter(|at| frame.len() >= at + 6).count()
}

#[test]
fn generated_rule_sets_do_to_packets_what_open_vswitch_does() {
    let comparison =
        Comparison { mask: mask::differences_on_purpose, bytes: ByteCounters::Compared };
    let ports = sample::port_table(&mut Random::new(3), Tunnels::None);
    let mut ovs = Ovs::start(&ports, &[]);
    let mut failures = Vec::new();
    for seed in seeds() {
        let case = case(seed, &ports);
        let wanted = ovs.run(&case);
        let got = by_reference(&case);
        if let Some(difference) = comparison.difference(&case, &wanted, &got) {
            let culprit = first_culprit(&mut ovs, &case, &comparison);
            failures.push(format!("{}: {difference}\n{culprit}", case.name));
        }
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

/// The packet whose arrival makes the difference: found by halving the list, with a fresh state each
/// time, so that differences between flows made by earlier packets are found too.
fn first_culprit(ovs: &mut Ovs, case: &Case, comparison: &Comparison) -> String {
    let (mut good, mut bad) = (0, case.packets.len());
    let mut difference = String::new();
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        let part = Case { packets: case.packets[..middle].to_vec(), ..case.clone() };
        match comparison.difference(&part, &ovs.run(&part), &by_reference(&part)) {
            Some(found) => (bad, difference) = (middle, found),
            None => good = middle,
        }
    }
    let (port, frame) = &case.packets[good];
    format!(
        "packet {good} of port {}: {}\n{difference}\nopen vswitch says:\n{}",
        port.0,
        hex(frame),
        ovs.trace(*port, frame)
    )
}
