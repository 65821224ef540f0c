//! Numbers of commands, events and attributes. Only what the driver uses: the device accepts and
//! ignores many more, which is why no more are here.

/// Top level of a request: what to do.
pub(crate) const COMMAND_TYPE: u32 = 1;
/// Top level of requests and replies: attributes.
pub(crate) const COMMAND_INFO: u32 = 2;

/// Command: change port settings.
pub(crate) const SET_PORT_SETTINGS: u16 = 2;
/// Command: read port settings.
pub(crate) const GET_PORT_SETTINGS: u16 = 1;
/// Command: add a flow.
pub(crate) const FLOW_ADD: u16 = 3;
/// Command: delete a flow.
pub(crate) const FLOW_DEL: u16 = 5;
/// Command: add a group.
pub(crate) const GROUP_ADD: u16 = 7;
/// Command: delete a group.
pub(crate) const GROUP_DEL: u16 = 9;

/// Port settings: port.
pub(crate) const SETTING_PPORT: u32 = 1;
/// Port settings: whether source addresses are announced.
pub(crate) const SETTING_LEARNING: u32 = 7;

/// Flow: table.
pub(crate) const TABLE_ID: u32 = 1;
/// Flow: priority.
pub(crate) const PRIORITY: u32 = 2;
/// Flow: hard timeout; demanded, never in force.
pub(crate) const HARDTIME: u32 = 3;
/// Flow: key.
pub(crate) const COOKIE: u32 = 5;
/// Flow: ingress port.
pub(crate) const IN_PPORT: u32 = 6;
/// Flow: its mask.
pub(crate) const IN_PPORT_MASK: u32 = 7;
/// Group: egress port.
pub(crate) const OUT_PPORT: u32 = 8;
/// Flow: next table.
pub(crate) const GOTO_TABLE_ID: u32 = 9;
/// Flow and group: group.
pub(crate) const GROUP_ID: u32 = 10;
/// Group: the group it leads to.
pub(crate) const GROUP_ID_LOWER: u32 = 11;
/// Group: number of members.
pub(crate) const GROUP_COUNT: u32 = 12;
/// Group: members.
pub(crate) const GROUP_IDS: u32 = 13;
/// Flow and group: VLAN or whole TCI.
pub(crate) const VLAN_ID: u32 = 14;
/// Flow: its mask.
pub(crate) const VLAN_ID_MASK: u32 = 15;
/// Flow: tag to insert.
pub(crate) const NEW_VLAN_ID: u32 = 19;
/// Flow: Ethertype, 0 for any.
pub(crate) const ETHERTYPE: u32 = 23;
/// Flow and group: destination address.
pub(crate) const DST_MAC: u32 = 24;
/// Flow: its mask.
pub(crate) const DST_MAC_MASK: u32 = 25;
/// Flow and group: source address.
pub(crate) const SRC_MAC: u32 = 26;
/// Flow: its mask.
pub(crate) const SRC_MAC_MASK: u32 = 27;
/// Flow: IP protocol.
pub(crate) const IP_PROTO: u32 = 28;
/// Flow: its mask.
pub(crate) const IP_PROTO_MASK: u32 = 29;
/// Flow: compared with the whole type of service, whatever its name says.
pub(crate) const IP_DSCP: u32 = 30;
/// Flow: its mask.
pub(crate) const IP_DSCP_MASK: u32 = 31;
/// Group: takes the outer tag off.
pub(crate) const POP_VLAN: u32 = 59;

/// Receive: where the frame goes.
pub(crate) const RX_ADDRESS: u32 = 3;
/// Receive: bytes there.
pub(crate) const RX_LENGTH_MAX: u32 = 4;
/// Receive: bytes of the frame.
pub(crate) const RX_LENGTH: u32 = 5;

/// Transmit: fragments.
pub(crate) const TX_FRAGMENTS: u32 = 5;
/// Transmit: one fragment.
pub(crate) const TX_FRAGMENT: u32 = 1;
/// Transmit: where a fragment is.
pub(crate) const TX_ADDRESS: u32 = 1;
/// Transmit: its bytes.
pub(crate) const TX_LENGTH: u32 = 2;
