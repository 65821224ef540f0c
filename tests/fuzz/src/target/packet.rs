//! A frame and the port it comes in on. Three parsers must read the same: the specification's, the
//! fast path's quick one where it reads at all, and the simulated card's. Layouts lie in the frame.

use crate::script::Script;
use std::sync::Arc;
use twinpath_fallback::reading;
use twinpath_flow::parse::{Network, Parsed, Standing, Transport, parse};
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::sample::{self, Random, Tunnels};
use twinpath_hw_sim::parser::{self, L3, L4};

/// Port tables to choose from; even ones have tunnels.
const TABLES: u8 = 8;

/// Bytes: table, port, the frame.
pub(super) fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let table = script.byte() % TABLES;
    let tunnels = if table.is_multiple_of(2) { Tunnels::Some } else { Tunnels::None };
    let ports: Arc<PortTable> = sample::port_table(&mut Random::new(table.into()), tunnels);
    let physical: Vec<PortNo> = ports.physical().map(|port| port.number).collect();
    let port = physical[usize::from(script.byte()) % physical.len()];
    let frame = script.rest();
    let parsed = parse(frame, port, &ports);
    check_layout(&parsed, frame);
    if let Some(quick) = reading::read(frame, port, &ports) {
        assert_eq!(quick, parsed, "the quick reading differs");
    }
    let plain = parse(frame, port, &PortTable::default());
    check_card(&plain, frame, port);
}

fn check_layout(parsed: &Parsed, frame: &[u8]) {
    let inner = parsed.inner_frame(frame);
    let layout = &parsed.layout;
    let length = u16::try_from(inner.len()).unwrap_or(u16::MAX);
    if layout.network != Network::None {
        assert!(layout.l3 <= layout.end && layout.end <= length, "{layout:?} of {length}");
    }
    if layout.transport != Transport::None {
        assert!(layout.l3 < layout.l4 && layout.l4 < layout.end, "{layout:?}");
    }
    assert!(layout.checksum == 0 || layout.checksum + 2 <= layout.end, "{layout:?}");
}

fn check_card(parsed: &Parsed, frame: &[u8], port: PortNo) {
    // Longer frames are refused at the port.
    if frame.len() > 9216 {
        return;
    }
    let (key, headers) = parser::parse_frame(frame, port.0);
    assert_eq!(headers.is_none(), parsed.standing == Standing::Malformed);
    let Some(headers) = headers else { return };
    assert_eq!(key, parsed.key.head.0, "the card's key differs");
    let layout = &parsed.layout;
    assert_eq!(headers.tags, layout.tags);
    let network = match headers.l3 {
        L3::None => Network::None,
        L3::V4 => Network::Ipv4,
        L3::V6 => Network::Ipv6,
        L3::Arp => Network::Arp,
    };
    assert_eq!(network, layout.network);
    if network == Network::None {
        return;
    }
    assert_eq!((headers.l3_at, headers.end), (layout.l3.into(), layout.end.into()));
    let transport = match layout.transport {
        Transport::None => L4::None,
        Transport::Tcp => L4::Tcp,
        Transport::Udp => L4::Udp,
        Transport::Sctp => L4::Sctp,
        Transport::Icmp | Transport::Icmpv6 => L4::Icmp,
    };
    assert_eq!(headers.l4, transport);
    if transport != L4::None {
        assert_eq!(headers.l4_at, usize::from(layout.l4));
    }
}
