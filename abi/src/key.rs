//! The 64-byte key: where each field is (`docs/nic-abi.md` §5). Fields are in network byte order.

use std::ops::Range;

/// Bytes of a key.
pub const KEY_BYTES: usize = 64;
/// A key, a mask or a match value.
pub type KeyBytes = [u8; KEY_BYTES];

/// §5.1 Number of the input port; of the tunnel port for a decapsulated packet.
pub const IN_PORT: Range<usize> = 0..2;
/// §5.1 Ethertype behind the tags.
pub const ETH_TYPE: Range<usize> = 2..4;
/// §5.1 Outer tag: pcp, present bit 0x1000, vid.
pub const VLAN_TCI: Range<usize> = 4..6;
/// §5.1 IP protocol or ARP opcode.
pub const IP_PROTO: usize = 6;
/// §5.1 Type of service.
pub const IP_TOS: usize = 7;
/// §5.1 TTL or hop limit.
pub const IP_TTL: usize = 8;
/// §5.1 Bit 0 any fragment, bit 1 later fragment.
pub const IP_FRAG: usize = 9;
/// §5.1 TCP flags.
pub const TCP_FLAGS: Range<usize> = 10..12;
/// §5.1 Ethernet destination.
pub const ETH_DST: Range<usize> = 12..18;
/// §5.1 Ethernet source.
pub const ETH_SRC: Range<usize> = 18..24;
/// §5.1 IP source; IPv4 and ARP in the last four bytes.
pub const IP_SRC: Range<usize> = 24..40;
/// §5.1 IP destination; IPv4 and ARP in the last four bytes.
pub const IP_DST: Range<usize> = 40..56;
/// §5.1 Source port or ICMP type.
pub const L4_SRC: Range<usize> = 56..58;
/// §5.1 Destination port or ICMP code.
pub const L4_DST: Range<usize> = 58..60;
/// §5.1 Tunnel id.
pub const TUN_ID: Range<usize> = 60..64;

/// §5.1 Tag-present bit of the tag field.
pub const VLAN_PRESENT: u16 = 0x1000;
