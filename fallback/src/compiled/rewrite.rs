//! Edits within a frame's first 64 bytes as one masked write, checksums by difference (RFC 1624).
//!
//! A rewrite is made for one *shape* of packets: where the headers are and which there are. All
//! loads come before the first store, and the bytes are written by one store of the whole line,
//! so that no load waits for a store that covers it in part. What the sets write is known when the
//! rewrite is made; per packet only the old bits have to be summed.
//!
//! It is plain code over words without branches: compiled into a function with AVX2 or AVX-512 it
//! becomes vector instructions, so all kernels have one source.

use super::Op;
use super::edit::Set;
use crate::packet::Packet;
use twinpath_flow::field::Field;
use twinpath_flow::parse::{Layout, Network, Transport};

/// Bytes of the line.
const LINE: usize = 64;
/// IPv4: type of service, time to live, header checksum, addresses, no options (RFC 791).
const V4_TOS: usize = 0;
const V4_TTL: usize = 8;
const V4_CHECKSUM: u16 = 10;
const V4_SOURCE: usize = 12;
const V4_TARGET: usize = 16;
const V4_LEN: usize = 20;
/// IPv6: hop limit and addresses (RFC 8200).
const V6_HOP_LIMIT: usize = 7;
const V6_SOURCE: usize = 8;
const V6_LEN: usize = 40;
/// Both ports.
const PORTS: usize = 4;
/// A checksum that no sender makes of bytes that are not all 0.
const ALL_ONES: u16 = 0xffff;

/// A checksum to be kept right.
#[derive(Clone, Copy, Debug, Default)]
struct Cover {
    /// Offset of the checksum; 0 when nothing changes it.
    at: u16,
    /// What the new bits add, and the bits of changed words that stay.
    constant: u32,
}

/// How the checksums are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sums {
    /// None changes.
    None,
    /// Only that of the IPv4 header, by a constant: no old bit matters.
    HeaderConstant,
    /// Those of an IPv4 packet.
    V4,
    /// That of what an IPv6 packet carries.
    V6,
    /// There is no rewrite for packets of this shape: the operations are executed.
    Impossible,
}

/// The edits of a program, for packets of one shape: three cache lines.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Rewrite {
    /// Bits that stay.
    keep: [u8; LINE],
    /// New bits; none in `keep`.
    value: [u8; LINE],
    /// The shape: a layout without `strip` and `end`.
    shape: Layout,
    header: Cover,
    transport: Cover,
    /// Offset of the network header.
    l3: u8,
    /// Offset of the TTL and what is taken off it; nothing where the offset is 0.
    ttl_at: u8,
    ttl_less: u8,
    sums: Sums,
    /// Whether 0 says that there is no transport checksum (UDP).
    zero_is_none: bool,
}

const _: () = assert!(size_of::<Rewrite>() == 3 * LINE);

/// Masked bytes in the making.
struct Draft {
    mask: [u8; LINE],
    value: [u8; LINE],
    ttl: Ttl,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ttl {
    Less(u8),
    Set(u8),
}

impl Rewrite {
    /// Whether an operation may be part of a rewrite, for the packets of some shapes at least.
    pub(super) fn may_hold(op: &Op) -> bool {
        match op {
            Op::DecTtl => true,
            Op::Set(set) => match set.field() {
                Field::EthDst
                | Field::EthSrc
                | Field::VlanTci
                | Field::IpTos
                | Field::IpSrc
                | Field::IpDst
                | Field::L4Src
                | Field::L4Dst
                | Field::FlowLabel => true,
                Field::IpTtl => set.bits().1 == 0xff,
                _ => false,
            },
            _ => false,
        }
    }

    /// Compiles `ops`, all of which [`Self::may_hold`], for packets like one with that layout.
    pub(super) fn new(ops: &[Op], layout: &Layout) -> Self {
        let mut rewrite = Self {
            keep: [0xff; LINE],
            value: [0; LINE],
            shape: shape(layout),
            header: Cover::default(),
            transport: Cover::default(),
            l3: 0,
            ttl_at: 0,
            ttl_less: 0,
            sums: Sums::Impossible,
            zero_is_none: layout.transport == Transport::Udp,
        };
        if let Some(sums) = rewrite.compile(ops, layout) {
            rewrite.sums = sums;
        }
        rewrite
    }

    /// Fills in all but how the checksums are found; `None` when it is impossible.
    fn compile(&mut self, ops: &[Op], layout: &Layout) -> Option<Sums> {
        let mut draft = Draft { mask: [0; LINE], value: [0; LINE], ttl: Ttl::Less(0) };
        if layout.prepend != 0 {
            draft.mask[..14].fill(0xff);
            draft.value[12..14].copy_from_slice(&layout.prepend.to_be_bytes());
        }
        let (ttl_at, end) = match layout.network {
            Network::Ipv4 => (V4_TTL, V4_LEN),
            Network::Ipv6 => (V6_HOP_LIMIT, V6_LEN),
            Network::None | Network::Arp => (0, 0),
        };
        let is_ip = end > 0;
        for op in ops {
            match op {
                Op::Set(set) => draft.set(set, layout)?,
                _ if is_ip => draft.ttl = draft.ttl.decremented(),
                _ => {}
            }
        }
        if is_ip {
            if usize::from(layout.l3) + end + PORTS > LINE {
                return None;
            }
            self.l3 = u8::try_from(layout.l3).ok()?;
            match draft.ttl {
                Ttl::Less(0) => {}
                Ttl::Less(count) => {
                    self.ttl_less = count;
                    self.ttl_at = self.l3 + u8::try_from(ttl_at).ok()?;
                }
                Ttl::Set(ttl) => draft.write(usize::from(self.l3) + ttl_at, &[ttl], &[0xff])?,
            }
        }
        self.keep = draft.mask.map(|byte| !byte);
        self.value = draft.value;
        self.cover(&draft, layout)
    }

    /// Works out which checksums change, and by what.
    fn cover(&mut self, draft: &Draft, layout: &Layout) -> Option<Sums> {
        let (l3, l4) = (usize::from(layout.l3), usize::from(layout.l4));
        let (source, len) = match layout.network {
            Network::Ipv4 => (V4_SOURCE, V4_LEN),
            Network::Ipv6 => (V6_SOURCE, V6_LEN),
            Network::None | Network::Arp => return Some(Sums::None),
        };
        let is_v4 = layout.network == Network::Ipv4;
        if is_v4 {
            let at = layout.l3 + V4_CHECKSUM;
            self.header = draft.cover(at, l3..l3 + V4_LEN);
            if self.ttl_less > 0 {
                let less = u32::from(native([self.ttl_less, 0]));
                let constant = self.header.constant + 0xffff - less;
                self.header = Cover { at, constant };
            }
        }
        let has_ports = matches!(layout.transport, Transport::Tcp | Transport::Udp);
        let mut covered = l3 + source..l3 + len;
        if has_ports {
            // Ports follow the addresses, and one checksum covers both; others have other code.
            if l4 != l3 + len || layout.checksum == 0 {
                return None;
            }
            covered.end += PORTS;
        }
        if layout.checksum != 0 {
            self.transport = draft.cover(layout.checksum, covered);
        }
        let ttl_only = draft.mask[l3..l3 + len].iter().all(|mask| *mask == 0);
        Some(match (self.header.at, self.transport.at) {
            (0, 0) => Sums::None,
            (_, 0) if ttl_only => Sums::HeaderConstant,
            _ if is_v4 => Sums::V4,
            _ => Sums::V6,
        })
    }

    /// Whether it is for packets of that layout.
    #[inline(always)]
    pub(super) fn fits(&self, layout: &Layout) -> bool {
        self.shape == shape(layout)
    }

    /// Whether it edits packets, rather than leave them to the operations.
    #[cfg(test)]
    pub(super) fn is_possible(&self) -> bool {
        self.sums != Sums::Impossible
    }

    /// Rewrites a packet that it fits. `false`, and nothing done, when the operations have to be
    /// executed: always, or for the rare packet whose checksum needs the longer way.
    #[inline(always)]
    pub(super) fn run(&self, packet: &mut Packet) -> bool {
        let (header, transport) = match self.sums {
            Sums::None | Sums::HeaderConstant => (0, 0),
            Sums::V4 => self.sums_v4(packet.first_line()),
            Sums::V6 => self.sums_v6(packet.first_line()),
            Sums::Impossible => return false,
        };
        let frame = packet.frame();
        let mut checksums = [0; 2];
        if self.header.at != 0 {
            let old = read(frame, self.header.at);
            if old == ALL_ONES {
                return false;
            }
            checksums[0] = self.header.updated(old, header);
        }
        if self.transport.at != 0 {
            let old = read(frame, self.transport.at);
            if old == ALL_ONES && !self.zero_is_none {
                return false;
            }
            checksums[1] = self.transport.updated(old, transport);
            if self.zero_is_none {
                checksums[1] = match (old, checksums[1]) {
                    (0, _) => 0,
                    (_, 0) => ALL_ONES,
                    (_, new) => new,
                };
            }
        }
        self.write(packet, checksums);
        true
    }

    /// Ones' complements of the old bits, summed for the header and for what it carries.
    #[inline(always)]
    fn sums_v4(&self, line: &[u8; LINE]) -> (u64, u64) {
        let [tos, ttl, source, target, ports] =
            [V4_TOS, V4_TTL, V4_SOURCE, V4_TARGET, V4_LEN].map(|at| self.complement(line, at));
        let addresses = source + target;
        (tos + ttl + addresses, addresses + ports)
    }

    /// Likewise; an IPv6 header has no checksum.
    #[inline(always)]
    fn sums_v6(&self, line: &[u8; LINE]) -> (u64, u64) {
        let words: [usize; 9] = std::array::from_fn(|i| V6_SOURCE + 4 * i);
        (0, words.map(|at| self.complement(line, at)).iter().sum())
    }

    /// The ones' complement of the bits to be written of a word behind the network header's start.
    #[inline(always)]
    fn complement(&self, line: &[u8; LINE], at: usize) -> u64 {
        let at = usize::from(self.l3) + at;
        let word = |bytes: &[u8; LINE]| {
            let bytes = bytes[at..].first_chunk().expect("checked when it was compiled");
            u32::from_ne_bytes(*bytes)
        };
        u64::from(!(word(line) | word(&self.keep)))
    }

    /// Stores the line, then what depends on the packet.
    #[inline(always)]
    fn write(&self, packet: &mut Packet, checksums: [u16; 2]) {
        let line = packet.first_line_mut();
        // The remainder is the offset, which is below it; it spares a check.
        let ttl_at = usize::from(self.ttl_at) % LINE;
        let ttl = line[ttl_at].wrapping_sub(self.ttl_less);
        let words = line.as_chunks_mut::<8>().0.iter_mut();
        let (keep, value) = (self.keep.as_chunks::<8>().0, self.value.as_chunks::<8>().0);
        for ((word, keep), value) in words.zip(keep).zip(value) {
            let kept = u64::from_ne_bytes(*word) & u64::from_ne_bytes(*keep);
            *word = (kept | u64::from_ne_bytes(*value)).to_ne_bytes();
        }
        if ttl_at != 0 {
            line[ttl_at] = ttl;
        }
        let frame = packet.frame_mut();
        for (cover, checksum) in [&self.header, &self.transport].into_iter().zip(checksums) {
            let at = usize::from(cover.at);
            if at != 0 {
                frame[at..at + 2].copy_from_slice(&checksum.to_ne_bytes());
            }
        }
    }
}

impl Cover {
    /// The checksum after the change (RFC 1624, equation 3), in the order of the host.
    ///
    /// Adding the words of several changes at once gives the same bits as one change after the
    /// other, but where `old` is all ones (a sum of 0, which no sender makes).
    #[inline(always)]
    fn updated(&self, old: u16, complements: u64) -> u16 {
        !fold(u64::from(!old) + u64::from(self.constant) + complements)
    }
}

impl Ttl {
    fn decremented(self) -> Self {
        match self {
            Self::Less(count) => Self::Less(count.saturating_add(1)),
            Self::Set(ttl) => Self::Set(ttl.saturating_sub(1)),
        }
    }
}

impl Draft {
    /// Adds a set; nothing where the packet has no such header.
    fn set(&mut self, set: &Set, layout: &Layout) -> Option<()> {
        let (value, mut mask) = set.bits();
        let (l3, l4) = (usize::from(layout.l3), usize::from(layout.l4));
        let (at, len, shift) = match (set.field(), layout.network) {
            (Field::EthDst, _) => (0, 6, 0),
            (Field::EthSrc, _) => (6, 6, 0),
            (Field::VlanTci, _) if layout.tags == 0 => return Some(()),
            (Field::VlanTci, _) => {
                // The present bit is no bit of the frame, which has DEI there.
                mask &= 0xefff;
                (14, 2, 0)
            }
            (Field::IpTtl, Network::Ipv4 | Network::Ipv6) => {
                self.ttl = Ttl::Set(value.to_be_bytes()[15]);
                return Some(());
            }
            // ARP has addresses and other places for them.
            (_, Network::Arp) => return None,
            (_, Network::None) => return Some(()),
            (Field::IpTos, Network::Ipv4) => (l3 + 1, 1, 0),
            (Field::IpSrc, Network::Ipv4) => (l3 + 12, 4, 0),
            (Field::IpDst, Network::Ipv4) => (l3 + 16, 4, 0),
            (Field::IpTos, Network::Ipv6) => (l3, 2, 4),
            (Field::FlowLabel, Network::Ipv6) => (l3, 4, 0),
            (Field::IpSrc, Network::Ipv6) => (l3 + 8, 16, 0),
            (Field::IpDst, Network::Ipv6) => (l3 + 24, 16, 0),
            (Field::L4Src | Field::L4Dst, _) => match layout.transport {
                Transport::None => return Some(()),
                Transport::Tcp | Transport::Udp if set.field() == Field::L4Src => (l4, 2, 0),
                Transport::Tcp | Transport::Udp => (l4 + 2, 2, 0),
                Transport::Sctp | Transport::Icmp | Transport::Icmpv6 => return None,
            },
            _ => return Some(()),
        };
        let bytes = |bits: u128| (bits << shift).to_be_bytes();
        self.write(at, &bytes(value)[16 - len..], &bytes(mask)[16 - len..])
    }

    /// Overwrites masked bits; `None` beyond the line.
    fn write(&mut self, at: usize, value: &[u8], mask: &[u8]) -> Option<()> {
        let masks = self.mask.get_mut(at..at + mask.len())?;
        masks.iter_mut().zip(mask).for_each(|(byte, mask)| *byte |= mask);
        let values = &mut self.value[at..at + mask.len()];
        for ((byte, value), mask) in values.iter_mut().zip(value).zip(mask) {
            *byte = (*byte & !mask) | (value & mask);
        }
        Some(())
    }

    /// The checksum at `at` over the bytes `covered`.
    fn cover(&self, at: u16, covered: std::ops::Range<usize>) -> Cover {
        let mut cover = Cover::default();
        let masks = self.mask[covered.clone()].as_chunks::<2>().0;
        let values = self.value[covered].as_chunks::<2>().0;
        for (mask, value) in masks.iter().zip(values) {
            if *mask != [0; 2] {
                cover.at = at;
                cover.constant += u32::from(native(*value)) + u32::from(!native(*mask));
            }
        }
        cover
    }
}

/// What packets have in common for whom one rewrite is right.
#[inline(always)]
const fn shape(layout: &Layout) -> Layout {
    Layout { strip: 0, end: 0, ..*layout }
}

const fn native(bytes: [u8; 2]) -> u16 {
    u16::from_ne_bytes(bytes)
}

#[inline(always)]
fn read(frame: &[u8], at: u16) -> u16 {
    let at = usize::from(at);
    native([frame[at], frame[at + 1]])
}

/// The ones' complement sum of 16 bits; 0 only for 0.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits before")]
const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}
