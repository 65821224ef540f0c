//! Tunnel headers taken off while parsing.

use super::{Layout, Network, Parsed, Standing, Transport, offset, parse_frame, parse_network};
use crate::field::Field;
use crate::frame::ethernet;
use crate::frame::ipv4::{self, Ipv4};
use crate::frame::transport;
use crate::frame::tunnel::TunnelHeader;
use crate::frame::{checksum, number, word};
use crate::port::{PortNo, PortTable, Tunnel};

/// Congestion experienced (RFC 3168 §5).
const CONGESTED: u8 = 3;

/// Offset of the UDP payload: Ethernet without tags, IPv4 without options, UDP.
const PAYLOAD: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN + transport::UDP_LEN;

/// If the frame that `parsed` describes belongs to a tunnel, describes its inner frame instead.
pub(super) fn decapsulate(frame: &[u8], in_port: PortNo, ports: &PortTable, parsed: &mut Parsed) {
    let Some((port, tunnel)) = find_tunnel(parsed, in_port, ports) else { return };
    let packet = &frame[usize::from(parsed.layout.l3)..];
    let outer = Ipv4::new(packet).expect("the outer header was parsed as IPv4");
    let mut inner = Parsed::default();
    inner.key.set(Field::InPort, u128::from(port.0));
    inner.key.set(Field::TunSrc, number(outer.source()));
    inner.key.set(Field::TunDst, number(outer.destination()));
    let header = outer_is_good(frame, &outer, usize::from(parsed.layout.l3))
        .then(|| &frame[PAYLOAD..usize::from(parsed.layout.end)])
        .and_then(|payload| TunnelHeader::read(tunnel.kind, payload));
    let Some(header) = header else {
        *parsed = Parsed { standing: Standing::Malformed, ..inner };
        return;
    };
    inner.key.set(Field::TunId, u128::from(header.id));
    inner.key.set(Field::Qfi, u128::from(header.qfi));
    if header.carries_packet {
        read_inner(frame, PAYLOAD + header.len, header.ethertype, &mut inner);
        mark_congestion(outer.tos(), &mut inner);
    } else {
        parse_frame(frame, &mut inner);
        inner.standing = Standing::Exception;
    }
    *parsed = inner;
}

/// The tunnel port the packet belongs to.
fn find_tunnel<'a>(
    parsed: &Parsed,
    in_port: PortNo,
    ports: &'a PortTable,
) -> Option<(PortNo, &'a Tunnel)> {
    let Parsed { key, layout, .. } = parsed;
    let could_be = layout.tags == 0
        && layout.network == Network::Ipv4
        && layout.transport == Transport::Udp
        && key.get(Field::IpFrag) == 0;
    if !could_be {
        return None;
    }
    let (source, target) = (key.get(Field::IpSrc), key.get(Field::IpDst));
    let claims = |tunnel: &Tunnel| {
        tunnel.over == in_port
            && u128::from(u32::from(tunnel.local_ip)) == target
            && u128::from(tunnel.kind.udp_port()) == key.get(Field::L4Dst)
            && tunnel.remote_ip.is_none_or(|remote| u128::from(u32::from(remote)) == source)
    };
    ports
        .tunnels()
        .filter(|(_, tunnel)| claims(tunnel))
        .min_by_key(|(number, tunnel)| (tunnel.remote_ip.is_none(), *number))
}

/// No SNAP, no IP options, right header checksum, and a UDP checksum that is right or absent.
fn outer_is_good(frame: &[u8], outer: &Ipv4<'_>, l3: usize) -> bool {
    if l3 != ethernet::HEADER_LEN
        || outer.header_len() != ipv4::HEADER_LEN
        || checksum::checksum(outer.header()) != 0
    {
        return false;
    }
    let segment = &frame[l3 + ipv4::HEADER_LEN..];
    if word(segment, transport::UDP_CHECKSUM) == 0 {
        return true;
    }
    let (source, target) = (outer.source(), outer.destination());
    let segment = &segment[..outer.total_len() - ipv4::HEADER_LEN];
    let pseudo = checksum::pseudo_header(source, target, transport::UDP, segment.len());
    checksum::finish(checksum::sum(pseudo, segment)) == 0
}

/// Reads the inner packet at `at`: an Ethernet frame, or a packet of `ethertype` without one.
fn read_inner(frame: &[u8], at: usize, ethertype: u16, inner: &mut Parsed) {
    let bytes = &frame[at..];
    if ethertype == 0 {
        parse_frame(bytes, inner);
    } else {
        inner.key.set(Field::EthType, u128::from(ethertype));
        inner.layout =
            Layout { prepend: ethertype, l3: offset(ethernet::HEADER_LEN), ..Layout::default() };
        parse_network(bytes, ethertype, inner);
    }
    inner.layout.strip = offset(at);
}

/// RFC 6040 §4.2 as Open vSwitch does it: an outer mark is copied into an inner packet that is
/// capable of it, and makes others be dropped.
fn mark_congestion(outer_tos: u8, inner: &mut Parsed) {
    let ethertype = inner.key.get(Field::EthType);
    let is_ip = ethertype == u128::from(ethernet::TYPE_IPV4)
        || ethertype == u128::from(ethernet::TYPE_IPV6);
    if outer_tos & CONGESTED != CONGESTED || !is_ip || inner.standing != Standing::Plain {
        return;
    }
    let tos = inner.key.get(Field::IpTos);
    if tos & u128::from(CONGESTED) == 0 {
        inner.standing = Standing::Malformed;
    } else if tos & u128::from(CONGESTED) != u128::from(CONGESTED) {
        inner.key.set(Field::IpTos, tos | u128::from(CONGESTED));
        inner.standing = Standing::Exception;
    }
}
