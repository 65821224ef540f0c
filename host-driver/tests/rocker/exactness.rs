//! Random entries and random frames: what the device does alone is what the entry says, whatever
//! the tags; what it does not do alone comes to the host as it was.

use crate::rig::{PORTS, Rig, frame, ipv4};
use proptest::prelude::*;
use twinpath_flow::apply::Packet;
use twinpath_flow::edit::{Edit, Tag};
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, MaskedKey};
use twinpath_flow::parse::parse;
use twinpath_flow::port::PortNo;

const TCIS: [u16; 8] = [0, 1, 5, 0x2005, 0x1005, 0x8000, 0x1fff, 0x0ffe];
const TYPES: [u16; 7] = [0x0800, 0x0806, 0x86dd, 0x9999, 0x0040, 0x88a8, 0x8100];

fn link() -> impl Strategy<Value = Vec<u16>> {
    let tag = prop_oneof![
        3 => Just(vec![]),
        4 => prop::sample::select(TCIS.to_vec()).prop_map(|tci| vec![0x8100, tci]),
        1 => prop::sample::select(TCIS.to_vec()).prop_map(|tci| vec![0x88a8, tci]),
    ];
    let inner = prop_oneof![
        6 => Just(vec![]),
        1 => prop::sample::select(TCIS.to_vec()).prop_map(|tci| vec![0x8100, tci]),
    ];
    let ethertype = prop::sample::select(TYPES[..5].to_vec());
    (tag, inner, ethertype).prop_map(|(tag, inner, kind)| [tag, inner, vec![kind]].concat())
}

fn frames() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let rest = (prop::sample::select(vec![1_u8, 6, 17]), prop::sample::select(vec![0, 0xb8]));
    let snap = vec![0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    (prop::sample::select(PORTS.to_vec()), 1..3_u8, 1..3_u8, link(), rest, any::<bool>()).prop_map(
        move |(port, destination, source, link, (protocol, tos), is_snap)| {
            let packet = ipv4(protocol, tos, 40);
            let is_snap = is_snap && link.last() == Some(&0x40);
            let rest = if is_snap { [snap.clone(), packet].concat() } else { packet };
            (port, frame(destination, source, &link, &rest))
        },
    )
}

/// A masked key that the packet of a frame matches, or nearly.
fn matches() -> impl Strategy<Value = MaskedKey> {
    let vlan = prop::sample::select(vec![0, 0x1000, 0x0fff, 0x1fff, 0xffff, 0xe000, 0x0001]);
    let masks = (any::<[bool; 6]>(), vlan, any::<bool>());
    (frames(), masks, prop::sample::select(TYPES.to_vec())).prop_map(
        |(
            (port, frame),
            ([port_too, kind, source, destination, protocol, tos], vlan, odd),
            odd_type,
        )| {
            let mut key = parse(&frame, PortNo(port), &crate::rig::ports()).key;
            if odd && kind {
                key.set(Field::EthType, odd_type.into());
            }
            let mut mask = Key::ZERO.with(Field::VlanTci, vlan);
            for (field, bits, taken) in [
                (Field::InPort, 0xffff, port_too),
                (Field::EthType, 0xffff, kind),
                (Field::EthSrc, 0xff, source),
                (Field::EthDst, 0xffff_ffff_ffff, destination),
                (Field::IpProto, 0xff, protocol && kind),
                (Field::IpTos, 0xfc, tos && kind),
            ] {
                mask.set(field, if taken { bits } else { 0 });
            }
            MaskedKey::new(&key, mask)
        },
    )
}

fn edits() -> impl Strategy<Value = Edit> {
    let tags = prop_oneof![
        4 => Just((0, vec![])),
        2 => Just((1, vec![])),
        2 => prop::sample::select(TCIS.to_vec())
            .prop_map(|tci| (0, vec![Tag { tpid: 0x8100, tci }])),
        1 => Just((1, vec![Tag { tpid: 0x8100, tci: 5 }])),
    ];
    let outputs = prop::sample::subsequence(PORTS.to_vec(), 0..3);
    (tags, outputs, any::<[bool; 2]>()).prop_map(
        |((pops, pushes), outputs, [source, destination])| {
            let outputs = outputs.into_iter().map(PortNo).collect();
            let mut edit = Edit { pops, pushes, outputs, ..Edit::default() };
            for (field, taken) in [(Field::EthSrc, source), (Field::EthDst, destination)] {
                if taken {
                    edit.set_value.set(field, 0x0200_0000_0099);
                    edit.set_mask.set(field, field.full_mask());
                }
            }
            edit
        },
    )
}

fn is_reserved(frame: &[u8]) -> bool {
    frame[12..16] == [0x81, 0, 0x0f, 0xff]
}

/// What the entry sends, in order.
fn sends(edit: &Edit, port: u16, frame: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let parsed = parse(frame, PortNo(port), &crate::rig::ports());
    let mut packet = Packet::new(&parsed, frame);
    packet.apply_edit(edit);
    edit.outputs.iter().map(|output| (output.0, packet.bytes.clone())).collect()
}

proptest! {
    #[test]
    fn the_device_alone_does_only_what_the_entry_says(
        matching in matches(),
        edit in edits(),
        frames in prop::collection::vec(frames(), 1..30),
        seed in any::<u64>(),
    ) {
        let mut rig = Rig::new();
        rig.device.state().seed = seed;
        let taken = rig.add(1, matching, edit.clone()).is_ok();
        for (port, frame) in frames.iter().filter(|(_, frame)| !is_reserved(frame)) {
            let (sent, misses) = rig.pass(*port, frame);
            let key = parse(frame, PortNo(*port), &crate::rig::ports()).key;
            if misses.is_empty() {
                prop_assert!(taken && matching.matches(&key), "{frame:x?} {matching:?}");
                prop_assert_eq!(sent, sends(&edit, *port, frame));
            } else {
                prop_assert_eq!((sent, misses), (vec![], vec![frame.clone()]));
            }
        }
    }

    #[test]
    fn entries_that_overlap_serve_their_packets_together(
        matching in prop::collection::vec(matches(), 2..6),
        ports in (prop::sample::select(PORTS.to_vec()), 0..3_usize),
        frames in prop::collection::vec(frames(), 1..30),
        seed in any::<u64>(),
    ) {
        // All of one in-port and with one edit, as the contract has it for flows that overlap.
        let (port, output) = ports;
        let edit = crate::rig::to(&[PORTS[output]]);
        let mut rig = Rig::new();
        rig.device.state().seed = seed;
        let mut taken = Vec::new();
        for (id, mut matching) in (1..).zip(matching) {
            matching.constrain(Field::InPort, port.into(), 0xffff);
            if rig.add(id, matching, edit.clone()).is_ok() {
                taken.push((id, matching));
            }
        }
        for (at, frame) in frames.iter().filter(|(_, frame)| !is_reserved(frame)) {
            let (sent, misses) = rig.pass(*at, frame);
            let key = parse(frame, PortNo(*at), &crate::rig::ports()).key;
            let hit = taken.iter().any(|(_, matching)| matching.matches(&key));
            if misses.is_empty() {
                prop_assert!(hit, "{frame:x?}");
                prop_assert_eq!(sent, sends(&edit, *at, frame));
            } else {
                prop_assert_eq!((sent, misses), (vec![], vec![frame.clone()]));
            }
        }
        for (id, _) in &taken {
            rig.delete(*id).unwrap();
        }
        prop_assert_eq!(rig.device.state().groups.len(), 2, "the two ways to the host");
    }
}
