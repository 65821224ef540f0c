//! Builds one frame: Ethernet, VLAN tag, GTP-U tunnel, IP, UDP or TCP or ICMP, checksums right.

use twinpath_flow::port::{Mac, TunnelKind};

use super::super::checksum;
use super::choice::Address;
use super::random::{Random, mix};
use super::spec::{FRAME_MAX, GtpuSpec, Protocol, StreamSpec, Walk};

const ETHERNET_LEN: usize = 14;
const VLAN_LEN: usize = 4;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const UDP_LEN: usize = 8;
/// GTP-U without and with the PDU Session Container (TS 29.281 §5.1, TS 38.415 §5.5.2).
const GTPU_LEN: usize = 8;
const GTPU_CONTAINER_LEN: usize = 16;
/// Don't fragment, offset 0.
const DONT_FRAGMENT: u16 = 0x4000;

/// What all packets of one flow have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FlowFields {
    source: Address,
    target: Address,
    source_port: u16,
    target_port: u16,
    protocol: Protocol,
    dscp: u8,
    vlan: u16,
    teid: u32,
    qfi: Option<u8>,
}

/// What each packet draws anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct PacketFields {
    size: u16,
    ttl: u8,
    tcp_flags: u8,
}

impl FlowFields {
    /// The fields of flow `index`: the same at every call.
    pub(super) fn derive(spec: &StreamSpec, index: u32) -> Self {
        let index = u64::from(index);
        let mut random = Random::new(mix(spec.seed) ^ mix(index + 1));
        let (addresses, ports) = spec.walked();
        let sessions = addresses.len();
        let (session, turn) = (index % sessions, index / sessions);
        let walked = (addresses.nth(session), ports.nth(turn));
        let mut draw = || (random.bits(), random.bits());
        let ((a, b), (c, d)) = (draw(), draw());
        let ((source, source_port), (target, target_port)) = match spec.walk {
            Walk::Source => (walked, (spec.target.pick(a, b), spec.target_port.pick(c, d))),
            Walk::Target => ((spec.source.pick(a, b), spec.source_port.pick(c, d)), walked),
        };
        let ((a, b), (c, d), (e, f)) = (draw(), draw(), draw());
        let session = u32::try_from(session).expect("below the number of flows");
        let (g, h) = draw();
        let gtpu = spec.gtpu.as_ref();
        Self {
            source,
            target,
            source_port,
            target_port,
            protocol: Protocol::from_number(spec.protocol.pick(a, b)),
            dscp: spec.dscp.pick(c, d),
            vlan: spec.vlan.pick(e, f),
            teid: gtpu.map_or(0, |gtpu| gtpu.teid.wrapping_add(session)),
            qfi: gtpu.and_then(|gtpu| gtpu.qfi.as_ref()).map(|qfi| qfi.pick(g, h)),
        }
    }
}

impl PacketFields {
    pub(super) fn draw(spec: &StreamSpec, random: &mut Random) -> Self {
        Self {
            size: spec.size.pick(random.bits(), random.bits()),
            ttl: spec.ttl.pick(random.bits(), random.bits()),
            tcp_flags: spec.tcp_flags.pick(random.bits(), random.bits()),
        }
    }
}

/// Replaces the contents of `frame` by packet number `sequence` of the stream. The payload begins
/// with that number (8 bytes, big-endian) where there is room; the rest is zero.
pub(super) fn build(
    frame: &mut Vec<u8>,
    spec: &StreamSpec,
    flow: &FlowFields,
    packet: PacketFields,
    sequence: u64,
) {
    frame.clear();
    let room = usize::from(packet.size.min(FRAME_MAX));
    let is_v6 = matches!(flow.source, Address::V6(_));
    let ip_len = if is_v6 { IPV6_LEN } else { IPV4_LEN };
    let l4_len = match flow.protocol {
        Protocol::Tcp => 20,
        Protocol::Udp | Protocol::Icmp => 8,
    };
    let link_len = ETHERNET_LEN + if flow.vlan == 0 { 0 } else { VLAN_LEN };
    let tunnel_len = spec.gtpu.as_ref().map_or(0, |_| IPV4_LEN + UDP_LEN + gtpu_len(flow));
    let headers = link_len + tunnel_len + ip_len + l4_len;
    let frame_len = room.max(headers);
    let ip_total = frame_len - link_len - tunnel_len;

    let ether_type = if is_v6 && spec.gtpu.is_none() { 0x86dd } else { 0x0800 };
    put_ethernet(frame, (spec.target_mac, spec.source_mac), flow.vlan, ether_type);
    if let Some(gtpu) = &spec.gtpu {
        put_gtpu(frame, gtpu, flow, spec.walk, ip_total);
    }
    let l4_total = ip_total - ip_len;
    put_ip(frame, flow, packet, l4_total);
    put_l4(frame, flow, packet, l4_total, sequence);
    frame.resize(frame_len, 0);
}

fn put_ethernet(frame: &mut Vec<u8>, (target, source): (Mac, Mac), vlan: u16, ether_type: u16) {
    frame.extend_from_slice(&target);
    frame.extend_from_slice(&source);
    if vlan != 0 {
        frame.extend_from_slice(&0x8100u16.to_be_bytes());
        frame.extend_from_slice(&vlan.to_be_bytes());
    }
    frame.extend_from_slice(&ether_type.to_be_bytes());
}

const fn gtpu_len(flow: &FlowFields) -> usize {
    if flow.qfi.is_some() { GTPU_CONTAINER_LEN } else { GTPU_LEN }
}

fn put_gtpu(frame: &mut Vec<u8>, gtpu: &GtpuSpec, flow: &FlowFields, walk: Walk, inner: usize) {
    let udp_total = UDP_LEN + gtpu_len(flow) + inner;
    let (source, target) = (gtpu.outer_source, gtpu.outer_target);
    put_ipv4(frame, (source, target), [0, 64, 17], udp_total);
    let port = TunnelKind::Gtpu.udp_port();
    for word in [port, port, length(udp_total), 0] {
        frame.extend_from_slice(&word.to_be_bytes());
    }
    // Version 1, protocol type GTP; E says that an extension header follows. Type: G-PDU.
    let flags = if flow.qfi.is_some() { 0x34 } else { 0x30 };
    frame.extend_from_slice(&[flags, 0xff]);
    // The length counts what follows the first eight bytes.
    frame.extend_from_slice(&length(udp_total - UDP_LEN - GTPU_LEN).to_be_bytes());
    frame.extend_from_slice(&flow.teid.to_be_bytes());
    if let Some(qfi) = flow.qfi {
        // Uplink (from the side that numbers sessions) has PDU type 1, downlink 0.
        let pdu_type = if walk == Walk::Source { 0x10 } else { 0x00 };
        frame.extend_from_slice(&[0, 0, 0, 0x85, 1, pdu_type, qfi, 0]);
    }
}

/// `[tos, ttl, protocol]`, and the length of what follows the header.
fn put_ipv4(frame: &mut Vec<u8>, (source, target): (u32, u32), what: [u8; 3], payload: usize) {
    let [tos, ttl, protocol] = what;
    let start = frame.len();
    frame.extend_from_slice(&[0x45, tos]);
    for word in [length(IPV4_LEN + payload), 0, DONT_FRAGMENT] {
        frame.extend_from_slice(&word.to_be_bytes());
    }
    frame.extend_from_slice(&[ttl, protocol, 0, 0]);
    frame.extend_from_slice(&source.to_be_bytes());
    frame.extend_from_slice(&target.to_be_bytes());
    let sum = checksum::finish(checksum::add(0, &frame[start..]));
    frame[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
}

fn put_ip(frame: &mut Vec<u8>, flow: &FlowFields, packet: PacketFields, payload: usize) {
    let (tos, protocol) = (flow.dscp << 2, ip_protocol(flow));
    match (flow.source, flow.target) {
        (Address::V6(source), Address::V6(target)) => {
            let first = (6 << 28) | (u32::from(tos) << 20);
            frame.extend_from_slice(&first.to_be_bytes());
            frame.extend_from_slice(&length(payload).to_be_bytes());
            frame.extend_from_slice(&[protocol, packet.ttl]);
            frame.extend_from_slice(&source.to_be_bytes());
            frame.extend_from_slice(&target.to_be_bytes());
        }
        (Address::V4(source), Address::V4(target)) => {
            put_ipv4(frame, (source, target), [tos, packet.ttl, protocol], payload);
        }
        _ => unreachable!("the specification was checked to be of one family"),
    }
}

const fn ip_protocol(flow: &FlowFields) -> u8 {
    match flow.protocol {
        Protocol::Udp => 17,
        Protocol::Tcp => 6,
        Protocol::Icmp => match flow.source {
            Address::V4(_) => 1,
            Address::V6(_) => 58,
        },
    }
}

fn put_l4(
    frame: &mut Vec<u8>,
    flow: &FlowFields,
    packet: PacketFields,
    l4_total: usize,
    sequence: u64,
) {
    let start = frame.len();
    let checksum_at = match flow.protocol {
        Protocol::Udp => {
            for word in [flow.source_port, flow.target_port, length(l4_total), 0] {
                frame.extend_from_slice(&word.to_be_bytes());
            }
            6
        }
        Protocol::Tcp => {
            frame.extend_from_slice(&flow.source_port.to_be_bytes());
            frame.extend_from_slice(&flow.target_port.to_be_bytes());
            let [.., a, b, c, d] = sequence.to_be_bytes();
            frame.extend_from_slice(&[a, b, c, d, 0, 0, 0, 0]);
            // Five words of header, the flags, a window of 65,535, no urgent data.
            frame.extend_from_slice(&[0x50, packet.tcp_flags, 0xff, 0xff, 0, 0, 0, 0]);
            16
        }
        Protocol::Icmp => {
            // Echo request: 8 in ICMP, 128 in ICMPv6.
            let kind = if matches!(flow.source, Address::V4(_)) { 8 } else { 128 };
            let [.., high, low] = sequence.to_be_bytes();
            frame.extend_from_slice(&[kind, 0, 0, 0]);
            frame.extend_from_slice(&flow.source_port.to_be_bytes());
            frame.extend_from_slice(&[high, low]);
            2
        }
    };
    if l4_total >= frame.len() - start + 8 {
        frame.extend_from_slice(&sequence.to_be_bytes());
    }
    // The rest of the payload is zero and adds nothing.
    let sum = checksum::add(pseudo_header(flow, l4_total), &frame[start..]);
    let sum = match flow.protocol {
        Protocol::Udp => checksum::finish_udp(sum),
        Protocol::Tcp | Protocol::Icmp => checksum::finish(sum),
    };
    frame[start + checksum_at..start + checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
}

fn pseudo_header(flow: &FlowFields, l4_total: usize) -> u64 {
    let lengths = l4_total as u64 + u64::from(ip_protocol(flow));
    match (flow.source, flow.target) {
        (Address::V4(_), _) if flow.protocol == Protocol::Icmp => 0,
        (Address::V6(source), Address::V6(target)) => {
            let sum = checksum::add(lengths, &source.to_be_bytes());
            checksum::add(sum, &target.to_be_bytes())
        }
        (Address::V4(source), Address::V4(target)) => {
            lengths + u64::from(source) + u64::from(target)
        }
        _ => unreachable!("the specification was checked to be of one family"),
    }
}

fn length(value: usize) -> u16 {
    u16::try_from(value).expect("no frame is longer than FRAME_MAX")
}
