//! Random port tables, rules, pipelines and frames, for the tests of every crate.
//!
//! Everything follows from one seed. Rules and frames draw from the same small pools of values, so that
//! rules are hit. Rules pass [`crate::rule::Rule::check`]; some frames are malformed on purpose.
//!
//! ```
//! use twinpath_flow::{reference, sample};
//! let mut random = sample::Random::new(1);
//! let ports = sample::port_table(&mut random, sample::Tunnels::None);
//! let pipeline = sample::pipeline(&mut random, &ports);
//! let (port, frame) = sample::frame(&mut random, &ports);
//! let outcome = reference::process(&pipeline, &frame, port);
//! # let _ = outcome;
//! ```

mod actions;
mod frames;
mod matches;
mod ports;
mod random;
mod rules;
#[cfg(test)]
mod tests;

pub use frames::{frame, inner_frame, mutate};
pub use ports::{Tunnels, port_table};
pub use random::Random;
pub use rules::{pipeline, rule, rules};

use crate::port::Mac;

/// Ethernet addresses in use; the last is a group address.
const MACS: [Mac; 4] =
    [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], [2, 0, 0, 0x10, 0, 3], [0x33, 0x33, 0, 0, 0, 1]];
/// IPv4 addresses in use.
const IPV4: [u32; 6] =
    [0x0a00_0001, 0x0a00_0002, 0x0a00_0103, 0xc0a8_0101, 0xe000_0001, 0x0808_0808];
/// IPv6 addresses in use.
const IPV6: [u128; 4] = [
    0x2001_0db8_0000_0000_0000_0000_0000_0001,
    0x2001_0db8_0000_0000_0000_0000_0000_0002,
    0x2001_0db8_0001_0000_0000_0000_0000_0002,
    0xfe80_0000_0000_0000_0000_00ff_fe00_0001,
];
/// Transport ports in use.
const PORTS: [u16; 6] = [0, 53, 80, 443, 4789, 0xffff];
/// VLAN ids in use.
const VIDS: [u16; 4] = [0, 5, 6, 4095];
/// Tunnel ids in use.
const TUNNEL_IDS: [u32; 3] = [1, 42, 0x00ab_cdef];
/// TTLs in use.
const TTLS: [u8; 6] = [64, 64, 255, 2, 1, 0];
/// ICMP types in use.
const ICMP_TYPES: [u8; 3] = [0, 8, 3];
/// ICMPv6 types in use.
const ICMPV6_TYPES: [u8; 4] = [128, 129, 135, 136];
