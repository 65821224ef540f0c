//! Output to a tunnel port: outer headers made when the flow is made, lengths filled in per packet.
//!
//! Layouts: RFC 791, RFC 768, VXLAN RFC 7348 §5, Geneve RFC 8926 §3.4, GTP-U 3GPP TS 29.281 §5.1
//! with the PDU Session Container of TS 38.415 §5.5.2.1.

use super::checksum::Change;
use crate::outbox::{DropCause, Dropped};
use crate::packet::Packet;
use twinpath_flow::encap::source_port;
use twinpath_flow::field::Field;
use twinpath_flow::key::Key;
use twinpath_flow::parse::{Layout, Parsed};
use twinpath_flow::port::{OuterTos, PortNo, Tunnel, TunnelKind};

/// Outer IPv4 header, behind an Ethernet header.
const IP: usize = 14;
/// Outer UDP header.
const UDP: usize = IP + 20;
/// Tunnel header.
const TUNNEL: usize = UDP + 8;
/// Longest: GTP-U with a PDU Session Container.
const HEADER_LEN_MAX: usize = TUNNEL + 16;

/// What steps set for the next tunnel output; what was received does not count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carried {
    /// Tunnel destination.
    pub(super) target: Option<u128>,
    /// QoS flow identifier.
    pub(super) qfi: Option<u128>,
}

/// Encapsulation into one tunnel, for the packets of one flow.
#[derive(Clone, Debug)]
pub(super) struct Encap {
    /// The tunnel port.
    port: PortNo,
    /// The physical port under it.
    over: PortNo,
    /// Longest frame that port sends.
    mtu: usize,
    kind: TunnelKind,
    /// Outer headers with lengths of 0 and the IPv4 checksum for those; `None` when no packet of
    /// the flow can be encapsulated.
    header: Option<[u8; HEADER_LEN_MAX]>,
    header_len: usize,
}

impl Encap {
    /// Compiles the output to tunnel port `port` for packets whose key there is `known` in all that
    /// the outer headers are made of. `mtu` is that of the physical port.
    pub(super) fn new(
        (port, tunnel): (PortNo, &Tunnel),
        known: &Key,
        carried: Carried,
        mtu: usize,
    ) -> Self {
        let target = match tunnel.remote_ip {
            Some(remote) => u32::from(remote).into(),
            None => carried.target.unwrap_or(0),
        };
        let is_ip = matches!(known.get(Field::EthType), 0x0800 | 0x86dd);
        let possible = target != 0 && (tunnel.kind != TunnelKind::Gtpu || is_ip);
        let mut header = [0; HEADER_LEN_MAX];
        fill_outer(
            &mut header,
            tunnel,
            last_bytes(target),
            last_bytes::<1>(known.get(Field::IpTos))[0],
        );
        let header_len = TUNNEL + fill_tunnel(&mut header[TUNNEL..], tunnel, known, carried);
        let (over, kind) = (tunnel.over, tunnel.kind);
        Self { port, over, mtu, kind, header: possible.then_some(header), header_len }
    }

    /// The physical port that sends the result.
    pub(super) const fn over(&self) -> PortNo {
        self.over
    }

    /// Puts the outer headers in front of the frame.
    pub(super) fn run(
        &self,
        packet: &mut Packet,
        layout: &Layout,
        parsed: &Parsed,
    ) -> Result<(), Dropped> {
        let impossible = Dropped { cause: DropCause::Encap, port: self.port };
        let header = &self.header.ok_or(impossible)?[..self.header_len];
        if self.kind == TunnelKind::Gtpu {
            // The link layer stays behind, tags and all.
            packet.pull_front(packet.len().min(usize::from(layout.l3)));
        }
        let frame = packet.push_front(self.header_len).ok_or(impossible)?;
        frame[..self.header_len].copy_from_slice(header);
        let len = |from: usize| u16::try_from(frame.len() - from).ok();
        let (Some(ip_len), Some(udp_len)) = (len(IP), len(UDP)) else {
            return Err(impossible);
        };
        let gtpu_len = len(TUNNEL + 8).unwrap_or(0);
        frame[IP + 2..IP + 4].copy_from_slice(&ip_len.to_be_bytes());
        Change::of(&[0, 0], &ip_len.to_be_bytes()).update(frame, IP + 10);
        let source = source_port(&parsed.key.head);
        frame[UDP..UDP + 2].copy_from_slice(&source.to_be_bytes());
        frame[UDP + 4..UDP + 6].copy_from_slice(&udp_len.to_be_bytes());
        if self.kind == TunnelKind::Gtpu {
            frame[TUNNEL + 2..TUNNEL + 4].copy_from_slice(&gtpu_len.to_be_bytes());
        }
        if frame.len() > self.mtu {
            return Err(Dropped { cause: DropCause::MtuOut, port: self.over });
        }
        Ok(())
    }
}

/// Ethernet, IPv4 (no options, id 0, don't fragment) and UDP (checksum 0). `inner_tos` is 0 when
/// the inner packet is not IP.
fn fill_outer(header: &mut [u8], tunnel: &Tunnel, target: [u8; 4], inner_tos: u8) {
    let dscp = match tunnel.tos {
        OuterTos::Fixed(tos) => tos & 0xfc,
        OuterTos::Inherit => inner_tos & 0xfc,
    };
    // Congestion experienced leaves as ECT(0) (RFC 3168 §9.1.1).
    let ecn = match inner_tos & 3 {
        3 => 2,
        other => other,
    };
    header[..6].copy_from_slice(&tunnel.peer_mac);
    header[6..12].copy_from_slice(&tunnel.local_mac);
    header[12..14].copy_from_slice(&[0x08, 0x00]);
    let ip = &mut header[IP..UDP];
    ip[..2].copy_from_slice(&[0x45, dscp | ecn]);
    ip[6..10].copy_from_slice(&[0x40, 0, tunnel.ttl, 17]);
    ip[12..16].copy_from_slice(&tunnel.local_ip.octets());
    ip[16..20].copy_from_slice(&target);
    let checksum = Change::of(&[0; 20], ip).apply(0xffff);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    header[UDP + 2..UDP + 4].copy_from_slice(&tunnel.kind.udp_port().to_be_bytes());
}

/// The tunnel header with a length of 0; returns how long it is.
fn fill_tunnel(header: &mut [u8], tunnel: &Tunnel, known: &Key, carried: Carried) -> usize {
    let id = last_bytes::<4>(known.get(Field::TunId));
    match tunnel.kind {
        TunnelKind::Vxlan => header[0] = 0x08,
        TunnelKind::Geneve => header[2..4].copy_from_slice(&[0x65, 0x58]),
        TunnelKind::Gtpu => {
            header[..2].copy_from_slice(&[0x30, 0xff]);
            header[4..8].copy_from_slice(&id);
            let set = carried.qfi.map(|qfi| last_bytes::<1>(qfi)[0]);
            let Some(qfi) = tunnel.qfi.or(set) else {
                return 8;
            };
            header[0] |= 0x04;
            header[8..16].copy_from_slice(&[0, 0, 0, 0x85, 1, 0, qfi & 0x3f, 0]);
            return 16;
        }
    }
    header[4..7].copy_from_slice(&id[1..]);
    8
}

fn last_bytes<const N: usize>(value: u128) -> [u8; N] {
    std::array::from_fn(|i| value.to_be_bytes()[16 - N + i])
}
