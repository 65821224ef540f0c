//! Header edits in place. A header that is absent, cut off or in another fragment is left alone.

use super::checksum::Change;
use super::crc32c::crc32c;
use twinpath_flow::field::Field;
use twinpath_flow::parse::{Layout, Network, Transport};

/// A masked set of one field, as bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Set {
    field: Field,
    /// New bits, in network order, at the end.
    value: [u8; 16],
    /// Bits written, likewise.
    mask: [u8; 16],
}

impl Set {
    /// Compiles a set.
    pub(super) const fn new(field: Field, value: u128, mask: u128) -> Self {
        Self { field, value: value.to_be_bytes(), mask: mask.to_be_bytes() }
    }

    /// The field.
    pub(super) const fn field(&self) -> Field {
        self.field
    }

    /// New bits and bits written.
    pub(super) const fn bits(&self) -> (u128, u128) {
        (u128::from_be_bytes(self.value), u128::from_be_bytes(self.mask))
    }

    /// Executes it.
    pub(super) fn run(&self, frame: &mut [u8], layout: &Layout) {
        match self.field {
            Field::EthDst => self.write::<6>(frame, 0),
            Field::EthSrc => self.write::<6>(frame, 6),
            Field::VlanTci if layout.tags > 0 => self.write::<2>(frame, 14),
            Field::MplsLse if frame.len() >= usize::from(layout.l3) + 4 => {
                self.write::<4>(frame, usize::from(layout.l3));
            }
            _ => match layout.network {
                Network::None => {}
                Network::Arp => self.run_arp(frame, usize::from(layout.l3)),
                Network::Ipv4 => self.run_ipv4(frame, layout),
                Network::Ipv6 => self.run_ipv6(frame, layout),
            },
        }
    }

    /// RFC 826.
    fn run_arp(&self, frame: &mut [u8], l3: usize) {
        match self.field {
            Field::IpProto => self.write::<1>(frame, l3 + 7),
            Field::ArpSha => self.write::<6>(frame, l3 + 8),
            Field::IpSrc => self.write::<4>(frame, l3 + 14),
            Field::ArpTha => self.write::<6>(frame, l3 + 18),
            Field::IpDst => self.write::<4>(frame, l3 + 24),
            _ => {}
        }
    }

    /// RFC 791.
    fn run_ipv4(&self, frame: &mut [u8], layout: &Layout) {
        let l3 = usize::from(layout.l3);
        match self.field {
            Field::IpTos => self.write_word(frame, l3, 0).update(frame, l3 + 10),
            Field::IpTtl => self.write_word(frame, l3 + 8, 8).update(frame, l3 + 10),
            Field::IpSrc | Field::IpDst => {
                let at = if self.field == Field::IpSrc { l3 + 12 } else { l3 + 16 };
                let change = self.write_covered::<4>(frame, at);
                change.update(frame, l3 + 10);
                update_transport(change, frame, layout);
            }
            _ => self.run_transport(frame, layout),
        }
    }

    /// RFC 8200.
    fn run_ipv6(&self, frame: &mut [u8], layout: &Layout) {
        let l3 = usize::from(layout.l3);
        match self.field {
            Field::IpSrc | Field::IpDst => {
                let at = if self.field == Field::IpSrc { l3 + 8 } else { l3 + 24 };
                let change = self.write_covered::<16>(frame, at);
                update_transport(change, frame, layout);
            }
            Field::IpTtl => self.write::<1>(frame, l3 + 7),
            Field::IpTos => {
                // The traffic class lies across the first two bytes; no checksum covers it.
                let _ = self.write_word(frame, l3, 4);
            }
            Field::FlowLabel => self.write::<4>(frame, l3),
            _ => self.run_transport(frame, layout),
        }
    }

    fn run_transport(&self, frame: &mut [u8], layout: &Layout) {
        let l4 = usize::from(layout.l4);
        let (port, shift) = match self.field {
            Field::L4Src => (l4, 8),
            Field::L4Dst => (l4 + 2, 0),
            Field::NdTarget | Field::ArpSha | Field::ArpTha => {
                return self.run_neighbour(frame, layout);
            }
            _ => return,
        };
        match layout.transport {
            Transport::None => {}
            Transport::Tcp => self.write_covered::<2>(frame, port).update(frame, l4 + 16),
            Transport::Udp => self.write_covered::<2>(frame, port).update_udp(frame, l4 + 6),
            // Type and code share the first word.
            Transport::Icmp | Transport::Icmpv6 => {
                self.write_word(frame, l4, shift).update(frame, l4 + 2);
            }
            Transport::Sctp => self.run_sctp(frame, port, l4..usize::from(layout.end)),
        }
    }

    /// RFC 9260 §6.8; a wrong checksum stays wrong by the same bits.
    fn run_sctp(&self, frame: &mut [u8], at: usize, segment: std::ops::Range<usize>) {
        let checksum = segment.start + 8;
        let old: [u8; 4] = std::array::from_fn(|i| frame[checksum + i]);
        frame[checksum..checksum + 4].fill(0);
        let right = crc32c(&frame[segment.clone()]);
        self.write::<2>(frame, at);
        let now = crc32c(&frame[segment]);
        for (i, old) in old.into_iter().enumerate() {
            frame[checksum + i] = old ^ right[i] ^ now[i];
        }
    }

    /// RFC 4861 §4.3 and §4.4: the target address; of the link-layer address options only the
    /// first, as Open vSwitch does.
    fn run_neighbour(&self, frame: &mut [u8], layout: &Layout) {
        let l4 = usize::from(layout.l4);
        let end = usize::from(layout.end);
        if layout.transport != Transport::Icmpv6 || end < l4 + 24 {
            return;
        }
        let change = if self.field == Field::NdTarget {
            self.write_covered::<16>(frame, l4 + 8)
        } else {
            let wanted = if self.field == Field::ArpSha { 1 } else { 2 };
            match first_address_option(&frame[l4 + 24..end]) {
                Some((kind, at)) if kind == wanted => self.write_covered::<6>(frame, l4 + 24 + at),
                _ => return,
            }
        };
        change.update(frame, l4 + 2);
    }

    /// Writes the last `N` bytes at `at`.
    fn write<const N: usize>(&self, frame: &mut [u8], at: usize) {
        let (value, mask) = (&self.value[16 - N..], &self.mask[16 - N..]);
        for (i, byte) in frame[at..at + N].iter_mut().enumerate() {
            *byte = (*byte & !mask[i]) | value[i];
        }
    }

    /// As [`Self::write`], of whole words; what changed for the checksum.
    fn write_covered<const N: usize>(&self, frame: &mut [u8], at: usize) -> Change {
        let mut old = [0; N];
        old.copy_from_slice(&frame[at..at + N]);
        self.write::<N>(frame, at);
        Change::of(&old, &frame[at..at + N])
    }

    /// Writes the last byte into the word at `at`, `shift` bits from its end; what changed.
    fn write_word(&self, frame: &mut [u8], at: usize, shift: u32) -> Change {
        let (value, mask) = (u16::from(self.value[15]), u16::from(self.mask[15]));
        let old = [frame[at], frame[at + 1]];
        let new = (u16::from_be_bytes(old) & !(mask << shift)) | (value << shift);
        frame[at..at + 2].copy_from_slice(&new.to_be_bytes());
        Change::of(&old, &new.to_be_bytes())
    }
}

/// Kind of the first link-layer address option, and where its address is.
fn first_address_option(options: &[u8]) -> Option<(u8, usize)> {
    let mut at = 0;
    // Ends: each option but one of length 0, which ends it, moves on.
    while let Some([kind, units, ..]) = options.get(at..at + 8) {
        match (*kind, *units) {
            (_, 0) => return None,
            (1 | 2, 1) => return Some((*kind, at + 2)),
            (_, units) => at += usize::from(units) * 8,
        }
    }
    None
}

fn update_transport(change: Change, frame: &mut [u8], layout: &Layout) {
    if layout.checksum == 0 {
        return;
    }
    let at = usize::from(layout.checksum);
    if layout.transport == Transport::Udp {
        change.update_udp(frame, at);
    } else {
        change.update(frame, at);
    }
}
