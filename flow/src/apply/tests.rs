//! Edits at random: the key follows the bytes, checksums stay right, a folded edit does what its steps do.

use super::{Packet, is_settable};
use crate::action::Action;
use crate::edit::Edit;
use crate::field::Field;
use crate::frame::{checksum, ipv4, ipv6, transport, word};
use crate::key::MaskedKey;
use crate::parse::{Network, Standing, Transport, parse};
use crate::port::{PortNo, PortTable};
use crate::sample::{self, Random, Tunnels};
use crate::steps::{Flow, Step};
use proptest::prelude::*;

/// A random packet that rules may see.
fn packet(random: &mut Random, ports: &PortTable) -> Packet {
    loop {
        let (port, frame) = sample::frame(random, ports);
        let parsed = parse(&frame, port, ports);
        if parsed.standing != Standing::Malformed {
            return Packet::new(&parsed, &frame);
        }
    }
}

/// Random steps that do something to `packet`, as a slow path composes them.
fn steps(random: &mut Random, packet: &Packet, ports: &PortTable) -> Vec<Step> {
    let mut copy = packet.clone();
    let mut steps = Vec::new();
    for _ in 0..60 {
        let rule = sample::rule(random, ports, 0);
        for action in rule.instructions.apply {
            let step = match action {
                // The rule may not be one for this packet: narrower fields cannot take its values.
                Action::SetField { field: Field::L4Src | Field::L4Dst, value, .. }
                    if value > 0xff && matches!(copy.key.get(Field::IpProto), 1 | 58) =>
                {
                    continue;
                }
                Action::SetField { field: Field::IpSrc | Field::IpDst, value, .. }
                    if value >> 32 != 0 && copy.key.get(Field::EthType) != 0x86dd =>
                {
                    continue;
                }
                Action::SetField { field, value, mask } if is_settable(&copy.key, field) => {
                    Step::Set { field, value, mask }
                }
                Action::PushVlan(tpid) => Step::PushVlan(tpid),
                Action::PopVlan if copy.key.get(Field::VlanTci) != 0 => Step::PopVlan,
                Action::DecTtl
                    if is_settable(&copy.key, Field::IpTtl) && copy.key.get(Field::IpTtl) > 1 =>
                {
                    Step::DecTtl
                }
                _ => continue,
            };
            copy.apply(step);
            steps.push(step);
        }
        if steps.len() > random.below(8) {
            break;
        }
    }
    steps
}

/// Right checksums of IPv4 and of the transport header, by full computation; `None`: not judged.
fn checksums_are_right(packet: &Packet) -> Option<bool> {
    let layout = &packet.layout;
    let bytes = &packet.bytes;
    let l3 = usize::from(layout.l3);
    let (header_is_right, addresses) = match layout.network {
        Network::Ipv4 => {
            let header = ipv4::Ipv4::new(&bytes[l3..]).expect("the layout says so");
            (checksum::checksum(header.header()) == 0, &bytes[l3 + 12..l3 + 20])
        }
        Network::Ipv6 => (true, &bytes[l3 + ipv6::SOURCE..l3 + ipv6::HEADER_LEN]),
        _ => return None,
    };
    if packet.key.get(Field::IpFrag) != 0 || layout.transport == Transport::None {
        return Some(header_is_right);
    }
    let segment = &bytes[usize::from(layout.l4)..usize::from(layout.end)];
    let protocol = packet.key.get(Field::IpProto).to_be_bytes()[15];
    let (source, target) = addresses.split_at(addresses.len() / 2);
    let pseudo = checksum::pseudo_header(source, target, protocol, segment.len());
    let sum_is_right = match layout.transport {
        Transport::Icmp => checksum::checksum(segment) == 0,
        Transport::Udp if word(segment, transport::UDP_CHECKSUM) == 0 => true,
        Transport::Sctp => {
            let mut copy = segment.to_vec();
            copy[8..12].fill(0);
            checksum::crc32c(&copy).to_be_bytes() == segment[8..12]
        }
        _ => checksum::finish(checksum::sum(pseudo, segment)) == 0,
    };
    Some(header_is_right && sum_is_right)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn right_checksums_stay_right_and_wrong_ones_wrong(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let ports = sample::port_table(&mut random, Tunnels::Some);
        let mut packet = packet(&mut random, &ports);
        // Open vSwitch leaves the checksum alone under some IPv6 extension headers.
        if packet.layout.network == Network::Ipv6 && packet.layout.checksum == 0 {
            return Ok(());
        }
        let before = checksums_are_right(&packet);
        for step in steps(&mut random, &packet, &ports) {
            packet.apply(step);
            prop_assert_eq!(checksums_are_right(&packet), before, "{:?}", step);
        }
    }

    #[test]
    fn the_key_follows_the_bytes(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let ports = sample::port_table(&mut random, Tunnels::None);
        let mut packet = packet(&mut random, &ports);
        for step in steps(&mut random, &packet, &ports) {
            packet.apply(step);
            // Bytes and key part where a header is not writable, and where a third tag hides.
            let writable = packet.layout.is_ip() && packet.layout.transport != Transport::None;
            if !writable || packet.layout.tags > 2 || packet.layout.tags > tags_known(&packet) {
                return Ok(());
            }
            let ingress = packet.key.get(Field::InPort).to_be_bytes();
            let port = PortNo(u16::from_be_bytes([ingress[14], ingress[15]]));
            let again = parse(&packet.bytes, port, &PortTable::default());
            let mut key = packet.key;
            key.set(Field::InnerVlanTpid, again.key.get(Field::InnerVlanTpid));
            if is_neighbour(&key) || is_neighbour(&again.key) {
                return Ok(());
            }
            prop_assert_eq!(again.key, key, "{:?}", step);
            prop_assert_eq!(again.layout, packet.layout, "{:?}", step);
        }
    }

    #[test]
    fn a_folded_edit_does_what_its_steps_do(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let ports = sample::port_table(&mut random, Tunnels::Some);
        let packet = packet(&mut random, &ports);
        let mut steps = steps(&mut random, &packet, &ports);
        let mut by_steps = packet.clone();
        for step in &steps {
            by_steps.apply(*step);
        }
        steps.push(Step::Output(PortNo(1)));
        let matching = MaskedKey::default();
        let flow = Flow { matching, steps, ttl_threshold: None, rules: Vec::new() };
        if let Ok(edit) = Edit::fold(&flow) {
            let mut by_edit = packet;
            by_edit.apply_edit(&edit);
            prop_assert_eq!(&by_edit.bytes, &by_steps.bytes, "{:?}\n{:?}", flow.steps, edit);
            let carried = |packet: &Packet| packet.key.get(Field::TunId);
            prop_assert_eq!(carried(&by_edit), carried(&by_steps));
        }
    }

    #[test]
    fn parsing_is_total_on_any_bytes(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        seed in any::<u64>(),
    ) {
        let mut random = Random::new(seed);
        let ports = sample::port_table(&mut random, Tunnels::Some);
        let parsed = parse(&bytes, PortNo(1), &ports);
        let _ = Packet::new(&parsed, &bytes);
        let (port, mut frame) = sample::frame(&mut random, &ports);
        for _ in 0..20 {
            sample::mutate(&mut random, &mut frame);
            let parsed = parse(&frame, port, &ports);
            let mut packet = Packet::new(&parsed, &frame);
            for step in steps(&mut random, &packet, &ports) {
                packet.apply(step);
            }
        }
    }
}

fn tags_known(packet: &Packet) -> u8 {
    let known = |field| u8::from(packet.key.get(field) != 0);
    known(Field::VlanTci) + known(Field::InnerVlanTci)
}

/// A message whose type became or ceased to be one with a target reads differently afterwards.
fn is_neighbour(key: &crate::key::Key) -> bool {
    key.get(Field::IpProto) == u128::from(transport::ICMPV6)
}

#[test]
fn most_random_steps_fold() {
    let (mut folded, mut all) = (0, 0);
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let ports = sample::port_table(&mut random, Tunnels::None);
        let packet = packet(&mut random, &ports);
        let mut steps = steps(&mut random, &packet, &ports);
        steps.push(Step::Output(PortNo(1)));
        let matching = MaskedKey::default();
        let flow = Flow { matching, steps, ttl_threshold: None, rules: Vec::new() };
        all += 1;
        folded += usize::from(flow.steps.len() > 2 && Edit::fold(&flow).is_ok());
    }
    assert!(folded * 3 > all, "{folded} of {all}");
}

#[test]
fn a_wrong_address_or_tcp_checksum_changes_by_the_difference_only() {
    let old = 0x1234_u16;
    let new = checksum::update(old, &[10, 0, 0, 2], &[10, 0, 0, 99]);
    assert_eq!(checksum::update(new, &[10, 0, 0, 99], &[10, 0, 0, 2]), old);
}
