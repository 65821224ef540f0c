//! The ports of a measurement: numbered ones, and a GTP-U tunnel if wanted.

use crate::command::numbered_ports;
use std::net::Ipv4Addr;
use twinpath_flow::port::{OuterTos, Port, PortKind, PortNo, PortTable, Tunnel, TunnelKind};

/// Number of the tunnel port.
const TUNNEL: PortNo = PortNo(12);

/// Physical ports 1 to 64; with an address, 12 is the GTP-U tunnel port that has it, over `over`.
pub(super) fn table(gtpu: Option<Ipv4Addr>, over: PortNo) -> PortTable {
    let physical = numbered_ports();
    let Some(local_ip) = gtpu else { return physical };
    let tunnel = Tunnel {
        kind: TunnelKind::Gtpu,
        over,
        local_ip,
        remote_ip: None,
        local_mac: [2, 0, 0, 0, 0, 1],
        peer_mac: [2, 0, 0, 0, 0, 2],
        tos: OuterTos::Fixed(0),
        ttl: 64,
        qfi: None,
    };
    let change = |port: &Port| match port.number {
        TUNNEL => Port { kind: PortKind::Tunnel(tunnel.clone()), ..port.clone() },
        _ => port.clone(),
    };
    PortTable::new(physical.iter().map(change).collect()).expect("the input port is not 12")
}
