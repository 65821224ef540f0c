//! One [`Step`] on a packet: bytes, key and layout move together, as in Open vSwitch 3.1.
//!
//! - A field whose prerequisite the packet lacks (a port of a later fragment, say) is left alone.
//! - A header that is cut off, inconsistent or has `ip_proto` 0 is never written, but later tables see
//!   the new value: the key changes, the bytes do not.
//! - Checksums change by the difference (RFC 1624): a wrong one stays as wrong as it was. A UDP checksum
//!   of 0 stays 0, one that becomes 0 is sent as 0xffff (RFC 768).
//! - A push keeps all tags of the frame, also a third (Open vSwitch, whose flows hold two, loses one
//!   unless an earlier packet has made the flow).
//! - Ports of first fragments are written and never matched: in the key they are 0.
//! - A VLAN rewrite keeps the frame's DEI bit.

mod edit;
mod place;
#[cfg(test)]
mod tests;

use crate::field::Field;
use crate::frame::{checksum, ethernet, number, transport, word};
use crate::key::{Key, VLAN_PRESENT};
use crate::parse::{Layout, Network, Parsed, Transport};
use crate::steps::Step;
use place::{Cover, Place};

/// What steps set for the next tunnel output besides the tunnel id; what was received does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// [`Field::TunDst`].
    pub target: Option<u32>,
    /// [`Field::Qfi`], 6 bits.
    pub qfi: Option<u8>,
}

/// A packet on its way through a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The inner frame.
    pub bytes: Vec<u8>,
    /// Its key, as later tables match it.
    pub key: Key,
    /// Where the headers of `bytes` are; `strip` and `prepend` are 0, `tags` counts pushes too.
    pub layout: Layout,
    /// For tunnels.
    pub carried: Carried,
}

impl Packet {
    /// The inner frame of a received frame, ready to be edited.
    #[must_use]
    pub fn new(parsed: &Parsed, frame: &[u8]) -> Self {
        let layout = Layout { strip: 0, prepend: 0, ..parsed.layout };
        let bytes = parsed.raw_inner_frame(frame);
        let mut packet = Self { bytes, key: parsed.key, layout, carried: Carried::default() };
        // A congestion mark copied inwards is in the key and not yet in the bytes.
        let tos = packet.key.get(Field::IpTos);
        packet.write(Field::IpTos, tos, 0xff);
        packet
    }

    /// Executes a step; outputs change nothing.
    pub fn apply(&mut self, step: Step) {
        match step {
            Step::Set { field, value, mask } => {
                if is_settable(&self.key, field) {
                    // The present bit is no bit of the frame, which has DEI in its place.
                    let written = if field == Field::VlanTci { mask & 0xefff } else { mask };
                    self.write(field, value, written);
                    apply_to_key(&mut self.key, step);
                    self.carry(field);
                }
            }
            Step::PushVlan(tpid) => self.push_vlan(tpid),
            Step::PopVlan => self.pop_vlan(),
            Step::DecTtl => {
                let ttl = self.key.get(Field::IpTtl).saturating_sub(1);
                self.apply(Step::Set { field: Field::IpTtl, value: ttl, mask: 0xff });
            }
            Step::Output(_) | Step::Controller { .. } => {}
        }
    }

    /// Notes that a field was set which the next tunnel output needs.
    fn carry(&mut self, field: Field) {
        let value = self.key.get(field);
        match field {
            Field::TunDst => self.carried.target = u32::try_from(value).ok(),
            Field::Qfi => self.carried.qfi = u8::try_from(value & 0x3f).ok(),
            _ => {}
        }
    }

    fn push_vlan(&mut self, tpid: u16) {
        if self.bytes.len() < ethernet::HEADER_LEN {
            return;
        }
        let inner_tpid = word(&self.bytes, 12);
        let [high, low] = tpid.to_be_bytes();
        self.bytes.splice(12..12, [high, low, 0, 0]);
        apply_to_key(&mut self.key, Step::PushVlan(tpid));
        if self.layout.tags > 0 {
            self.key.set(Field::InnerVlanTpid, u128::from(inner_tpid));
        }
        self.layout.tags = self.layout.tags.saturating_add(1);
        self.shift(|at| at.saturating_add(4));
    }

    fn pop_vlan(&mut self) {
        // The key knows two tags: what a third push buried does not come back.
        if self.layout.tags == 0 || self.key.get(Field::VlanTci) == 0 {
            return;
        }
        self.bytes.drain(12..16);
        apply_to_key(&mut self.key, Step::PopVlan);
        self.layout.tags -= 1;
        self.shift(|at| at - 4);
    }

    fn shift(&mut self, by: impl Fn(u16) -> u16) {
        let Layout { l3, l4, end, checksum, .. } = &mut self.layout;
        for at in [l3, l4, end, checksum] {
            if *at != 0 {
                *at = by(*at);
            }
        }
    }

    /// Writes bits of a field into the bytes, if the header is there, and keeps checksums.
    fn write(&mut self, field: Field, value: u128, mask: u128) {
        let Some(place) = Place::find(field, &self.layout, &self.bytes) else { return };
        let mask = mask & place.bits;
        let range = place.at..place.at + place.len;
        let old = number(&self.bytes[range.clone()]);
        let new = (old & !(mask << place.shift)) | ((value & mask) << place.shift);
        if new == old {
            return;
        }
        let (old, new) = (old.to_be_bytes(), new.to_be_bytes());
        let (old, new) = (&old[16 - place.len..], &new[16 - place.len..]);
        if place.cover == Cover::Transport && self.layout.transport == Transport::Sctp {
            self.write_sctp(place.at, new);
            return;
        }
        self.bytes[range].copy_from_slice(new);
        if let Some(at) = place.header_checksum {
            update_checksum(&mut self.bytes, at, old, new);
        }
        let covering = match place.cover {
            Cover::Transport => self.layout.transport_checksum(),
            Cover::Addresses => (self.layout.checksum != 0).then_some(self.layout.checksum),
            Cover::Nothing => None,
        };
        let Some(at) = covering.map(usize::from) else { return };
        if !self.is_udp() {
            update_checksum(&mut self.bytes, at, old, new);
        } else if word(&self.bytes, at) != 0 {
            update_checksum(&mut self.bytes, at, old, new);
            let sent = checksum::nonzero(word(&self.bytes, at));
            self.bytes[at..at + 2].copy_from_slice(&sent.to_be_bytes());
        }
    }

    fn is_udp(&self) -> bool {
        self.layout.transport == Transport::Udp
    }

    /// SCTP's CRC covers no addresses, but all of the packet: the difference is made by computing it
    /// before and after.
    fn write_sctp(&mut self, at: usize, new: &[u8]) {
        let (start, end) = (usize::from(self.layout.l4), usize::from(self.layout.end));
        let field = start + transport::SCTP_CHECKSUM;
        let found = number(&self.bytes[field..field + 4]);
        self.bytes[field..field + 4].fill(0);
        let before = u128::from(checksum::crc32c(&self.bytes[start..end]));
        self.bytes[at..at + new.len()].copy_from_slice(new);
        let after = u128::from(checksum::crc32c(&self.bytes[start..end]));
        let crc = (found ^ before ^ after).to_be_bytes();
        self.bytes[field..field + 4].copy_from_slice(&crc[12..]);
    }
}

fn update_checksum(bytes: &mut [u8], at: usize, old: &[u8], new: &[u8]) {
    let updated = checksum::update(word(bytes, at), old, new);
    bytes[at..at + 2].copy_from_slice(&updated.to_be_bytes());
}

/// What a step does to the key that later tables match.
///
/// The type of a second tag that a push uncovers is not in the key: it is taken for 0x8100. No rule can
/// match it.
pub fn apply_to_key(key: &mut Key, step: Step) {
    match step {
        Step::Set { field: Field::L4Src | Field::L4Dst, .. } if key.get(Field::IpFrag) != 0 => {}
        Step::Set { field, value, mask } if is_settable(key, field) => {
            let mask = if field == Field::VlanTci { mask & 0xefff } else { mask };
            key.set(field, (key.get(field) & !mask) | (value & mask));
        }
        Step::PushVlan(_) => {
            let outer = key.get(Field::VlanTci);
            key.set(Field::InnerVlanTci, outer);
            let tpid = if outer == 0 { 0 } else { ethernet::TYPE_VLAN };
            key.set(Field::InnerVlanTpid, u128::from(tpid));
            key.set(Field::VlanTci, u128::from(VLAN_PRESENT));
        }
        Step::PopVlan => {
            key.set(Field::VlanTci, key.get(Field::InnerVlanTci));
            key.set(Field::InnerVlanTci, 0);
            key.set(Field::InnerVlanTpid, 0);
        }
        Step::DecTtl if is_settable(key, Field::IpTtl) => {
            key.set(Field::IpTtl, key.get(Field::IpTtl).saturating_sub(1));
        }
        Step::Set { .. } | Step::DecTtl | Step::Output(_) | Step::Controller { .. } => {}
    }
}

/// Whether a packet with this key has the field at all (the prerequisites of OpenFlow 1.3.5 §7.2.3.8):
/// only then does setting it do anything.
#[must_use]
pub fn is_settable(key: &Key, field: Field) -> bool {
    let ethertype = u16::try_from(key.get(Field::EthType)).unwrap_or(0);
    let is_v4 = ethertype == ethernet::TYPE_IPV4;
    let is_v6 = ethertype == ethernet::TYPE_IPV6;
    let is_arp = matches!(ethertype, ethernet::TYPE_ARP | ethernet::TYPE_RARP);
    let protocol = u8::try_from(key.get(Field::IpProto)).unwrap_or(0);
    let is_first = key.get(Field::IpFrag) & 2 == 0;
    let is_message = |kinds: &[u128]| {
        is_v6
            && is_first
            && protocol == transport::ICMPV6
            && kinds.contains(&key.get(Field::L4Src))
            && key.get(Field::L4Dst) == 0
    };
    let (solicit, advert) = (u128::from(transport::ND_SOLICIT), u128::from(transport::ND_ADVERT));
    match field {
        Field::EthDst | Field::EthSrc | Field::TunId | Field::TunDst | Field::TunSrc => true,
        Field::Qfi => true,
        Field::VlanTci => key.get(Field::VlanTci) != 0,
        Field::IpTos | Field::IpTtl => is_v4 || is_v6,
        Field::IpSrc | Field::IpDst => is_v4 || is_v6 || is_arp,
        Field::FlowLabel => is_v6,
        Field::IpProto => is_arp,
        Field::L4Src | Field::L4Dst => {
            let known = matches!(protocol, transport::TCP | transport::UDP | transport::SCTP)
                || (is_v4 && protocol == transport::ICMP)
                || (is_v6 && protocol == transport::ICMPV6);
            is_first && (is_v4 || is_v6) && known
        }
        Field::ArpSha => is_arp || is_message(&[solicit]),
        Field::ArpTha => is_arp || is_message(&[advert]),
        Field::NdTarget => is_message(&[solicit, advert]),
        Field::MplsLse => ethernet::TYPES_MPLS.contains(&ethertype),
        Field::InPort
        | Field::EthType
        | Field::IpFrag
        | Field::TcpFlags
        | Field::InnerVlanTci
        | Field::InnerVlanTpid => false,
    }
}

impl Layout {
    /// Offset of the transport header's own Internet checksum, if it has one.
    #[must_use]
    pub fn transport_checksum(&self) -> Option<u16> {
        let within = match self.transport {
            Transport::Tcp => 16,
            Transport::Udp => 6,
            Transport::Icmp | Transport::Icmpv6 => 2,
            Transport::Sctp | Transport::None => return None,
        };
        Some(self.l4 + within)
    }

    /// Whether the network header is IPv4 or IPv6 and may be edited.
    #[must_use]
    pub const fn is_ip(&self) -> bool {
        matches!(self.network, Network::Ipv4 | Network::Ipv6)
    }
}
