//! IPv6 and its extension headers (RFC 8200, authentication header RFC 4302).

use super::{double_word, word};

/// Length of the fixed header.
pub const HEADER_LEN: usize = 40;
/// Offset of the hop limit.
pub const HOP_LIMIT: usize = 7;
/// Offset of the source address.
pub const SOURCE: usize = 8;
/// Offset of the destination address.
pub const DESTINATION: usize = 24;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// A fixed header whose payload length lies within the bytes given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6<'a> {
    packet: &'a [u8],
}

/// What stands behind the extension headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upper {
    /// Protocol; 44 for a later fragment.
    pub protocol: u8,
    /// Fragment bits as in [`crate::field::Field::IpFrag`].
    pub fragment: u8,
    /// Offset behind the last extension header, from the start of the fixed header.
    pub offset: usize,
    /// Whether Open vSwitch leaves the transport checksum alone when an address changes: a routing
    /// header has segments left, or a fragment header has neither offset nor more to come.
    pub unsummed: bool,
}

impl<'a> Ipv6<'a> {
    /// Checks the lengths; the packet ends where the payload length says.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let end = HEADER_LEN + usize::from(word(bytes, 4));
        (bytes.len() >= HEADER_LEN).then_some(())?;
        Some(Self { packet: bytes.get(..end)? })
    }

    /// Length of header and payload.
    #[must_use]
    pub const fn total_len(&self) -> usize {
        self.packet.len()
    }

    /// Traffic class.
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        let [class, _] = (word(self.packet, 0) << 4).to_be_bytes();
        class
    }

    /// Flow label, 20 bits.
    #[must_use]
    pub fn flow_label(&self) -> u32 {
        double_word(self.packet, 0) & 0x000f_ffff
    }

    /// Hop limit.
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        self.packet[HOP_LIMIT]
    }

    /// Source address.
    #[must_use]
    pub fn source(&self) -> &'a [u8] {
        &self.packet[SOURCE..DESTINATION]
    }

    /// Destination address.
    #[must_use]
    pub fn destination(&self) -> &'a [u8] {
        &self.packet[DESTINATION..HEADER_LEN]
    }

    /// Walks the extension headers; `None` when one is cut off.
    ///
    /// Ends: every turn moves `offset` at least 8 bytes on, within the packet.
    #[must_use]
    pub fn upper(&self) -> Option<Upper> {
        let mut upper = Upper { protocol: self.packet[6], offset: HEADER_LEN, ..Upper::default() };
        loop {
            let rest = &self.packet[upper.offset..];
            let unit = match upper.protocol {
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => 8,
                AUTHENTICATION | FRAGMENT => 4,
                _ => return Some(upper),
            };
            if rest.len() < 8 {
                return None;
            }
            let len = match upper.protocol {
                FRAGMENT => 8,
                AUTHENTICATION => (usize::from(rest[1]) + 2) * unit,
                _ => (usize::from(rest[1]) + 1) * unit,
            };
            upper.unsummed |= match upper.protocol {
                ROUTING => rest[3] > 0,
                FRAGMENT => word(rest, 2) & 0xfff9 == 0,
                _ => false,
            };
            if rest.len() < len {
                return None;
            }
            let is_fragment = upper.protocol == FRAGMENT;
            upper.protocol = rest[0];
            upper.offset += len;
            if is_fragment && word(rest, 2) != 0 {
                upper.fragment = 1;
                if word(rest, 2) & 0xfff8 != 0 {
                    return Some(Upper { protocol: FRAGMENT, fragment: 3, ..upper });
                }
            }
        }
    }
}
