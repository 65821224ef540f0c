//! Programs do to every frame what `flow::apply` does, by rewrite and by operations alike.

use super::{Effects, Program};
use crate::outbox::{DropCause, Dropped, Outbox};
use crate::packet::{Packet, PacketPool};
use crate::recipe::Recipes;
use crate::shape::Shapes;
use std::sync::Arc;
use twinpath_flow::apply::{self, apply_to_key, is_settable};
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, MaskedKey};
use twinpath_flow::parse::{Layout, Network, Parsed, Standing, parse};
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::sample::{self, Random, Tunnels};
use twinpath_flow::steps::{Flow, Step};

/// Fields with the bits of them that rules can write.
const SETTABLE: [(Field, u128); 15] = [
    (Field::EthDst, 0xffff_ffff_ffff),
    (Field::EthSrc, 0xffff_ffff_ffff),
    (Field::VlanTci, 0x0fff),
    (Field::VlanTci, 0xe000),
    (Field::IpTos, 0xfc),
    (Field::IpTos, 0x03),
    (Field::IpTtl, 0xff),
    (Field::IpSrc, u128::MAX),
    (Field::IpDst, u128::MAX),
    (Field::L4Src, 0xffff),
    (Field::L4Dst, 0xffff),
    (Field::L4Dst, 0x00f0),
    (Field::FlowLabel, 0xf_ffff),
    (Field::ArpSha, 0xffff_ffff_ffff),
    (Field::NdTarget, u128::MAX),
];

/// Values that sums stumble over, and others.
fn value(random: &mut Random) -> u128 {
    match random.below(4) {
        0 => 0,
        1 => u128::MAX,
        _ => (0..16).fold(0, |value, _| (value << 8) | random.below(256) as u128),
    }
}

/// A step that the slow path could make for a packet with that key.
fn step(random: &mut Random, key: &Key, edits_only: bool) -> Option<Step> {
    if !edits_only && random.chance(20) {
        return match random.below(2) {
            0 => Some(Step::PushVlan(random.pick(&[0x8100, 0x88a8]))),
            _ => (key.get(Field::VlanTci) != 0).then_some(Step::PopVlan),
        };
    }
    if random.chance(25) {
        let passes = is_settable(key, Field::IpTtl) && key.get(Field::IpTtl) > 1;
        return passes.then_some(Step::DecTtl);
    }
    let (field, mut mask) = random.pick(&SETTABLE);
    if matches!(field, Field::IpSrc | Field::IpDst) {
        let is_v6 = key.get(Field::EthType) == 0x86dd;
        mask = if is_v6 { mask } else { 0xffff_ffff };
        mask &= if random.chance(30) { value(random) } else { mask };
    }
    let value = value(random) & mask;
    (mask != 0 && is_settable(key, field)).then_some(Step::Set { field, value, mask })
}

fn steps(random: &mut Random, key: &Key, edits_only: bool) -> Vec<Step> {
    let mut key = *key;
    let mut steps = Vec::new();
    for _ in 0..1 + random.below(6) {
        if let Some(step) = step(random, &key, edits_only) {
            apply_to_key(&mut key, step);
            steps.push(step);
        }
    }
    steps
}

/// Whether a packet with that key has all that the steps set, as a flow would demand.
fn has_all(key: &Key, steps: &[Step]) -> bool {
    let mut key = *key;
    steps.iter().all(|step| {
        let has = match step {
            Step::Set { field, .. } => is_settable(&key, *field),
            _ => true,
        };
        apply_to_key(&mut key, *step);
        has
    })
}

/// Another frame with headers in the same places: other addresses, ports, checksums.
fn vary(random: &mut Random, frame: &[u8], layout: &Layout) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let strip = usize::from(layout.strip);
    let skipped = if layout.prepend == 0 { 0 } else { 14 };
    let mut fill = |at: usize, len: usize| {
        let value = value(random).to_be_bytes();
        let start = at + strip - skipped;
        if let Some(bytes) = frame.get_mut(start..start + len) {
            bytes.copy_from_slice(&value[16 - len..]);
        }
    };
    let l3 = usize::from(layout.l3);
    match layout.network {
        Network::Ipv4 => (10..20).step_by(2).for_each(|at| fill(l3 + at, 2)),
        Network::Ipv6 => (8..40).step_by(8).for_each(|at| fill(l3 + at, 8)),
        Network::None | Network::Arp => {}
    }
    if layout.checksum != 0 {
        fill(usize::from(layout.checksum), 2);
        fill(usize::from(layout.l4), 2);
    }
    frame
}

fn demanded(parsed: &Parsed, frame: &[u8], steps: &[Step]) -> Vec<u8> {
    let mut packet = apply::Packet::new(parsed, frame);
    steps.iter().for_each(|step| packet.apply(*step));
    packet.bytes
}

/// A program as a flow has it: with rewrites, whose number is in `recipes`.
struct Rig {
    recipes: Recipes,
    shapes: Shapes,
}

impl Rig {
    const NUMBER: u32 = 0;

    fn new(steps: &[Step], ports: &PortTable) -> Self {
        let mut steps = steps.to_vec();
        steps.push(Step::Output(PortNo(1)));
        let flow =
            Flow { matching: MaskedKey::default(), steps, ttl_threshold: None, rules: Vec::new() };
        let mut recipes = Recipes::default();
        assert_eq!(recipes.of(&flow, (ports, 0)), Self::NUMBER);
        Self { recipes, shapes: Shapes::default() }
    }

    /// Executes the program; whether a rewrite is there for such packets.
    fn run(&mut self, mut packet: Packet, parsed: &Parsed, effects: &mut Effects<'_>) -> bool {
        let shape = self.shapes.number(&parsed.layout);
        let rewrite = self.recipes.any(Self::NUMBER, shape, &parsed.layout);
        let is_possible = rewrite.is_possible();
        let progress = rewrite.run(&mut packet, parsed.layout.strip);
        self.program().run_on(progress, packet, parsed, effects);
        is_possible
    }

    fn program(&self) -> &Program {
        &self.recipes.at(Self::NUMBER).program
    }
}

fn executed(rig: &mut Rig, parsed: &Parsed, frame: &[u8]) -> (Vec<u8>, bool) {
    let mut pool = PacketPool::new(64);
    let mut out = Outbox::default();
    let mut packet = pool.take().expect("a buffer");
    assert!(packet.fill(frame));
    let is_possible = rig.run(packet, parsed, &mut Effects { pool: &mut pool, out: &mut out });
    let [sent] = out.transmissions.as_slice() else { panic!("one frame is sent") };
    let bytes = sent.frame().to_vec();
    out.clear(&mut pool);
    (bytes, is_possible)
}

/// Runs `count` programs; how many frames a rewrite edited.
fn check(seed: u64, count: u32, edits_only: bool) -> u32 {
    let mut random = Random::new(seed);
    let mut rewritten = 0;
    let mut ports = Arc::default();
    for round in 0..count {
        if round % 100 == 0 {
            ports = sample::port_table(&mut random, Tunnels::Some);
        }
        let (port, first) = sample::frame(&mut random, &ports);
        let parsed = parse(&first, port, &ports);
        if parsed.standing != Standing::Plain {
            continue;
        }
        let steps = steps(&mut random, &parsed.key, edits_only);
        let mut rig = Rig::new(&steps, &ports);
        let mut frame = first.clone();
        for _ in 0..4 {
            let again = parse(&frame, port, &ports);
            let is_alike = again.layout == parsed.layout && again.standing == Standing::Plain;
            if is_alike && has_all(&again.key, &steps) {
                let right = demanded(&again, &frame, &steps);
                let (found, used) = executed(&mut rig, &again, &frame);
                assert_eq!(found, right, "round {round}, {steps:02x?} on {frame:02x?}");
                rewritten += u32::from(used && rig.program().edits > 0);
            }
            frame = vary(&mut random, &first, &parsed.layout);
        }
    }
    rewritten
}

#[test]
fn edits_of_random_frames_are_those_of_the_specification() {
    let rewritten = check(1, 40_000, true);
    assert!(rewritten > 60_000, "{rewritten}");
}

#[test]
fn edits_mixed_with_tags_are_those_of_the_specification() {
    let rewritten = check(2, 20_000, false);
    assert!(rewritten > 10_000, "{rewritten}");
}

#[test]
fn more_shapes_than_are_kept_are_edited_all_the_same() {
    let ports = Arc::<PortTable>::default();
    let mut rig = Rig::new(&[Step::DecTtl], &ports);
    for words in (0..3).flat_map(|_| 5..30_u8) {
        // A header that claims options of many lengths, between 5 and 15 words.
        let words = 5 + words % 11;
        for tags in 0..3_usize {
            let mut frame = vec![2; 12];
            (0..tags).for_each(|_| frame.extend([0x81, 0, 0, 7]));
            frame.extend([8, 0, 0x40 | words, 0, 0, 100, 0, 0, 0, 0, 9, 6, 0, 0]);
            frame.resize(14 + 4 * tags + 100, 0x50);
            let parsed = parse(&frame, PortNo(1), &ports);
            assert_eq!(parsed.layout.network, Network::Ipv4);
            let right = demanded(&parsed, &frame, &[Step::DecTtl]);
            assert_eq!(executed(&mut rig, &parsed, &frame).0, right, "{words} {tags}");
        }
    }
}

#[test]
fn more_tags_than_there_is_room_for_drop_the_packet_at_the_output() {
    let ports = Arc::<PortTable>::default();
    let mut pool = PacketPool::new(4);
    let mut out = Outbox::default();
    let mut rig = Rig::new(&[Step::PushVlan(0x8100); 70], &ports);
    let packet = pool.take().map(|mut packet| packet.fill(&[2; 60]).then_some(packet));
    let parsed = parse(&[2; 60], PortNo(3), &ports);
    let packet = packet.flatten().expect("a short frame");
    rig.run(packet, &parsed, &mut Effects { pool: &mut pool, out: &mut out });
    assert!(out.transmissions.is_empty());
    assert_eq!(out.drops, [Dropped { cause: DropCause::TooLong, port: PortNo(1) }]);
}

#[test]
fn a_copy_without_a_buffer_is_dropped_at_its_output() {
    let ports = Arc::<PortTable>::default();
    let mut pool = PacketPool::new(1);
    let mut out = Outbox::default();
    let steps = [Step::Output(PortNo(2)), Step::Controller { max_len: 20 }];
    let mut rig = Rig::new(&steps, &ports);
    let mut packet = pool.take().expect("the only buffer");
    assert!(packet.fill(&[2; 60]));
    packet.port = PortNo(3);
    let parsed = parse(&[2; 60], PortNo(3), &ports);
    rig.run(packet, &parsed, &mut Effects { pool: &mut pool, out: &mut out });
    let drop = |cause, port| Dropped { cause, port: PortNo(port) };
    let no_copy = drop(DropCause::NoControllerBuffer, 3);
    assert_eq!(out.drops, [drop(DropCause::NoBuffer, 2), no_copy]);
    assert_eq!(out.transmissions.len(), 1);
}
