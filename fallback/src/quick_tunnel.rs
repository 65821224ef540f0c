//! Reading the commonest tunnel packets: an outer IPv4 header without options or fragments, no
//! outer UDP checksum, and inside a frame or packet that [`crate::quick`] reads. What it reads is
//! what [`twinpath_flow::parse::parse`] reads.

use crate::quick::{self, Quick};
use twinpath_flow::field::Field;
use twinpath_flow::frame::tunnel::TunnelHeader;
use twinpath_flow::key::{Key, Line};
use twinpath_flow::parse::{Layout, Parsed, Standing};
use twinpath_flow::port::{PortNo, PortTable, TunnelKind};

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

/// Whether a packet read quickly could be in a tunnel: UDP, untagged, to a tunnel's port.
#[inline(always)]
pub(crate) fn may_carry(outer: &Quick) -> bool {
    let target = u16::from_be_bytes([outer.head.0[58], outer.head.0[59]]);
    let kinds = [TunnelKind::Vxlan, TunnelKind::Geneve, TunnelKind::Gtpu];
    !outer.is_tcp && outer.layout.tags == 0 && kinds.iter().any(|kind| kind.udp_port() == target)
}

/// Reads a tunnel packet into `parsed`; `None`, and nothing done, for all but the commonest, and for
/// packets of no tunnel.
pub(crate) fn read(
    frame: &[u8],
    in_port: PortNo,
    ports: &PortTable,
    parsed: &mut Parsed,
) -> Option<()> {
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
    let strip_len = u16::try_from(strip).ok()?;
    let (Quick { head, layout, .. }, prepend) = match header.ethertype {
        0 => (read_frame(&frame[strip..], port)?, 0),
        IPV4 if frame[strip] == 0x45 => (read_packet(&frame[strip - LINK..], port)?, IPV4),
        _ => return None,
    };
    let Key { head: inner, tail } = &mut parsed.key;
    *inner = head;
    if prepend != 0 {
        // What lies before the packet is no Ethernet header.
        put::<ETH_DST, 12>(inner, [0; 12]);
    }
    put::<TUN_ID, 4>(inner, header.id.to_be_bytes());
    *tail = Line::ZERO;
    put::<TUN_SRC, 4>(tail, source.to_be_bytes());
    put::<TUN_DST, 4>(tail, target.to_be_bytes());
    put::<QFI, 1>(tail, [header.qfi]);
    parsed.layout = Layout { strip: strip_len, prepend, ..layout };
    parsed.standing = Standing::Plain;
    Some(())
}

#[inline(always)]
fn put<const AT: usize, const N: usize>(line: &mut Line, bytes: [u8; N]) {
    line.0[AT..AT + N].copy_from_slice(&bytes);
}

/// An inner frame.
#[inline(always)]
fn read_frame(frame: &[u8], port: PortNo) -> Option<Quick> {
    if let Some(line) = frame.first_chunk() {
        return quick::read(line, frame.len(), port);
    }
    let mut line = [0; 64];
    line[..frame.len()].copy_from_slice(frame);
    quick::read(&line, frame.len(), port)
}

/// An inner IPv4 packet without options, behind as many bytes as the Ethernet header has that it
/// gets.
#[inline(always)]
fn read_packet(frame: &[u8], port: PortNo) -> Option<Quick> {
    if let Some(line) = frame.first_chunk() {
        return quick::read_at::<LINK>(line, frame.len(), port, 0);
    }
    let mut line = [0; 64];
    line[..frame.len()].copy_from_slice(frame);
    quick::read_at::<LINK>(&line, frame.len(), port, 0)
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
    use twinpath_flow::parse::parse;
    use twinpath_flow::sample::{self, Random, Tunnels};

    fn check(frame: &[u8], port: PortNo, ports: &PortTable) -> bool {
        let mut line = [0xa5; 64];
        let length = frame.len().min(64);
        line[..length].copy_from_slice(&frame[..length]);
        let parsed = parse(frame, port, ports);
        let outer = quick::read(&line, frame.len(), port);
        if let Some(outer) = outer.filter(|outer| !may_carry(outer)) {
            assert_eq!((outer.head, outer.layout), (parsed.key.head, parsed.layout));
            assert!(parsed.key.tail.is_zero() && parsed.standing == Standing::Plain);
        }
        let mut quick = Parsed::default();
        let is_read = read(frame, port, ports, &mut quick).is_some();
        if is_read {
            assert_eq!(quick, parsed, "{frame:02x?}");
        }
        is_read
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
