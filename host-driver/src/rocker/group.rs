//! Groups: where frames leave, and how they are rewritten on the way.
//!
//! A group is described by value and carries what it consists of, so one that points at a missing
//! port, at a group of another kind, or counts more members than it lists cannot be written down.

use super::attribute as attr;
use super::port::Pport;
use super::tlv::Writer;
use super::vlan::{Leaving, NewVlan};
use twinpath_flow::port::Mac;

/// Key of a group in the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupId(pub(crate) u32);

impl GroupId {
    /// A group that is never made: what points at it drops. Its VLAN, 0, is no label.
    pub(crate) const NOWHERE: Self = Self(0x0000_ffff);
}

/// Where an L2 interface group sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    /// The receive ring of the port the frame came in on.
    Host,
    /// Out of a port.
    Port(Pport),
}

/// An L2 interface group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Interface {
    /// Where.
    pub target: Target,
    /// With which tag.
    pub leaving: Leaving,
}

/// A MAC address the device can write: all zeros would mean "leave".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NewMac(Mac);

impl NewMac {
    /// The address, unless it is all zeros.
    pub(crate) fn new(mac: Mac) -> Option<Self> {
        (mac != [0; 6]).then_some(Self(mac))
    }
}

/// An L2 rewrite group: new addresses, and a new tag if the interface demands one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rewrite {
    /// New source address.
    pub source: Option<NewMac>,
    /// New destination address.
    pub destination: Option<NewMac>,
    /// Where it goes then.
    pub interface: Interface,
}

/// One frame's way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Exit {
    /// As it is, but for the tag.
    Plain(Interface),
    /// Rewritten.
    Rewritten(Rewrite),
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    /// One way out.
    Exit(Exit),
    /// An L2 flood group: several, in order.
    Flood {
        /// Of all members.
        leaving: Leaving,
        /// The members.
        members: Vec<Exit>,
    },
}

impl Interface {
    /// Its key, which says all about it.
    pub(crate) const fn id(self) -> GroupId {
        let port = match self.target {
            Target::Host => 0,
            Target::Port(port) => port.number(),
        };
        GroupId(((self.leaving.label() as u32) << 16) | port)
    }

    /// The attributes of its `GROUP_ADD`.
    pub(crate) fn write(self, writer: &mut Writer) {
        writer.double(attr::GROUP_ID, self.id().0);
        let port = match self.target {
            Target::Host => 0,
            Target::Port(port) => port.number(),
        };
        writer.double(attr::OUT_PPORT, port);
        writer.byte(attr::POP_VLAN, u8::from(self.leaving.pops()));
    }
}

impl Rewrite {
    /// Key of the rewrite group at `index`.
    pub(crate) const fn id(index: u16) -> GroupId {
        GroupId(0x1000_0000 | index as u32)
    }

    /// The attributes of its `GROUP_ADD`.
    pub(crate) fn write(&self, id: GroupId, writer: &mut Writer) {
        writer.double(attr::GROUP_ID, id.0);
        writer.double(attr::GROUP_ID_LOWER, self.interface.id().0);
        if let Some(NewMac(mac)) = self.source {
            writer.mac(attr::SRC_MAC, mac);
        }
        if let Some(NewMac(mac)) = self.destination {
            writer.mac(attr::DST_MAC, mac);
        }
        if let Leaving::Tagged(vlan) = self.interface.leaving {
            writer.network(attr::VLAN_ID, NewVlan::number(vlan));
        }
    }
}

impl Exit {
    /// The interface it ends in.
    pub(crate) const fn interface(&self) -> Interface {
        match self {
            Self::Plain(interface) => *interface,
            Self::Rewritten(rewrite) => rewrite.interface,
        }
    }
}

/// Key of the flood group at `index`.
pub(crate) const fn flood_id(leaving: Leaving, index: u16) -> GroupId {
    GroupId(0x4000_0000 | ((leaving.label() as u32) << 16) | index as u32)
}

/// The attributes of a flood group's `GROUP_ADD`; count and list come of one slice.
pub(crate) fn write_flood(id: GroupId, members: &[GroupId], writer: &mut Writer) {
    writer.double(attr::GROUP_ID, id.0);
    let count = u16::try_from(members.len()).expect("one member per port, at most 62");
    writer.word(attr::GROUP_COUNT, count);
    writer.nest(attr::GROUP_IDS, |list| {
        for (number, member) in (1..).zip(members) {
            list.double(number, member.0);
        }
    });
}
