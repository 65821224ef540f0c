//! Random matches, every field with its prerequisites.

use super::{ICMP_TYPES, ICMPV6_TYPES, IPV4, IPV6, MACS, PORTS, Random, TTLS, TUNNEL_IDS, VIDS};
use crate::field::Field;
use crate::frame::{ethernet, number, transport};
use crate::key::{MaskedKey, VLAN_PRESENT};
use crate::port::PortTable;

/// A match that `ovs-ofctl` can write.
pub(super) fn matching(random: &mut Random, ports: &PortTable) -> MaskedKey {
    let mut wanted = MaskedKey::default();
    if random.chance(30) {
        let numbers: Vec<u16> = ports.iter().map(|port| port.number.0).collect();
        wanted.constrain(Field::InPort, u128::from(random.pick(&numbers)), 0xffff);
    }
    if ports.tunnels().next().is_some() && random.chance(20) {
        wanted.constrain(Field::TunId, u128::from(random.pick(&TUNNEL_IDS)), 0xffff_ffff);
    }
    for field in [Field::EthDst, Field::EthSrc] {
        if random.chance(15) {
            let mask = random.pick(&[0xffff_ffff_ffff, 0xffff_ffff_ffff, 0x0100_0000_0000, 0xff]);
            wanted.constrain(field, number(&random.pick(&MACS)), mask);
        }
    }
    if random.chance(25) {
        let vid = u128::from(random.pick(&VIDS) | VLAN_PRESENT);
        match random.below(4) {
            0 => wanted.constrain(Field::VlanTci, 0, 0x1fff),
            1 => wanted.constrain(Field::VlanTci, 0x1000, 0x1000),
            2 => wanted.constrain(Field::VlanTci, 0x3000, 0xf000),
            _ => wanted.constrain(Field::VlanTci, vid, 0x1fff),
        }
    }
    match random.below(10) {
        0..=4 => ip(random, &mut wanted, u128::from(ethernet::TYPE_IPV4)),
        5 | 6 => ip(random, &mut wanted, u128::from(ethernet::TYPE_IPV6)),
        7 => arp(random, &mut wanted),
        8 => {
            let kinds = [0x88cc, ethernet::TYPE_NONE, ethernet::TYPE_RARP, 0x8847];
            wanted.constrain(Field::EthType, u128::from(random.pick(&kinds)), 0xffff);
        }
        _ => {}
    }
    wanted
}

fn ip(random: &mut Random, wanted: &mut MaskedKey, ethertype: u128) {
    wanted.constrain(Field::EthType, ethertype, 0xffff);
    let is_v4 = ethertype == u128::from(ethernet::TYPE_IPV4);
    for field in [Field::IpSrc, Field::IpDst] {
        if random.chance(25) {
            let (value, mask) = address(random, is_v4);
            wanted.constrain(field, value, mask);
        }
    }
    if random.chance(8) {
        wanted.constrain(Field::IpTos, u128::from(random.byte() & 0xfc), 0xfc);
    }
    if random.chance(8) {
        wanted.constrain(Field::IpTos, u128::from(random.byte() & 3), 3);
    }
    if random.chance(5) {
        wanted.constrain(Field::IpTtl, u128::from(random.pick(&TTLS)), 0xff);
    }
    if random.chance(8) {
        let (value, mask) = random.pick(&[(0, 3), (1, 1), (1, 3), (3, 3), (0, 2)]);
        wanted.constrain(Field::IpFrag, value, mask);
    }
    if !is_v4 && random.chance(10) {
        wanted.constrain(Field::FlowLabel, 0x12345, 0xfffff);
    }
    // Open vSwitch refuses layer-4 fields in a rule for later fragments.
    if random.chance(60) && wanted.value.get(Field::IpFrag) & 2 == 0 {
        transport_of(random, wanted, is_v4);
    }
}

fn address(random: &mut Random, is_v4: bool) -> (u128, u128) {
    if is_v4 {
        let value = u128::from(random.pick(&IPV4));
        (value, random.pick(&[0xffff_ffff, 0xffff_ffff, 0xffff_ff00, 0xff00_0000, 0x0000_00ff]))
    } else {
        let masks = [u128::MAX, u128::MAX, u128::MAX << 64, u128::MAX << 96, 0xff];
        (random.pick(&IPV6), random.pick(&masks))
    }
}

fn transport_of(random: &mut Random, wanted: &mut MaskedKey, is_v4: bool) {
    let icmp = if is_v4 { transport::ICMP } else { transport::ICMPV6 };
    let known = [transport::TCP, transport::UDP, transport::SCTP, icmp];
    let protocol = if random.chance(10) { 47 } else { random.pick(&known) };
    wanted.constrain(Field::IpProto, u128::from(protocol), 0xff);
    if protocol == 47 {
        return;
    }
    if protocol == icmp {
        let kinds: &[u8] = if is_v4 { &ICMP_TYPES } else { &ICMPV6_TYPES };
        if random.chance(60) {
            wanted.constrain(Field::L4Src, u128::from(random.pick(kinds)), 0xffff);
            if random.chance(60) {
                wanted.constrain(Field::L4Dst, 0, 0xffff);
            }
        }
        let is_neighbour = matches!(wanted.value.get(Field::L4Src), 135 | 136)
            && wanted.mask.get(Field::L4Dst) != 0;
        if is_neighbour && random.chance(50) {
            wanted.constrain(Field::NdTarget, random.pick(&IPV6), u128::MAX);
        }
        return;
    }
    for field in [Field::L4Src, Field::L4Dst] {
        if random.chance(35) {
            let mask = random.pick(&[0xffff, 0xffff, 0xff00, 0x0001]);
            wanted.constrain(field, u128::from(random.pick(&PORTS)), mask);
        }
    }
    if protocol == transport::TCP && random.chance(10) {
        wanted.constrain(Field::TcpFlags, u128::from(random.byte()), random.pick(&[0xfff, 2]));
    }
}

fn arp(random: &mut Random, wanted: &mut MaskedKey) {
    wanted.constrain(Field::EthType, u128::from(ethernet::TYPE_ARP), 0xffff);
    if random.chance(40) {
        wanted.constrain(Field::IpProto, random.pick(&[1, 2]), 0xff);
    }
    for field in [Field::IpSrc, Field::IpDst] {
        if random.chance(25) {
            let (value, mask) = address(random, true);
            wanted.constrain(field, value, mask);
        }
    }
    for field in [Field::ArpSha, Field::ArpTha] {
        if random.chance(15) {
            wanted.constrain(field, number(&random.pick(&MACS)), 0xffff_ffff_ffff);
        }
    }
}
