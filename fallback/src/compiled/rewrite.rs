//! Edits within a frame's first 64 bytes as one masked write, checksums by difference (RFC 1624).
//!
//! A rewrite is made for one *shape* of packets: where the headers are and which there are. All
//! loads come before the first store, and the bytes are written by one store of the whole line,
//! so that no load waits for a store that covers it in part. What the sets write is known when the
//! rewrite is made; per packet only the old bits have to be summed.
//!
//! It is plain code over words without branches: compiled into a function with AVX2 or AVX-512 it
//! becomes vector instructions, so all kernels have one source.

use super::draft::{Draft, Ttl};
use super::{Op, Progress, open_link_header};
use crate::packet::Packet;
use crate::prefetch::prefetch;
use crate::shape::ShapeNumber;
use twinpath_flow::field::Field;
use twinpath_flow::parse::{Layout, Network, Transport};
use twinpath_flow::port::PortNo;
#[cfg(sabotage)]
use twinpath_flow::sabotage::{Bug, strikes_at};

/// Bytes of the line.
pub(super) const LINE: usize = 64;
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
pub(super) struct Cover {
    /// Offset of the checksum; 0 when nothing changes it.
    pub(super) at: u16,
    /// What the new bits add, and the bits of changed words that stay.
    pub(super) constant: u32,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing.
    Nothing,
    /// Writing the line.
    Link,
    /// And the TTL and header checksum of an IPv4 packet whose header changes in nothing else.
    Time,
    /// And TTL and checksums of an IPv4 packet.
    V4,
    /// And hop limit and checksum of an IPv6 packet.
    V6,
    /// There is no rewrite for packets of this shape: the operations are executed.
    Impossible,
}

/// What follows the edits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    /// The port that packets leave by, if that is all there is to do.
    pub(super) port: PortNo,
    /// Its limit.
    pub(super) mtu: u16,
    /// How far a packet is then that is not longer.
    pub(super) progress: Progress,
}

/// The edits of a program, for packets of one shape: three cache lines.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Rewrite {
    /// Bits that stay.
    keep: [u8; LINE],
    /// New bits; none in `keep`.
    value: [u8; LINE],
    shape: ShapeNumber,
    kind: Kind,
    /// Whether packets get an Ethernet header.
    is_opened: bool,
    rest: Rest,
    header: Cover,
    transport: Cover,
    /// Offset of the network header.
    l3: u8,
    /// What is taken off the TTL.
    ttl_less: u8,
    /// Whether 0 says that there is no transport checksum (UDP).
    zero_is_none: bool,
}

const _: () = assert!(size_of::<Rewrite>() == 3 * LINE);

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

    /// Of no packets.
    pub(crate) const NEVER: Self = Self {
        shape: ShapeNumber::NEVER,
        kind: Kind::Impossible,
        is_opened: false,
        rest: Rest { port: PortNo(0), mtu: u16::MAX, progress: Progress::None },
        header: Cover { at: 0, constant: 0 },
        transport: Cover { at: 0, constant: 0 },
        l3: 0,
        ttl_less: 0,
        zero_is_none: false,
        keep: [0xff; LINE],
        value: [0; LINE],
    };

    /// For packets of a shape that has none.
    pub(super) const fn impossible(shape: ShapeNumber) -> Self {
        Self { shape, ..Self::NEVER }
    }

    /// Compiles `ops`, all of which [`Self::may_hold`], for packets of a shape, like one with that
    /// layout.
    pub(super) fn new(ops: &[Op], (shape, layout): (ShapeNumber, &Layout), rest: Rest) -> Self {
        let mut rewrite = Self {
            shape,
            is_opened: layout.prepend != 0,
            rest,
            zero_is_none: layout.transport == Transport::Udp,
            ..Self::NEVER
        };
        let kind = rewrite.compile(ops, layout).unwrap_or(Kind::Impossible);
        rewrite.kind = match kind {
            Kind::Link if rewrite.keep == [0xff; LINE] => Kind::Nothing,
            Kind::V4 if rewrite.changes_only_time() => Kind::Time,
            kind => kind,
        };
        rewrite
    }

    /// Of the IPv4 header only TTL and checksum change, and nothing behind it.
    fn changes_only_time(&self) -> bool {
        let l3 = usize::from(self.l3);
        let stays = self.keep[l3..l3 + V4_LEN].iter().all(|byte| *byte == 0xff);
        stays && self.header.at != 0 && self.transport.at == 0
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
    pub(crate) fn touch(&self) {
        prefetch(&self.shape);
        prefetch(&self.keep);
        prefetch(&self.value);
    }

    /// Whether it is for packets of that shape.
    #[inline(always)]
    pub(crate) fn fits(&self, shape: ShapeNumber) -> bool {
        self.shape == shape
    }

    /// Whether it is for no packets yet.
    pub(crate) fn is_free(&self) -> bool {
        self.shape == ShapeNumber::NEVER
    }

    /// Whether nothing but sending follows it.
    #[inline(always)]
    pub(crate) fn is_last(&self) -> bool {
        self.rest.progress == Progress::Sent
    }

    /// Whether it edits packets, rather than leave them to the operations.
    #[cfg(test)]
    pub(super) fn is_possible(&self) -> bool {
        !matches!(self.kind, Kind::Impossible | Kind::Nothing)
    }

    /// Edits a packet that it fits and that has `strip` bytes of outer headers, and decides where it leaves.
    ///
    /// Almost all packets of almost all programs are edited by one rewrite, if at all, and sent
    /// through one port: that is compiled into the caller, and the packet's handle is not moved.
    #[inline(always)]
    pub(crate) fn run(&self, packet: &mut Packet, strip: u16) -> Progress {
        if strip != 0 && self.kind != Kind::Impossible {
            packet.pull_front(usize::from(strip));
            if self.is_opened {
                open_link_header(packet);
            }
        }
        let is_done = match self.kind {
            Kind::Nothing => true,
            Kind::Link => {
                self.write(packet.first_line_mut());
                true
            }
            Kind::Time => self.run_time(packet),
            Kind::V4 => self.run_v4(packet),
            Kind::V6 => self.run_v6(packet),
            Kind::Impossible => return Progress::None,
        };
        if !is_done {
            return Progress::Bare;
        }
        packet.leaves_by = self.rest.port;
        if packet.len() > usize::from(self.rest.mtu) {
            return Progress::TooLong;
        }
        self.rest.progress
    }

    #[inline(always)]
    fn run_time(&self, packet: &mut Packet) -> bool {
        let line = packet.first_line_mut();
        let at = usize::from(self.l3) + V4_TTL;
        let [ttl, protocol, high, low] =
            *line[at..].first_chunk().expect("the header is in the line");
        let old = native([high, low]);
        if old == ALL_ONES {
            return false;
        }
        let [high, low] = self.header.updated(old, 0).to_ne_bytes();
        self.write(line);
        let time = [ttl.wrapping_sub(self.ttl_less), protocol, high, low];
        line[at..at + 4].copy_from_slice(&time);
        true
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

impl Cover {
    /// The checksum after the change (RFC 1624, equation 3), in the order of the host.
    ///
    /// Adding the words of several changes at once gives the same bits as one change after the
    /// other, but where `old` is all ones (a sum of 0, which no sender makes).
    #[inline(always)]
    fn updated(&self, old: u16, complements: u64) -> u16 {
        #[cfg(sabotage)]
        let complements = complements + u64::from(strikes_at(Bug::ChecksumDelta));
        !fold(u64::from(!old) + u64::from(self.constant) + complements)
    }
}

pub(super) const fn native(bytes: [u8; 2]) -> u16 {
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
