//! Spells the fields of a match, in the order of `ovs-ofctl dump-flows`.

use super::fields::SHORTHANDS;
use super::values::{FRAGMENTS, TCP_FLAGS};
use crate::check::{Prerequisite, eth_type};
use crate::field::Field;
use crate::key::MaskedKey;
use crate::port::{PortNo, PortTable};
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Spells one match into a list of items.
#[derive(Debug)]
pub(super) struct Speller<'a> {
    matching: &'a MaskedKey,
    names: Option<&'a PortTable>,
    items: Vec<String>,
}

/// The items of a match; `metadata` is value and mask.
pub(super) fn spell(
    matching: &MaskedKey,
    metadata: (u64, u64),
    names: Option<&PortTable>,
) -> Vec<String> {
    let mut speller = Speller { matching, names, items: Vec::new() };
    speller.protocol();
    speller.tunnel();
    if metadata.1 != 0 {
        let bits = (u128::from(metadata.0), u128::from(metadata.1));
        speller.number("metadata", bits, u64::MAX.into());
    }
    speller.link();
    speller.network();
    speller.transport();
    speller.items
}

/// A port as rules write it: by number, or by name if there are names.
pub(super) fn port_text(port: PortNo, names: Option<&PortTable>) -> String {
    let Some(found) = names.and_then(|names| names.find(port)) else {
        return port.0.to_string();
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let bare = found.name.starts_with(|c: char| c.is_ascii_alphabetic());
    if bare && found.name.chars().all(plain) {
        found.name.clone()
    } else {
        format!("{:?}", found.name)
    }
}

/// `aa:bb:cc:dd:ee:ff`.
pub(super) fn mac_text(bits: u128) -> String {
    let bytes = bits.to_be_bytes();
    let parts: Vec<_> = bytes[10..].iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":")
}

/// An IPv4 address in the low 32 bits.
pub(super) fn ipv4_text(bits: u128) -> String {
    Ipv4Addr::from(u32::try_from(bits & 0xffff_ffff).expect("cut to 32 bits")).to_string()
}

/// An IPv6 address.
pub(super) fn ipv6_text(bits: u128) -> String {
    Ipv6Addr::from(bits).to_string()
}

/// `/LENGTH`, `/MASK` or nothing for a mask of `width` bits.
pub(super) fn prefix_text(mask: u128, width: u32, spell: fn(u128) -> String) -> String {
    let length = mask.count_ones();
    if length == width {
        String::new()
    } else if length > 0 && mask.trailing_zeros() == width - length {
        format!("/{length}")
    } else {
        format!("/{}", spell(mask))
    }
}

impl Speller<'_> {
    fn bits(&self, field: Field) -> (u128, u128) {
        (self.matching.value.get(field), self.matching.mask.get(field))
    }

    fn exact(&self, field: Field) -> Option<u128> {
        let (value, mask) = self.bits(field);
        (mask == field.full_mask()).then_some(value)
    }

    fn is(&self, needed: Prerequisite) -> bool {
        needed.holds(self.matching)
    }

    fn put(&mut self, name: &str, text: &str) {
        self.items.push(format!("{name}={text}"));
    }

    /// Hexadecimal, with the mask unless it is `full`.
    fn number(&mut self, name: &str, (value, mask): (u128, u128), full: u128) {
        match mask {
            0 => {}
            _ if mask == full => self.put(name, &format!("{value:#x}")),
            _ => self.put(name, &format!("{value:#x}/{mask:#x}")),
        }
    }

    /// Decimal when exact, else hexadecimal with the mask.
    fn decimal(&mut self, name: &str, (value, mask): (u128, u128), full: u128) {
        match mask {
            _ if mask == full => self.put(name, &value.to_string()),
            _ => self.number(name, (value, mask), full),
        }
    }

    fn protocol(&mut self) {
        let Some(eth) = self.exact(Field::EthType) else { return };
        let is_ip = matches!(eth, eth_type::IPV4 | eth_type::IPV6);
        let proto = self.exact(Field::IpProto).filter(|_| is_ip);
        let find = |wanted: Option<u128>| {
            SHORTHANDS.iter().find(|(_, word_eth, word)| *word_eth == eth && *word == wanted)
        };
        let word = proto.and_then(|proto| find(Some(proto))).or_else(|| find(None));
        if let Some((name, ..)) = word {
            self.items.push((*name).to_owned());
        }
    }

    /// Whether the protocol word already says the IP protocol.
    fn protocol_is_said(&self) -> bool {
        Prerequisite::Layer4.holds(&self.without_fragments())
    }

    /// The match as if no fragment bit were compared.
    fn without_fragments(&self) -> MaskedKey {
        let mut matching = *self.matching;
        matching.value.set(Field::IpFrag, 0);
        matching
    }

    fn tunnel(&mut self) {
        self.number("tun_id", self.bits(Field::TunId), Field::TunId.full_mask());
        for (name, field) in [("tun_src", Field::TunSrc), ("tun_dst", Field::TunDst)] {
            let (value, mask) = self.bits(field);
            if mask != 0 {
                let text = ipv4_text(value) + &prefix_text(mask, 32, ipv4_text);
                self.put(name, &text);
            }
        }
        match self.bits(Field::Qfi) {
            (value, 0xbf | 0xff) if value & 0x80 != 0 => {
                self.put("tun_qfi", &(value & 0x3f).to_string());
            }
            bits => self.number("tun_qfi", bits, 0x100),
        }
    }

    fn link(&mut self) {
        match self.bits(Field::InPort) {
            (_, 0) => {}
            (value, 0xffff) => {
                let port = PortNo(u16::try_from(value).expect("a 16-bit field"));
                let text = port_text(port, self.names);
                self.put("in_port", &text);
            }
            bits => self.number("in_port", bits, 0xffff),
        }
        self.tag();
        for (name, field) in [("dl_src", Field::EthSrc), ("dl_dst", Field::EthDst)] {
            self.mac(name, field);
        }
        let (eth, mask) = self.bits(Field::EthType);
        let said = SHORTHANDS.iter().any(|(_, word_eth, _)| *word_eth == eth);
        if mask == 0xffff && !said {
            self.put("dl_type", &format!("{eth:#06x}"));
        } else if mask != 0xffff {
            self.number("dl_type", (eth, mask), 0xffff);
        }
    }

    fn tag(&mut self) {
        let (value, mask) = self.bits(Field::VlanTci);
        match mask {
            0 => {}
            0x1fff | 0xf000 | 0xffff if value & 0x1000 != 0 => {
                if mask & 0xfff != 0 {
                    self.put("dl_vlan", &(value & 0xfff).to_string());
                }
                if mask & 0xe000 != 0 {
                    self.put("dl_vlan_pcp", &(value >> 13).to_string());
                }
            }
            _ if value == 0 && mask & 0x1000 != 0 => self.put("vlan_tci", "0x0000/0x1000"),
            _ => self.put("vlan_tci", &format!("{value:#06x}/{mask:#06x}")),
        }
        for field in [Field::InnerVlanTci, Field::InnerVlanTpid] {
            let (value, mask) = self.bits(field);
            if mask != 0 {
                self.put(field.spec().name, &format!("{value:#06x}/{mask:#06x}"));
            }
        }
    }

    fn mac(&mut self, name: &str, field: Field) {
        let (value, mask) = self.bits(field);
        let text = match mask {
            0 => return,
            _ if mask == field.full_mask() => mac_text(value),
            _ => format!("{}/{}", mac_text(value), mac_text(mask)),
        };
        self.put(name, &text);
    }

    fn addresses(&mut self, names: [&str; 2]) {
        for (name, field) in names.into_iter().zip([Field::IpSrc, Field::IpDst]) {
            let (value, mask) = self.bits(field);
            let v6 = self.is(Prerequisite::Ipv6) || mask >> 32 != 0 && !self.is_v4();
            let text = match mask {
                0 => continue,
                _ if v6 => ipv6_text(value) + &prefix_text(mask, 128, ipv6_text),
                _ => ipv4_text(value) + &prefix_text(mask & 0xffff_ffff, 32, ipv4_text),
            };
            self.put(name, &text);
        }
    }

    fn is_v4(&self) -> bool {
        self.is(Prerequisite::Ipv4OrArp)
    }

    fn network(&mut self) {
        let arp = self.is(Prerequisite::Arp);
        if arp {
            self.addresses(["arp_spa", "arp_tpa"]);
        } else if self.is(Prerequisite::Ipv6) {
            self.addresses(["ipv6_src", "ipv6_dst"]);
        } else {
            self.addresses(["nw_src", "nw_dst"]);
        }
        let (label, mask) = self.bits(Field::FlowLabel);
        match mask {
            0 => {}
            0xfffff => self.put("ipv6_label", &format!("{label:#07x}")),
            _ => self.put("ipv6_label", &format!("{label:#07x}/{mask:#07x}")),
        }
        if !self.protocol_is_said() {
            let name = if arp { "arp_op" } else { "nw_proto" };
            self.decimal(name, self.bits(Field::IpProto), 0xff);
        }
        if arp {
            self.mac("arp_sha", Field::ArpSha);
            self.mac("arp_tha", Field::ArpTha);
        }
        let (tos, mask) = self.bits(Field::IpTos);
        self.decimal("nw_tos", (tos & 0xfc, mask & 0xfc), 0xfc);
        self.decimal("nw_ecn", (tos & 3, mask & 3), 3);
        self.decimal("nw_ttl", self.bits(Field::IpTtl), 0xff);
        self.mpls();
        self.fragment();
    }

    fn mpls(&mut self) {
        let (value, mask) = self.bits(Field::MplsLse);
        let parts = [
            ("mpls_label", 12, 0xfffff),
            ("mpls_tc", 9, 7),
            ("mpls_ttl", 0, 0xff),
            ("mpls_bos", 8, 1),
        ];
        for (name, shift, full) in parts {
            self.decimal(name, ((value >> shift) & full, (mask >> shift) & full), full);
        }
    }

    fn fragment(&mut self) {
        let (value, mask) = self.bits(Field::IpFrag);
        let word = FRAGMENTS.iter().find(|(_, v, m)| (*v, *m) == (value, mask));
        match (word, mask) {
            (_, 0) => {}
            (Some((name, ..)), _) => self.put("nw_frag", name),
            // A packet that is no fragment is no later fragment either.
            (None, 1) => self.put("nw_frag", "no"),
            (None, _) => self.put("nw_frag", "later"),
        }
    }

    fn transport(&mut self) {
        let icmp = self.is(Prerequisite::Icmp) || self.is(Prerequisite::Icmpv6);
        let (names, full) =
            if icmp { (["icmp_type", "icmp_code"], 0xff) } else { (["tp_src", "tp_dst"], 0xffff) };
        for (name, field) in names.into_iter().zip([Field::L4Src, Field::L4Dst]) {
            let (value, mask) = self.bits(field);
            let exact = mask & full == full;
            self.decimal(name, (value, if exact { full } else { mask }), full);
        }
        let (target, mask) = self.bits(Field::NdTarget);
        if mask != 0 {
            let text = ipv6_text(target) + &prefix_text(mask, 128, ipv6_text);
            self.put("nd_target", &text);
        }
        if !self.is(Prerequisite::Arp) {
            self.mac("nd_sll", Field::ArpSha);
            self.mac("nd_tll", Field::ArpTha);
        }
        let (flags, mask) = self.bits(Field::TcpFlags);
        if mask != 0 {
            let text = flags_text(flags, mask);
            self.put("tcp_flags", &text);
        }
    }
}

/// `syn|ack` for all flags compared, `+syn-ack` for some.
fn flags_text(flags: u128, mask: u128) -> String {
    if mask == 0xfff {
        let set: Vec<_> = names_of(flags).collect();
        return if set.is_empty() { "0".to_owned() } else { set.join("|") };
    }
    let mut text = String::new();
    for name in names_of(mask) {
        let sign = if names_of(flags).any(|set| set == name) { '+' } else { '-' };
        write!(text, "{sign}{name}").expect("writing to a string succeeds");
    }
    text
}

fn names_of(bits: u128) -> impl Iterator<Item = &'static str> {
    TCP_FLAGS.into_iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 != 0).map(|(_, n)| n)
}
