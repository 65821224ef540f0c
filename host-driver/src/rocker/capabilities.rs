//! What the device really does, declared: it cannot say so itself, and accepts more than it does.
//!
//! Not offered, because the device takes it and ignores it: matches on IP addresses, ports, TTL,
//! fragments, priorities of routing tables; writes of IP fields; TTL decrements; rewriting the tag
//! of a frame that came tagged (the frame is destroyed). Counters exist and never move.

use super::settings::{Ipv4Header, Settings};
use twinpath_flow::card::{ActionCaps, Capabilities, TableCaps, TableKind};
use twinpath_flow::field::Field;
use twinpath_flow::key::Key;

/// Bits of the type of service that are compared: the DSCP.
const DSCP: u128 = 0xfc;

/// Key bits the ACL table compares.
pub(crate) fn offered(settings: &Settings) -> Key {
    let mut fields = Key::ZERO;
    for field in [Field::InPort, Field::EthType, Field::VlanTci, Field::EthDst, Field::EthSrc] {
        fields.set(field, field.full_mask());
    }
    if settings.ipv4_header == Ipv4Header::Trusted {
        fields.set(Field::IpProto, Field::IpProto.full_mask());
        fields.set(Field::IpTos, DSCP);
    }
    fields
}

/// Before bring-up.
pub(crate) fn none() -> Capabilities {
    Capabilities {
        card: "rocker".to_owned(),
        ports: 0,
        tables: Vec::new(),
        actions: ActionCaps::default(),
        counters: false,
        counter_staleness_ns: 0,
        generations: false,
        hold_frames: 0,
        queues: 0,
        mirror: false,
        read_back: false,
    }
}

/// Of a device with that many ports.
#[must_use]
pub fn capabilities(settings: &Settings, ports: u16) -> Capabilities {
    let table = TableCaps {
        name: "acl".to_owned(),
        kind: TableKind::Ternary,
        capacity: settings.entries_max,
        fields: offered(settings).head,
    };
    Capabilities {
        ports,
        tables: vec![table],
        actions: ActionCaps {
            set: vec![Field::EthDst, Field::EthSrc],
            bit_fields: Vec::new(),
            ttl_decrements: 0,
            pops: 1,
            pushes: 1,
            tci: false,
            hairpin: false,
            outputs: ports,
            tunnel_outputs: 0,
        },
        queues: 1,
        ..none()
    }
}
