//! The words of matches and set-fields, and what each means in the key.

use super::values::{self, Masked};
use crate::check::{Prerequisite as P, eth_type};
use crate::field::Field;

/// How a field's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A number, with an optional mask.
    Number,
    /// A number; no mask.
    Exact,
    /// A MAC address.
    Mac,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A fragment word.
    Fragment,
    /// TCP flags.
    TcpFlags,
    /// A port number or name.
    Port,
    /// `dl_vlan`: a vid, or 0xffff for no tag.
    Vid,
    /// `nw_tos`: a multiple of 4.
    Tos,
    /// 64 bits of pipeline metadata, which are not in the key.
    Metadata,
}

/// A field word.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldWord {
    /// The word.
    pub(super) name: &'static str,
    /// Where the value goes.
    pub(super) field: Field,
    /// Significant bits of the value as written.
    pub(super) bits: u32,
    /// Place of the value's lowest bit in the field.
    pub(super) shift: u32,
    /// Bits of the field that come with the value: present bits of tags and QFIs.
    pub(super) with: u128,
    /// How it is written.
    pub(super) form: Form,
    /// What a match on it needs.
    pub(super) needs: P,
    /// What a set-field of it needs; `None`: read-only.
    pub(super) set: Option<P>,
}

const fn word(name: &'static str, field: Field, form: Form, needs: P, set: Option<P>) -> FieldWord {
    FieldWord { name, field, bits: field.spec().bits, shift: 0, with: 0, form, needs, set }
}

const fn part(word: FieldWord, bits: u32, shift: u32, with: u128) -> FieldWord {
    FieldWord { bits, shift, with, ..word }
}

use Form::{Exact, Ipv4, Ipv6, Mac, Number};

/// All field words; of aliases the one that is printed comes first.
pub(super) const FIELD_WORDS: [FieldWord; 59] = [
    word("in_port", Field::InPort, Form::Port, P::Nothing, None),
    word("dl_src", Field::EthSrc, Mac, P::Nothing, Some(P::Nothing)),
    word("eth_src", Field::EthSrc, Mac, P::Nothing, Some(P::Nothing)),
    word("dl_dst", Field::EthDst, Mac, P::Nothing, Some(P::Nothing)),
    word("eth_dst", Field::EthDst, Mac, P::Nothing, Some(P::Nothing)),
    word("dl_type", Field::EthType, Exact, P::Nothing, None),
    word("eth_type", Field::EthType, Exact, P::Nothing, None),
    word("vlan_tci", Field::VlanTci, Number, P::Nothing, Some(P::Nothing)),
    part(word("dl_vlan", Field::VlanTci, Form::Vid, P::Nothing, None), 12, 0, 0x1000),
    part(word("vlan_vid", Field::VlanTci, Number, P::Nothing, Some(P::Vlan)), 13, 0, 0),
    part(word("dl_vlan_pcp", Field::VlanTci, Exact, P::Nothing, None), 3, 13, 0x1000),
    part(word("vlan_pcp", Field::VlanTci, Exact, P::Nothing, Some(P::Vlan)), 3, 13, 0x1000),
    part(word("nw_src", Field::IpSrc, Ipv4, P::Ipv4OrArp, Some(P::Ipv4)), 32, 0, 0),
    part(word("ip_src", Field::IpSrc, Ipv4, P::Ipv4OrArp, Some(P::Ipv4)), 32, 0, 0),
    part(word("arp_spa", Field::IpSrc, Ipv4, P::Ipv4OrArp, Some(P::Arp)), 32, 0, 0),
    part(word("nw_dst", Field::IpDst, Ipv4, P::Ipv4OrArp, Some(P::Ipv4)), 32, 0, 0),
    part(word("ip_dst", Field::IpDst, Ipv4, P::Ipv4OrArp, Some(P::Ipv4)), 32, 0, 0),
    part(word("arp_tpa", Field::IpDst, Ipv4, P::Ipv4OrArp, Some(P::Arp)), 32, 0, 0),
    word("ipv6_src", Field::IpSrc, Ipv6, P::Ipv6, Some(P::Ipv6)),
    word("ipv6_dst", Field::IpDst, Ipv6, P::Ipv6, Some(P::Ipv6)),
    word("nw_proto", Field::IpProto, Exact, P::IpOrArp, None),
    word("ip_proto", Field::IpProto, Exact, P::IpOrArp, None),
    word("arp_op", Field::IpProto, Exact, P::IpOrArp, Some(P::Arp)),
    word("nw_tos", Field::IpTos, Form::Tos, P::Ip, Some(P::Ip)),
    part(word("ip_dscp", Field::IpTos, Exact, P::Ip, Some(P::Ip)), 6, 2, 0),
    part(word("nw_ecn", Field::IpTos, Exact, P::Ip, Some(P::Ip)), 2, 0, 0),
    part(word("ip_ecn", Field::IpTos, Exact, P::Ip, Some(P::Ip)), 2, 0, 0),
    word("nw_ttl", Field::IpTtl, Exact, P::Ip, Some(P::Ip)),
    word("nw_frag", Field::IpFrag, Form::Fragment, P::Ip, None),
    word("ip_frag", Field::IpFrag, Form::Fragment, P::Ip, None),
    word("tp_src", Field::L4Src, Number, P::Layer4, Some(P::Tcp)),
    word("tcp_src", Field::L4Src, Number, P::Layer4, Some(P::Tcp)),
    word("udp_src", Field::L4Src, Number, P::Layer4, Some(P::Udp)),
    word("sctp_src", Field::L4Src, Number, P::Layer4, Some(P::Sctp)),
    word("tp_dst", Field::L4Dst, Number, P::Layer4, Some(P::Tcp)),
    word("tcp_dst", Field::L4Dst, Number, P::Layer4, Some(P::Tcp)),
    word("udp_dst", Field::L4Dst, Number, P::Layer4, Some(P::Udp)),
    word("sctp_dst", Field::L4Dst, Number, P::Layer4, Some(P::Sctp)),
    part(word("icmp_type", Field::L4Src, Exact, P::Layer4, Some(P::Icmp)), 8, 0, 0),
    part(word("icmp_code", Field::L4Dst, Exact, P::Layer4, Some(P::Icmp)), 8, 0, 0),
    part(word("icmpv6_type", Field::L4Src, Exact, P::Layer4, Some(P::Icmpv6)), 8, 0, 0),
    part(word("icmpv6_code", Field::L4Dst, Exact, P::Layer4, Some(P::Icmpv6)), 8, 0, 0),
    word("tcp_flags", Field::TcpFlags, Form::TcpFlags, P::Tcp, None),
    word("nd_target", Field::NdTarget, Ipv6, P::Nd, Some(P::Nd)),
    word("nd_sll", Field::ArpSha, Mac, P::NdSolicit, Some(P::NdSolicit)),
    word("nd_tll", Field::ArpTha, Mac, P::NdAdvert, Some(P::NdAdvert)),
    word("arp_sha", Field::ArpSha, Mac, P::Arp, Some(P::Arp)),
    word("arp_tha", Field::ArpTha, Mac, P::Arp, Some(P::Arp)),
    word("ipv6_label", Field::FlowLabel, Number, P::Ipv6, Some(P::Ipv6)),
    part(word("mpls_label", Field::MplsLse, Exact, P::Mpls, None), 20, 12, 0),
    part(word("mpls_tc", Field::MplsLse, Exact, P::Mpls, None), 3, 9, 0),
    part(word("mpls_bos", Field::MplsLse, Exact, P::Mpls, None), 1, 8, 0),
    part(word("mpls_ttl", Field::MplsLse, Exact, P::Mpls, None), 8, 0, 0),
    word("tun_id", Field::TunId, Number, P::Nothing, Some(P::Nothing)),
    word("tunnel_id", Field::TunId, Number, P::Nothing, Some(P::Nothing)),
    word("tun_src", Field::TunSrc, Ipv4, P::Nothing, None),
    word("tun_dst", Field::TunDst, Ipv4, P::Nothing, Some(P::Nothing)),
    part(word("tun_qfi", Field::Qfi, Exact, P::Nothing, Some(P::Nothing)), 6, 0, 0x80),
    part(word("metadata", Field::InPort, Form::Metadata, P::Nothing, None), 64, 0, 0),
];

/// Words that stand for an Ethertype and perhaps an IP protocol.
pub(super) const SHORTHANDS: [(&str, u128, Option<u128>); 17] = [
    ("ip", eth_type::IPV4, None),
    ("ipv4", eth_type::IPV4, None),
    ("ip4", eth_type::IPV4, None),
    ("ipv6", eth_type::IPV6, None),
    ("ip6", eth_type::IPV6, None),
    ("arp", eth_type::ARP, None),
    ("rarp", eth_type::RARP, None),
    ("icmp", eth_type::IPV4, Some(1)),
    ("tcp", eth_type::IPV4, Some(6)),
    ("udp", eth_type::IPV4, Some(17)),
    ("sctp", eth_type::IPV4, Some(132)),
    ("icmp6", eth_type::IPV6, Some(58)),
    ("tcp6", eth_type::IPV6, Some(6)),
    ("udp6", eth_type::IPV6, Some(17)),
    ("sctp6", eth_type::IPV6, Some(132)),
    ("mpls", eth_type::MPLS, None),
    ("mplsm", eth_type::MPLS_MULTICAST, None),
];

/// Field words of `ovs-ofctl` that are not implemented.
pub(super) const FIELDS_NOT_YET: [&str; 23] = [
    "ct_state",
    "ct_zone",
    "ct_mark",
    "ct_label",
    "ct_nw_src",
    "ct_nw_dst",
    "ct_nw_proto",
    "ct_tp_src",
    "ct_tp_dst",
    "ct_ipv6_src",
    "ct_ipv6_dst",
    "pkt_mark",
    "skb_priority",
    "conj_id",
    "dp_hash",
    "recirc_id",
    "actset_output",
    "tun_flags",
    "tun_ipv6_src",
    "tun_ipv6_dst",
    "tun_gbp_id",
    "tun_gbp_flags",
    "packet_type",
];

/// The field word of that name.
pub(super) fn find(name: &str) -> Option<&'static FieldWord> {
    FIELD_WORDS.iter().find(|word| word.name == name)
}

/// Whether `name` is a field of `ovs-ofctl` that is not implemented.
pub(super) fn is_not_yet(name: &str) -> bool {
    let numbered = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|digits| {
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    FIELDS_NOT_YET.contains(&name)
        || name.starts_with("nsh_")
        || ["reg", "xreg", "xxreg", "tun_metadata"].into_iter().any(numbered)
}

impl FieldWord {
    /// The value mask, as written.
    pub(super) const fn full(&self) -> u128 {
        if self.bits == 128 { u128::MAX } else { (1 << self.bits) - 1 }
    }

    /// The bits of the field that this word speaks of.
    pub(super) const fn scope(&self) -> u128 {
        match self.form {
            Form::Tos => 0xfc,
            _ => (self.full() << self.shift) | self.with | self.always_zero(),
        }
    }

    /// ICMP types and codes are compared whole although they are eight bits of a 16-bit field.
    const fn always_zero(&self) -> u128 {
        match self.field {
            Field::L4Src | Field::L4Dst if self.bits == 8 => 0xff00,
            _ => 0,
        }
    }

    /// Reads a value and mask, as bits of the field. Ports are not read here.
    pub(super) fn read(&self, text: &str) -> Option<Masked> {
        if text == "*" {
            return Some((0, 0));
        }
        let full = self.full();
        let (value, mask) = match self.form {
            Number | Form::Metadata => values::masked_number(text, full)?,
            Exact | Form::Port | Form::Vid => (values::number_within(text, full)?, full),
            Mac => values::mac(text)?,
            Ipv4 => values::ipv4(text)?,
            Ipv6 => values::ipv6(text)?,
            Form::Fragment => values::fragment(text)?,
            Form::TcpFlags => values::tcp_flags(text)?,
            // Open vSwitch cuts the two ECN bits off.
            Form::Tos => (values::number_within(text, 0xff)? & 0xfc, 0xfc),
        };
        let with_mask = self.with | self.always_zero();
        Some(((value << self.shift) | self.with, (mask << self.shift) | with_mask))
    }

    /// What a value has to be, in words.
    pub(super) fn expected(&self) -> String {
        let full = self.full();
        match self.form {
            Number | Form::Metadata => format!("a number from 0 to {full}, or VALUE/MASK"),
            Exact => format!("a number from 0 to {full}"),
            Mac => "a MAC address aa:bb:cc:dd:ee:ff, or ADDRESS/MASK".to_owned(),
            Ipv4 => "an IPv4 address a.b.c.d, or ADDRESS/LENGTH or ADDRESS/MASK".to_owned(),
            Ipv6 => "an IPv6 address, or ADDRESS/LENGTH or ADDRESS/MASK".to_owned(),
            Form::Fragment => "no, yes, first, later or not_later".to_owned(),
            Form::TcpFlags => {
                "flags as +syn-ack or syn|ack, or a number from 0 to 0xfff".to_owned()
            }
            Form::Port => "a port number or name".to_owned(),
            Form::Vid => "a VLAN id from 0 to 4095, or 0xffff for no tag".to_owned(),
            Form::Tos => "a multiple of 4 from 0 to 252".to_owned(),
        }
    }
}
