//! Which packets have a field at all, and which key bits say so (OpenFlow 1.3.5 §7.2.3.8).

use super::compose::Composer;
use twinpath_flow::field::Field;

const IPV4: u128 = 0x0800;
const IPV6: u128 = 0x86dd;
const SOLICITATION: u128 = 135;
const ADVERTISEMENT: u128 = 136;

impl Composer<'_> {
    /// Whether the packet has `field`, so that a set does something; constrains what says so.
    pub(super) fn has(&mut self, field: Field) -> bool {
        match field {
            Field::EthDst
            | Field::EthSrc
            | Field::TunId
            | Field::TunSrc
            | Field::TunDst
            | Field::Qfi => true,
            Field::VlanTci => self.read(Field::VlanTci, 0x1000) != 0,
            Field::IpTos | Field::IpTtl => self.is_ip(),
            Field::IpSrc | Field::IpDst => self.is_ip() || self.is_arp(),
            Field::FlowLabel => self.eth_type() == IPV6,
            Field::IpProto => self.is_arp(),
            Field::L4Src | Field::L4Dst => self.has_transport(),
            Field::ArpSha => self.is_arp() || self.is_neighbour(&[SOLICITATION]),
            Field::ArpTha => self.is_arp() || self.is_neighbour(&[ADVERTISEMENT]),
            Field::NdTarget => self.is_neighbour(&[SOLICITATION, ADVERTISEMENT]),
            Field::MplsLse => matches!(self.eth_type(), 0x8847 | 0x8848),
            Field::InPort
            | Field::EthType
            | Field::IpFrag
            | Field::TcpFlags
            | Field::InnerVlanTci
            | Field::InnerVlanTpid => false,
        }
    }

    /// Whether the packet is IPv4 or IPv6.
    pub(super) fn is_ip(&mut self) -> bool {
        matches!(self.eth_type(), IPV4 | IPV6)
    }

    fn is_arp(&mut self) -> bool {
        matches!(self.eth_type(), 0x0806 | 0x8035)
    }

    fn has_transport(&mut self) -> bool {
        let eth_type = self.eth_type();
        self.is_ip()
            && match self.read(Field::IpProto, 0xff) {
                6 | 17 | 132 => true,
                1 => eth_type == IPV4,
                58 => eth_type == IPV6,
                _ => false,
            }
            && self.read(Field::IpFrag, 2) == 0
    }

    /// Whether it is an ICMPv6 message of one of these types, code 0 (RFC 4861 §4).
    fn is_neighbour(&mut self, types: &[u128]) -> bool {
        self.eth_type() == IPV6
            && self.read(Field::IpProto, 0xff) == 58
            && self.read(Field::IpFrag, 2) == 0
            && types.contains(&self.read(Field::L4Src, 0xffff))
            && self.read(Field::L4Dst, 0xffff) == 0
    }

    fn eth_type(&mut self) -> u128 {
        self.read(Field::EthType, 0xffff)
    }
}
