//! A rewrite in the making: which bytes of a packet's first line are written, and with what.

use super::edit::Set;
use super::rewrite::{Cover, LINE, native};
use twinpath_flow::field::Field;
use twinpath_flow::parse::{Layout, Network, Transport};

/// Masked bytes in the making.
pub(super) struct Draft {
    pub(super) mask: [u8; LINE],
    pub(super) value: [u8; LINE],
    pub(super) ttl: Ttl,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ttl {
    Less(u8),
    Set(u8),
}

impl Ttl {
    pub(super) fn decremented(self) -> Self {
        match self {
            Self::Less(count) => Self::Less(count.saturating_add(1)),
            Self::Set(ttl) => Self::Set(ttl.saturating_sub(1)),
        }
    }
}

impl Draft {
    /// Adds a set; nothing where the packet has no such header.
    pub(super) fn set(&mut self, set: &Set, layout: &Layout) -> Option<()> {
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
    pub(super) fn write(&mut self, at: usize, value: &[u8], mask: &[u8]) -> Option<()> {
        let masks = self.mask.get_mut(at..at + mask.len())?;
        masks.iter_mut().zip(mask).for_each(|(byte, mask)| *byte |= mask);
        let values = &mut self.value[at..at + mask.len()];
        for ((byte, value), mask) in values.iter_mut().zip(value).zip(mask) {
            *byte = (*byte & !mask) | (value & mask);
        }
        Some(())
    }

    /// The checksum at `at` over the bytes `covered`.
    pub(super) fn cover(&self, at: u16, covered: std::ops::Range<usize>) -> Cover {
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
