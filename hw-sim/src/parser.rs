//! The parser: frame bytes to key and header places (`docs/nic-abi.md` §5), in one pass.

use twinpath_abi::key::{
    ETH_DST, ETH_SRC, ETH_TYPE, IN_PORT, IP_DST, IP_FRAG, IP_PROTO, IP_SRC, IP_TOS, IP_TTL,
    KEY_BYTES, KeyBytes, L4_DST, L4_SRC, TCP_FLAGS, VLAN_PRESENT, VLAN_TCI,
};

/// Network header that is there and may be edited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum L3 {
    /// None.
    #[default]
    None,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// ARP.
    Arp,
}

/// Transport header that is there and may be edited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum L4 {
    /// None.
    #[default]
    None,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP over IPv4, ICMPv6 over IPv6: type and code.
    Icmp,
}

/// Where the headers of a frame are; offsets from its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Tags read.
    pub tags: u8,
    /// Network header.
    pub l3: L3,
    /// Its place.
    pub l3_at: usize,
    /// Transport header.
    pub l4: L4,
    /// Its place, also when it is not editable.
    pub l4_at: usize,
    /// Where the network packet ends.
    pub end: usize,
    /// Place of a transport checksum that covers the IP addresses; 0 for none.
    pub pseudo_sum_at: usize,
    /// ip_proto is UDP, whose checksum 0 means none.
    pub udp: bool,
}

/// Reads `frame` into a key and its headers; `None` when it is shorter than an Ethernet header.
#[must_use]
pub fn parse_frame(frame: &[u8], number: u16) -> (KeyBytes, Option<Headers>) {
    let mut key = [0; KEY_BYTES];
    key[IN_PORT].copy_from_slice(&number.to_be_bytes());
    if frame.len() < 14 {
        return (key, None);
    }
    let mut headers = Headers::default();
    key[ETH_DST].copy_from_slice(&frame[..6]);
    key[ETH_SRC].copy_from_slice(&frame[6..12]);
    let mut at = 12;
    while headers.tags < 2 && frame.len() >= at + 6 && is_tag(half(frame, at)) {
        if headers.tags == 0 {
            let tci = half(frame, at + 2) | VLAN_PRESENT;
            key[VLAN_TCI].copy_from_slice(&tci.to_be_bytes());
        }
        headers.tags += 1;
        at += 4;
    }
    let mut kind = half(frame, at);
    at += 2;
    if kind < 0x0600 {
        let snap = frame.get(at..at + 8).filter(|llc| llc[..6] == [0xaa, 0xaa, 3, 0, 0, 0]);
        let snap_kind = snap.map_or(0, |llc| half(llc, 6));
        kind = if snap_kind >= 0x0600 { snap_kind } else { 0x05ff };
        at += if snap.is_some() { 8 } else { 0 };
    }
    key[ETH_TYPE].copy_from_slice(&kind.to_be_bytes());
    headers.l3_at = at;
    parse_packet(frame, kind, &mut key, &mut headers);
    (key, Some(headers))
}

/// Reads the network packet of Ethertype `kind` at `headers.l3_at`.
pub(crate) fn parse_packet(frame: &[u8], kind: u16, key: &mut KeyBytes, headers: &mut Headers) {
    match kind {
        0x0800 => parse_v4(frame, key, headers),
        0x86dd => parse_v6(frame, key, headers),
        0x0806 | 0x8035 => parse_arp(frame, key, headers),
        _ => {}
    }
}

fn parse_v4(frame: &[u8], key: &mut KeyBytes, headers: &mut Headers) {
    let packet = &frame[headers.l3_at..];
    if packet.len() < 20 {
        return;
    }
    let header_bytes = usize::from(packet[0] & 15) * 4;
    let total = usize::from(half(packet, 2));
    let fits = header_bytes >= 20 && total >= header_bytes && total <= packet.len();
    if !fits || packet.len() - total > 0xffff {
        return;
    }
    let fragment = half(packet, 6);
    key[IP_TOS] = packet[1];
    key[IP_TTL] = packet[8];
    key[IP_PROTO] = packet[9];
    key[IP_SRC.start + 12..IP_SRC.end].copy_from_slice(&packet[12..16]);
    key[IP_DST.start + 12..IP_DST.end].copy_from_slice(&packet[16..20]);
    key[IP_FRAG] = match (fragment & 0x1fff, fragment & 0x2000) {
        (0, 0) => 0,
        (0, _) => 1,
        _ => 3,
    };
    headers.l3 = L3::V4;
    headers.l4_at = headers.l3_at + header_bytes;
    headers.end = headers.l3_at + total;
    parse_l4(frame, key, headers);
}

fn parse_v6(frame: &[u8], key: &mut KeyBytes, headers: &mut Headers) {
    let packet = &frame[headers.l3_at..];
    if packet.len() < 40 || packet.len() < 40 + usize::from(half(packet, 4)) {
        return;
    }
    let packet = &packet[..40 + usize::from(half(packet, 4))];
    key[IP_SRC].copy_from_slice(&packet[8..24]);
    key[IP_DST].copy_from_slice(&packet[24..40]);
    let Some(walk) = walk_extensions(packet) else { return };
    key[IP_TOS] = packet[0] << 4 | packet[1] >> 4;
    key[IP_TTL] = packet[7];
    key[IP_PROTO] = walk.proto;
    key[IP_FRAG] = walk.frag;
    headers.l3 = L3::V6;
    headers.l4_at = headers.l3_at + walk.at;
    headers.end = headers.l3_at + packet.len();
    parse_l4(frame, key, headers);
    if walk.routed {
        headers.pseudo_sum_at = 0; // the final destination is in the routing header (§8.5)
    }
}

/// What stands behind IPv6 extension headers.
struct Walk {
    proto: u8,
    frag: u8,
    at: usize,
    routed: bool,
}

/// Skips extension headers; `None` when one is cut off. Ends: each turn advances by 8 or more.
fn walk_extensions(packet: &[u8]) -> Option<Walk> {
    let mut walk = Walk { proto: packet[6], frag: 0, at: 40, routed: false };
    while matches!(walk.proto, 0 | 43 | 44 | 51 | 60) {
        let rest = packet.get(walk.at..).filter(|rest| rest.len() >= 8)?;
        let bytes = match walk.proto {
            44 => 8,
            51 => (usize::from(rest[1]) + 2) * 4,
            _ => (usize::from(rest[1]) + 1) * 8,
        };
        if bytes > rest.len() {
            return None;
        }
        walk.routed |= walk.proto == 43 && rest[3] != 0;
        let fragment = if walk.proto == 44 { half(rest, 2) } else { 0 };
        walk.routed |= walk.proto == 44 && fragment & 0xfff9 == 0;
        walk.at += bytes;
        if fragment & 0xfff8 != 0 {
            return Some(Walk { proto: 44, frag: 3, ..walk });
        }
        walk.frag |= u8::from(fragment != 0);
        walk.proto = rest[0];
    }
    Some(walk)
}

fn parse_l4(frame: &[u8], key: &mut KeyBytes, headers: &mut Headers) {
    let proto = key[IP_PROTO];
    let v6 = headers.l3 == L3::V6;
    if proto == 0 {
        headers.l3 = L3::None; // a header with protocol 0 is not edited (§5.3, §5.4)
    }
    if key[IP_FRAG] & 2 != 0 {
        return;
    }
    let segment = &frame[headers.l4_at..headers.end];
    let (needed, l4, sum_at) = match proto {
        6 => (20, L4::Tcp, 16),
        17 => (8, L4::Udp, 6),
        132 => (12, L4::Sctp, 0),
        1 if !v6 => (8, L4::Icmp, 0),
        2 if !v6 => (8, L4::None, 0),
        58 if v6 => (8, L4::Icmp, 2),
        _ => return,
    };
    let whole = segment.len() >= needed;
    headers.udp = proto == 17;
    if sum_at != 0 && (whole || (proto == 58 && segment.len() >= 4)) {
        headers.pseudo_sum_at = headers.l4_at + sum_at;
    }
    if !whole {
        return;
    }
    headers.l4 = l4;
    if matches!(proto, 1 | 2 | 58) {
        // Of a fragment, the first one too, no ports are matched (§5.5).
        if key[IP_FRAG] == 0 {
            key[L4_SRC.start + 1] = segment[0];
            key[L4_DST.start + 1] = segment[1];
        }
        return;
    }
    if key[IP_FRAG] == 0 {
        key[L4_SRC].copy_from_slice(&segment[..2]);
        key[L4_DST].copy_from_slice(&segment[2..4]);
    }
    if proto == 6 {
        key[TCP_FLAGS].copy_from_slice(&(half(segment, 12) & 0x0fff).to_be_bytes());
        let offset = usize::from(segment[12] >> 4) * 4;
        if offset < 20 || offset > segment.len() {
            headers.l4 = L4::None;
        }
    }
}

fn parse_arp(frame: &[u8], key: &mut KeyBytes, headers: &mut Headers) {
    let packet = &frame[headers.l3_at..];
    if packet.len() < 28 || packet[..6] != [0, 1, 8, 0, 6, 4] {
        return;
    }
    let operation = half(packet, 6);
    key[IP_PROTO] = u8::try_from(operation).unwrap_or(0);
    key[IP_SRC.start + 12..IP_SRC.end].copy_from_slice(&packet[14..18]);
    key[IP_DST.start + 12..IP_DST.end].copy_from_slice(&packet[24..28]);
    // RARP is matched and never edited (§5.6).
    if key[IP_PROTO] != 0 && key[ETH_TYPE] == [0x08, 0x06] {
        headers.l3 = L3::Arp;
        headers.end = headers.l3_at + 28;
    }
}

fn is_tag(kind: u16) -> bool {
    kind == 0x8100 || kind == 0x88a8
}

/// The 16-bit number at `at`.
pub(crate) fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The 32-bit number at `at`.
pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) << 16 | u32::from(half(bytes, at + 2))
}
