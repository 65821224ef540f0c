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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// As [`read`], with an IPv4 header without options at `L3`.
#[inline(always)]
pub(crate) fn read_at<const L3: usize>(
    line: &[u8; 64],
    len: usize,
    port: PortNo,
    tci: u16,
) -> Option<Quick> {
    let (protocol, tcp_word) = (line[L3 + 9], two(line, L3 + 32));
    let tcp = protocol == TCP;
    let whole = two(line, L3 + 6) & 0x3fff == 0;
    if !whole || !(tcp || protocol == UDP) {
        return None;
    }
    let layout = layout::<L3>(line, len, tcp)?;
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
    Some(Quick { head, layout, is_tcp: tcp })
}

/// A kind of frame as a comparison and a permutation of its first 64 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "for AVX-512"))]
pub(crate) struct Template {
    /// Bits that say that it is this kind, and what they are.
    pub(crate) care: [u8; 64],
    pub(crate) want: [u8; 64],
    /// For each byte of the key its place in the frame.
    pub(crate) from: [u8; 64],
    /// Bits kept of these, and bits set besides.
    pub(crate) keep: [u8; 64],
    pub(crate) set: [u8; 64],
    /// Bytes of the key that come from the frame.
    pub(crate) from_line: u64,
    l3: u8,
    pub(crate) is_tcp: bool,
}

/// The kinds that [`read`] knows.
pub(crate) const TEMPLATES: [Template; 4] = [
    Template::new(false, false),
    Template::new(false, true),
    Template::new(true, false),
    Template::new(true, true),
];

impl Template {
    const fn new(tagged: bool, is_tcp: bool) -> Self {
        let l3 = if tagged { 18 } else { 14 };
        let mut new = Self {
            care: [0; 64],
            want: [0; 64],
            from: [0; 64],
            keep: [0xff; 64],
            set: [0; 64],
            from_line: 0,
            l3,
            is_tcp,
        };
        let l3 = l3 as usize;
        if tagged {
            new.demand(12, 0xff, 0x81);
            new.demand(13, 0xff, 0x00);
            new.take(4, 14, 2);
            new.set[4] = VLAN_PRESENT.to_be_bytes()[0];
        }
        new.demand(l3 - 2, 0xff, PLAIN[0]);
        new.demand(l3 - 1, 0xff, PLAIN[1]);
        new.demand(l3, 0xff, PLAIN[2]);
        new.demand(l3 + 6, 0x3f, 0);
        new.demand(l3 + 7, 0xff, 0);
        new.demand(l3 + 9, 0xff, if is_tcp { TCP } else { UDP });
        new.take(2, l3 - 2, 2);
        new.take(6, l3 + 9, 1);
        new.take(7, l3 + 1, 1);
        new.take(8, l3 + 8, 1);
        if is_tcp {
            new.take(10, l3 + 32, 2);
            new.keep[10] = 0x0f;
        }
        new.take(12, 0, 12);
        new.take(36, l3 + 12, 4);
        new.take(52, l3 + 16, 8);
        new
    }

    const fn demand(&mut self, at: usize, care: u8, want: u8) {
        self.care[at] = care;
        self.want[at] = want;
    }

    #[expect(clippy::cast_possible_truncation, reason = "places in a line")]
    const fn take(&mut self, key: usize, line: usize, count: usize) {
        let mut i = 0;
        while i < count {
            self.from[key + i] = (line + i) as u8;
            self.from_line |= 1 << (key + i);
            i += 1;
        }
    }

    /// The layout of a frame of `len` bytes that fits; `None` when its lengths do not.
    #[inline(always)]
    pub(crate) fn layout(&self, line: &[u8; 64], len: usize) -> Option<Layout> {
        if self.l3 == 14 {
            layout::<14>(line, len, self.is_tcp)
        } else {
            layout::<18>(line, len, self.is_tcp)
        }
    }
}

/// The layout of a frame of `len` bytes with the network header at `L3`, which is TCP or else UDP;
/// `None` when its lengths do not fit.
#[inline(always)]
fn layout<const L3: usize>(line: &[u8; 64], len: usize, is_tcp: bool) -> Option<Layout> {
    let total = two(line, L3 + 2);
    let data_offset = u16::from(line[L3 + 32] >> 4) * 4;
    let upper = if is_tcp { data_offset } else { UDP_LEN };
    let good = !is_tcp || data_offset >= TCP_LEN;
    if !good || total < IPV4_LEN + upper || L3 + usize::from(total) > len {
        return None;
    }
    Some(Layout {
        strip: 0,
        prepend: 0,
        tags: if L3 == 18 { 1 } else { 0 },
        network: Network::Ipv4,
        transport: if is_tcp { Transport::Tcp } else { Transport::Udp },
        l3: short(L3),
        l4: short(L3 + 20),
        end: short(L3) + total,
        checksum: short(L3 + if is_tcp { 36 } else { 26 }),
    })
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
