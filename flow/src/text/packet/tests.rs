//! Packets from text: literal frames, defaults, errors.

use super::*;
use crate::port::{Port, PortKind};

fn ports() -> PortTable {
    PortTable::new(vec![Port::physical(1), Port::physical(2)]).unwrap()
}

fn hex(frame: &[u8]) -> String {
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn frame(text: &str) -> String {
    let packet = parse_packet(text, &ports()).unwrap_or_else(|error| panic!("{text}: {error}"));
    hex(&packet.frame)
}

#[test]
fn a_udp_packet_is_made_with_right_checksums() {
    // Checksums computed by hand: header 0x66bd; UDP over pseudo header, ports, length.
    let text =
        "in_port=1,udp,dl_src=02:00:00:00:00:aa,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=2";
    let wanted = "020000000002\
                  0200000000aa\
                  0800\
                  4500002e00000000401166bd0a0000010a000002\
                  00010002001aebb4\
                  000000000000000000000000000000000000";
    assert_eq!(frame(text), wanted);
}

#[test]
fn tags_arp_and_802_2_frames_have_their_headers() {
    let tagged = frame("in_port=1,dl_vlan=5,dl_vlan_pcp=3");
    assert_eq!(&tagged[24..36], "8100600588b5");
    let arp =
        frame("in_port=1,arp,arp_op=2,arp_spa=1.2.3.4,arp_tpa=1.2.3.5,arp_tha=02:00:00:00:00:09");
    assert_eq!(&arp[24..84], "080600010800060400020200000000010102030402000000000901020305");
    let llc = frame("in_port=1,dl_type=0x05ff");
    assert_eq!(&llc[24..34], "0015424203");
}

#[test]
fn fragments_have_their_bits_and_later_ones_no_transport_header() {
    assert_eq!(&frame("in_port=1,udp,nw_frag=first")[40..44], "2000");
    let later = frame("in_port=1,udp,nw_frag=later");
    assert_eq!(&later[40..44], "0001");
    assert!(later[68..].bytes().all(|digit| digit == b'0'));
    let v6 = frame("in_port=1,udp6,nw_frag=later");
    assert_eq!(&v6[40..42], "2c");
    assert_eq!(&v6[108..124], "1100000800000001");
}

#[test]
fn hexadecimal_frames_are_taken_as_they_are() {
    let packet = parse_packet("in_port=p2 0102030405060708090a0b0c 88b5 ff", &ports()).unwrap();
    assert_eq!(packet.in_port, PortNo(2));
    assert_eq!(hex(&packet.frame), "0102030405060708090a0b0c88b5ff");
}

#[test]
fn bad_packets_are_refused_with_the_place() {
    let cases = [
        ("tcp,nw_src=1.2.3.4", "a packet:1:1: expected in_port=PORT"),
        ("in_port=9,tcp", "a packet:1:9: no port \"9\": expected one of 1 (p1), 2 (p2)"),
        ("in_port=1,nw_src=1.2.3.4", "a packet:1:11: nw_src needs a match on ip, arp or rarp"),
        ("in_port=1 010203", "a packet:1:11: expected a frame of 14 to 65535 bytes in hexadecimal"),
        ("in_port=1,metadata=5", "a packet:1:11: \"metadata\" has no place in a packet"),
        ("in_port=1,tpc", "a packet:1:11: unknown field \"tpc\", did you mean \"tcp\"?"),
    ];
    for (text, wanted) in cases {
        assert_eq!(parse_packet(text, &ports()).unwrap_err().to_string(), wanted, "{text}");
    }
}

#[test]
fn a_packet_of_a_tunnel_port_arrives_through_the_tunnel() {
    use crate::port::{OuterTos, TunnelKind};
    let tunnel = |kind: TunnelKind| Tunnel {
        kind,
        over: PortNo(2),
        local_ip: Ipv4Addr::new(10, 1, 0, 1),
        remote_ip: None,
        local_mac: [2, 0, 0, 0, 0, 1],
        peer_mac: [2, 0, 0, 0, 0, 2],
        tos: OuterTos::Inherit,
        ttl: 64,
        qfi: None,
    };
    let port = |number: u16, kind: PortKind| Port { kind, ..Port::physical(number) };
    let ports = PortTable::new(vec![
        port(2, PortKind::Physical),
        port(11, PortKind::Tunnel(tunnel(TunnelKind::Vxlan))),
        port(13, PortKind::Tunnel(tunnel(TunnelKind::Gtpu))),
    ])
    .unwrap();
    for (text, qfi) in [
        ("in_port=11,tun_id=42,tun_src=192.0.2.7,udp,tp_dst=53", 0),
        ("in_port=13,tun_id=42,tun_src=192.0.2.7,tun_qfi=9,udp,tp_dst=53", 0x89),
    ] {
        let packet = parse_packet(text, &ports).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(packet.in_port, PortNo(2), "{text}");
        let key = parse(&packet.frame, packet.in_port, &ports).key;
        let wanted = if qfi == 0 { 11 } else { 13 };
        assert_eq!(key.get(Field::InPort), wanted, "{text}");
        assert_eq!(key.get(Field::TunId), 42, "{text}");
        assert_eq!(key.get(Field::TunSrc), 0xc000_0207, "{text}");
        assert_eq!(key.get(Field::Qfi), qfi, "{text}");
        assert_eq!(key.get(Field::L4Dst), 53, "{text}");
    }
    let arp = parse_packet("in_port=13,arp", &ports).unwrap_err().to_string();
    assert_eq!(
        arp,
        "a packet:1:1: the tunnel cannot carry this packet: the inner packet is not IP"
    );
}
