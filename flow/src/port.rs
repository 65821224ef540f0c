//! The port table: physical ports, and tunnel ports riding over them.

use std::net::Ipv4Addr;

/// Port number as rules write it: 1 to 0xfeff.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortNo(pub u16);

/// A MAC address.
pub type Mac = [u8; 6];

/// Default limit of a received frame, in bytes without FCS.
pub const MTU_IN_DEFAULT: u16 = 9216;

/// A port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Number.
    pub number: PortNo,
    /// Name; shown, and accepted where rules name ports.
    pub name: String,
    /// Longest frame sent, in bytes without FCS; longer ones are dropped and counted.
    pub mtu_out: Option<u16>,
    /// Longest frame received, likewise.
    pub mtu_in: u16,
    /// What the port is.
    pub kind: PortKind,
}

impl Port {
    /// A physical port as it is when nothing else is said: its name is `p` and the number; no limit
    /// of what it sends, [`MTU_IN_DEFAULT`] of what it receives.
    #[must_use]
    pub fn physical(number: u16) -> Self {
        Self {
            number: PortNo(number),
            name: format!("p{number}"),
            mtu_out: None,
            mtu_in: MTU_IN_DEFAULT,
            kind: PortKind::Physical,
        }
    }
}

/// What a port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// A port of the card, with a wire.
    Physical,
    /// A tunnel port.
    Tunnel(Tunnel),
}

/// Encapsulation of a tunnel port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelKind {
    /// VXLAN (RFC 7348), UDP port 4789.
    Vxlan,
    /// Geneve (RFC 8926), UDP port 6081; options are skipped on receive and never sent.
    Geneve,
    /// GTP-U (3GPP TS 29.281), UDP port 2152; inner packets have no Ethernet header.
    Gtpu,
}

impl TunnelKind {
    /// The well-known UDP destination port.
    #[must_use]
    pub const fn udp_port(self) -> u16 {
        match self {
            Self::Vxlan => 4789,
            Self::Geneve => 6081,
            Self::Gtpu => 2152,
        }
    }
}

/// Type of service of the outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OuterTos {
    /// A constant.
    Fixed(u8),
    /// DSCP of the inner IP header (0 when there is none), ECN as RFC 6040 says.
    Inherit,
}

/// Settings of a tunnel port. The outer header is IPv4: UDP checksum 0, DF set, id 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Encapsulation.
    pub kind: TunnelKind,
    /// Physical port that carries the tunnel.
    pub over: PortNo,
    /// Own address.
    pub local_ip: Ipv4Addr,
    /// Peer's address; `None` when the flow sets `tun_dst`. Received packets from any source are
    /// accepted when `None`.
    pub remote_ip: Option<Ipv4Addr>,
    /// Outer source MAC.
    pub local_mac: Mac,
    /// Outer destination MAC.
    pub peer_mac: Mac,
    /// Outer type of service.
    pub tos: OuterTos,
    /// Outer TTL.
    pub ttl: u8,
    /// GTP-U: send a PDU Session Container with this QFI.
    pub qfi: Option<u8>,
}

/// All ports, sorted by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortTable {
    ports: Vec<Port>,
    /// What the tunnel ports claim and their places in `ports`, sorted.
    claims: Vec<(Claim, u16)>,
}

/// What a tunnel port claims, as one number: from the top port below, UDP port, local address, and
/// remote one with a bit above if it is fixed.
type Claim = u128;

#[inline]
fn claim(over: PortNo, udp_port: u16, local: Ipv4Addr, remote: Option<Ipv4Addr>) -> Claim {
    let remote = remote.map_or(0, |remote| 1 << 32 | u128::from(u32::from(remote)));
    let upper =
        u128::from(over.0) << 48 | u128::from(udp_port) << 32 | u128::from(u32::from(local));
    upper << 33 | remote
}

/// Why a port table was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortTableError {
    /// Two ports have one number.
    #[error("port number {0} is used twice")]
    DuplicateNumber(u16),
    /// Two ports have one name.
    #[error("port name {0:?} is used twice")]
    DuplicateName(String),
    /// Numbers 0 and above 0xfeff are reserved.
    #[error("port number {0} is out of range 1..=65279")]
    NumberOutOfRange(u16),
    /// A tunnel rides over a port that is absent or itself a tunnel.
    #[error("tunnel port {tunnel} is over port {over}, which is not a physical port")]
    TunnelOverNothing {
        /// The tunnel port.
        tunnel: u16,
        /// Its `over`.
        over: u16,
    },
    /// Two tunnel ports would claim the same packets.
    #[error("tunnel ports {0} and {1} have the same type, over, local_ip and remote_ip")]
    SameTunnel(u16, u16),
}

impl PortTable {
    /// Checks and sorts `ports`.
    ///
    /// # Errors
    /// Duplicate or reserved numbers, duplicate names, tunnels over nothing or twice the same.
    pub fn new(mut ports: Vec<Port>) -> Result<Self, PortTableError> {
        ports.sort_by_key(|port| port.number);
        for (index, port) in ports.iter().enumerate() {
            let number = port.number.0;
            if number == 0 || number > 0xfeff {
                return Err(PortTableError::NumberOutOfRange(number));
            }
            if index > 0 && ports[index - 1].number == port.number {
                return Err(PortTableError::DuplicateNumber(number));
            }
            if let Some(other) = ports[..index].iter().find(|other| other.name == port.name) {
                return Err(PortTableError::DuplicateName(other.name.clone()));
            }
            if let PortKind::Tunnel(tunnel) = &port.kind {
                Self::check_tunnel(&ports, index, number, tunnel)?;
            }
        }
        let claimed = |(place, port): (u16, &Port)| match &port.kind {
            PortKind::Tunnel(t) => {
                Some((claim(t.over, t.kind.udp_port(), t.local_ip, t.remote_ip), place))
            }
            PortKind::Physical => None,
        };
        let mut claims: Vec<_> = (0..).zip(&ports).filter_map(claimed).collect();
        claims.sort_unstable();
        Ok(Self { ports, claims })
    }

    fn check_tunnel(
        ports: &[Port],
        index: usize,
        number: u16,
        tunnel: &Tunnel,
    ) -> Result<(), PortTableError> {
        let over = ports.iter().find(|port| port.number == tunnel.over);
        if !over.is_some_and(|port| port.kind == PortKind::Physical) {
            return Err(PortTableError::TunnelOverNothing { tunnel: number, over: tunnel.over.0 });
        }
        for other in &ports[..index] {
            if let PortKind::Tunnel(earlier) = &other.kind
                && (earlier.kind, earlier.over, earlier.local_ip, earlier.remote_ip)
                    == (tunnel.kind, tunnel.over, tunnel.local_ip, tunnel.remote_ip)
            {
                return Err(PortTableError::SameTunnel(other.number.0, number));
            }
        }
        Ok(())
    }

    /// The port of that number.
    #[must_use]
    pub fn find(&self, number: PortNo) -> Option<&Port> {
        self.ports.binary_search_by_key(&number, |port| port.number).ok().map(|i| &self.ports[i])
    }

    /// The tunnel settings of that port, if it is a tunnel port.
    #[must_use]
    pub fn tunnel(&self, number: PortNo) -> Option<&Tunnel> {
        match &self.find(number)?.kind {
            PortKind::Tunnel(tunnel) => Some(tunnel),
            PortKind::Physical => None,
        }
    }

    /// The port of that name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|port| port.name == name)
    }

    /// All ports, ascending by number.
    pub fn iter(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter()
    }

    /// Physical ports, ascending by number; the position is the card's port index.
    pub fn physical(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().filter(|port| port.kind == PortKind::Physical)
    }

    /// The tunnel port that claims UDP packets which came in by port `over`, given their
    /// destination port and addresses: one for that source rather than one for all.
    #[must_use]
    pub fn claimant(
        &self,
        over: PortNo,
        udp_port: u16,
        (source, target): (Ipv4Addr, Ipv4Addr),
    ) -> Option<(PortNo, &Tunnel)> {
        let claimed_by = |remote| {
            let wanted = claim(over, udp_port, target, remote);
            self.claims.binary_search_by_key(&wanted, |(claim, _)| *claim).ok()
        };
        let at = claimed_by(Some(source)).or_else(|| claimed_by(None))?;
        let port = &self.ports[usize::from(self.claims[at].1)];
        match &port.kind {
            PortKind::Tunnel(tunnel) => Some((port.number, tunnel)),
            PortKind::Physical => None,
        }
    }

    /// Whether a tunnel rides over a port.
    #[must_use]
    pub fn has_tunnels_over(&self, over: PortNo) -> bool {
        let first = claim(over, 0, Ipv4Addr::UNSPECIFIED, None);
        let at = self.claims.partition_point(|(claim, _)| *claim < first);
        self.claims.get(at).is_some_and(|(claim, _)| claim >> 81 == first >> 81)
    }

    /// Tunnel ports with their settings, ascending by number.
    pub fn tunnels(&self) -> impl Iterator<Item = (PortNo, &Tunnel)> {
        self.ports.iter().filter_map(|port| match &port.kind {
            PortKind::Tunnel(tunnel) => Some((port.number, tunnel)),
            PortKind::Physical => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Random;

    fn port(number: u16, kind: PortKind) -> Port {
        Port { kind, ..Port::physical(number) }
    }

    /// Two physical ports and up to `count` tunnels whose claims overlap.
    fn table(random: &mut Random, count: u16) -> PortTable {
        let address =
            |last: usize| Ipv4Addr::from(0x0a00_0000 + u32::try_from(last).expect("small"));
        let mut ports = vec![port(1, PortKind::Physical), port(2, PortKind::Physical)];
        for number in 10..10 + count {
            let tunnel = Tunnel {
                kind: random.pick(&[TunnelKind::Vxlan, TunnelKind::Geneve, TunnelKind::Gtpu]),
                over: PortNo(random.pick(&[1, 2])),
                local_ip: address(random.below(3)),
                remote_ip: random.chance(60).then(|| address(random.below(4))),
                local_mac: [2; 6],
                peer_mac: [4; 6],
                tos: OuterTos::Fixed(0),
                ttl: 64,
                qfi: None,
            };
            ports.push(port(number, PortKind::Tunnel(tunnel)));
            if PortTable::new(ports.clone()).is_err() {
                ports.pop();
            }
        }
        PortTable::new(ports).expect("checked one by one")
    }

    #[test]
    fn the_claimant_is_the_one_a_walk_over_all_tunnels_finds() {
        let mut random = Random::new(5);
        let mut found = 0;
        for _ in 0..200 {
            let ports = table(&mut random, 20);
            for _ in 0..50 {
                let over = PortNo(random.pick(&[1, 2, 3]));
                let udp_port = random.pick(&[4789, 6081, 2152, 53]);
                let mut address =
                    || Ipv4Addr::from(0x0a00_0000 + u32::try_from(random.below(5)).expect("small"));
                let (source, target) = (address(), address());
                let claims = |tunnel: &Tunnel| {
                    (tunnel.over, tunnel.kind.udp_port(), tunnel.local_ip)
                        == (over, udp_port, target)
                        && tunnel.remote_ip.is_none_or(|remote| remote == source)
                };
                let claimants = ports.tunnels().filter(|(_, tunnel)| claims(tunnel));
                let wanted = claimants.min_by_key(|(_, tunnel)| tunnel.remote_ip.is_none());
                assert_eq!(ports.claimant(over, udp_port, (source, target)), wanted);
                let rides = ports.tunnels().any(|(_, tunnel)| tunnel.over == over);
                assert_eq!(ports.has_tunnels_over(over), rides);
                found += u32::from(wanted.is_some());
            }
        }
        assert!(found > 1000, "only {found} packets had a tunnel");
    }
}
