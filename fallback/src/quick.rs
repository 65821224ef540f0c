//! Reading the commonest frames from their first 64 bytes: UDP and TCP over IPv4 without options or
//! fragments, with at most one tag. What it reads is what [`twinpath_flow::parse::parse`] reads.

use twinpath_flow::key::{Line, VLAN_PRESENT};
use twinpath_flow::parse::{Layout, Network, Transport};
use twinpath_flow::port::PortNo;

/// Protocol numbers.
const UDP: u8 = 17;
const TCP: u8 = 6;
/// First two bytes of the network header: version 4, five words; and the Ethertype before it.
const PLAIN: [u8; 3] = [0x08, 0x00, 0x45];
/// Shortest UDP and TCP headers, and the IPv4 header.
const UDP_LEN: u16 = 8;
const TCP_LEN: u16 = 20;
const IPV4_LEN: u16 = 20;

/// A frame that was read quickly: the first line of its key (the second is zero), its layout, and
/// whether it is TCP, else UDP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quick {
    pub(crate) head: Line,
    pub(crate) layout: Layout,
    pub(crate) is_tcp: bool,
}

/// Reads a frame of `len` bytes that begins with `line`; `None` for all but the commonest.
#[inline(always)]
pub(crate) fn read(line: &[u8; 64], len: usize, port: PortNo) -> Option<Quick> {
    match [line[12], line[13], line[14]] {
        PLAIN => read_at::<14>(line, len, port, 0),
        [0x81, 0x00, _] if [line[16], line[17], line[18]] == PLAIN => {
            let tci = u16::from_be_bytes([line[14], line[15]]) | VLAN_PRESENT;
            read_at::<18>(line, len, port, tci)
        }
        _ => None,
    }
}

/// Four bytes as a number, in the order of memory.
#[inline(always)]
fn four<const AT: usize>(line: &[u8; 64]) -> u64 {
    u64::from(u32::from_le_bytes([line[AT], line[AT + 1], line[AT + 2], line[AT + 3]]))
}

#[inline(always)]
fn two(line: &[u8; 64], at: usize) -> u16 {
    u16::from_be_bytes([line[at], line[at + 1]])
}

/// As [`read`], with the network header at `L3`.
#[inline(always)]
fn read_at<const L3: usize>(line: &[u8; 64], len: usize, port: PortNo, tci: u16) -> Option<Quick> {
    let total = two(line, L3 + 2);
    let (protocol, tcp_word) = (line[L3 + 9], two(line, L3 + 32));
    let tcp = protocol == TCP;
    let data_offset = (tcp_word >> 12) * 4;
    let upper = if tcp { data_offset.max(TCP_LEN) } else { UDP_LEN };
    let good = (tcp && data_offset >= TCP_LEN) || protocol == UDP;
    let whole = two(line, L3 + 6) & 0x3fff == 0;
    if !good || !whole || total < IPV4_LEN + upper || L3 + usize::from(total) > len {
        return None;
    }
    let flags = if tcp { tcp_word & 0x0fff } else { 0 };
    let bytes = [port.0.to_be_bytes(), [0x08, 0x00], tci.to_be_bytes(), [protocol, line[L3 + 1]]];
    let first = u64::from_le_bytes(*bytes.as_flattened().first_chunk().expect("eight bytes"));
    let second =
        u64::from(line[L3 + 8]) | u64::from(flags.swap_bytes()) << 16 | four::<0>(line) << 32;
    let source = [line[L3 + 12], line[L3 + 13], line[L3 + 14], line[L3 + 15]];
    let rest: [u8; 8] = std::array::from_fn(|i| line[L3 + 16 + i]);
    let rest = u64::from_le_bytes(rest);
    let words = [
        first,
        second,
        four::<4>(line) | four::<8>(line) << 32,
        0,
        u64::from(u32::from_le_bytes(source)) << 32,
        0,
        rest << 32,
        rest >> 32,
    ];
    let mut head = Line::ZERO;
    for (bytes, word) in head.0.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    let layout = Layout {
        tags: u8::from(L3 == 18),
        network: Network::Ipv4,
        transport: if tcp { Transport::Tcp } else { Transport::Udp },
        l3: short(L3),
        l4: short(L3 + 20),
        end: short(L3) + total,
        checksum: short(L3 + if tcp { 36 } else { 26 }),
        ..Layout::default()
    };
    Some(Quick { head, layout, is_tcp: tcp })
}

/// An offset within a line.
#[expect(clippy::cast_possible_truncation, reason = "less than 64")]
const fn short(at: usize) -> u16 {
    at as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_flow::parse::{Parsed, Standing, parse};
    use twinpath_flow::port::PortTable;
    use twinpath_flow::sample::{self, Random, Tunnels};

    fn check(frame: &[u8], port: PortNo) -> bool {
        let mut line = [0xa5; 64];
        let length = frame.len().min(64);
        line[..length].copy_from_slice(&frame[..length]);
        let Some(quick) = read(&line, frame.len(), port) else { return false };
        let parsed = Parsed {
            key: twinpath_flow::key::Key { head: quick.head, tail: Line::ZERO },
            layout: quick.layout,
            standing: Standing::Plain,
        };
        assert_eq!(parse(frame, port, &PortTable::default()), parsed, "{frame:02x?}");
        true
    }

    #[test]
    fn what_is_read_quickly_is_what_the_parser_reads() {
        let mut random = Random::new(3);
        let mut read = 0;
        for _ in 0..200 {
            let ports = sample::port_table(&mut random, Tunnels::None);
            for _ in 0..100 {
                let (port, mut frame) = sample::frame(&mut random, &ports);
                read += u32::from(check(&frame, port));
                // Hostile bytes in the headers, and every length.
                if !frame.is_empty() {
                    let at = random.below(frame.len().min(60));
                    frame[at] = u8::try_from(random.below(256)).expect("a byte");
                    read += u32::from(check(&frame, port));
                    frame.truncate(random.below(frame.len() + 1));
                    read += u32::from(check(&frame, port));
                }
            }
        }
        assert!(read > 5_000, "only {read} frames were read quickly");
    }
}
