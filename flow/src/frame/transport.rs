//! TCP, UDP, SCTP, ICMP and ICMPv6 (RFC 9293, 768, 9260, 792, 4443, 4861).

use super::word;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of IGMP (RFC 3376).
pub const IGMP: u8 = 2;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;
/// Protocol number of SCTP.
pub const SCTP: u8 = 132;

/// Shortest TCP header.
pub const TCP_LEN: usize = 20;
/// Length of a UDP header.
pub const UDP_LEN: usize = 8;
/// Length of an SCTP common header.
pub const SCTP_LEN: usize = 12;
/// Length of an ICMP or ICMPv6 header with its first data word.
pub const ICMP_LEN: usize = 8;

/// Offset of the checksum in TCP.
pub const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in UDP.
pub const UDP_CHECKSUM: usize = 6;
/// Offset of the checksum in ICMP and ICMPv6.
pub const ICMP_CHECKSUM: usize = 2;
/// Offset of the CRC32c in SCTP.
pub const SCTP_CHECKSUM: usize = 8;

/// ICMPv6 type neighbour solicitation.
pub const ND_SOLICIT: u8 = 135;
/// ICMPv6 type neighbour advertisement.
pub const ND_ADVERT: u8 = 136;
/// Offset of the target address in a neighbour message.
pub const ND_TARGET: usize = 8;
/// Offset of the options in a neighbour message.
pub const ND_OPTIONS: usize = 24;
/// Option type: source link-layer address.
pub const ND_OPTION_SOURCE: u8 = 1;
/// Option type: target link-layer address.
pub const ND_OPTION_TARGET: u8 = 2;

/// Whether the data offset of a complete TCP header (20 bytes given) lies within the segment.
#[must_use]
pub fn tcp_offset_is_good(segment: &[u8]) -> bool {
    let len = segment.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
    (TCP_LEN..=segment.len()).contains(&len)
}

/// The 12 flag bits of a complete TCP header.
#[must_use]
pub fn tcp_flags(segment: &[u8]) -> u16 {
    word(segment, 12) & 0x0fff
}

/// Offset of the link-layer address in the options of a neighbour message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NeighbourOptions {
    /// Of the source link-layer address, from the start of the ICMPv6 header.
    pub source: Option<usize>,
    /// Of the target link-layer address, likewise.
    pub target: Option<usize>,
    /// Whether an address came twice: Open vSwitch then matches nothing of the message.
    pub doubled: bool,
}

/// Finds the link-layer addresses of a neighbour message that has its target.
#[must_use]
pub fn neighbour_options(message: &[u8]) -> NeighbourOptions {
    let mut found = NeighbourOptions::default();
    let mut at = ND_OPTIONS;
    // Ends: an option of length 0 ends it, every other moves on by 8 or more.
    while let Some([kind, units, ..]) = message.get(at..at + 8) {
        let len = usize::from(*units) * 8;
        if len == 0 || at + len > message.len() {
            break;
        }
        let place = match *kind {
            ND_OPTION_SOURCE if len == 8 => Some(&mut found.source),
            ND_OPTION_TARGET if len == 8 => Some(&mut found.target),
            _ => None,
        };
        if let Some(place) = place {
            // A zero address does not count as seen.
            let seen = place.is_some_and(|earlier| message[earlier..earlier + 6] != [0; 6]);
            if seen {
                return NeighbourOptions { doubled: true, ..NeighbourOptions::default() };
            }
            *place = Some(at + 2);
        }
        at += len;
    }
    found
}

/// Kind and address offset of the first link-layer address option of a neighbour message.
#[must_use]
pub fn first_address_option(message: &[u8]) -> Option<(u8, usize)> {
    let mut at = ND_OPTIONS;
    // Ends: an option of length 0 ends it, every other moves on by 8 or more.
    while let Some([kind, units, ..]) = message.get(at..at + 8) {
        match (*kind, *units) {
            (_, 0) => return None,
            (ND_OPTION_SOURCE | ND_OPTION_TARGET, 1) => return Some((*kind, at + 2)),
            _ => at += usize::from(*units) * 8,
        }
    }
    None
}
