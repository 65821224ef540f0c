//! The hash's published vectors, and outer headers as Open vSwitch 3.1 wrote them (UDP source port and
//! GTP-U's UDP checksum apart, where we differ on purpose).

use super::{EncapError, SOURCE_PORT_MIN, encapsulate, flow_hash, source_port};
use crate::apply::Packet;
use crate::field::Field;
use crate::key::{FlowKey, Key};
use crate::parse::parse;
use crate::port::{OuterTos, PortNo, PortTable, Tunnel, TunnelKind};
use crate::steps::Step;
use std::net::Ipv4Addr;

fn key(proto: u128, source: u128, target: u128, ports: (u128, u128)) -> FlowKey {
    Key::ZERO
        .with(Field::IpProto, proto)
        .with(Field::IpSrc, source)
        .with(Field::IpDst, target)
        .with(Field::L4Src, ports.0)
        .with(Field::L4Dst, ports.1)
        .head
}

#[test]
fn the_hash_of_the_documented_vectors_is_as_documented() {
    let v6 = 0x2001_0db8_0000_0000_0000_0000_0000_0001;
    let vectors = [
        (FlowKey::ZERO, 0x5975_ad9f, 50871),
        (key(17, 0x0a00_0001, 0x0a00_0002, (1000, 2000)), 0x85aa_d079, 49795),
        (key(6, 0xc0a8_0101, 0x0808_0808, (40000, 443)), 0x5364_7640, 39253),
        (key(58, v6, v6 + 1, (128, 0)), 0x0d3f_e9de, 46805),
    ];
    for (key, hash, port) in vectors {
        assert_eq!((flow_hash(&key), source_port(&key)), (hash, port), "{key:?}");
    }
}

#[test]
fn flows_of_a_counter_spread_over_the_source_ports() {
    // 282,330 flows over 28,233 ports: 10 on average; a Poisson tail of 40 is 1e-12.
    for field in [Field::IpSrc, Field::IpDst, Field::L4Src] {
        let mut hits = vec![0_u32; 28233];
        for count in 0..282_330_u128 {
            let base = Key { head: key(17, 0x0a00_0001, 0x0a00_0002, (1, 2)), ..Key::ZERO };
            let mut key = base.with(field, base.get(field) ^ (count % 65536));
            key.set(Field::L4Dst, count / 65536);
            hits[usize::from(source_port(&key.head) - SOURCE_PORT_MIN)] += 1;
        }
        assert!(hits.iter().all(|hits| *hits < 40), "{field:?}");
        let empty = hits.iter().filter(|hits| **hits == 0).count();
        assert!(empty < 20, "{field:?}: {empty} ports unused, 1.3 expected");
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Ethernet, IPv4 with this type of service, UDP.
fn inner(tos: u8) -> Packet {
    let mut frame = bytes(
        "02000000000202000000000a0800 4500002800010000401166c20a0000010a000002\
         000100020014123468656c6c6f20776f726c6421",
    );
    frame[15] = tos;
    frame[24..26].copy_from_slice(&if tos == 0 { [0x66, 0xc2] } else { [0x65, 0xc3] });
    packet(&frame)
}

fn packet(frame: &[u8]) -> Packet {
    let parsed = parse(frame, PortNo(1), &PortTable::default());
    let mut packet = Packet::new(&parsed, frame);
    packet.key.set(Field::TunId, 0x12ab_cdef);
    packet.carried.target = Some(0xac10_0003);
    packet
}

fn tunnel(kind: TunnelKind) -> Tunnel {
    Tunnel {
        kind,
        over: PortNo(1),
        local_ip: Ipv4Addr::new(172, 16, 0, 1),
        remote_ip: Some(Ipv4Addr::new(172, 16, 0, 2)),
        local_mac: [2, 0xaa, 0, 0, 0, 1],
        peer_mac: [2, 0xaa, 0, 0, 0, 2],
        tos: OuterTos::Inherit,
        ttl: 64,
        qfi: None,
    }
}

/// What is sent, as hexadecimal up to the inner packet.
fn outer(packet: &Packet, tunnel: &Tunnel, len: usize) -> String {
    let frame = encapsulate(packet, 0xd839, tunnel).unwrap();
    frame[..len].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn vxlan_is_as_open_vswitch_writes_it() {
    let wanted = "02aa0000000202aa0000000108004500005a000040004011e26fac100001ac100002\
                  d83912b50046000008000000abcdef00";
    let packet = inner(0);
    assert_eq!(outer(&packet, &tunnel(TunnelKind::Vxlan), 50), wanted);
    let frame = encapsulate(&packet, 1, &tunnel(TunnelKind::Vxlan)).unwrap();
    assert_eq!(frame[50..], packet.bytes);
}

#[test]
fn inherited_congestion_marks_become_capable_of_them() {
    let wanted = "02aa0000000202aa00000001080045fe005a000040004011e171ac100001ac100002\
                  d83912b50046000008000000abcdef00";
    assert_eq!(outer(&inner(0xff), &tunnel(TunnelKind::Vxlan), 50), wanted);
    let fixed = Tunnel { tos: OuterTos::Fixed(0x20), ..tunnel(TunnelKind::Vxlan) };
    assert_eq!(outer(&inner(0xff), &fixed, 16)[30..], *"22");
}

#[test]
fn geneve_goes_where_the_flow_says() {
    let wanted = "02aa0000000202aa0000000108004500005a000040004011e26eac100001ac100003\
                  d83917c10046000000006558abcdef00";
    let mut tunnel = tunnel(TunnelKind::Geneve);
    tunnel.remote_ip = None;
    assert_eq!(outer(&inner(0), &tunnel, 50), wanted);
    let mut nowhere = inner(0);
    nowhere.carried.target = None;
    nowhere.key.set(Field::TunDst, 0xac10_0003);
    assert_eq!(encapsulate(&nowhere, 1, &tunnel), Err(EncapError::NoDestination));
}

#[test]
fn gtp_u_carries_the_packet_behind_ethernet_and_tags() {
    let wanted = "02aa0000000202aa0000000108004520004c000040004011e25dac100001ac100002\
                  d839086800380000 30ff002812abcdef 4500002800010000"
        .replace(' ', "");
    let fixed = Tunnel { tos: OuterTos::Fixed(0x20), ..tunnel(TunnelKind::Gtpu) };
    assert_eq!(outer(&inner(0), &fixed, 58), wanted);
    let plain = inner(0).bytes;
    let tagged = packet(&[&plain[..12], &[0x81, 0, 0, 5], &plain[12..]].concat());
    assert_eq!(outer(&tagged, &fixed, 58), wanted);
    let arp = packet(&bytes("02000000000202000000000a0806 0001080006040001"));
    assert_eq!(encapsulate(&arp, 1, &fixed), Err(EncapError::NotIp));
}

#[test]
fn gtp_u_sends_a_pdu_session_container_when_the_port_has_a_qfi() {
    let with_qfi = Tunnel { qfi: Some(9), ..tunnel(TunnelKind::Gtpu) };
    let header = |packet: &Packet, tunnel: &Tunnel| outer(packet, tunnel, 58)[84..].to_owned();
    // E flag, length 48, then sequence and N-PDU numbers 0, type 85, 4 bytes: downlink, QFI 9, end.
    let wanted = "34ff003012abcdef0000008501000900";
    assert_eq!(header(&inner(0), &with_qfi), wanted);
    let mut set = inner(0);
    set.apply(Step::Set { field: Field::Qfi, value: 0x85, mask: 0xff });
    assert_eq!(header(&set, &with_qfi), wanted, "the port's goes first");
    let without = tunnel(TunnelKind::Gtpu);
    assert_eq!(header(&set, &without), wanted.replace("0900", "0500"));
    let mut received = inner(0);
    received.key.set(Field::Qfi, 0x85);
    assert_eq!(
        header(&received, &without)[..16],
        *"30ff002812abcdef",
        "a received one is not sent"
    );
}

#[test]
fn a_packet_too_long_for_the_outer_header_is_refused() {
    let mut long = inner(0);
    long.bytes.resize(65_500, 0);
    assert_eq!(encapsulate(&long, 1, &tunnel(TunnelKind::Vxlan)), Err(EncapError::TooLong));
}
