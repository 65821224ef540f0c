//! Random port tables.

use super::Random;
use crate::port::{
    MTU_IN_DEFAULT, OuterTos, Port, PortKind, PortNo, PortTable, Tunnel, TunnelKind,
};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Whether a port table has tunnel ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnels {
    /// Physical ports only.
    None,
    /// Up to three tunnel ports, at most one of each kind.
    Some,
}

/// Ports 1 to 2..=5, then, if wanted, tunnel ports from 11.
///
/// # Panics
/// Never: the numbers and names are distinct.
#[must_use]
pub fn port_table(random: &mut Random, tunnels: Tunnels) -> Arc<PortTable> {
    let mut ports: Vec<Port> = (1..=2 + random.below(4))
        .filter_map(|number| u16::try_from(number).ok())
        .map(Port::physical)
        .collect();
    if tunnels == Tunnels::Some {
        let kinds = [TunnelKind::Vxlan, TunnelKind::Geneve, TunnelKind::Gtpu];
        for (number, kind) in (11..).zip(kinds) {
            if random.chance(70) {
                ports.push(tunnel_port(random, number, kind));
            }
        }
    }
    Arc::new(PortTable::new(ports).expect("numbers and names are distinct"))
}

fn tunnel_port(random: &mut Random, number: u16, kind: TunnelKind) -> Port {
    let tunnel = Tunnel {
        kind,
        over: PortNo(1 + u16::from(random.chance(50))),
        local_ip: Ipv4Addr::new(172, 16, 0, 1),
        remote_ip: random.chance(60).then_some(Ipv4Addr::new(172, 16, 0, 2)),
        local_mac: [2, 0xaa, 0, 0, 0, 1],
        peer_mac: [2, 0xaa, 0, 0, 0, 2],
        tos: if random.chance(50) { OuterTos::Inherit } else { OuterTos::Fixed(0x20) },
        ttl: 64,
        qfi: (kind == TunnelKind::Gtpu && random.chance(50)).then_some(9),
    };
    Port {
        number: PortNo(number),
        name: format!("t{number}"),
        mtu_out: None,
        mtu_in: MTU_IN_DEFAULT,
        kind: PortKind::Tunnel(tunnel),
    }
}
