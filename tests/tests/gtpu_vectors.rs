//! GTP-U with extension headers, which Open vSwitch misreads: literal frames, and tshark as the judge
//! of what we send.

use std::net::Ipv4Addr;
use std::sync::Arc;
use twinpath_flow::frame::checksum;
use twinpath_flow::port::{OuterTos, Port, PortKind, PortNo, PortTable, Tunnel, TunnelKind};
use twinpath_flow::text::{parse_packet, parse_rules};
use twinpath_tests::judge::{Case, Outputs, by_reference, hex, unhex};
use twinpath_tests::tool;

/// Headers from the peer up to the UDP ports; the IP checksum is put in.
const OUTER: &str =
    "02aa0000000102aa000000020800 4500%LEN%00004000401100000a0100020a010001 08680868";
/// An inner IPv4/UDP packet of 32 bytes with right checksums.
const INNER: &str = "450000200000000040116cc90a0000010a000002 03e807d0000c0000 61626364";

fn ports() -> Arc<PortTable> {
    let port = |number: u16, kind: PortKind| Port { kind, ..Port::physical(number) };
    let tunnel = |last: u8, qfi: Option<u8>| Tunnel {
        kind: TunnelKind::Gtpu,
        over: PortNo(1),
        local_ip: Ipv4Addr::new(10, 1, 0, 1),
        remote_ip: Some(Ipv4Addr::new(10, 1, 0, last)),
        local_mac: [2, 0xaa, 0, 0, 0, 1],
        peer_mac: [2, 0xaa, 0, 0, 0, 2],
        tos: OuterTos::Inherit,
        ttl: 64,
        qfi,
    };
    let ports = vec![
        port(1, PortKind::Physical),
        port(2, PortKind::Physical),
        port(13, PortKind::Tunnel(tunnel(2, Some(9)))),
        port(14, PortKind::Tunnel(tunnel(3, None))),
    ];
    Arc::new(PortTable::new(ports).expect("distinct numbers and names"))
}

fn run(rules: &str, packets: Vec<(PortNo, Vec<u8>)>) -> Outputs {
    let ports = ports();
    let rules =
        parse_rules("rules", rules, &ports).unwrap_or_else(|errors| panic!("{}", errors[0]));
    let rules = rules.into_iter().map(|parsed| parsed.rule).collect();
    by_reference(&Case { name: "by hand".to_owned(), ports, rules, packets }).outputs
}

/// A received frame with this GTP-U header in front of the inner packet.
fn received(gtpu: &str) -> Vec<u8> {
    let payload = [unhex(gtpu), unhex(INNER)].concat();
    let length = |more: usize| format!("{:04x}", payload.len() + more);
    let mut headers = unhex(&OUTER.replace("%LEN%", &length(28)));
    let sum = checksum::checksum(&headers[14..34]).to_be_bytes();
    headers[24..26].copy_from_slice(&sum);
    [headers, unhex(&length(8)), vec![0, 0], payload].concat()
}

#[test]
fn extension_headers_are_skipped_and_the_qfi_is_read() {
    let rules = "priority=9,in_port=13,tun_id=0x2a,tun_qfi=5,ip,actions=2\n\
                 priority=8,in_port=13,tun_id=0x2b,ip,actions=set_field:02:00:00:00:00:02->eth_dst,2\n";
    // Flags, message, length, TEID; then sequence, N-PDU and type of the first extension.
    let headers = [
        // PDU Session Container (TS 38.415 §5.5.2): uplink, QFI 5.
        "34ff00280000002a 00000085 01100500",
        // The same behind a sequence number and a UDP port extension (type 0x40).
        "37ff002c0000002a 12340740 01123485 01100500",
        // No extension, no QFI.
        "30ff00200000002b",
        // A sequence number alone.
        "32ff00240000002b 00010000",
    ];
    let packets = headers.map(|header| (PortNo(1), received(header))).to_vec();
    let outputs = run(rules, packets);
    let inner = hex(&unhex(INNER));
    let zeros = "00".repeat(12);
    let set = format!("020000000002{}", "00".repeat(6));
    let wanted = [&zeros, &zeros, &set, &set].map(|link| format!("{link}0800{inner}"));
    let got: Vec<_> = outputs[&PortNo(2)].iter().map(|frame| hex(frame)).collect();
    assert_eq!(got, wanted);
}

#[test]
fn tshark_reads_the_pdu_session_container_that_we_send() {
    let rules = "priority=9,in_port=2,udp,actions=set_field:0x12345678->tun_id,13\n\
                 priority=8,in_port=2,tcp,actions=set_field:7->tun_id,set_field:33->tun_qfi,14\n\
                 priority=7,in_port=2,udp6,actions=set_field:8->tun_id,13\n\
                 priority=6,in_port=2,icmp,actions=set_field:9->tun_id,14\n";
    let packets =
        ["in_port=2,udp,nw_tos=184", "in_port=2,tcp,dl_vlan=5", "in_port=2,udp6", "in_port=2,icmp"];
    let packets = packets.map(|text| {
        let packet = parse_packet(text, &ports()).expect("packets of the syntax");
        (packet.in_port, packet.frame)
    });
    let frames = run(rules, packets.to_vec()).remove(&PortNo(1)).unwrap_or_default();
    assert_eq!(frames.len(), 4);
    let path = std::env::temp_dir().join(format!("twinpath-gtpu-{}.pcap", std::process::id()));
    std::fs::write(&path, capture(&frames)).expect("the temporary folder is writable");
    let fields = [
        "ip.dsfield.dscp",
        "ip.ttl",
        "udp.dstport",
        "udp.checksum",
        "gtp.message",
        "gtp.length",
        "gtp.teid",
        "gtp.ext_hdr.pdu_ses_con.pdu_type",
        "gtp.ext_hdr.pdu_ses_con.qos_flow_id",
        "_ws.malformed",
    ];
    let mut command = tool::command("tshark");
    command.args(["-T", "fields", "-E", "separator=;", "-E", "occurrence=f", "-r"]).arg(&path);
    for field in fields {
        command.args(["-e", field]);
    }
    let text = tool::succeed(&mut command);
    std::fs::remove_file(&path).expect("the file was written");
    let lines: Vec<_> = text.lines().collect();
    let wanted = [
        "46;64;2152;0x0000;0xff;54;0x12345678;0;9;",
        "0;64;2152;0x0000;0xff;66;0x00000007;0;33;",
        "0;64;2152;0x0000;0xff;74;0x00000008;0;9;",
        "0;64;2152;0x0000;0xff;46;0x00000009;;;",
    ];
    assert_eq!(lines, wanted);
}

/// A classic capture in microseconds.
fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |words: [u32; 4]| bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    put([0xa1b2_c3d4, 0x0004_0002, 0, 0]);
    let mut bytes =
        [bytes, 65535_u32.to_le_bytes().to_vec(), 1_u32.to_le_bytes().to_vec()].concat();
    for frame in frames {
        let length = u32::try_from(frame.len()).expect("frames are short");
        bytes.extend([0, 0, length, length].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(frame);
    }
    bytes
}
