//! Flows of the device: what is admitted, and what becomes of it.
//!
//! Two tables are used. The VLAN table (10) admits; the ACL table (60) decides everything: it alone
//! compares the in-port, and its lowest flows send the rest to the host. The bridging table (50)
//! cannot compare the in-port, and never matches frames with a priority, so bridging flows (VLAN
//! and destination address) are ACL flows too. No other table can be named: one that the device does not know would swallow
//! all traffic.

use super::attribute as attr;
use super::group::GroupId;
use super::port::Pport;
use super::tlv::Writer;
use super::vlan::Admission;
use twinpath_flow::port::Mac;

/// The VLAN table.
const TABLE_VLAN: u16 = 10;
/// What follows it.
const TABLE_TERMINATION: u16 = 20;
/// The ACL table.
const TABLE_ACL: u16 = 60;
/// A bit of the TCI that entries never compare (DEI): set outside the mask it makes the VLAN
/// non-zero, as the device demands, and changes nothing.
const UNCOMPARED: u16 = 0x1000;

/// Key of a flow in the device; never used twice within an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cookie(pub(crate) u64);

/// A value under a mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Masked<T> {
    /// Wanted bits.
    pub value: T,
    /// Bits compared.
    pub mask: T,
}

/// What is compared of IPv4 headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ipv4Match {
    /// Protocol.
    pub protocol: Masked<u8>,
    /// Type of service.
    pub tos: Masked<u8>,
}

/// What is compared of the type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum TypeMatch {
    /// Nothing.
    #[default]
    Any,
    /// IPv4, and some of its header.
    Ipv4(Ipv4Match),
    /// This Ethertype.
    Exactly(u16),
}

/// Match of an ACL flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct AclMatch {
    /// Ingress port; `None` for any.
    pub in_port: Option<Pport>,
    /// TCI of the outer tag, the internal one included.
    pub tci: Masked<u16>,
    /// Source address.
    pub source: Masked<Mac>,
    /// Destination address.
    pub destination: Masked<Mac>,
    /// Type behind the outer tag.
    pub ethertype: TypeMatch,
}

/// Priorities in the ACL table. Flows of one rank that overlap have the same fate, so that the
/// device may choose as it likes; ranks decide between the host's traffic and entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub(crate) enum Rank {
    /// Tagged frames that nothing matches go to the host.
    HostTagged = 1,
    /// Untagged frames that nothing matches.
    HostUntagged = 2,
    /// Tagged frames of an entry; may match untagged ones too, which are taken above.
    Tagged = 3,
    /// Untagged frames that an entry's flow for tagged ones would match by mistake, to the host.
    Shadow = 4,
    /// Untagged frames of an entry.
    Untagged = 5,
    /// Frames that the device would take for something else, to the host.
    Guard = 6,
}

/// A flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Of the VLAN table.
    Admit(Pport, Admission),
    /// Of the ACL table.
    Acl {
        /// Priority.
        rank: Rank,
        /// Match.
        matching: AclMatch,
        /// Where frames go.
        group: GroupId,
    },
}

impl Rule {
    /// The attributes of its `FLOW_ADD`.
    pub(crate) fn write(&self, cookie: Cookie, writer: &mut Writer) {
        writer.quad(attr::COOKIE, cookie.0);
        writer.double(attr::HARDTIME, 0);
        match self {
            Self::Admit(port, admission) => write_admission(*port, *admission, writer),
            Self::Acl { rank, matching, group } => {
                writer.word(attr::TABLE_ID, TABLE_ACL);
                writer.double(attr::PRIORITY, *rank as u32);
                matching.write(writer);
                writer.double(attr::GROUP_ID, group.0);
            }
        }
    }
}

fn write_admission(port: Pport, admission: Admission, writer: &mut Writer) {
    writer.word(attr::TABLE_ID, TABLE_VLAN);
    writer.double(attr::PRIORITY, admission.priority());
    writer.double(attr::IN_PPORT, port.number());
    let (tci, mask) = admission.tci();
    writer.network(attr::VLAN_ID, tci);
    writer.network(attr::VLAN_ID_MASK, mask);
    if let Some(vlan) = admission.inserts() {
        writer.network(attr::NEW_VLAN_ID, vlan);
    }
    if admission.admits() {
        writer.word(attr::GOTO_TABLE_ID, TABLE_TERMINATION);
    }
}

impl AclMatch {
    fn write(&self, writer: &mut Writer) {
        let (port, mask) = self.in_port.map_or((0, 0), |port| (port.number(), u32::MAX));
        writer.double(attr::IN_PPORT, port);
        writer.double(attr::IN_PPORT_MASK, mask);
        writer.network(attr::VLAN_ID, self.tci.value | (UNCOMPARED & !self.tci.mask));
        writer.network(attr::VLAN_ID_MASK, self.tci.mask);
        let source = (attr::SRC_MAC, attr::SRC_MAC_MASK, self.source);
        let destination = (attr::DST_MAC, attr::DST_MAC_MASK, self.destination);
        for (kind, mask_kind, mac) in [source, destination] {
            if mac.mask != [0; 6] {
                writer.mac(kind, mac.value);
                writer.mac(mask_kind, mac.mask);
            }
        }
        match self.ethertype {
            TypeMatch::Any => writer.network(attr::ETHERTYPE, 0),
            TypeMatch::Exactly(ethertype) => writer.network(attr::ETHERTYPE, ethertype),
            TypeMatch::Ipv4(Ipv4Match { protocol, tos }) => {
                writer.network(attr::ETHERTYPE, 0x0800);
                writer.byte(attr::IP_PROTO, protocol.value);
                writer.byte(attr::IP_PROTO_MASK, protocol.mask);
                writer.byte(attr::IP_DSCP, tos.value);
                writer.byte(attr::IP_DSCP_MASK, tos.mask);
            }
        }
    }
}
