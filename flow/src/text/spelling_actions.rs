//! Spells actions, in the form of `ovs-ofctl dump-flows`.

use super::spelling::{ipv4_text, ipv6_text, mac_text, port_text, prefix_text};
use crate::action::{Action, OutPort};
use crate::check::Prerequisite;
use crate::field::Field;
use crate::key::MaskedKey;
use crate::port::{PortNo, PortTable};

/// Spells the actions of a rule or flow; its match decides what fields are called.
#[derive(Clone, Copy, Debug)]
pub(super) struct ActionSpeller<'a> {
    pub(super) matching: &'a MaskedKey,
    pub(super) names: Option<&'a PortTable>,
}

impl ActionSpeller<'_> {
    /// The action, as one item or several.
    pub(super) fn action(&self, action: &Action, items: &mut Vec<String>) {
        match action {
            Action::Output(OutPort::Number(port)) => items.push(self.output(*port)),
            Action::Output(OutPort::InPort) => items.push("IN_PORT".to_owned()),
            Action::Output(OutPort::All) => items.push("ALL".to_owned()),
            Action::Output(OutPort::Flood) => items.push("FLOOD".to_owned()),
            Action::Output(OutPort::Controller { max_len }) => items.push(controller(*max_len)),
            Action::SetField { field, value, mask } => {
                self.set_field(*field, (*value, *mask), items);
            }
            Action::PushVlan(tpid) => items.push(push_vlan(*tpid)),
            Action::PopVlan => items.push("pop_vlan".to_owned()),
            Action::DecTtl => items.push("dec_ttl".to_owned()),
        }
    }

    /// `output:PORT`.
    pub(super) fn output(&self, port: PortNo) -> String {
        format!("output:{}", port_text(port, self.names))
    }

    /// `set_field:VALUE[/MASK]->FIELD`; fields that text knows only in parts become several items.
    pub(super) fn set_field(
        &self,
        field: Field,
        (value, mask): (u128, u128),
        items: &mut Vec<String>,
    ) {
        match field {
            Field::VlanTci => tag(value, mask, items),
            Field::IpTos => {
                if mask & 0xfc != 0 {
                    items.push(number("ip_dscp", (value >> 2, mask >> 2), 0x3f));
                }
                if mask & 3 != 0 {
                    items.push(number("nw_ecn", (value & 3, mask & 3), 3));
                }
            }
            Field::Qfi => items.push(number("tun_qfi", (value & 0x3f, mask & 0x3f), 0x3f)),
            Field::EthSrc | Field::EthDst | Field::ArpSha | Field::ArpTha => {
                let full = mask == field.full_mask();
                let mask = if full { String::new() } else { format!("/{}", mac_text(mask)) };
                items.push(format!("set_field:{}{mask}->{}", mac_text(value), self.name(field)));
            }
            Field::IpSrc | Field::IpDst | Field::NdTarget | Field::TunSrc | Field::TunDst => {
                items.push(format!("set_field:{}", self.address(field, value, mask)));
            }
            Field::L4Src | Field::L4Dst if self.is_icmp() => {
                items.push(number(self.name(field), (value & 0xff, mask & 0xff), 0xff));
            }
            _ => items.push(number(self.name(field), (value, mask), field.full_mask())),
        }
    }

    fn is_icmp(&self) -> bool {
        Prerequisite::Icmp.holds(self.matching) || Prerequisite::Icmpv6.holds(self.matching)
    }

    fn address(&self, field: Field, value: u128, mask: u128) -> String {
        let tunnel = matches!(field, Field::TunSrc | Field::TunDst);
        let v6 = field == Field::NdTarget || !tunnel && Prerequisite::Ipv6.holds(self.matching);
        let text = if v6 {
            ipv6_text(value) + &prefix_text(mask, 128, ipv6_text)
        } else {
            ipv4_text(value) + &prefix_text(mask & 0xffff_ffff, 32, ipv4_text)
        };
        format!("{text}->{}", self.name(field))
    }

    /// What `ovs-ofctl` calls a field that is set, under this match.
    fn name(&self, field: Field) -> &'static str {
        let is = |needed: Prerequisite| needed.holds(self.matching);
        let family = |v4: &'static str, v6: &'static str, arp: &'static str| {
            if is(Prerequisite::Ipv6) {
                v6
            } else if is(Prerequisite::Arp) {
                arp
            } else {
                v4
            }
        };
        let transport = |[tcp, udp, sctp, icmp, icmpv6]: [&'static str; 5]| {
            if is(Prerequisite::Udp) {
                udp
            } else if is(Prerequisite::Sctp) {
                sctp
            } else if is(Prerequisite::Icmp) {
                icmp
            } else if is(Prerequisite::Icmpv6) {
                icmpv6
            } else {
                tcp
            }
        };
        match field {
            Field::IpSrc => family("ip_src", "ipv6_src", "arp_spa"),
            Field::IpDst => family("ip_dst", "ipv6_dst", "arp_tpa"),
            Field::IpProto => "arp_op",
            Field::ArpSha if is(Prerequisite::NdSolicit) => "nd_sll",
            Field::ArpTha if is(Prerequisite::NdAdvert) => "nd_tll",
            Field::L4Src => {
                transport(["tcp_src", "udp_src", "sctp_src", "icmp_type", "icmpv6_type"])
            }
            Field::L4Dst => {
                transport(["tcp_dst", "udp_dst", "sctp_dst", "icmp_code", "icmpv6_code"])
            }
            _ => field.spec().name,
        }
    }
}

/// `CONTROLLER:LENGTH`.
pub(super) fn controller(max_len: u16) -> String {
    format!("CONTROLLER:{max_len}")
}

/// `push_vlan:TPID`.
pub(super) fn push_vlan(tpid: u16) -> String {
    format!("push_vlan:{tpid:#06x}")
}

fn number(name: &str, (value, mask): (u128, u128), full: u128) -> String {
    if mask == full {
        format!("set_field:{value}->{name}")
    } else {
        format!("set_field:{value:#x}/{mask:#x}->{name}")
    }
}

/// Sets of a tag: the present bit is written as `ovs-ofctl` demands, and is no bit of the frame.
fn tag(value: u128, mask: u128, items: &mut Vec<String>) {
    match mask & 0xefff {
        0x0fff => items.push(format!("set_field:{}->vlan_vid", value & 0xfff | 0x1000)),
        0xe000 => items.push(format!("set_field:{}->vlan_pcp", value >> 13)),
        0xefff => items.push(format!("set_field:{:#06x}->vlan_tci", value | 0x1000)),
        bits if bits & 0xe000 == 0 => items.push(number("vlan_vid", (value & bits, bits), 0x1fff)),
        bits => items.push(format!("set_field:{:#06x}/{bits:#06x}->vlan_tci", value & bits)),
    }
}
