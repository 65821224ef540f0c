//! Frame to key: what Open vSwitch 3.1 reads with `vlan-limit=2`, tunnels removed in the same pass.
//!
//! Bytes are not moved. [`Layout`] says how the *inner frame* (the received frame, or what a tunnel
//! carried) comes out of the received bytes: drop [`Layout::strip`] bytes in front, then, if
//! [`Layout::prepend`] is not 0, put 14 bytes in front: twelve zeros and that Ethertype (GTP-U carries
//! no Ethernet header). Offsets in a layout count from the start of the inner frame.
//!
//! A packet on port `over` is a tunnel's when it is an untagged, unfragmented IPv4/UDP packet to
//! `local_ip` and the tunnel's UDP port, from `remote_ip` if that is fixed. A tunnel port with a fixed
//! remote goes before one without. Every other packet is an ordinary packet of its port.

mod decap;
#[cfg(test)]
mod tests;

use crate::apply::Packet;
use crate::field::Field;
use crate::frame::arp::Arp;
use crate::frame::ethernet::{self, Ethernet};
use crate::frame::ipv4::Ipv4;
use crate::frame::ipv6::{Ipv6, Upper};
use crate::frame::{double_word, number, transport, word};
use crate::key::{Key, VLAN_PRESENT};
use crate::port::{PortNo, PortTable};

/// Network header that may be edited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Network {
    /// None; or one that is cut off or inconsistent, whose fields are zero in the key; or one whose
    /// key has `ip_proto` 0 (Open vSwitch takes that for "no header": it is matched, never edited).
    #[default]
    None,
    /// IPv4, RFC 791.
    Ipv4,
    /// IPv6, RFC 8200.
    Ipv6,
    /// ARP for IPv4 over Ethernet, RFC 826, operation 1 to 255.
    Arp,
}

/// Transport header that may be edited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// None, cut off, or a later fragment.
    #[default]
    None,
    /// TCP whose data offset lies within the segment.
    Tcp,
    /// UDP, 8 bytes.
    Udp,
    /// SCTP, 12 bytes.
    Sctp,
    /// ICMP for IPv4, 8 bytes.
    Icmp,
    /// ICMPv6 over IPv6, 8 bytes.
    Icmpv6,
}

/// Where the headers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Bytes of outer headers in front of the inner frame; 0 when nothing was decapsulated.
    pub strip: u16,
    /// Ethertype of the zero-address Ethernet header to put in front, or 0 for none.
    pub prepend: u16,
    /// VLAN tags read, 0 to 2.
    pub tags: u8,
    /// Network header.
    pub network: Network,
    /// Transport header.
    pub transport: Transport,
    /// Offset of the network header; meaningless when `network` is `None`.
    pub l3: u16,
    /// Offset of the transport header; meaningless when `transport` is `None`.
    pub l4: u16,
    /// End of the network packet (what follows is padding); meaningless when `network` is `None`.
    pub end: u16,
    /// Offset of the transport checksum to update when an IP address changes; 0 for none. A UDP
    /// checksum of 0 is not updated (RFC 768).
    pub checksum: u16,
}

/// What may be done with a packet besides looking it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Any path may handle it.
    #[default]
    Plain,
    /// Only the slow path may: a GTP-U message that carries no user packet (its key and layout are
    /// those of the whole frame, with the tunnel's port and id), or an outer congestion mark that is
    /// copied inwards (RFC 6040). A card hands it to the host whole.
    Exception,
    /// Shorter than an Ethernet header, or the outer headers claim a tunnel and are wrong: dropped
    /// before the first table, as Open vSwitch does. A card hands it to the host as an exception.
    Malformed,
}

/// A parsed frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Both key lines.
    pub key: Key,
    /// Where the headers are.
    pub layout: Layout,
    /// Who may handle the packet.
    pub standing: Standing,
}

impl Parsed {
    /// The inner frame as bytes of its own: what rules edit and send.
    ///
    /// `frame` must be the frame that was parsed. A congestion mark copied inwards is in it.
    #[must_use]
    pub fn inner_frame(&self, frame: &[u8]) -> Vec<u8> {
        Packet::new(self, frame).bytes
    }

    /// The inner frame as it was carried.
    pub(crate) fn raw_inner_frame(&self, frame: &[u8]) -> Vec<u8> {
        let inner = frame.get(usize::from(self.layout.strip)..).unwrap_or_default();
        let mut bytes = Vec::with_capacity(inner.len() + ethernet::HEADER_LEN);
        if self.layout.prepend != 0 {
            bytes.resize(12, 0);
            bytes.extend_from_slice(&self.layout.prepend.to_be_bytes());
        }
        bytes.extend_from_slice(inner);
        bytes
    }
}

/// Parses a frame received on physical port `in_port`.
///
/// Total: any bytes give a key. At most the first 65535 bytes are looked at.
#[must_use]
pub fn parse(frame: &[u8], in_port: PortNo, ports: &PortTable) -> Parsed {
    let frame = &frame[..frame.len().min(usize::from(u16::MAX))];
    let mut parsed = Parsed::default();
    parsed.key.set(Field::InPort, u128::from(in_port.0));
    parse_frame(frame, &mut parsed);
    decap::decapsulate(frame, in_port, ports, &mut parsed);
    parsed
}

/// Reads a frame that starts with an Ethernet header into `parsed`.
fn parse_frame(frame: &[u8], parsed: &mut Parsed) {
    let Some(link) = Ethernet::new(frame) else {
        parsed.standing = Standing::Malformed;
        return;
    };
    let Parsed { key, layout, .. } = parsed;
    key.set(Field::EthDst, number(link.destination()));
    key.set(Field::EthSrc, number(link.source()));
    key.set(Field::EthType, u128::from(link.ethertype()));
    layout.tags = link.tags();
    if link.tags() > 0 {
        key.set(Field::VlanTci, u128::from(link.tag(0).1 | VLAN_PRESENT));
    }
    if link.tags() > 1 {
        let (tpid, tci) = link.tag(1);
        key.set(Field::InnerVlanTpid, u128::from(tpid));
        key.set(Field::InnerVlanTci, u128::from(tci | VLAN_PRESENT));
    }
    let payload = link.payload();
    let packet = &frame[payload..];
    layout.l3 = offset(payload);
    parse_network(packet, link.ethertype(), parsed);
}

/// Reads the network packet at the start of `packet`; `layout.l3` is already its offset.
fn parse_network(packet: &[u8], ethertype: u16, parsed: &mut Parsed) {
    match ethertype {
        ethernet::TYPE_IPV4 => parse_ipv4(packet, parsed),
        ethernet::TYPE_IPV6 => parse_ipv6(packet, parsed),
        ethernet::TYPE_ARP | ethernet::TYPE_RARP => parse_arp(packet, ethertype, parsed),
        _ if ethernet::TYPES_MPLS.contains(&ethertype) && packet.len() >= 4 => {
            parsed.key.set(Field::MplsLse, u128::from(double_word(packet, 0)));
        }
        _ => {}
    }
}

fn parse_ipv4(packet: &[u8], parsed: &mut Parsed) {
    let Some(header) = Ipv4::new(packet) else { return };
    let key = &mut parsed.key;
    key.set(Field::IpSrc, number(header.source()));
    key.set(Field::IpDst, number(header.destination()));
    key.set(Field::IpTos, u128::from(header.tos()));
    key.set(Field::IpTtl, u128::from(header.ttl()));
    let upper = Upper {
        protocol: header.protocol(),
        fragment: header.fragment(),
        offset: header.header_len(),
        unsummed: false,
    };
    let packet = &packet[..header.total_len()];
    parse_upper(packet, Network::Ipv4, upper, parsed);
}

fn parse_ipv6(packet: &[u8], parsed: &mut Parsed) {
    let Some(header) = Ipv6::new(packet) else { return };
    let key = &mut parsed.key;
    key.set(Field::IpSrc, number(header.source()));
    key.set(Field::IpDst, number(header.destination()));
    // With a cut-off extension header Open vSwitch reads the addresses and nothing else.
    let Some(upper) = header.upper() else { return };
    key.set(Field::IpTos, u128::from(header.traffic_class()));
    key.set(Field::IpTtl, u128::from(header.hop_limit()));
    key.set(Field::FlowLabel, u128::from(header.flow_label()));
    let packet = &packet[..header.total_len()];
    parse_upper(packet, Network::Ipv6, upper, parsed);
}

fn parse_arp(packet: &[u8], ethertype: u16, parsed: &mut Parsed) {
    let Some(arp) = Arp::new(packet) else { return };
    let key = &mut parsed.key;
    key.set(Field::IpProto, u128::from(arp.operation()));
    key.set(Field::IpSrc, number(arp.sender_ip()));
    key.set(Field::IpDst, number(arp.target_ip()));
    key.set(Field::ArpSha, number(arp.sender_mac()));
    key.set(Field::ArpTha, number(arp.target_mac()));
    // Open vSwitch matches RARP and never writes it.
    if arp.operation() != 0 && ethertype == ethernet::TYPE_ARP {
        parsed.layout.network = Network::Arp;
        parsed.layout.end = parsed.layout.l3 + offset(crate::frame::arp::LEN);
    }
}

/// Reads what an IP packet carries; `packet` ends where its length field says.
fn parse_upper(packet: &[u8], network: Network, upper: Upper, parsed: &mut Parsed) {
    let Parsed { key, layout, .. } = parsed;
    key.set(Field::IpProto, u128::from(upper.protocol));
    key.set(Field::IpFrag, u128::from(upper.fragment));
    if upper.protocol != 0 {
        layout.network = network;
    }
    layout.end = layout.l3 + offset(packet.len());
    if upper.fragment & 2 != 0 {
        return;
    }
    layout.l4 = layout.l3 + offset(upper.offset);
    let segment = &packet[upper.offset..];
    let (transport, checksum) = find_transport(segment, network, upper.protocol);
    let is_igmp = network == Network::Ipv4 && upper.protocol == transport::IGMP;
    if is_igmp && upper.fragment == 0 && segment.len() >= transport::ICMP_LEN {
        // Not matchable, yet part of the key that tunnels are hashed by.
        key.set(Field::L4Src, u128::from(segment[0]));
        key.set(Field::L4Dst, u128::from(segment[1]));
    }
    let Some(transport) = transport else {
        if !upper.unsummed {
            layout.checksum = checksum.map_or(0, |at| layout.l4 + at);
        }
        return;
    };
    let ports = match transport {
        Transport::Icmp | Transport::Icmpv6 => (u16::from(segment[0]), u16::from(segment[1])),
        _ => (word(segment, 0), word(segment, 2)),
    };
    // Rules see no ports of fragments, first ones neither (Open vSwitch, `frags=normal`).
    if upper.fragment == 0 {
        key.set(Field::L4Src, u128::from(ports.0));
        key.set(Field::L4Dst, u128::from(ports.1));
    }
    layout.transport = transport;
    match transport {
        Transport::Tcp => {
            key.set(Field::TcpFlags, u128::from(transport::tcp_flags(segment)));
            if !transport::tcp_offset_is_good(segment) {
                layout.transport = Transport::None;
            }
        }
        Transport::Icmpv6 => parse_neighbour(segment, key),
        _ => {}
    }
    if !upper.unsummed {
        layout.checksum = checksum.map_or(0, |at| layout.l4 + at);
    }
}

/// The transport header if it is complete, and where its checksum over the addresses is.
fn find_transport(
    segment: &[u8],
    network: Network,
    protocol: u8,
) -> (Option<Transport>, Option<u16>) {
    let (transport, len, checksum) = match (protocol, network) {
        (transport::TCP, _) => (Transport::Tcp, transport::TCP_LEN, transport::TCP_CHECKSUM),
        (transport::UDP, _) => (Transport::Udp, transport::UDP_LEN, transport::UDP_CHECKSUM),
        (transport::SCTP, _) => (Transport::Sctp, transport::SCTP_LEN, 0),
        (transport::ICMP, Network::Ipv4) => (Transport::Icmp, transport::ICMP_LEN, 0),
        (transport::ICMPV6, Network::Ipv6) => {
            (Transport::Icmpv6, transport::ICMP_LEN, transport::ICMP_CHECKSUM)
        }
        _ => return (None, None),
    };
    let complete = segment.len() >= len;
    // Open vSwitch updates the checksum of an ICMPv6 message of 4 to 7 bytes.
    let summed = complete || (transport == Transport::Icmpv6 && segment.len() >= 4);
    let checksum = (summed && checksum > 0).then(|| offset(checksum));
    (complete.then_some(transport), checksum)
}

/// Reads a neighbour solicitation or advertisement of code 0 (RFC 4861 §4.3 and §4.4).
fn parse_neighbour(message: &[u8], key: &mut Key) {
    let is_neighbour = matches!(message[0], transport::ND_SOLICIT | transport::ND_ADVERT);
    if !is_neighbour || message[1] != 0 || message.len() < transport::ND_OPTIONS {
        return;
    }
    let options = transport::neighbour_options(message);
    if options.doubled {
        return;
    }
    key.set(Field::NdTarget, number(&message[transport::ND_TARGET..transport::ND_OPTIONS]));
    for (field, place) in [(Field::ArpSha, options.source), (Field::ArpTha, options.target)] {
        if let Some(at) = place {
            key.set(field, number(&message[at..at + 6]));
        }
    }
}

/// An offset within the first 65535 bytes of a frame.
fn offset(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
}
