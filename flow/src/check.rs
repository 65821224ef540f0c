//! Prerequisites of fields, and whether the actions of a rule fit its match.
//!
//! Decided as Open vSwitch 3.1 does with `-O OpenFlow13`: a header may be written only where the
//! match (and the tags pushed before) guarantee that it is there.

use crate::action::Action;
use crate::field::Field;
use crate::key::{MaskedKey, VLAN_PRESENT};
use crate::rule::Rule;

/// Ethertypes that prerequisites speak of.
pub mod eth_type {
    /// IPv4.
    pub const IPV4: u128 = 0x0800;
    /// ARP.
    pub const ARP: u128 = 0x0806;
    /// Reverse ARP.
    pub const RARP: u128 = 0x8035;
    /// IPv6.
    pub const IPV6: u128 = 0x86dd;
    /// MPLS unicast.
    pub const MPLS: u128 = 0x8847;
    /// MPLS multicast.
    pub const MPLS_MULTICAST: u128 = 0x8848;
}

/// What a match must demand before a field means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prerequisite {
    /// Nothing.
    Nothing,
    /// A VLAN tag.
    Vlan,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// IPv4 or IPv6.
    Ip,
    /// ARP or RARP.
    Arp,
    /// IPv4, ARP or RARP.
    Ipv4OrArp,
    /// Any of these.
    IpOrArp,
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// UDP likewise.
    Udp,
    /// SCTP likewise.
    Sctp,
    /// ICMP over IPv4.
    Icmp,
    /// ICMPv6 over IPv6.
    Icmpv6,
    /// TCP, UDP or SCTP.
    Ports,
    /// Any of the five.
    Layer4,
    /// Neighbour solicitation or advertisement.
    Nd,
    /// Neighbour solicitation.
    NdSolicit,
    /// Neighbour advertisement.
    NdAdvert,
    /// MPLS.
    Mpls,
}

impl Prerequisite {
    /// How a rule would demand it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Vlan => "a VLAN tag (dl_vlan, or push_vlan before)",
            Self::Ipv4 => "ip",
            Self::Ipv6 => "ipv6",
            Self::Ip => "ip or ipv6",
            Self::Arp => "arp or rarp",
            Self::Ipv4OrArp => "ip, arp or rarp",
            Self::IpOrArp => "ip, ipv6, arp or rarp",
            Self::Tcp => "tcp or tcp6",
            Self::Udp => "udp or udp6",
            Self::Sctp => "sctp or sctp6",
            Self::Icmp => "icmp",
            Self::Icmpv6 => "icmp6",
            Self::Ports => "tcp, udp or sctp (or with 6)",
            Self::Layer4 => "tcp, udp, sctp (or with 6), icmp or icmp6",
            Self::Nd => "icmp6,icmp_type=135 or 136",
            Self::NdSolicit => "icmp6,icmp_type=135",
            Self::NdAdvert => "icmp6,icmp_type=136",
            Self::Mpls => "mpls or mplsm",
        }
    }

    /// Whether `matching` demands it. Layer 4 of later fragments does not exist.
    #[must_use]
    pub fn holds(self, matching: &MaskedKey) -> bool {
        let is = |field: Field, wanted: &[u128]| {
            matching.mask.get(field) == field.full_mask()
                && wanted.contains(&matching.value.get(field))
        };
        let eth = |wanted: &[u128]| is(Field::EthType, wanted);
        let ip = || eth(&[eth_type::IPV4, eth_type::IPV6]);
        let first = || matching.value.get(Field::IpFrag) & 2 == 0;
        let transport = |wanted: &[u128]| ip() && is(Field::IpProto, wanted) && first();
        let icmp = || eth(&[eth_type::IPV4]) && is(Field::IpProto, &[1]) && first();
        let icmpv6 = || eth(&[eth_type::IPV6]) && is(Field::IpProto, &[58]) && first();
        let nd = |kinds: &[u128]| {
            icmpv6() && is(Field::L4Src, kinds) && matching.value.get(Field::L4Dst) == 0
        };
        match self {
            Self::Nothing => true,
            Self::Vlan => demands_tag(matching),
            Self::Ipv4 => eth(&[eth_type::IPV4]),
            Self::Ipv6 => eth(&[eth_type::IPV6]),
            Self::Ip => ip(),
            Self::Arp => eth(&[eth_type::ARP, eth_type::RARP]),
            Self::Ipv4OrArp => eth(&[eth_type::IPV4, eth_type::ARP, eth_type::RARP]),
            Self::IpOrArp => ip() || Self::Arp.holds(matching),
            Self::Tcp => transport(&[6]),
            Self::Udp => transport(&[17]),
            Self::Sctp => transport(&[132]),
            Self::Icmp => icmp(),
            Self::Icmpv6 => icmpv6(),
            Self::Ports => transport(&[6, 17, 132]),
            Self::Layer4 => transport(&[6, 17, 132]) || icmp() || icmpv6(),
            Self::Nd => nd(&[135, 136]),
            Self::NdSolicit => nd(&[135]),
            Self::NdAdvert => nd(&[136]),
            Self::Mpls => eth(&[eth_type::MPLS, eth_type::MPLS_MULTICAST]),
        }
    }
}

fn demands_tag(matching: &MaskedKey) -> bool {
    matching.value.get(Field::VlanTci) & u128::from(VLAN_PRESENT) != 0
}

/// Any of these must hold before a set-field of `field`; `None`: it cannot be set.
fn prerequisites_of_set(field: Field) -> Option<&'static [Prerequisite]> {
    Some(match field {
        Field::EthDst | Field::EthSrc | Field::TunId | Field::TunDst | Field::Qfi => {
            &[Prerequisite::Nothing]
        }
        // Decided by the tags pushed and popped before, not by the match alone.
        Field::VlanTci => &[Prerequisite::Nothing],
        Field::IpProto => &[Prerequisite::Arp],
        Field::IpTos | Field::IpTtl => &[Prerequisite::Ip],
        Field::IpSrc | Field::IpDst => &[Prerequisite::IpOrArp],
        Field::L4Src | Field::L4Dst => &[Prerequisite::Layer4],
        Field::NdTarget => &[Prerequisite::Nd],
        Field::ArpSha => &[Prerequisite::Arp, Prerequisite::NdSolicit],
        Field::ArpTha => &[Prerequisite::Arp, Prerequisite::NdAdvert],
        Field::FlowLabel => &[Prerequisite::Ipv6],
        Field::InPort
        | Field::EthType
        | Field::IpFrag
        | Field::TcpFlags
        | Field::InnerVlanTci
        | Field::InnerVlanTpid
        | Field::TunSrc
        | Field::MplsLse => return None,
    })
}

/// Why a rule is refused although it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CheckError {
    /// An action whose header the match, and the actions before it, do not guarantee.
    #[error("{what} needs a match on {needs}")]
    MissingPrerequisite {
        /// The action, or the field set.
        what: &'static str,
        /// What the match lacks.
        needs: &'static str,
    },
    /// A field that no action can set.
    #[error("{field} cannot be set")]
    ReadOnly {
        /// Name of the field.
        field: &'static str,
    },
    /// A set of `vlan_tci` that would add or remove the tag.
    #[error("a set of vlan_tci must keep bit 0x1000; push_vlan and pop_vlan add and remove tags")]
    TagBySet,
    /// A tag pushed although two may already be there.
    #[error("push_vlan would make a third VLAN tag")]
    TooManyTags,
    /// `goto_table` must lead to a later table.
    #[error("goto_table must lead to a table after {from}, not to {to}")]
    GotoBackwards {
        /// Table of the rule.
        from: u8,
        /// Table wanted.
        to: u8,
    },
}

/// Follows the actions of one rule and refuses those that do not fit.
#[derive(Clone, Copy, Debug)]
pub struct Checker {
    matching: MaskedKey,
    /// Tags known to be there, outer first; nothing is known of what a pop uncovers.
    tags: [bool; 2],
}

impl Checker {
    /// A checker for a rule with this match.
    #[must_use]
    pub fn new(matching: &MaskedKey) -> Self {
        Self { matching: *matching, tags: [demands_tag(matching), false] }
    }

    /// Whether a packet that comes this far certainly has a tag.
    #[must_use]
    pub const fn has_tag(&self) -> bool {
        self.tags[0]
    }

    /// The match that the actions have to fit.
    #[must_use]
    pub const fn matching(&self) -> &MaskedKey {
        &self.matching
    }

    /// Takes the next action.
    ///
    /// # Errors
    /// When it does not fit what is known of the packet.
    pub fn admit(&mut self, action: &Action) -> Result<(), CheckError> {
        match action {
            Action::Output(_) => Ok(()),
            Action::SetField { field, value, mask } => self.admit_set(*field, *value, *mask),
            Action::PushVlan(_) if self.tags[1] => Err(CheckError::TooManyTags),
            Action::PushVlan(_) => {
                self.tags = [true, self.tags[0]];
                Ok(())
            }
            Action::PopVlan => {
                need(self.tags[0], "pop_vlan", Prerequisite::Vlan)?;
                self.tags = [self.tags[1], false];
                Ok(())
            }
            Action::DecTtl => {
                need(Prerequisite::Ip.holds(&self.matching), "dec_ttl", Prerequisite::Ip)
            }
        }
    }

    fn admit_set(&self, field: Field, value: u128, mask: u128) -> Result<(), CheckError> {
        let name = field.spec().name;
        let any_of = prerequisites_of_set(field).ok_or(CheckError::ReadOnly { field: name })?;
        let holds = any_of.iter().any(|needed| needed.holds(&self.matching));
        need(holds, name, any_of[0])?;
        if field == Field::VlanTci {
            need(self.tags[0], name, Prerequisite::Vlan)?;
            let present = u128::from(VLAN_PRESENT);
            if mask & present != 0 && value & present == 0 {
                return Err(CheckError::TagBySet);
            }
        }
        Ok(())
    }
}

const fn need(holds: bool, what: &'static str, needed: Prerequisite) -> Result<(), CheckError> {
    if holds {
        Ok(())
    } else {
        Err(CheckError::MissingPrerequisite { what, needs: needed.words() })
    }
}

impl Rule {
    /// Whether Open vSwitch (`-O OpenFlow13`) would accept the rule.
    ///
    /// # Errors
    /// The first action or instruction that does not fit.
    pub fn check(&self) -> Result<(), CheckError> {
        let mut checker = Checker::new(&self.matching.key);
        for action in self.instructions.apply.iter().chain(&self.instructions.write) {
            checker.admit(action)?;
        }
        match self.instructions.goto_table {
            Some(to) if to <= self.table => Err(CheckError::GotoBackwards { from: self.table, to }),
            _ => Ok(()),
        }
    }
}
