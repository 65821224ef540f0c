//! Tunnels and odd frames as literal bytes. What Open vSwitch does with ordinary frames is held in
//! `reference/ovs-vectors.txt`; the tunnels here were seen in Open vSwitch 3.1 too, GTP-U's extension
//! headers apart (3GPP TS 29.281 §5.2, TS 38.415 §5.5).

use super::{Layout, Network, Parsed, Standing, Transport, parse};
use crate::field::Field;
use crate::frame::checksum;
use crate::port::{OuterTos, Port, PortKind, PortNo, PortTable, Tunnel, TunnelKind};
use std::net::Ipv4Addr;

/// Inner frame: 10.0.0.1 to 10.0.0.2, UDP 1 to 2.
const INNER: &str = "02000000000202000000000a0800\
    4500001c000100004011 66ce 0a0000010a000002 0001000200080000";

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn port(number: u16, kind: PortKind) -> Port {
    Port { kind, ..Port::physical(number) }
}

/// Port 1, and over it VXLAN 11 from 172.16.0.2, VXLAN 12 from anybody, Geneve 13, GTP-U 14.
fn ports() -> PortTable {
    let tunnel = |number, kind, fixed: Option<Ipv4Addr>| {
        let tunnel = Tunnel {
            kind,
            over: PortNo(1),
            local_ip: Ipv4Addr::new(172, 16, 0, 1),
            remote_ip: fixed,
            local_mac: [2, 0xaa, 0, 0, 0, 1],
            peer_mac: [2, 0xaa, 0, 0, 0, 2],
            tos: OuterTos::Inherit,
            ttl: 64,
            qfi: None,
        };
        port(number, PortKind::Tunnel(tunnel))
    };
    let peer = Some(Ipv4Addr::new(172, 16, 0, 2));
    PortTable::new(vec![
        port(1, PortKind::Physical),
        port(2, PortKind::Physical),
        tunnel(11, TunnelKind::Vxlan, peer),
        tunnel(12, TunnelKind::Vxlan, None),
        tunnel(13, TunnelKind::Geneve, None),
        tunnel(14, TunnelKind::Gtpu, None),
    ])
    .unwrap()
}

/// `payload` behind Ethernet, IPv4 from 172.16.0.`host` with that type of service, UDP to `port`.
fn outer(payload: &str, port: u16, host: u8, tos: u8) -> Vec<u8> {
    let payload = bytes(payload);
    let len = u16::try_from(payload.len() + 8).unwrap();
    let mut ip = bytes("45000000000040004011 0000 ac100002ac100001");
    ip[1] = tos;
    ip[2..4].copy_from_slice(&(len + 20).to_be_bytes());
    ip[15] = host;
    let sum = checksum::checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let udp = [bytes("15b3"), port.to_be_bytes().into(), len.to_be_bytes().into(), bytes("0000")];
    [bytes("02aa0000000102aa000000020800"), ip, udp.concat(), payload].concat()
}

fn read(frame: &[u8]) -> Parsed {
    parse(frame, PortNo(1), &ports())
}

fn fields(parsed: &Parsed) -> [u128; 5] {
    [Field::InPort, Field::TunId, Field::Qfi, Field::IpDst, Field::L4Dst]
        .map(|field| parsed.key.get(field))
}

#[test]
fn vxlan_is_taken_off_and_the_port_with_the_fixed_peer_goes_first() {
    let payload = format!("0800000000002a00{INNER}");
    let from_peer = read(&outer(&payload, 4789, 2, 0));
    assert_eq!(fields(&from_peer), [11, 42, 0, 0x0a00_0002, 2]);
    assert_eq!(from_peer.key.get(Field::TunSrc), 0xac10_0002);
    assert_eq!(from_peer.key.get(Field::TunDst), 0xac10_0001);
    assert_eq!(fields(&read(&outer(&payload, 4789, 3, 0)))[0], 12);
    let frame = outer(&payload, 4789, 2, 0);
    assert_eq!(from_peer.inner_frame(&frame), bytes(INNER));
    let wanted = Layout {
        strip: 50,
        network: Network::Ipv4,
        transport: Transport::Udp,
        l3: 14,
        l4: 34,
        end: 42,
        checksum: 40,
        ..Layout::default()
    };
    assert_eq!(from_peer.layout, wanted);
}

#[test]
fn what_is_not_quite_for_a_tunnel_stays_a_packet_of_its_port() {
    let good = outer(&format!("0800000000002a00{INNER}"), 4789, 2, 0);
    assert_eq!(parse(&good, PortNo(2), &ports()).key.get(Field::InPort), 2);
    let mut fragment = good.clone();
    fragment[20] = 0x20;
    let tagged = [&good[..12], &[0x81, 0, 0, 5], &good[12..]].concat();
    let mut elsewhere = good.clone();
    elsewhere[33] = 9;
    for frame in [fragment, tagged, elsewhere] {
        let parsed = read(&frame);
        assert_eq!((fields(&parsed)[0], parsed.standing), (1, Standing::Plain));
        assert_eq!(parsed.layout.strip, 0);
    }
}

#[test]
fn wrong_outer_headers_are_malformed() {
    let payload = format!("0800000000002a00{INNER}");
    let mut bad_ip_checksum = outer(&payload, 4789, 2, 0);
    bad_ip_checksum[25] ^= 1;
    let mut bad_udp_checksum = outer(&payload, 4789, 2, 0);
    bad_udp_checksum[40] = 0x12;
    let frames = [
        bad_ip_checksum,
        bad_udp_checksum,
        outer(&format!("0c00000000002a00{INNER}"), 4789, 2, 0),
        outer(&format!("0800000000002a01{INNER}"), 4789, 2, 0),
        outer("0800000000002a", 4789, 2, 0),
        outer("0800000000002a00 0200000000", 4789, 2, 0),
        outer(&format!("4000655800002a00{INNER}"), 6081, 2, 0),
        outer(&format!("0000080000002a00{INNER}"), 6081, 2, 0),
        outer("0100655800002a00", 6081, 2, 0),
        outer("30ff00000000002a", 2152, 2, 0),
        outer(&format!("30ff00000000002a{INNER}"), 2152, 2, 0),
        outer("34ff00040000002a00000085 00", 2152, 2, 0),
        vec![2; 13],
    ];
    for frame in frames {
        assert_eq!(read(&frame).standing, Standing::Malformed, "{frame:02x?}");
    }
}

#[test]
fn geneve_options_are_skipped_critical_ones_too() {
    let payload = format!("02c0655800002a00 0102038100000000{INNER}");
    let parsed = read(&outer(&payload, 6081, 2, 0));
    assert_eq!(fields(&parsed), [13, 42, 0, 0x0a00_0002, 2]);
    assert_eq!(parsed.layout.strip, 58);
}

#[test]
fn gtp_u_gets_an_ethernet_header_without_addresses() {
    let packet = &INNER.replace([' ', '\n'], "")[28..];
    let frame = outer(&format!("30ff001c1234abcd{packet}"), 2152, 2, 0);
    let parsed = read(&frame);
    assert_eq!(fields(&parsed), [14, 0x1234_abcd, 0, 0x0a00_0002, 2]);
    assert_eq!((parsed.layout.strip, parsed.layout.prepend, parsed.layout.l3), (50, 0x0800, 14));
    let wanted = [bytes("0000000000000000000000000800"), bytes(packet)].concat();
    assert_eq!(parsed.inner_frame(&frame), wanted);
}

#[test]
fn gtp_u_extension_headers_are_skipped_and_the_qfi_is_read() {
    let packet = &INNER.replace([' ', '\n'], "")[28..];
    // Sequence number 1, PDU Session Container (uplink, QFI 9), then a UDP Port extension.
    let options = "00010085 01 10 09 40 01 08 68 00";
    let frame = outer(&format!("36ff00280000002a{options}{packet}"), 2152, 2, 0);
    assert_eq!(fields(&read(&frame)), [14, 42, 0x89, 0x0a00_0002, 2]);
    // Without the E flag the next-type byte says nothing.
    let frame = outer(&format!("32ff00200000002a 00010085{packet}"), 2152, 2, 0);
    assert_eq!(fields(&read(&frame)), [14, 42, 0, 0x0a00_0002, 2]);
}

#[test]
fn other_gtp_u_messages_are_exceptions_with_the_tunnel_s_port() {
    let frame = outer("320100040000000000000000", 2152, 2, 0);
    let parsed = read(&frame);
    assert_eq!(parsed.standing, Standing::Exception);
    assert_eq!(fields(&parsed), [14, 0, 0, 0xac10_0001, 2152]);
    assert_eq!(parsed.inner_frame(&frame), frame);
}

#[test]
fn an_outer_congestion_mark_goes_inwards_or_kills() {
    let payload = |tos: u8| {
        let mut inner = bytes(INNER);
        inner[15] = tos;
        inner[25] = inner[25].wrapping_sub(tos);
        let hex: String = inner.iter().map(|byte| format!("{byte:02x}")).collect();
        outer(&format!("0800000000002a00{hex}"), 4789, 2, 3)
    };
    let capable = payload(1);
    let parsed = read(&capable);
    assert_eq!((parsed.standing, parsed.key.get(Field::IpTos)), (Standing::Exception, 3));
    let inner = parsed.inner_frame(&capable);
    assert_eq!(inner[15], 3);
    assert_eq!(checksum::checksum(&inner[14..34]), 0);
    assert_eq!(read(&payload(0)).standing, Standing::Malformed);
    assert_eq!(read(&payload(3)).standing, Standing::Plain);
}
