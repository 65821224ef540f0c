//! A packet as text: `in_port=1,tcp,nw_src=10.0.0.1,…` or `in_port=1 HEX`.

use super::error::{Doubt, Problem, TextError};
use super::frame::frame_of;
use super::items::{Fault, Item, Items};
use super::matching::{MatchReader, find_port};
use super::rules::unknown_word;
use crate::check::{Prerequisite, eth_type};
use crate::encap;
use crate::field::Field;
use crate::key::{Key, MaskedKey};
use crate::parse::parse;
use crate::port::{PortNo, PortTable, Tunnel};
use std::net::Ipv4Addr;

/// A packet made from text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Physical port it comes in on.
    pub in_port: PortNo,
    /// The frame, without FCS.
    pub frame: Vec<u8>,
}

const PLACE: &str = "a packet";

/// Reads a packet.
///
/// Fields not given have defaults that make a well-formed frame with right checksums: locally
/// administered MACs, 10.0.0.1 to 10.0.0.2 (2001:db8::1 to 2001:db8::2), TTL 64, port 40000 to 80.
/// A tunnel port as `in_port` encapsulates the packet as its peer would and takes the port below.
///
/// # Errors
/// The first thing wrong with it.
pub fn parse_packet(text: &str, ports: &PortTable) -> Result<Packet, TextError> {
    let packet = match hexadecimal(text) {
        Some(hex_at) => read_hexadecimal(text, hex_at, ports),
        None => read_fields(text, ports),
    };
    packet.map_err(|fault| fault.in_line(PLACE, text, 1))
}

/// Where the digits start, if the text is `in_port=N DIGITS`.
fn hexadecimal(text: &str) -> Option<usize> {
    let start = text.len() - text.trim_start().len();
    let space = start + text[start..].find(char::is_whitespace)?;
    let digits = text[space..].trim();
    let is_hex = |c: char| c.is_ascii_hexdigit() || c.is_whitespace();
    (!digits.is_empty() && digits.chars().all(is_hex)).then_some(space)
}

fn read_hexadecimal(text: &str, hex_at: usize, ports: &PortTable) -> Result<Packet, Fault> {
    let items = Items::new(text, 0, hex_at).collect::<Result<Vec<_>, _>>()?;
    let [Item { word: "in_port", .. }] = items.as_slice() else {
        return Err(Fault::new(0, Problem::MissingInPort));
    };
    let in_port = find_port(&items[0], items[0].need_value("a port number or name")?, ports)?;
    if ports.tunnel(in_port).is_some() {
        return Err(items[0].bad_value("a physical port: the frame is as on the wire"));
    }
    let digit = |c: char| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Vec<u8> = text[hex_at..].chars().filter_map(digit).collect();
    if !digits.len().is_multiple_of(2) || !(28..=2 * 65535).contains(&digits.len()) {
        let start = hex_at + text[hex_at..].len() - text[hex_at..].trim_start().len();
        return Err(Fault::new(start, Problem::BadFrame));
    }
    let frame = digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect();
    Ok(Packet { in_port, frame })
}

fn read_fields(text: &str, ports: &PortTable) -> Result<Packet, Fault> {
    let mut reader = MatchReader::new(ports);
    for item in Items::new(text, 0, text.len()) {
        let item = item?;
        if item.word == "metadata" {
            let problem = Problem::OutOfPlace { word: item.word.to_owned(), place: PLACE };
            return Err(Fault::new(item.at, problem));
        }
        if !reader.take(&item)? {
            return Err(unknown_word(&item));
        }
    }
    let (matching, doubts) = reader.finish()?;
    if let Some(Doubt::Ignored { field, needs }) = doubts.into_iter().next() {
        let error = crate::check::CheckError::MissingPrerequisite { what: field, needs };
        return Err(Fault::new(text.find(field).unwrap_or(0), error.into()));
    }
    if matching.key.mask.get(Field::InPort) == 0 {
        return Err(Fault::new(0, Problem::MissingInPort));
    }
    let key = with_defaults(&matching.key);
    let in_port = PortNo(u16::try_from(key.get(Field::InPort)).expect("a 16-bit field"));
    let frame = frame_of(&key);
    match ports.tunnel(in_port) {
        None => Ok(Packet { in_port, frame }),
        Some(tunnel) => encapsulated(&key, &frame, tunnel)
            .map(|frame| Packet { in_port: tunnel.over, frame })
            .map_err(|error| Fault::new(0, Problem::NotInTunnel(error))),
    }
}

/// The frame that the peer of a tunnel port would send.
fn encapsulated(key: &Key, inner: &[u8], tunnel: &Tunnel) -> Result<Vec<u8>, encap::EncapError> {
    let source = u32::try_from(key.get(Field::TunSrc)).expect("a 32-bit field");
    let peer = if source == 0 {
        tunnel.remote_ip.unwrap_or(Ipv4Addr::new(192, 0, 2, 1))
    } else {
        Ipv4Addr::from(source)
    };
    let qfi = key.get(Field::Qfi).to_be_bytes()[15];
    let reverse = Tunnel {
        local_ip: peer,
        remote_ip: Some(tunnel.local_ip),
        local_mac: tunnel.peer_mac,
        peer_mac: tunnel.local_mac,
        qfi: (qfi & 0x80 != 0).then_some(qfi & 0x3f),
        ..tunnel.clone()
    };
    let parsed = parse(inner, PortNo(0), &PortTable::default());
    let mut packet = crate::apply::Packet::new(&parsed, inner);
    packet.key.set(Field::TunId, key.get(Field::TunId));
    encap::encapsulate(&packet, encap::source_port(&key.head), &reverse)
}

/// The key of a packet that matches; what the match leaves open gets a default.
fn with_defaults(matching: &MaskedKey) -> Key {
    let mut key = matching.value;
    let is = |needed: Prerequisite| needed.holds(matching);
    let mut default = |field: Field, value: u128| {
        if matching.mask.get(field) == 0 {
            key.set(field, value);
        }
    };
    default(Field::EthSrc, 0x0200_0000_0001);
    default(Field::EthDst, 0x0200_0000_0002);
    // The first of the Ethertypes for local experiments (IEEE 802).
    default(Field::EthType, 0x88b5);
    if is(Prerequisite::Ip) {
        default(Field::IpTtl, 64);
        // A number for experiments (RFC 3692).
        default(Field::IpProto, 253);
    }
    if is(Prerequisite::Ipv4OrArp) {
        default(Field::IpSrc, 0x0a00_0001);
        default(Field::IpDst, 0x0a00_0002);
    }
    if is(Prerequisite::Ipv6) {
        default(Field::IpSrc, 0x2001_0db8_0000_0000_0000_0000_0000_0001);
        default(Field::IpDst, 0x2001_0db8_0000_0000_0000_0000_0000_0002);
    }
    if is(Prerequisite::Arp) {
        let request = if matching.value.get(Field::EthType) == eth_type::ARP { 1 } else { 3 };
        default(Field::IpProto, request);
        default(Field::ArpSha, 0x0200_0000_0001);
    }
    if is(Prerequisite::Ports) {
        default(Field::L4Src, 40000);
        default(Field::L4Dst, 80);
    }
    if is(Prerequisite::Tcp) {
        default(Field::TcpFlags, 0x010);
    }
    if is(Prerequisite::Icmp) {
        default(Field::L4Src, 8);
    }
    if is(Prerequisite::Icmpv6) {
        default(Field::L4Src, 128);
    }
    if is(Prerequisite::Mpls) {
        // Bottom of stack, TTL 64.
        default(Field::MplsLse, 0x140);
    }
    key
}

#[cfg(test)]
mod tests;
