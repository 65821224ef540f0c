//! Header fields: where each lives in the two key lines, and how wide it is.
//!
//! Line 1 is [`crate::key::FlowKey`], one cache line, what every card matches. Line 2 is paid for
//! only by rules that use it. Multi-byte fields are in network byte order.

/// A matchable field of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Field {
    /// Input port; for a decapsulated packet the tunnel port.
    InPort,
    /// Ethertype behind at most two VLAN tags; 0x05ff for 802.2 frames without SNAP.
    EthType,
    /// Outer VLAN tag: vid 12 bits, bit 12 set when a tag is present, pcp 3 bits. 0 when untagged.
    VlanTci,
    /// IP protocol; for ARP and RARP the low byte of the opcode.
    IpProto,
    /// IP type of service or traffic class: DSCP in the upper 6 bits, ECN in the lower 2.
    IpTos,
    /// IP TTL or hop limit.
    IpTtl,
    /// Fragment bits: bit 0 any fragment, bit 1 later fragment.
    IpFrag,
    /// TCP flags, 12 bits.
    TcpFlags,
    /// Ethernet destination.
    EthDst,
    /// Ethernet source.
    EthSrc,
    /// IPv6 source, or in the last four bytes IPv4 source or ARP sender address.
    IpSrc,
    /// IPv6 destination, or in the last four bytes IPv4 destination or ARP target address.
    IpDst,
    /// TCP, UDP, SCTP source port; ICMP type; 0 in fragments, first ones too.
    L4Src,
    /// TCP, UDP, SCTP destination port; ICMP code; 0 in fragments.
    L4Dst,
    /// Tunnel id: VNI or TEID; 0 when not decapsulated.
    TunId,
    /// Second VLAN tag, coded as [`Field::VlanTci`].
    InnerVlanTci,
    /// TPID of the second tag; 0 when absent.
    InnerVlanTpid,
    /// Outer IPv4 source of a decapsulated packet.
    TunSrc,
    /// Outer IPv4 destination of a decapsulated packet.
    TunDst,
    /// ND target address.
    NdTarget,
    /// ARP sender hardware address, or ND source link-layer address.
    ArpSha,
    /// ARP target hardware address, or ND target link-layer address.
    ArpTha,
    /// IPv6 flow label, 20 bits.
    FlowLabel,
    /// Outermost MPLS label stack entry.
    MplsLse,
    /// QoS flow identifier of a GTP-U PDU Session Container, 6 bits, bit 7 set when present.
    Qfi,
}

/// Place of a field: byte offset into the 128 key bytes, width in bytes, significant bits, name.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The field.
    pub field: Field,
    /// Byte offset; line 2 starts at 64.
    pub offset: usize,
    /// Width in bytes.
    pub width: usize,
    /// Significant low bits of the value.
    pub bits: u32,
    /// Name in flow text (`ovs-ofctl`), the OXM one.
    pub name: &'static str,
}

const fn spec(field: Field, offset: usize, width: usize, bits: u32, name: &'static str) -> Spec {
    Spec { field, offset, width, bits, name }
}

/// All fields, in key order; index = discriminant.
pub const FIELDS: [Spec; 25] = [
    spec(Field::InPort, 0, 2, 16, "in_port"),
    spec(Field::EthType, 2, 2, 16, "eth_type"),
    spec(Field::VlanTci, 4, 2, 16, "vlan_tci"),
    spec(Field::IpProto, 6, 1, 8, "ip_proto"),
    spec(Field::IpTos, 7, 1, 8, "ip_tos"),
    spec(Field::IpTtl, 8, 1, 8, "nw_ttl"),
    spec(Field::IpFrag, 9, 1, 2, "ip_frag"),
    spec(Field::TcpFlags, 10, 2, 12, "tcp_flags"),
    spec(Field::EthDst, 12, 6, 48, "eth_dst"),
    spec(Field::EthSrc, 18, 6, 48, "eth_src"),
    spec(Field::IpSrc, 24, 16, 128, "ip_src"),
    spec(Field::IpDst, 40, 16, 128, "ip_dst"),
    spec(Field::L4Src, 56, 2, 16, "tp_src"),
    spec(Field::L4Dst, 58, 2, 16, "tp_dst"),
    spec(Field::TunId, 60, 4, 32, "tun_id"),
    spec(Field::InnerVlanTci, 64, 2, 16, "inner_vlan_tci"),
    spec(Field::InnerVlanTpid, 66, 2, 16, "inner_vlan_tpid"),
    spec(Field::TunSrc, 68, 4, 32, "tun_src"),
    spec(Field::TunDst, 72, 4, 32, "tun_dst"),
    spec(Field::NdTarget, 76, 16, 128, "nd_target"),
    spec(Field::ArpSha, 92, 6, 48, "arp_sha"),
    spec(Field::ArpTha, 98, 6, 48, "arp_tha"),
    spec(Field::FlowLabel, 104, 4, 20, "ipv6_label"),
    spec(Field::MplsLse, 108, 4, 32, "mpls_lse"),
    spec(Field::Qfi, 112, 1, 8, "tun_qfi"),
];

impl Field {
    /// Where the field lives.
    #[must_use]
    pub const fn spec(self) -> &'static Spec {
        &FIELDS[self as usize]
    }

    /// The field's significant bits as a value mask.
    #[must_use]
    pub const fn full_mask(self) -> u128 {
        let bits = self.spec().bits;
        if bits == 128 { u128::MAX } else { (1 << bits) - 1 }
    }

    /// Whether the field is in the first key line.
    #[must_use]
    pub const fn in_line_1(self) -> bool {
        self.spec().offset < 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_tile_the_first_line_and_never_overlap() {
        let mut end = 0;
        for (index, spec) in FIELDS.iter().enumerate() {
            assert_eq!(spec.field as usize, index);
            assert_eq!(spec.offset, end, "{spec:?}");
            end = spec.offset + spec.width;
            if spec.field == Field::TunId {
                assert_eq!(end, 64);
            }
        }
        assert!(end <= 128);
    }
}
