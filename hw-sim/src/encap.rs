//! Output into a tunnel (`docs/nic-abi.md` §8.7).

use crate::checksum;
use crate::packet::Packet;
use crate::parser::Headers;
use twinpath_abi::entry::EditImage;
use twinpath_abi::key::{IP_PROTO, IP_SRC, KeyBytes, L4_DST};
use twinpath_abi::tunnel::{TunnelImage, TunnelKind};

/// Lowest UDP source port, and how many there are.
const SOURCE_PORTS: (u32, u32) = (32768, 28233);

/// What an edited packet carries besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried<'a> {
    /// The key as parsed.
    pub(crate) key: &'a KeyBytes,
    /// Headers of the edited packet.
    pub(crate) headers: &'a Headers,
    /// Type of service of the edited inner IP header, 0 when it is not IP.
    pub(crate) tos: u8,
    /// Tunnel id to write.
    pub(crate) tun_id: u32,
}

/// Puts the outer headers in front; `false` when the packet cannot go there and is dropped.
#[must_use]
pub(crate) fn encapsulate(
    packet: &mut Packet,
    carried: Carried<'_>,
    edit: &EditImage,
    tunnel: &TunnelImage,
) -> bool {
    let remote = tunnel.remote_ip.or(edit.tun_dst).filter(|remote| *remote != [0; 4]);
    let Some(remote) = remote else { return false };
    if tunnel.kind == TunnelKind::Gtpu {
        if ip_version(packet.bytes(), carried.headers).is_none() {
            return false;
        }
        packet.strip_front(carried.headers.l3_at);
    }
    let qfi = tunnel.qfi.or(edit.qfi);
    push_tunnel_header(packet, tunnel.kind, carried.tun_id, qfi);
    let Ok(udp_length) = u16::try_from(packet.bytes().len() + 8) else { return false };
    let Some(total) = udp_length.checked_add(20) else { return false };
    let mut outer = [0; 42];
    outer[..6].copy_from_slice(&tunnel.peer_mac);
    outer[6..12].copy_from_slice(&tunnel.local_mac);
    outer[12..16].copy_from_slice(&[8, 0, 0x45, outer_tos(tunnel, carried.tos)]);
    outer[16..18].copy_from_slice(&total.to_be_bytes());
    outer[20..24].copy_from_slice(&[0x40, 0, tunnel.ttl, 17]);
    outer[26..30].copy_from_slice(&tunnel.local_ip);
    outer[30..34].copy_from_slice(&remote);
    let header_checksum = checksum::full(&outer[14..34]);
    outer[24..26].copy_from_slice(&header_checksum.to_be_bytes());
    outer[34..36].copy_from_slice(&source_port(carried.key).to_be_bytes());
    outer[36..38].copy_from_slice(&tunnel.udp_port.to_be_bytes());
    outer[38..40].copy_from_slice(&udp_length.to_be_bytes());
    packet.prepend(&outer);
    true
}

fn push_tunnel_header(packet: &mut Packet, kind: TunnelKind, id: u32, qfi: Option<u8>) {
    let vni = id << 8;
    match kind {
        TunnelKind::Vxlan => {
            packet.prepend(&vni.to_be_bytes());
            packet.prepend(&[8, 0, 0, 0]);
        }
        TunnelKind::Geneve => {
            packet.prepend(&vni.to_be_bytes());
            packet.prepend(&[0, 0, 0x65, 0x58]);
        }
        TunnelKind::Gtpu => {
            let mut flags = 0x30;
            let mut length = packet.bytes().len();
            if let Some(qfi) = qfi {
                packet.prepend(&[0, 0, 0, 0x85, 1, 0, qfi & 0x3f, 0]);
                flags = 0x34;
                length += 8;
            }
            packet.prepend(&id.to_be_bytes());
            // A packet whose length does not fit is refused right after, by its UDP length.
            let [high, low] = u16::try_from(length).unwrap_or(0).to_be_bytes();
            packet.prepend(&[flags, 0xff, high, low]);
        }
    }
}

/// 4 or 6 for a packet whose Ethertype says IP.
fn ip_version(bytes: &[u8], headers: &Headers) -> Option<u8> {
    let kind_at = headers.l3_at.checked_sub(2)?;
    match bytes.get(kind_at..kind_at + 2)? {
        [0x08, 0x00] => Some(4),
        [0x86, 0xdd] => Some(6),
        _ => None,
    }
}

/// DSCP fixed or inherited; ECN that of the inner packet, CE sent as ECT(0).
fn outer_tos(tunnel: &TunnelImage, inner: u8) -> u8 {
    let ecn = if inner & 3 == 3 { 2 } else { inner & 3 };
    tunnel.tos.unwrap_or(inner) & 0xfc | ecn
}

/// The UDP source port, by a hash of the key as parsed.
pub(crate) fn source_port(key: &KeyBytes) -> u16 {
    let words = key[IP_SRC.start..L4_DST.end].as_chunks::<4>().0;
    let words = words.iter().map(|word| u32::from_be_bytes(*word));
    let mut hash = std::iter::once(u32::from(key[IP_PROTO])).chain(words).fold(
        0x5457_4e50_u32,
        |hash, word| {
            let sum = hash.wrapping_add(word);
            let spread = sum.wrapping_add(sum << 10);
            spread ^ spread >> 6
        },
    );
    for _ in 0..2 {
        hash = hash.wrapping_add(hash << 3);
        hash ^= hash >> 11;
        hash = hash.wrapping_add(hash << 15);
    }
    u16::try_from(SOURCE_PORTS.0 + hash % SOURCE_PORTS.1).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_port_of_the_documented_keys_is_as_documented() {
        assert_eq!(source_port(&[0; 64]), 50871);
        let mut key = [0; 64];
        key[6] = 17;
        key[36..40].copy_from_slice(&[10, 0, 0, 1]);
        key[52..56].copy_from_slice(&[10, 0, 0, 2]);
        key[56..60].copy_from_slice(&[0x03, 0xe8, 0x07, 0xd0]);
        assert_eq!(source_port(&key), 49795);
    }
}
