//! Random frames: well-formed ones of every protocol the parser knows, tunnelled ones, damaged ones.

use super::{ICMP_TYPES, ICMPV6_TYPES, IPV4, IPV6, MACS, PORTS, Random, TTLS, TUNNEL_IDS, VIDS};
use crate::apply::Packet;
use crate::encap;
use crate::field::Field;
use crate::frame::{checksum, ethernet, transport};
use crate::parse;
use crate::port::{PortNo, PortTable, Tunnel};
use std::net::Ipv4Addr;

/// A frame and the physical port it comes in on: one in ten is damaged, and with tunnel ports about a
/// third arrive through one.
#[must_use]
pub fn frame(random: &mut Random, ports: &PortTable) -> (PortNo, Vec<u8>) {
    let physical: Vec<_> = ports.physical().map(|port| port.number).collect();
    let tunnels: Vec<&Tunnel> = ports.tunnels().map(|(_, tunnel)| tunnel).collect();
    let mut port = random.pick(&physical);
    let mut bytes = inner_frame(random);
    if !tunnels.is_empty() && random.chance(35) {
        let tunnel = random.pick(&tunnels);
        if let Some(outer) = through(random, &bytes, tunnel) {
            (port, bytes) = (tunnel.over, outer);
        }
    }
    if random.chance(10) {
        mutate(random, &mut bytes);
    }
    (port, bytes)
}

/// `bytes` as the peer of a tunnel sends it; `None` when it cannot.
fn through(random: &mut Random, bytes: &[u8], tunnel: &Tunnel) -> Option<Vec<u8>> {
    let remote = tunnel.remote_ip.unwrap_or(Ipv4Addr::new(172, 16, 0, 2));
    let peer = Tunnel {
        local_ip: remote,
        remote_ip: Some(tunnel.local_ip),
        local_mac: tunnel.peer_mac,
        peer_mac: tunnel.local_mac,
        ..tunnel.clone()
    };
    let parsed = parse::parse(bytes, PortNo(0), &PortTable::default());
    let mut packet = Packet::new(&parsed, bytes);
    packet.key.set(Field::TunId, u128::from(random.pick(&TUNNEL_IDS)));
    encap::encapsulate(&packet, random.word(), &peer).ok()
}

/// A well-formed frame that is in no tunnel.
#[must_use]
pub fn inner_frame(random: &mut Random) -> Vec<u8> {
    let (ethertype, payload) = match random.below(20) {
        0..=10 => (ethernet::TYPE_IPV4, ipv4(random)),
        11..=15 => (ethernet::TYPE_IPV6, ipv6(random)),
        16 | 17 => (random.pick(&[ethernet::TYPE_ARP, ethernet::TYPE_RARP]), arp(random)),
        18 => (0x8847, [&[0, 0x06, 0x41, 0x40][..], &ipv4(random)].concat()),
        _ => return llc(random),
    };
    let mut bytes = link(random);
    bytes.extend_from_slice(&ethertype.to_be_bytes());
    bytes.extend_from_slice(&payload);
    if random.chance(30) && bytes.len() < 60 {
        bytes.resize(60, 0);
    }
    bytes
}

/// Addresses and tags.
fn link(random: &mut Random) -> Vec<u8> {
    let mut bytes = [random.pick(&MACS), random.pick(&MACS)].concat();
    let tags = random.pick(&[0, 0, 0, 0, 0, 1, 1, 1, 2, 2]);
    for _ in 0..tags {
        let tpid = random.pick(&[ethernet::TYPE_VLAN, ethernet::TYPE_VLAN_SERVICE]);
        let tci = random.pick(&VIDS) | (random.word() & 0xe000);
        bytes.extend_from_slice(&tpid.to_be_bytes());
        bytes.extend_from_slice(&tci.to_be_bytes());
    }
    bytes
}

fn llc(random: &mut Random) -> Vec<u8> {
    let mut bytes = link(random);
    let (header, payload) = if random.chance(50) {
        ([0xaa, 0xaa, 3, 0, 0, 0, 8, 0].to_vec(), ipv4(random))
    } else {
        ([0x42, 0x42, 3].to_vec(), vec![0; 35])
    };
    let len = u16::try_from(header.len() + payload.len()).unwrap_or(0);
    bytes.extend_from_slice(&len.to_be_bytes());
    [bytes, header, payload].concat()
}

fn ipv4(random: &mut Random) -> Vec<u8> {
    let options = if random.chance(5) { 8 } else { 0 };
    let protocol = random.pick(&[6, 6, 17, 17, 17, 1, 132, 47]);
    let addresses = [random.pick(&IPV4), random.pick(&IPV4)].map(u32::to_be_bytes).concat();
    let upper = upper(random, protocol, &addresses);
    let mut header = vec![0; 20 + options];
    header[0] = 0x45 + u8::try_from(options / 4).unwrap_or(0);
    header[1] = if random.chance(50) { 0 } else { random.byte() };
    let total = u16::try_from(header.len() + upper.len()).unwrap_or(u16::MAX);
    header[2..4].copy_from_slice(&total.to_be_bytes());
    let fragment = random.pick(&[0, 0, 0, 0x4000, 0x4000, 0x4000, 0x2000, 0x0010_u16]);
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    header[8] = random.pick(&TTLS);
    header[9] = protocol;
    header[12..20].copy_from_slice(&addresses);
    let sum = checksum::checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [header, upper].concat()
}

fn ipv6(random: &mut Random) -> Vec<u8> {
    let protocol = random.pick(&[6, 17, 17, 58, 58, 132, 59]);
    let addresses = [random.pick(&IPV6), random.pick(&IPV6)].map(u128::to_be_bytes).concat();
    let mut payload = upper(random, protocol, &addresses);
    let mut next = protocol;
    if random.chance(15) {
        let fragment = random.pick(&[0x0001_u16, 0x0010]).to_be_bytes();
        let header = [next, 0, fragment[0], fragment[1], 0, 0, 0, 7];
        payload = [&header, &payload[..]].concat();
        next = 44;
    }
    if random.chance(15) {
        payload = [&[next, 0, 1, 4, 0, 0, 0, 0], &payload[..]].concat();
        next = random.pick(&[0, 60]);
    }
    let class = if random.chance(50) { 0 } else { u32::from(random.byte()) };
    let label = random.pick(&[0, 0x12345]);
    let first = (6 << 28) | (class << 20) | label;
    let len = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let rest = [len[0], len[1], next, random.pick(&TTLS)];
    [&first.to_be_bytes()[..], &rest, &addresses, &payload].concat()
}

/// What an IP packet carries, with its right checksum.
fn upper(random: &mut Random, protocol: u8, addresses: &[u8]) -> Vec<u8> {
    let ports = [random.pick(&PORTS), random.pick(&PORTS)].map(u16::to_be_bytes).concat();
    let data: Vec<u8> = (0..random.below(40)).map(|_| random.byte()).collect();
    let (mut bytes, at) = match protocol {
        transport::TCP => {
            let flags = random.byte();
            let rest = [0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0x10, 0, 0, 0, 0, 0];
            ([&ports[..], &rest, &data].concat(), 16)
        }
        transport::UDP => {
            let len = u16::try_from(8 + data.len()).unwrap_or(8).to_be_bytes();
            ([&ports[..], &len, &[0, 0], &data].concat(), 6)
        }
        transport::SCTP => {
            let mut bytes = [&ports[..], &[0, 0, 0, 9, 0, 0, 0, 0], &data].concat();
            let crc = checksum::crc32c(&bytes);
            bytes[8..12].copy_from_slice(&crc.to_be_bytes());
            return bytes;
        }
        transport::ICMP => {
            ([&[random.pick(&ICMP_TYPES), 0, 0, 0, 0, 1, 0, 2], &data[..]].concat(), 2)
        }
        transport::ICMPV6 => (icmpv6(random, &data), 2),
        _ => return data,
    };
    let pseudo = match protocol {
        transport::ICMP => 0,
        _ => {
            let (source, target) = addresses.split_at(addresses.len() / 2);
            checksum::pseudo_header(source, target, protocol, bytes.len())
        }
    };
    let mut sum = checksum::finish(checksum::sum(pseudo, &bytes));
    if protocol == transport::UDP {
        sum = if random.chance(20) { 0 } else { checksum::nonzero(sum) };
    }
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn icmpv6(random: &mut Random, data: &[u8]) -> Vec<u8> {
    let kind = random.pick(&ICMPV6_TYPES);
    let header = [kind, 0, 0, 0, 0, 0, 0, 0];
    if !matches!(kind, transport::ND_SOLICIT | transport::ND_ADVERT) {
        return [&header, data].concat();
    }
    let mut bytes = [&header[..], &random.pick(&IPV6).to_be_bytes()].concat();
    if random.chance(70) {
        bytes.extend_from_slice(&[kind - 134, 1]);
        bytes.extend_from_slice(&random.pick(&MACS));
    }
    bytes
}

fn arp(random: &mut Random) -> Vec<u8> {
    let operation = random.pick(&[1, 1, 2, 3, 0, 256_u16]).to_be_bytes();
    let mut bytes = vec![0, 1, 8, 0, 6, 4, operation[0], operation[1]];
    for _ in 0..2 {
        bytes.extend_from_slice(&random.pick(&MACS));
        bytes.extend_from_slice(&random.pick(&IPV4).to_be_bytes());
    }
    bytes
}

/// Damages a frame: changes bytes of its headers, cuts it (to 14 bytes at least) or lengthens it.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    match random.below(4) {
        0 => bytes.truncate(14 + random.below(bytes.len().saturating_sub(14) + 1)),
        1 => bytes.extend((0..random.below(300)).map(|count| count.to_be_bytes()[7])),
        _ => {
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len().min(80));
                let Some(byte) = bytes.get_mut(at) else { continue };
                *byte =
                    if random.chance(50) { random.byte() } else { *byte ^ (1 << random.below(8)) };
            }
        }
    }
}
