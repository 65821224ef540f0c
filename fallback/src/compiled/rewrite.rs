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
use crate::prefetch::prefetch;
use twinpath_flow::field::Field;
use twinpath_flow::parse::{Layout, Network, Transport};

/// Bytes of the line.
const LINE: usize = 64;
/// IPv4: time to live, header checksum, addresses, no options (RFC 791).
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

/// What has to be done besides writing the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing.
    Link,
    /// TTL and checksums of an IPv4 packet.
    V4,
    /// Hop limit and checksum of an IPv6 packet.
    V6,
    /// There is no rewrite for packets of this shape: the operations are executed.
    Impossible,
}

/// What packets have in common for whom one rewrite is right: where their headers are, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    places: u64,
    kinds: u64,
}

/// The edits of a program, for packets of one shape: three cache lines.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Rewrite {
    /// Bits that stay.
    keep: [u8; LINE],
    /// New bits; none in `keep`.
    value: [u8; LINE],
    shape: Shape,
    header: Cover,
    transport: Cover,
    kind: Kind,
    /// Offset of the network header.
    l3: u8,
    /// What is taken off the TTL.
    ttl_less: u8,
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
            shape: Shape::of(layout),
            header: Cover::default(),
            transport: Cover::default(),
            kind: Kind::Impossible,
            l3: 0,
            ttl_less: 0,
            zero_is_none: layout.transport == Transport::Udp,
        };
        if let Some(kind) = rewrite.compile(ops, layout) {
            rewrite.kind = kind;
        }
        rewrite
    }

    /// Fills in all but the kind, which it returns; `None` when it is impossible.
    fn compile(&mut self, ops: &[Op], layout: &Layout) -> Option<Kind> {
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
                Ttl::Less(count) => self.ttl_less = count,
                Ttl::Set(ttl) => draft.write(usize::from(self.l3) + ttl_at, &[ttl], &[0xff])?,
            }
        }
        self.keep = draft.mask.map(|byte| !byte);
        self.value = draft.value;
        self.cover(&draft, layout)
    }

    /// Works out which checksums change, and by what.
    fn cover(&mut self, draft: &Draft, layout: &Layout) -> Option<Kind> {
        let (l3, l4) = (usize::from(layout.l3), usize::from(layout.l4));
        let (source, len) = match layout.network {
            Network::Ipv4 => (V4_SOURCE, V4_LEN),
            Network::Ipv6 => (V6_SOURCE, V6_LEN),
            Network::None | Network::Arp => return Some(Kind::Link),
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
        Some(match (self.header.at, self.transport.at) {
            (0, 0) if self.ttl_less == 0 => Kind::Link,
            _ if is_v4 => Kind::V4,
            _ => Kind::V6,
        })
    }

    /// Asks for its lines ahead of its use.
    #[inline(always)]
    pub(super) fn touch(&self) {
        prefetch(&self.keep);
        prefetch(&self.value);
        prefetch(&self.shape);
    }

    /// Whether it is for packets of that layout.
    #[inline(always)]
    pub(super) fn fits(&self, layout: &Layout) -> bool {
        self.shape == Shape::of(layout)
    }

    /// Whether it edits packets, rather than leave them to the operations.
    #[cfg(test)]
    pub(super) fn is_possible(&self) -> bool {
        self.kind != Kind::Impossible
    }

    /// Rewrites a packet that it fits. `false`, and nothing done, when the operations have to be
    /// executed: always, or for the rare packet whose checksum needs the longer way.
    #[inline(always)]
    pub(super) fn run(&self, packet: &mut Packet) -> bool {
        match self.kind {
            Kind::Link => {
                self.write(packet.first_line_mut());
                true
            }
            Kind::V4 => self.run_v4(packet),
            Kind::V6 => self.run_v6(packet),
            Kind::Impossible => false,
        }
    }

    #[inline(always)]
    fn run_v4(&self, packet: &mut Packet) -> bool {
        const WORDS: usize = (V4_LEN + PORTS) / 4;
        let line = packet.first_line();
        let (old, keep) = (self.words::<WORDS>(line), self.words::<WORDS>(&self.keep));
        // Ones' complements of the bits that are written.
        let open = |word: usize| u64::from(!(old[word] | keep[word]));
        let addresses = open(V4_SOURCE / 4) + open(V4_TARGET / 4);
        let mut time = old[V4_TTL / 4].to_ne_bytes();
        let old_checksum = native([time[2], time[3]]);
        if self.header.at != 0 {
            if old_checksum == ALL_ONES {
                return false;
            }
            let complements = open(0) + open(V4_TTL / 4) + addresses;
            let [high, low] = self.header.updated(old_checksum, complements).to_ne_bytes();
            let value = self.words::<WORDS>(&self.value)[V4_TTL / 4];
            let [ttl, ..] = ((old[V4_TTL / 4] & keep[V4_TTL / 4]) | value).to_ne_bytes();
            time = [ttl.wrapping_sub(self.ttl_less), time[1], high, low];
        }
        let Some(checksum) = self.transport_checksum(packet, addresses + open(V4_LEN / 4)) else {
            return false;
        };
        let line = packet.first_line_mut();
        self.write(line);
        let at = usize::from(self.l3) + V4_TTL;
        line[at..at + 4].copy_from_slice(&time);
        self.write_transport_checksum(packet, checksum);
        true
    }

    #[inline(always)]
    fn run_v6(&self, packet: &mut Packet) -> bool {
        const WORDS: usize = (V6_LEN + PORTS) / 4;
        let line = packet.first_line();
        let (old, keep) = (self.words::<WORDS>(line), self.words::<WORDS>(&self.keep));
        let covered = V6_SOURCE / 4..WORDS;
        let complements = covered.fold(0, |sum, word| sum + u64::from(!(old[word] | keep[word])));
        let Some(checksum) = self.transport_checksum(packet, complements) else {
            return false;
        };
        let line = packet.first_line_mut();
        self.write(line);
        let at = usize::from(self.l3) + V6_HOP_LIMIT;
        line[at] = line[at].wrapping_sub(self.ttl_less);
        self.write_transport_checksum(packet, checksum);
        true
    }

    /// The words from the network header's start on.
    #[inline(always)]
    fn words<const N: usize>(&self, line: &[u8; LINE]) -> [u32; N] {
        let bytes = &line[usize::from(self.l3)..][..4 * N];
        let mut words = [0; N];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        words
    }

    /// The transport checksum as it will be; `None` when it needs the longer way.
    #[inline(always)]
    fn transport_checksum(&self, packet: &Packet, complements: u64) -> Option<u16> {
        if self.transport.at == 0 {
            return Some(0);
        }
        let at = usize::from(self.transport.at);
        let [high, low] = *packet.frame()[at..].first_chunk().expect("the parser has read it");
        let old = native([high, low]);
        let new = self.transport.updated(old, complements);
        if !self.zero_is_none {
            return (old != ALL_ONES).then_some(new);
        }
        Some(match (old, new) {
            (0, _) => 0,
            (_, 0) => ALL_ONES,
            (_, new) => new,
        })
    }

    #[inline(always)]
    fn write_transport_checksum(&self, packet: &mut Packet, checksum: u16) {
        let at = usize::from(self.transport.at);
        if at != 0 {
            packet.frame_mut()[at..at + 2].copy_from_slice(&checksum.to_ne_bytes());
        }
    }

    /// Stores the line.
    #[inline(always)]
    fn write(&self, line: &mut [u8; LINE]) {
        // All loads come first: nothing says that line and rewrite are apart.
        let words = |bytes: &[u8; LINE]| {
            let mut words = [0; LINE / 8];
            for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *word = u64::from_ne_bytes(*bytes);
            }
            words
        };
        let (mut new, keep, value) = (words(line), words(&self.keep), words(&self.value));
        for ((word, keep), value) in new.iter_mut().zip(keep).zip(value) {
            *word = (*word & keep) | value;
        }
        for (bytes, word) in line.as_chunks_mut::<8>().0.iter_mut().zip(new) {
            *bytes = word.to_ne_bytes();
        }
    }
}

impl Shape {
    #[inline(always)]
    fn of(layout: &Layout) -> Self {
        let Layout { prepend, tags, network, transport, l3, l4, checksum, .. } = *layout;
        let places = u64::from(prepend)
            | u64::from(l3) << 16
            | u64::from(l4) << 32
            | u64::from(checksum) << 48;
        let kinds = u64::from(tags) | (network as u64) << 8 | (transport as u64) << 16;
        Self { places, kinds }
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

const fn native(bytes: [u8; 2]) -> u16 {
    u16::from_ne_bytes(bytes)
}

/// The ones' complement sum of 16 bits; 0 only for 0.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits before")]
const fn fold(sum: u64) -> u16 {
    let (half, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    let sum = half + carry as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}
