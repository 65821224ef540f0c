//! The executable specification against Open vSwitch 3.1: generated rule sets, byte for byte.

use std::sync::Arc;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::reference;
use twinpath_flow::sample::{self, Random, Tunnels};
use twinpath_tests::judge::{self, ByteCounters, Case, Comparison, assert_equal, by_reference};
use twinpath_tests::mask;
use twinpath_tests::ovs::Ovs;

/// Generated rule sets; the environment variable `RULE_SETS` changes it.
const RULE_SETS: u64 = 40;
const PACKETS: usize = 500;

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
    let cases = judge::seeds(RULE_SETS).into_iter().map(|seed| case(seed, &ports));
    assert_equal(cases, &comparison, &mut ovs, &mut by_reference);
}
