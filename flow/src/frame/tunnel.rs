//! Headers behind the UDP header of a tunnel: VXLAN (RFC 7348), Geneve (RFC 8926), GTP-U
//! (3GPP TS 29.281, PDU Session Container 3GPP TS 38.415).

use super::{double_word, ethernet};
use crate::port::TunnelKind;

/// Length of a VXLAN header.
pub const VXLAN_LEN: usize = 8;
/// Length of a Geneve header without options.
pub const GENEVE_LEN: usize = 8;
/// Length of a GTP-U header without optional fields.
pub const GTPU_LEN: usize = 8;
/// VXLAN's first word: only the VNI flag is set.
pub const VXLAN_FLAGS: u32 = 0x0800_0000;
/// Geneve's protocol type: Ethernet.
pub const GENEVE_ETHERNET: u16 = 0x6558;
/// GTP-U version 1, protocol type GTP.
pub const GTPU_FLAGS: u8 = 0x30;
/// GTP-U flag: an extension header follows.
pub const GTPU_EXTENSION: u8 = 0x04;
/// GTP-U message type of user packets.
pub const GTPU_PACKET: u8 = 0xff;
/// Next extension header type: PDU Session Container.
pub const GTPU_PDU_SESSION: u8 = 0x85;
/// Set in [`crate::field::Field::Qfi`] when a PDU Session Container was there.
pub const QFI_PRESENT: u8 = 0x80;
/// Any of the flags E, S, PN: four optional bytes follow.
const GTPU_OPTIONAL: u8 = 0x07;

/// What a tunnel header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelHeader {
    /// VNI or TEID.
    pub id: u32,
    /// Bytes up to the inner packet.
    pub len: usize,
    /// Ethertype of an inner packet without Ethernet header, 0 when it has one.
    pub ethertype: u16,
    /// [`crate::field::Field::Qfi`].
    pub qfi: u8,
    /// Whether an inner packet follows; other GTP-U messages have none.
    pub carries_packet: bool,
}

impl TunnelHeader {
    /// Reads what follows the UDP header; `None` when it is malformed.
    #[must_use]
    pub fn read(kind: TunnelKind, bytes: &[u8]) -> Option<Self> {
        match kind {
            TunnelKind::Vxlan => read_vxlan(bytes),
            TunnelKind::Geneve => read_geneve(bytes),
            TunnelKind::Gtpu => read_gtpu(bytes),
        }
    }
}

fn read_vxlan(bytes: &[u8]) -> Option<TunnelHeader> {
    bytes.first_chunk::<VXLAN_LEN>()?;
    let vni = double_word(bytes, 4);
    let good = double_word(bytes, 0) == VXLAN_FLAGS && vni & 0xff == 0;
    let header = TunnelHeader { id: vni >> 8, len: VXLAN_LEN, ..TunnelHeader::default() };
    good.then_some(TunnelHeader { carries_packet: true, ..header })
}

/// Checks version 0 and type Ethernet; options are skipped, critical ones too.
fn read_geneve(bytes: &[u8]) -> Option<TunnelHeader> {
    let [first, _, high, low, ..] = *bytes.first_chunk::<GENEVE_LEN>()?;
    let len = GENEVE_LEN + usize::from(first & 0x3f) * 4;
    let protocol = u16::from_be_bytes([high, low]);
    let good = first >> 6 == 0 && protocol == GENEVE_ETHERNET && len <= bytes.len();
    let header = TunnelHeader { id: double_word(bytes, 4) >> 8, len, ..TunnelHeader::default() };
    good.then_some(TunnelHeader { carries_packet: true, ..header })
}

/// Reads a message; version and protocol type are not looked at, as in Open vSwitch.
fn read_gtpu(bytes: &[u8]) -> Option<TunnelHeader> {
    let [flags, message, ..] = *bytes.first_chunk::<GTPU_LEN>()?;
    let mut header = TunnelHeader { id: double_word(bytes, 4), ..TunnelHeader::default() };
    if message != GTPU_PACKET {
        return Some(header);
    }
    header.carries_packet = true;
    header.len = GTPU_LEN;
    if flags & GTPU_OPTIONAL != 0 {
        header.len += 4;
        let mut next = *bytes.get(header.len - 1)?;
        if flags & GTPU_EXTENSION == 0 {
            next = 0;
        }
        // Ends: an extension header of length 0 is malformed, every other moves on.
        while next != 0 {
            let len = usize::from(*bytes.get(header.len)?) * 4;
            let extension = bytes.get(header.len..header.len + len)?;
            if next == GTPU_PDU_SESSION {
                header.qfi = QFI_PRESENT | (extension.get(2)? & 0x3f);
            }
            next = *extension.last()?;
            header.len += len;
        }
    }
    header.ethertype = match bytes.get(header.len)? >> 4 {
        4 => ethernet::TYPE_IPV4,
        6 => ethernet::TYPE_IPV6,
        _ => return None,
    };
    Some(header)
}
