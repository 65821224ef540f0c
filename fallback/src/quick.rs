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
/// Where the network header is, without and with a tag.
const L3_PLAIN: usize = 14;
const L3_TAGGED: usize = 18;

/// A kind of frame that is read quickly. It tells all that a layout does but for the frame's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Quick {
    Udp,
    Tcp,
    TaggedUdp,
    TaggedTcp,
}

impl Quick {
    /// All, by number.
    pub(crate) const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::TaggedUdp, Self::TaggedTcp];

    const fn new(l3: usize, is_tcp: bool) -> Self {
        match (l3 == L3_TAGGED, is_tcp) {
            (false, false) => Self::Udp,
            (false, true) => Self::Tcp,
            (true, false) => Self::TaggedUdp,
            (true, true) => Self::TaggedTcp,
        }
    }

    const fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::TaggedTcp)
    }

    const fn l3(self) -> usize {
        if matches!(self, Self::Udp | Self::Tcp) { L3_PLAIN } else { L3_TAGGED }
    }

    /// The layout of a frame of this kind.
    pub(crate) fn layout(self, frame: &[u8]) -> Layout {
        let l3 = self.l3();
        let total = frame.get(l3 + 2..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        Layout {
            strip: 0,
            prepend: 0,
            tags: u8::from(l3 == L3_TAGGED),
            network: Network::Ipv4,
            transport: if self.is_tcp() { Transport::Tcp } else { Transport::Udp },
            l3: short(l3),
            l4: short(l3 + 20),
            end: short(l3).saturating_add(u16::from_be_bytes(total)),
            checksum: short(l3 + if self.is_tcp() { 36 } else { 26 }),
        }
    }
}

/// Reads a frame of `len` bytes that begins with `line` into the first line of its key, whose second
/// is zero. `None`, and anything in `head`, for all but the commonest.
#[inline(always)]
pub(crate) fn read(line: &[u8; 64], len: usize, port: PortNo, head: &mut Line) -> Option<Quick> {
    match [line[12], line[13], line[14]] {
        PLAIN => read_at::<L3_PLAIN>(line, len, (port, 0), head),
        [0x81, 0x00, _] if [line[16], line[17], line[18]] == PLAIN => {
            let tci = u16::from_be_bytes([line[14], line[15]]) | VLAN_PRESENT;
            read_at::<L3_TAGGED>(line, len, (port, tci), head)
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
    (port, tci): (PortNo, u16),
    head: &mut Line,
) -> Option<Quick> {
    let (protocol, tcp_word) = (line[L3 + 9], two(line, L3 + 32));
    let tcp = protocol == TCP;
    let whole = two(line, L3 + 6) & 0x3fff == 0;
    if !whole || !(tcp || protocol == UDP) {
        return None;
    }
    if !is_long_enough(line, len, L3, tcp) {
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
    for (bytes, word) in head.0.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    Some(Quick::new(L3, tcp))
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
    pub(crate) quick: Quick,
}

/// The kinds that [`read`] knows, by number.
pub(crate) const TEMPLATES: [Template; 4] = [
    Template::new(Quick::Udp),
    Template::new(Quick::Tcp),
    Template::new(Quick::TaggedUdp),
    Template::new(Quick::TaggedTcp),
];

impl Template {
    const fn new(quick: Quick) -> Self {
        let (l3, is_tcp) = (quick.l3(), quick.is_tcp());
        let mut new = Self {
            care: [0; 64],
            want: [0; 64],
            from: [0; 64],
            keep: [0xff; 64],
            set: [0; 64],
            from_line: 0,
            quick,
        };
        if l3 == L3_TAGGED {
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

    /// Whether the lengths of a frame of `len` bytes fit.
    #[inline(always)]
    pub(crate) fn is_long_enough(&self, line: &[u8; 64], len: usize) -> bool {
        is_long_enough(line, len, self.quick.l3(), self.quick.is_tcp())
    }
}

/// Whether a frame of `len` bytes with the network header at `l3` is as long as its headers say, and
/// they long enough.
#[inline(always)]
fn is_long_enough(line: &[u8; 64], len: usize, l3: usize, is_tcp: bool) -> bool {
    let total = two(line, l3 + 2);
    let data_offset = u16::from(line[l3 + 32] >> 4) * 4;
    let upper = if is_tcp { data_offset } else { UDP_LEN };
    let good = !is_tcp || data_offset >= TCP_LEN;
    good && total >= IPV4_LEN + upper && l3 + usize::from(total) <= len
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
        let mut head = Line([0x5a; 64]);
        let Some(quick) = read(&line, frame.len(), port, &mut head) else { return false };
        let parsed = Parsed {
            key: twinpath_flow::key::Key { head, tail: Line::ZERO },
            layout: quick.layout(&line),
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
