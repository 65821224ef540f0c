//! Makes a frame that has the fields of a key: the smallest well-formed one, checksums right.

use crate::check::eth_type;
use crate::field::Field;
use crate::frame::{checksum, transport};
use crate::key::{Key, VLAN_PRESENT};

/// Shortest Ethernet frame without FCS.
const FRAME_LENGTH_MIN: usize = 60;
/// Payload behind a transport header, or in place of one.
const PAYLOAD: [u8; 18] = [0; 18];

/// The frame of a key. Bits of a later fragment have no transport header.
#[must_use]
pub fn frame_of(key: &Key) -> Vec<u8> {
    let mut frame = Vec::with_capacity(128);
    put(&mut frame, key, Field::EthDst);
    put(&mut frame, key, Field::EthSrc);
    put_tags(&mut frame, key);
    let eth = key.get(Field::EthType);
    let body = match eth {
        eth_type::IPV4 => ipv4(key),
        eth_type::IPV6 => ipv6(key),
        eth_type::ARP | eth_type::RARP => arp(key),
        eth_type::MPLS | eth_type::MPLS_MULTICAST => {
            let mut body = Vec::new();
            put(&mut body, key, Field::MplsLse);
            body.extend(PAYLOAD);
            body
        }
        _ => PAYLOAD.to_vec(),
    };
    if eth < 0x600 {
        // 802.2 frames without SNAP: a length, then service access points and control.
        frame.extend(length_bytes(body.len() + 3));
        frame.extend([0x42, 0x42, 0x03]);
    } else {
        put(&mut frame, key, Field::EthType);
    }
    frame.extend(body);
    if frame.len() < FRAME_LENGTH_MIN {
        frame.resize(FRAME_LENGTH_MIN, 0);
    }
    frame
}

/// A length field; what is made here has at most some hundred bytes.
fn length_bytes(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

fn put(bytes: &mut Vec<u8>, key: &Key, field: Field) {
    let spec = field.spec();
    bytes.extend(&key.get(field).to_be_bytes()[16 - spec.width..]);
}

/// The last `width` bytes of a field.
fn put_low(bytes: &mut Vec<u8>, key: &Key, field: Field, width: usize) {
    bytes.extend(&key.get(field).to_be_bytes()[16 - width..]);
}

fn byte(key: &Key, field: Field) -> u8 {
    key.get(field).to_be_bytes()[15]
}

fn put_tags(frame: &mut Vec<u8>, key: &Key) {
    let present = u128::from(VLAN_PRESENT);
    for (field, tpid) in [(Field::VlanTci, 0), (Field::InnerVlanTci, 1)] {
        let tci = key.get(field);
        if tci & present != 0 {
            let inner = key.get(Field::InnerVlanTci) & present != 0;
            let tpid: u16 = if tpid == 0 && inner { 0x88a8 } else { 0x8100 };
            frame.extend(tpid.to_be_bytes());
            frame.extend(&(tci & !present).to_be_bytes()[14..]);
        }
    }
}

fn arp(key: &Key) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, byte(key, Field::IpProto)];
    put(&mut body, key, Field::ArpSha);
    put_low(&mut body, key, Field::IpSrc, 4);
    put(&mut body, key, Field::ArpTha);
    put_low(&mut body, key, Field::IpDst, 4);
    body
}

fn ipv4(key: &Key) -> Vec<u8> {
    let (more, offset) = fragment(key);
    let mut pseudo = Vec::new();
    put_low(&mut pseudo, key, Field::IpSrc, 4);
    put_low(&mut pseudo, key, Field::IpDst, 4);
    let payload = upper(key, &pseudo);
    let mut body = vec![0x45, byte(key, Field::IpTos)];
    body.extend(length_bytes(20 + payload.len()));
    body.extend([0, 0]);
    body.extend((u16::from(more) << 13 | offset).to_be_bytes());
    body.extend([byte(key, Field::IpTtl), byte(key, Field::IpProto), 0, 0]);
    body.extend(&pseudo);
    let checksum = checksum::checksum(&body);
    body[10..12].copy_from_slice(&checksum.to_be_bytes());
    body.extend(payload);
    body
}

fn ipv6(key: &Key) -> Vec<u8> {
    let mut pseudo = Vec::new();
    put(&mut pseudo, key, Field::IpSrc);
    put(&mut pseudo, key, Field::IpDst);
    let mut payload = upper(key, &pseudo);
    let mut next_header = byte(key, Field::IpProto);
    if key.get(Field::IpFrag) != 0 {
        let (more, offset) = fragment(key);
        let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
        payload.splice(0..0, [next_header, 0, high, low, 0, 0, 0, 1]);
        next_header = 44;
    }
    let class = u128::from(byte(key, Field::IpTos));
    let first = 6 << 28 | class << 20 | key.get(Field::FlowLabel);
    let mut body = first.to_be_bytes()[12..].to_vec();
    body.extend(length_bytes(payload.len()));
    body.extend([next_header, byte(key, Field::IpTtl)]);
    body.extend(&pseudo);
    body.extend(payload);
    body
}

/// More-fragments flag and offset in units of 8 bytes.
fn fragment(key: &Key) -> (bool, u16) {
    match key.get(Field::IpFrag) {
        0 => (false, 0),
        1 => (true, 0),
        _ => (false, 1),
    }
}

/// The transport header with its payload; `pseudo` is source and destination address.
fn upper(key: &Key, pseudo: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let proto = byte(key, Field::IpProto);
    let v6 = pseudo.len() == 32;
    if key.get(Field::IpFrag) & 2 != 0 {
        return PAYLOAD.to_vec();
    }
    let (ports, checksum_at) = match proto {
        6 => (true, Some(16)),
        17 => (true, Some(6)),
        132 => (true, None),
        1 if !v6 => (false, Some(2)),
        transport::ICMPV6 if v6 => (false, Some(2)),
        _ => return PAYLOAD.to_vec(),
    };
    if ports {
        put(&mut body, key, Field::L4Src);
        put(&mut body, key, Field::L4Dst);
    } else {
        body.extend([byte(key, Field::L4Src), byte(key, Field::L4Dst)]);
    }
    match proto {
        6 => {
            body.extend([0; 8]);
            let flags = 5 << 12 | key.get(Field::TcpFlags);
            body.extend(&flags.to_be_bytes()[14..]);
            body.extend([0xff, 0xff, 0, 0, 0, 0]);
        }
        17 => {
            body.extend(length_bytes(8 + PAYLOAD.len()));
            body.extend([0, 0]);
        }
        132 => body.extend([0; 8]),
        transport::ICMPV6 => {
            body.extend([0; 6]);
            neighbour(&mut body, key);
        }
        _ => body.extend([0; 6]),
    }
    body.extend(PAYLOAD);
    match checksum_at {
        Some(at) => {
            let checksum = transport_checksum(&body, proto, pseudo);
            body[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        }
        None => {
            let checksum = checksum::crc32c(&body);
            body[8..12].copy_from_slice(&checksum.to_be_bytes());
        }
    }
    body
}

/// Target and option of a neighbour solicitation or advertisement (RFC 4861 §4.3, §4.4).
fn neighbour(body: &mut Vec<u8>, key: &Key) {
    let (kind, option, field) = match key.get(Field::L4Src) {
        135 => (135, 1, Field::ArpSha),
        136 => (136, 2, Field::ArpTha),
        _ => return,
    };
    body.truncate(8);
    debug_assert_eq!(u128::from(body[0]), kind);
    put(body, key, Field::NdTarget);
    if key.get(field) != 0 {
        body.extend([option, 1]);
        put(body, key, field);
    }
}

fn transport_checksum(body: &[u8], proto: u8, pseudo: &[u8]) -> u16 {
    let (source, target) = pseudo.split_at(pseudo.len() / 2);
    let start = match proto {
        transport::ICMP => 0,
        _ => checksum::pseudo_header(source, target, proto, body.len()),
    };
    let sum = checksum::finish(checksum::sum(start, body));
    if proto == transport::UDP { checksum::nonzero(sum) } else { sum }
}
