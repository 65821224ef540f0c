//! Output to a tunnel port: the outer headers, and the hash that makes the UDP source port.
//!
//! # The source port
//!
//! `source_port = 32768 + hash % 28233`, so 32768 to 61000. `hash` is taken from the first key line
//! *as parsed at ingress* (for a decapsulated packet: of the inner packet), before any edit, so
//! that all packets of one connection take one path.
//!
//! The hash reads 37 bytes of the key, as ten 32-bit words, big-endian:
//!
//! | word | holds | key line 1 bytes |
//! |---|---|---|
//! | 0 | `ip_proto` in bits 7..0, else 0 | 6 |
//! | 1..=4 | `ip_src`, most significant word first | 24..40 |
//! | 5..=8 | `ip_dst`, most significant word first | 40..56 |
//! | 9 | `l4_src` in bits 31..16, `l4_dst` in bits 15..0 | 56..60 |
//!
//! All arithmetic is on unsigned 32-bit words, sums modulo 2^32; `>>` and `<<` shift in zeros:
//!
//! ```text
//! h = 0x54574e50
//! for word in words 0..=9:          (a round)
//!     h = h + word
//!     h = h + (h << 10)
//!     h = h ^ (h >> 6)
//! twice:                            (the end)
//!     h = h + (h << 3)
//!     h = h ^ (h >> 11)
//!     h = h + (h << 15)
//! ```
//!
//! Two adders and one exclusive-or a round, no multiplier; the carries make it non-linear over
//! GF(2), unlike a CRC. Test vectors are in this module's tests.

#[cfg(test)]
mod tests;

use crate::apply::Packet;
use crate::field::Field;
use crate::frame::tunnel;
use crate::frame::{checksum, ethernet, ipv4, transport};
use crate::key::{FlowKey, Key};
use crate::port::{OuterTos, Tunnel, TunnelKind};

/// Lowest UDP source port of an outer header.
pub const SOURCE_PORT_MIN: u16 = 32768;
/// Number of UDP source ports used: 32768 to 61000.
pub const SOURCE_PORT_COUNT: u32 = 28233;

const HASH_START: u32 = 0x5457_4e50;

/// The hash described in the module's documentation.
#[must_use]
pub fn flow_hash(key: &FlowKey) -> u32 {
    let addresses = key.0[24..60].as_chunks::<4>().0;
    let mut hash = hash_round(HASH_START, u32::from(key.0[6]));
    for word in addresses {
        hash = hash_round(hash, u32::from_be_bytes(*word));
    }
    for _ in 0..2 {
        hash = hash.wrapping_add(hash << 3);
        hash ^= hash >> 11;
        hash = hash.wrapping_add(hash << 15);
    }
    hash
}

fn hash_round(hash: u32, word: u32) -> u32 {
    let hash = hash.wrapping_add(word);
    let hash = hash.wrapping_add(hash << 10);
    hash ^ (hash >> 6)
}

/// The UDP source port of the outer header for a packet whose key at ingress was `key`.
#[must_use]
pub fn source_port(key: &FlowKey) -> u16 {
    let port = u32::from(SOURCE_PORT_MIN) + flow_hash(key) % SOURCE_PORT_COUNT;
    let [_, _, high, low] = port.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// Why a packet cannot leave through a tunnel port; it is dropped there, as Open vSwitch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EncapError {
    /// The port has `remote_ip = "flow"` and no step set `tun_dst`.
    #[error("no tunnel destination was set")]
    NoDestination,
    /// GTP-U carries IP packets only. (Open vSwitch would send whatever follows the link layer.)
    #[error("the inner packet is not IP")]
    NotIp,
    /// The outer packet would be longer than 65535 bytes.
    #[error("the packet is too long to encapsulate")]
    TooLong,
}

/// The frame that leaves [`Tunnel::over`] when `packet`, as it is now, is sent to a tunnel port.
///
/// The key after the edits holds the tunnel id (24 bits of it for VXLAN and Geneve) and the inner type
/// of service; tunnel destination and QFI are those that steps set. `source_port` is [`source_port`] of the key at
/// ingress. Outer IPv4: id 0, don't fragment, UDP checksum 0.
///
/// # Errors
/// [`EncapError`]: the packet is not sent through this port.
pub fn encapsulate(
    packet: &Packet,
    source_port: u16,
    tunnel: &Tunnel,
) -> Result<Vec<u8>, EncapError> {
    let key = &packet.key;
    let target = match tunnel.remote_ip {
        Some(remote) => u32::from(remote),
        None => packet.carried.target.unwrap_or(0),
    };
    if target == 0 {
        return Err(EncapError::NoDestination);
    }
    let (header, inner) = tunnel_header(packet, tunnel)?;
    let udp_len = transport::UDP_LEN + header.len() + inner.len();
    let too_long = |_| EncapError::TooLong;
    let total_len = u16::try_from(ipv4::HEADER_LEN + udp_len).map_err(too_long)?;
    let udp_len = u16::try_from(udp_len).map_err(too_long)?;

    let mut ip = [0_u8; ipv4::HEADER_LEN];
    ip[0] = 0x45;
    ip[ipv4::TOS] = outer_tos(key, tunnel.tos);
    ip[2..4].copy_from_slice(&total_len.to_be_bytes());
    ip[ipv4::FRAGMENT] = 0x40;
    ip[ipv4::TTL] = tunnel.ttl;
    ip[9] = transport::UDP;
    ip[12..16].copy_from_slice(&tunnel.local_ip.octets());
    ip[16..20].copy_from_slice(&target.to_be_bytes());
    let sum = checksum::checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());

    let mut frame = Vec::with_capacity(ethernet::HEADER_LEN + usize::from(total_len));
    frame.extend_from_slice(&tunnel.peer_mac);
    frame.extend_from_slice(&tunnel.local_mac);
    frame.extend_from_slice(&ethernet::TYPE_IPV4.to_be_bytes());
    frame.extend_from_slice(&ip);
    for word in [source_port, tunnel.kind.udp_port(), udp_len, 0] {
        frame.extend_from_slice(&word.to_be_bytes());
    }
    frame.extend_from_slice(&header);
    frame.extend_from_slice(inner);
    Ok(frame)
}

/// The tunnel header and what follows it.
fn tunnel_header<'a>(
    packet: &'a Packet,
    tunnel: &Tunnel,
) -> Result<(Vec<u8>, &'a [u8]), EncapError> {
    let id = packet.key.get(Field::TunId).to_be_bytes();
    let (id, vni) = (&id[12..], &id[13..]);
    Ok(match tunnel.kind {
        TunnelKind::Vxlan => ([&[0x08, 0, 0, 0], vni, &[0]].concat(), &packet.bytes),
        TunnelKind::Geneve => ([&[0, 0, 0x65, 0x58], vni, &[0]].concat(), &packet.bytes),
        TunnelKind::Gtpu => {
            if !is_ip(&packet.key) {
                return Err(EncapError::NotIp);
            }
            let inner = packet.bytes.get(usize::from(packet.layout.l3)..).unwrap_or_default();
            (gtpu_header(id, inner.len(), tunnel.qfi.or(packet.carried.qfi))?, inner)
        }
    })
}

/// GTP-U header; with a QFI (the port's, else one that a step set) a PDU Session Container, downlink.
fn gtpu_header(id: &[u8], inner_len: usize, qfi: Option<u8>) -> Result<Vec<u8>, EncapError> {
    let (flags, optional) = match qfi {
        Some(qfi) => (
            tunnel::GTPU_FLAGS | tunnel::GTPU_EXTENSION,
            vec![0, 0, 0, tunnel::GTPU_PDU_SESSION, 1, 0x00, qfi & 0x3f, 0],
        ),
        None => (tunnel::GTPU_FLAGS, Vec::new()),
    };
    let len = u16::try_from(inner_len + optional.len()).map_err(|_| EncapError::TooLong)?;
    Ok([&[flags, tunnel::GTPU_PACKET], &len.to_be_bytes()[..], id, &optional].concat())
}

/// Outer type of service: the DSCP as configured, the ECN bits of an inner IP packet, congestion
/// experienced turned into ECT(0) (RFC 3168 §9.1.1, as Open vSwitch does).
fn outer_tos(key: &Key, tos: OuterTos) -> u8 {
    let inner = key.get(Field::IpTos).to_be_bytes()[15];
    let inner = if is_ip(key) { inner } else { 0 };
    let dscp = match tos {
        OuterTos::Fixed(tos) => tos & 0xfc,
        OuterTos::Inherit => inner & 0xfc,
    };
    let ecn = if inner & 3 == 3 { 2 } else { inner & 3 };
    dscp | ecn
}

fn is_ip(key: &Key) -> bool {
    let ethertype = key.get(Field::EthType);
    ethertype == u128::from(ethernet::TYPE_IPV4) || ethertype == u128::from(ethernet::TYPE_IPV6)
}
