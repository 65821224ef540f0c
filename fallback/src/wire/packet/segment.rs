//! Cuts the large frames that a sender's stack leaves to its card (GSO) into frames of the wire.
//!
//! TCP over IPv4 and IPv6 and UDP with segments of equal length, also inside one tunnel (VXLAN,
//! Geneve, GRE, IP in IP): the kernel says where the innermost transport header is, and the header
//! before it is the one whose length reaches exactly to the end of the frame.

use super::super::checksum;
use super::vnet::{Segmentation, VirtioHeader};

const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV6_LEN: usize = 40;
/// Flags that only the last segment of a TCP frame keeps: FIN and PSH.
const LAST_ONLY: u8 = 0x09;
/// Flag that only the first keeps: CWR (RFC 3168 §6.1.2).
const FIRST_ONLY: u8 = 0x80;

/// The frame is of a kind we cannot cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsegmentable;

/// Where an IP header and what follows it are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    at: usize,
    is_v6: bool,
    l4_at: usize,
    protocol: u8,
}

/// Where the headers of a frame are.
#[derive(Clone, Copy, Debug)]
struct Headers {
    outer: Option<Network>,
    inner: Network,
    payload_at: usize,
}

/// Hands each segment of `frame` to `sink`, built in `scratch`, checksums right.
pub(super) fn segment(
    frame: &[u8],
    header: &VirtioHeader,
    scratch: &mut Vec<u8>,
    mut sink: impl FnMut(&mut Vec<u8>),
) -> Result<(), Unsegmentable> {
    let headers = Headers::find(frame, header).ok_or(Unsegmentable)?;
    let payload = &frame[headers.payload_at..];
    if header.segment_len == 0 || payload.is_empty() {
        return Err(Unsegmentable);
    }
    let count = payload.len().div_ceil(header.segment_len);
    for (number, chunk) in payload.chunks(header.segment_len).enumerate() {
        scratch.clear();
        scratch.extend_from_slice(&frame[..headers.payload_at]);
        scratch.extend_from_slice(chunk);
        let inner = headers.inner;
        if inner.protocol == TCP {
            let passed = number * header.segment_len;
            set_tcp(scratch, inner.l4_at, passed, (number == 0, number + 1 == count));
        }
        set_lengths(scratch, inner, number);
        set_transport_checksum(scratch, inner);
        if let Some(outer) = headers.outer {
            let had_checksum = outer.protocol == UDP && half(scratch, outer.l4_at + 6) != 0;
            set_lengths(scratch, outer, number);
            if had_checksum {
                set_transport_checksum(scratch, outer);
            }
        }
        sink(scratch);
    }
    Ok(())
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn put_half(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

impl Headers {
    fn find(frame: &[u8], header: &VirtioHeader) -> Option<Self> {
        let first = Network::parse(frame)?;
        let (outer, inner) = match header.checksum {
            Some((start, _)) if start != first.l4_at => {
                (Some(first), Network::before(frame, first.l4_at, start)?)
            }
            _ => (None, first),
        };
        if outer.is_some_and(|outer| outer.protocol == UDP && outer.l4_at + 8 > inner.at) {
            return None;
        }
        let (l4_len, minimum) = match (header.segmentation, inner.protocol) {
            (Segmentation::Tcp, TCP) => (usize::from(*frame.get(inner.l4_at + 12)? >> 4) * 4, 20),
            (Segmentation::Udp, UDP) => (8, 8),
            _ => return None,
        };
        let payload_at = inner.l4_at + l4_len;
        let fits = l4_len >= minimum
            && payload_at <= frame.len()
            && frame.len() - first.at <= usize::from(u16::MAX);
        fits.then_some(Self { outer, inner, payload_at })
    }
}

impl Network {
    /// The first IP header behind Ethernet and at most two VLAN tags.
    fn parse(frame: &[u8]) -> Option<Self> {
        let mut at = 12;
        for _ in 0..2 {
            if matches!(frame.get(at..at + 2)?, [0x81, 0x00] | [0x88, 0xa8]) {
                at += 4;
            }
        }
        let (ether_type, at) = (frame.get(at..at + 2)?, at + 2);
        match ether_type {
            [0x08, 0x00] => Self::v4(frame, at),
            [0x86, 0xdd] => Self::v6(frame, at),
            _ => None,
        }
    }

    fn v4(frame: &[u8], at: usize) -> Option<Self> {
        let header_len = usize::from(frame.get(at)? & 0x0f) * 4;
        let l4_at = at + header_len;
        let fits = frame[at] >> 4 == 4 && header_len >= 20 && l4_at + 8 <= frame.len();
        fits.then(|| Self { at, is_v6: false, l4_at, protocol: frame[at + 9] })
    }

    fn v6(frame: &[u8], at: usize) -> Option<Self> {
        let (mut protocol, mut l4_at) = (*frame.get(at + 6)?, at + IPV6_LEN);
        // Hop-by-hop, routing and destination options; a stack sends each at most twice.
        for _ in 0..6 {
            if !matches!(protocol, 0 | 43 | 60) {
                break;
            }
            protocol = *frame.get(l4_at)?;
            l4_at += 8 + usize::from(*frame.get(l4_at + 1)?) * 8;
        }
        let fits = frame[at] >> 4 == 6 && l4_at + 8 <= frame.len();
        fits.then_some(Self { at, is_v6: true, l4_at, protocol })
    }

    /// The IP header that ends at `l4_at`, not before `from`, and covers the rest of the frame.
    fn before(frame: &[u8], from: usize, l4_at: usize) -> Option<Self> {
        let v6_at = l4_at.checked_sub(IPV6_LEN).filter(|at| *at >= from);
        let v4_at = (5..=15).filter_map(|words| l4_at.checked_sub(words * 4));
        let v4_at = v4_at.filter(|at| *at >= from && *at + 20 <= frame.len());
        for at in v4_at {
            let covers = usize::from(half(frame, at + 2)) == frame.len() - at;
            if let Some(found) = Self::v4(frame, at).filter(|found| covers && found.l4_at == l4_at)
            {
                return Some(found);
            }
        }
        let at = v6_at.filter(|at| *at + IPV6_LEN <= frame.len())?;
        let covers = usize::from(half(frame, at + 4)) == frame.len() - l4_at;
        Self::v6(frame, at).filter(|found| covers && found.l4_at == l4_at)
    }

    /// Sum of the pseudo header for `l4_total` bytes of transport.
    fn pseudo_header(self, frame: &[u8], l4_total: usize) -> u64 {
        let addresses = if self.is_v6 {
            &frame[self.at + 8..self.at + 40]
        } else {
            &frame[self.at + 12..self.at + 20]
        };
        checksum::add(l4_total as u64 + u64::from(self.protocol), addresses)
    }
}

/// Lengths of the IP header and of a UDP header behind it, IPv4 identification and checksum.
fn set_lengths(frame: &mut [u8], network: Network, number: usize) {
    let Network { at, is_v6, l4_at, protocol } = network;
    let end = frame.len();
    if is_v6 {
        put_half(frame, at + 4, length(end - at - IPV6_LEN));
    } else {
        put_half(frame, at + 2, length(end - at));
        let identification = half(frame, at + 4).wrapping_add(length(number));
        put_half(frame, at + 4, identification);
        put_half(frame, at + 10, 0);
        let sum = checksum::finish(checksum::add(0, &frame[at..l4_at]));
        put_half(frame, at + 10, sum);
    }
    if protocol == UDP {
        put_half(frame, l4_at + 4, length(end - l4_at));
    }
}

fn length(value: usize) -> u16 {
    u16::try_from(value).expect("`find` accepts only what 16 bits can count")
}

fn set_tcp(frame: &mut [u8], at: usize, passed: usize, (is_first, is_last): (bool, bool)) {
    let sequence: [u8; 4] = frame[at + 4..at + 8].try_into().expect("four bytes");
    let passed = u32::try_from(passed).expect("less than a received frame");
    let sequence = u32::from_be_bytes(sequence).wrapping_add(passed);
    frame[at + 4..at + 8].copy_from_slice(&sequence.to_be_bytes());
    if !is_first {
        frame[at + 13] &= !FIRST_ONLY;
    }
    if !is_last {
        frame[at + 13] &= !LAST_ONLY;
    }
}

/// Computes the checksum of the TCP or UDP header in full.
fn set_transport_checksum(frame: &mut [u8], network: Network) {
    let Network { l4_at, protocol, .. } = network;
    let field = l4_at + if protocol == TCP { 16 } else { 6 };
    put_half(frame, field, 0);
    let sum = network.pseudo_header(frame, frame.len() - l4_at);
    let sum = checksum::add(sum, &frame[l4_at..]);
    let sum = if protocol == UDP { checksum::finish_udp(sum) } else { checksum::finish(sum) };
    put_half(frame, field, sum);
}

#[cfg(test)]
mod tests;
