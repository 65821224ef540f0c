//! Ethernet II, 802.2 with SNAP, and VLAN tags (IEEE 802.3, 802.1Q, 802.1ad).

use super::word;

/// Length of an Ethernet header without tags.
pub const HEADER_LEN: usize = 14;
/// Length of one VLAN tag.
pub const TAG_LEN: usize = 4;
/// Tags read; further ones look like an Ethertype (`vlan-limit=2` in Open vSwitch).
pub const TAG_COUNT_MAX: u8 = 2;
/// Ethertype of IPv4.
pub const TYPE_IPV4: u16 = 0x0800;
/// Ethertype of ARP.
pub const TYPE_ARP: u16 = 0x0806;
/// Ethertype of RARP.
pub const TYPE_RARP: u16 = 0x8035;
/// Ethertype of a customer VLAN tag.
pub const TYPE_VLAN: u16 = 0x8100;
/// Ethertype of a service VLAN tag.
pub const TYPE_VLAN_SERVICE: u16 = 0x88a8;
/// Ethertype of IPv6.
pub const TYPE_IPV6: u16 = 0x86dd;
/// Ethertypes of MPLS, unicast and multicast.
pub const TYPES_MPLS: [u16; 2] = [0x8847, 0x8848];
/// Stands for the type of an 802.2 frame without one (OpenFlow 1.3.5 §A.2.3.7).
pub const TYPE_NONE: u16 = 0x05ff;
/// Smaller values in the type field are 802.3 lengths.
const TYPE_MIN: u16 = 0x0600;
/// 802.2 header with SNAP, without its type: DSAP, SSAP, control, organisation 0.
const SNAP: [u8; 6] = [0xaa, 0xaa, 0x03, 0, 0, 0];

/// The link layer of a frame: two addresses, at most two tags, type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet<'a> {
    frame: &'a [u8],
    tags: u8,
    ethertype: u16,
    payload: usize,
}

impl<'a> Ethernet<'a> {
    /// Reads the link layer; `None` for fewer than 14 bytes.
    #[must_use]
    pub fn new(frame: &'a [u8]) -> Option<Self> {
        if frame.len() < HEADER_LEN {
            return None;
        }
        let (mut tags, mut at) = (0, 12);
        // A tag counts only when the type behind it is there too.
        while tags < TAG_COUNT_MAX && is_vlan(word(frame, at)) && frame.len() >= at + 6 {
            tags += 1;
            at += TAG_LEN;
        }
        let (ethertype, payload) = read_type(frame, at);
        Some(Self { frame, tags, ethertype, payload })
    }

    /// Destination address.
    #[must_use]
    pub fn destination(&self) -> &'a [u8] {
        &self.frame[..6]
    }

    /// Source address.
    #[must_use]
    pub fn source(&self) -> &'a [u8] {
        &self.frame[6..12]
    }

    /// Tags, 0 to 2.
    #[must_use]
    pub const fn tags(&self) -> u8 {
        self.tags
    }

    /// TPID and TCI of a tag, the outer being 0; zeros when absent.
    #[must_use]
    pub fn tag(&self, index: u8) -> (u16, u16) {
        if index >= self.tags {
            return (0, 0);
        }
        let at = 12 + TAG_LEN * usize::from(index);
        (word(self.frame, at), word(self.frame, at + 2))
    }

    /// Ethertype behind the tags, [`TYPE_NONE`] for 802.2 without SNAP.
    #[must_use]
    pub const fn ethertype(&self) -> u16 {
        self.ethertype
    }

    /// Offset of what follows the link layer.
    #[must_use]
    pub const fn payload(&self) -> usize {
        self.payload
    }
}

/// Whether a type field announces a VLAN tag.
#[must_use]
pub const fn is_vlan(ethertype: u16) -> bool {
    ethertype == TYPE_VLAN || ethertype == TYPE_VLAN_SERVICE
}

/// The type at `at` and the offset behind it, looking through SNAP.
fn read_type(frame: &[u8], at: usize) -> (u16, usize) {
    let ethertype = word(frame, at);
    if ethertype >= TYPE_MIN {
        return (ethertype, at + 2);
    }
    let behind = frame.get(at + 2..at + 10);
    if behind.is_some_and(|header| header[..6] == SNAP) {
        let snap_type = word(frame, at + 8);
        return (if snap_type >= TYPE_MIN { snap_type } else { TYPE_NONE }, at + 10);
    }
    (TYPE_NONE, at + 2)
}
