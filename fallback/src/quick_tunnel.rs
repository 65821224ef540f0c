//! Reading the commonest tunnel packets: an outer IPv4 header without options or fragments, no
//! outer UDP checksum, and inside a frame or packet that [`crate::quick`] reads. What it reads is
//! what [`twinpath_flow::parse::parse`] reads.

use crate::packet::Packet;
use crate::quick::{self, Quick};
use twinpath_flow::field::Field;
use twinpath_flow::frame::tunnel::TunnelHeader;
use twinpath_flow::key::{Key, Line};
use twinpath_flow::parse::Layout;
use twinpath_flow::port::{PortTable, TunnelKind};

/// Outer headers: Ethernet, IPv4, UDP.
const OUTER: usize = 14 + 20 + 8;
/// An Ethernet header.
const LINK: usize = 14;
/// Bits of the fragment word that only fragments have.
const FRAGMENT: u16 = 0x3fff;
/// Ethertype of IPv4.
const IPV4: u16 = 0x0800;

/// Where fields are in their lines; the Ethernet addresses are one behind the other.
const ETH_DST: usize = Field::EthDst.spec().offset;
const TUN_ID: usize = Field::TunId.spec().offset;
const TUN_SRC: usize = Field::TunSrc.spec().offset - 64;
const TUN_DST: usize = Field::TunDst.spec().offset - 64;
const QFI: usize = Field::Qfi.spec().offset - 64;

/// A packet read quickly that was in a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inner {
    /// What is inside, with an Ethernet header.
    pub(crate) quick: Quick,
    /// Bytes of the headers outside.
    pub(crate) strip: u16,
    /// Whether it gets an Ethernet header, of IPv4.
    pub(crate) is_opened: bool,
}

impl Inner {
    /// What came in no tunnel.
    #[inline(always)]
    pub(crate) const fn bare(quick: Quick) -> Self {
        Self { quick, strip: 0, is_opened: false }
    }

    /// The layout of a packet, given the frame as received.
    pub(crate) fn layout(&self, frame: &[u8]) -> Layout {
        let skipped = usize::from(self.strip) - if self.is_opened { LINK } else { 0 };
        self.layout_inside(frame.get(skipped..).unwrap_or_default())
    }

    /// The same, given the frame without the headers outside and with the Ethernet header it gets.
    pub(crate) fn layout_inside(&self, frame: &[u8]) -> Layout {
        let prepend = if self.is_opened { IPV4 } else { 0 };
        Layout { strip: self.strip, prepend, ..self.quick.layout(frame) }
    }
}

/// Whether a packet read quickly could be in a tunnel: UDP, untagged, to a tunnel's port.
#[inline(always)]
pub(crate) fn may_carry(outer: Quick, head: &Line) -> bool {
    let target = u16::from_be_bytes([head.0[58], head.0[59]]);
    let kinds = [TunnelKind::Vxlan, TunnelKind::Geneve, TunnelKind::Gtpu];
    outer == Quick::Udp && kinds.iter().any(|kind| kind.udp_port() == target)
}

/// Reads a tunnel packet; `None`, and anything in `key`, for all but the commonest, and for packets of
/// no tunnel.
#[inline(always)]
pub(crate) fn read(packet: &Packet, ports: &PortTable, key: &mut Key) -> Option<Inner> {
    let (frame, in_port) = (packet.frame(), packet.port);
    let outer: &[u8; OUTER] = frame.first_chunk()?;
    let word = |at: usize| u16::from_be_bytes([outer[at], outer[at + 1]]);
    let end = LINK + usize::from(word(16));
    let is_usual = word(12) == IPV4
        && outer[14] == 0x45
        && outer[23] == 17
        && word(20) & FRAGMENT == 0
        && word(40) == 0
        && outer[15] & 3 != 3
        && (OUTER..=frame.len()).contains(&end);
    if !is_usual || !sums_up(&outer[LINK..LINK + 20]) {
        return None;
    }
    let address =
        |at: usize| u32::from_be_bytes([outer[at], outer[at + 1], outer[at + 2], outer[at + 3]]);
    let (source, target) = (address(26), address(30));
    let (port, tunnel) = ports.claimant(in_port, word(36), (source.into(), target.into()))?;
    let header = TunnelHeader::read(tunnel.kind, &frame[OUTER..end])?;
    if !header.carries_packet {
        return None;
    }
    let strip = OUTER + header.len;
    let Key { head: inner, tail } = key;
    let is_opened = match header.ethertype {
        0 => false,
        IPV4 if frame[strip] == 0x45 => true,
        _ => return None,
    };
    let skipped = strip - if is_opened { LINK } else { 0 };
    let (line, len) = (packet.line_at(skipped), frame.len() - skipped);
    let quick = if is_opened {
        quick::read_at::<LINK>(line, len, (port, 0), inner)?
    } else {
        quick::read(line, len, port, inner)?
    };
    if is_opened {
        // What lies before the packet is no Ethernet header.
        put::<ETH_DST, 12>(inner, [0; 12]);
    }
    put::<TUN_ID, 4>(inner, header.id.to_be_bytes());
    *tail = Line::ZERO;
    put::<TUN_SRC, 4>(tail, source.to_be_bytes());
    put::<TUN_DST, 4>(tail, target.to_be_bytes());
    put::<QFI, 1>(tail, [header.qfi]);
    Some(Inner { quick, strip: u16::try_from(strip).ok()?, is_opened })
}

#[inline(always)]
fn put<const AT: usize, const N: usize>(line: &mut Line, bytes: [u8; N]) {
    line.0[AT..AT + N].copy_from_slice(&bytes);
}

/// Whether the checksum of an IPv4 header is right (RFC 1071).
#[inline(always)]
fn sums_up(header: &[u8]) -> bool {
    let words = header.as_chunks::<4>().0.iter();
    let sum: u64 = words.map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    // Not 0, as the version is not: so a multiple of 65535 is what folds to all ones.
    sum.is_multiple_of(0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::PacketPool;
    use twinpath_flow::parse::{Parsed, Standing, parse};
    use twinpath_flow::port::PortNo;
    use twinpath_flow::sample::{self, Random, Tunnels};

    fn check(frame: &[u8], port: PortNo, ports: &PortTable) -> bool {
        let mut line = [0xa5; 64];
        let length = frame.len().min(64);
        line[..length].copy_from_slice(&frame[..length]);
        let parsed = parse(frame, port, ports);
        let mut key = Key { head: Line([0x5a; 64]), tail: Line([0x5a; 64]) };
        let outer = quick::read(&line, frame.len(), port, &mut key.head);
        if let Some(outer) = outer.filter(|outer| !may_carry(*outer, &key.head)) {
            assert_eq!((key.head, outer.layout(&line)), (parsed.key.head, parsed.layout));
            assert!(parsed.key.tail.is_zero() && parsed.standing == Standing::Plain);
        }
        let mut packet = PacketPool::new(1).take().expect("a buffer");
        packet.receive_buffer().fill(0xa5);
        packet.receive_buffer()[..frame.len()].copy_from_slice(frame);
        packet.set_received(frame.len());
        packet.port = port;
        let Some(inner) = read(&packet, ports, &mut key) else { return false };
        let found = Parsed { key, layout: inner.layout(frame), standing: Standing::Plain };
        assert_eq!(found, parsed, "{frame:02x?}");
        true
    }

    #[test]
    fn tunnel_packets_read_quickly_are_as_the_parser_reads_them() {
        let mut random = Random::new(11);
        let mut read = 0;
        for _ in 0..300 {
            let ports = sample::port_table(&mut random, Tunnels::Some);
            for _ in 0..100 {
                let (port, mut frame) = sample::frame(&mut random, &ports);
                read += u32::from(check(&frame, port, &ports));
                // Hostile bytes in the headers, and every length.
                if !frame.is_empty() {
                    let at = random.below(frame.len().min(120));
                    frame[at] = u8::try_from(random.below(256)).expect("a byte");
                    read += u32::from(check(&frame, port, &ports));
                    frame.truncate(random.below(frame.len() + 1));
                    read += u32::from(check(&frame, port, &ports));
                }
            }
        }
        assert!(read > 3_000, "only {read} frames were read quickly");
    }
}
