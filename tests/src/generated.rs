//! Generated cases that Open vSwitch can be asked about.

use crate::judge::Case;
use std::sync::Arc;
use twinpath_flow::apply::Packet;
use twinpath_flow::field::Field;
use twinpath_flow::parse;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::reference;
use twinpath_flow::sample::{self, Random};
use twinpath_flow::steps::Step;

/// TTLs of generated packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttls {
    /// As generated: some expire.
    Mixed,
    /// 64 in every packet.
    One,
}

/// A case of random rules and packets on these ports.
#[must_use]
pub fn case(seed: u64, ports: &Arc<PortTable>, packets: usize, ttls: Ttls) -> Case {
    let mut random = Random::new(seed);
    let rules = sample::rules(&mut random, ports);
    let mut case =
        Case { name: format!("SEED={seed}"), ports: Arc::clone(ports), rules, packets: vec![] };
    let pipeline = case.pipeline();
    while case.packets.len() < packets {
        let (port, mut frame) = sample::frame(&mut random, ports);
        if ttls == Ttls::One {
            frame = with_ttl(&frame, port, ports);
        }
        complete(&mut frame);
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

/// The frame with TTL 64, its checksum kept as right or wrong as it is.
fn with_ttl(frame: &[u8], port: PortNo, ports: &PortTable) -> Vec<u8> {
    let mut packet = Packet::new(&parse::parse(frame, port, ports), frame);
    packet.apply(Step::Set { field: Field::IpTtl, value: 64, mask: 0xff });
    packet.bytes
}

fn has_third_tag(pipeline: &Pipeline, frame: &[u8], port: PortNo) -> bool {
    reference::process(pipeline, frame, port).tags_max > 2
}

/// VLAN tags of a frame, an incomplete one too.
fn tag_count(frame: &[u8]) -> usize {
    let is_tag = |at: &usize| matches!(frame.get(*at..*at + 2), Some([0x81, 0] | [0x88, 0xa8]));
    (12..).step_by(4).take_while(is_tag).count()
}

/// Changes frames for which Open vSwitch forgets what its flows have counted, as it cannot read them
/// back (they end within a VLAN tag, or are MPLS), or which we treat otherwise on purpose (ARP
/// opcodes beyond a byte).
fn complete(frame: &mut Vec<u8>) {
    let tags_end = 14 + 4 * tag_count(frame);
    if frame.len() < tags_end {
        frame.resize(tags_end, 0);
    }
    match frame.get_mut(tags_end - 2..) {
        Some([0x88, kind @ (0x47 | 0x48), ..]) => *kind = 0xcc,
        Some([0x08, 0x06, _, _, _, _, _, _, high, low, ..]) if *high != 0 || *low == 0 => {
            (*high, *low) = (0, 1);
        }
        _ => {}
    }
}
