//! Where a field lies in a frame, and which checksums cover it.

use crate::field::Field;
use crate::frame::{arp, ethernet, ipv4, ipv6, transport};
use crate::parse::{Layout, Network, Transport};

/// Which transport checksum covers a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// None.
    Nothing,
    /// One over the pseudo header.
    Addresses,
    /// The header's own.
    Transport,
}

/// A field's container in the bytes: whole 16-bit words where a checksum covers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Offset of the container.
    pub(super) at: usize,
    /// Its length in bytes.
    pub(super) len: usize,
    /// The field's lowest bit in the container.
    pub(super) shift: u32,
    /// Bits of a value that the frame has; a VLAN tag's DEI is not a field's.
    pub(super) bits: u128,
    /// Offset of the IPv4 header checksum that covers it.
    pub(super) header_checksum: Option<usize>,
    /// Transport checksum that covers it.
    pub(super) cover: Cover,
}

impl Place {
    /// The place of a field; `None` when the frame does not have it, or it must not be written.
    pub(super) fn find(field: Field, layout: &Layout, bytes: &[u8]) -> Option<Self> {
        let found = match field {
            Field::EthDst => plain(0, 6),
            Field::EthSrc => plain(6, 6),
            Field::VlanTci if layout.tags > 0 => {
                Self { bits: 0xefff, ..plain(ethernet::HEADER_LEN, 2) }
            }
            Field::MplsLse => plain(usize::from(layout.l3), 4),
            Field::L4Src | Field::L4Dst => port(field, layout)?,
            Field::NdTarget | Field::ArpSha | Field::ArpTha if layout.network == Network::Ipv6 => {
                neighbour(field, layout, bytes)?
            }
            _ => match layout.network {
                Network::Ipv4 => in_ipv4(field, usize::from(layout.l3))?,
                Network::Ipv6 => in_ipv6(field, usize::from(layout.l3))?,
                Network::Arp => in_arp(field, usize::from(layout.l3))?,
                Network::None => return None,
            },
        };
        (found.at + found.len <= bytes.len()).then_some(found)
    }
}

const fn plain(at: usize, len: usize) -> Place {
    Place { at, len, shift: 0, bits: u128::MAX, header_checksum: None, cover: Cover::Nothing }
}

fn in_ipv4(field: Field, l3: usize) -> Option<Place> {
    let header_checksum = Some(l3 + ipv4::CHECKSUM);
    let place = Place { header_checksum, ..plain(l3, 2) };
    let address = Place { len: 4, cover: Cover::Addresses, ..place };
    Some(match field {
        Field::IpTos => place,
        Field::IpTtl => Place { at: l3 + ipv4::TTL, shift: 8, ..place },
        Field::IpSrc => Place { at: l3 + ipv4::SOURCE, ..address },
        Field::IpDst => Place { at: l3 + ipv4::DESTINATION, ..address },
        _ => return None,
    })
}

fn in_ipv6(field: Field, l3: usize) -> Option<Place> {
    let address = Place { cover: Cover::Addresses, ..plain(l3, 16) };
    Some(match field {
        Field::IpTos => Place { shift: 20, ..plain(l3, 4) },
        Field::FlowLabel => plain(l3, 4),
        Field::IpTtl => plain(l3 + ipv6::HOP_LIMIT, 1),
        Field::IpSrc => Place { at: l3 + ipv6::SOURCE, ..address },
        Field::IpDst => Place { at: l3 + ipv6::DESTINATION, ..address },
        _ => return None,
    })
}

fn in_arp(field: Field, l3: usize) -> Option<Place> {
    Some(match field {
        Field::IpProto => plain(l3 + arp::OPERATION, 2),
        Field::IpSrc => plain(l3 + arp::SENDER_IP, 4),
        Field::IpDst => plain(l3 + arp::TARGET_IP, 4),
        Field::ArpSha => plain(l3 + arp::SENDER_MAC, 6),
        Field::ArpTha => plain(l3 + arp::TARGET_MAC, 6),
        _ => return None,
    })
}

fn port(field: Field, layout: &Layout) -> Option<Place> {
    let l4 = usize::from(layout.l4);
    let first = field == Field::L4Src;
    let whole = Place { cover: Cover::Transport, ..plain(l4, 2) };
    match layout.transport {
        Transport::None => None,
        Transport::Icmp | Transport::Icmpv6 => {
            Some(Place { shift: if first { 8 } else { 0 }, bits: 0xff, ..whole })
        }
        _ => Some(Place { at: if first { l4 } else { l4 + 2 }, ..whole }),
    }
}

/// Open vSwitch writes the first link-layer address option only, of whichever kind it is.
fn neighbour(field: Field, layout: &Layout, bytes: &[u8]) -> Option<Place> {
    if layout.transport != Transport::Icmpv6 {
        return None;
    }
    let (l4, end) = (usize::from(layout.l4), usize::from(layout.end));
    let message = bytes.get(l4..end)?;
    let covered = Place { cover: Cover::Transport, ..plain(l4 + transport::ND_TARGET, 16) };
    if message.len() < transport::ND_OPTIONS || field == Field::NdTarget {
        return (message.len() >= transport::ND_OPTIONS).then_some(covered);
    }
    let (kind, at) = transport::first_address_option(message)?;
    let wanted = match field {
        Field::ArpSha => transport::ND_OPTION_SOURCE,
        _ => transport::ND_OPTION_TARGET,
    };
    (kind == wanted).then_some(Place { at: l4 + at, len: 6, ..covered })
}
