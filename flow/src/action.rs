//! Actions and instructions of a rule (OpenFlow 1.3.5 §5.9 and §5.12).

use crate::field::Field;
use crate::port::PortNo;

/// Where an output action sends the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutPort {
    /// A port; nothing happens when it is the input port.
    Number(PortNo),
    /// Back out of the input port.
    InPort,
    /// Every port but the input port.
    All,
    /// As `All`.
    Flood,
    /// Counted and kept for `twinpath events`; `max_len` as written.
    Controller {
        /// Bytes of the packet asked for; 65535 for all.
        max_len: u16,
    },
}

/// One action.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Sends the packet as it is now.
    Output(OutPort),
    /// Overwrites the bits `mask` of a field.
    ///
    /// `mod_*` aliases are parsed to this. VLAN id and priority are parts of
    /// [`Field::VlanTci`]: masks 0x0fff (or 0x1fff with the present bit) and 0xe000. DSCP and ECN
    /// are parts of [`Field::IpTos`].
    SetField {
        /// The field.
        field: Field,
        /// New bits; none outside `mask`.
        value: u128,
        /// Bits written.
        mask: u128,
    },
    /// Pushes a tag with this TPID (0x8100 or 0x88a8); vid and pcp are 0, as Open vSwitch does.
    PushVlan(u16),
    /// Removes the outer tag; nothing on an untagged packet.
    PopVlan,
    /// Decrements TTL or hop limit; at 1 or 0 the rest of the action list is not executed.
    DecTtl,
}

/// What a rule does to the packets it matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Instructions {
    /// Executed at once, in this order.
    pub apply: Vec<Action>,
    /// Empties the action set, before `write`.
    pub clear: bool,
    /// Merged into the action set, executed at the end in OpenFlow's order.
    pub write: Vec<Action>,
    /// Metadata value and mask.
    pub write_metadata: Option<(u64, u64)>,
    /// Continues in a later table.
    pub goto_table: Option<u8>,
}
