//! The tunnel image: 64 bytes, used by the parser and as encapsulation template
//! (`docs/nic-abi.md` §9.12).

use crate::words::{array_at, is_zero, put, u16_at};

/// Bytes of a tunnel image.
pub const TUNNEL_BYTES: usize = 64;

/// Encapsulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TunnelKind {
    /// VXLAN.
    Vxlan = 1,
    /// Geneve.
    Geneve = 2,
    /// GTP-U.
    Gtpu = 3,
}

/// Bits of the flags byte.
pub mod flag {
    /// The tunnel exists.
    pub const VALID: u8 = 1;
    /// The peer is fixed; clear: the flow names it, and any is accepted.
    pub const REMOTE: u8 = 2;
    /// The outer type of service is the inner one's.
    pub const INHERIT_TOS: u8 = 4;
    /// GTP-U: a PDU Session Container with `qfi` is written.
    pub const QFI: u8 = 8;
    /// All bits in use.
    pub const ALL: u8 = 15;
}

/// A tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelImage {
    /// Number that its packets have in the key.
    pub number: u16,
    /// Encapsulation.
    pub kind: TunnelKind,
    /// Index of the physical port that carries it.
    pub over: u16,
    /// UDP destination port.
    pub udp_port: u16,
    /// Own address.
    pub local_ip: [u8; 4],
    /// Peer's address, if fixed.
    pub remote_ip: Option<[u8; 4]>,
    /// Outer source address.
    pub local_mac: [u8; 6],
    /// Outer destination address.
    pub peer_mac: [u8; 6],
    /// Outer type of service; `None`: inherited.
    pub tos: Option<u8>,
    /// Outer TTL.
    pub ttl: u8,
    /// QFI to write.
    pub qfi: Option<u8>,
}

/// Why an image is no tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TunnelError {
    /// Unknown encapsulation.
    #[error("unknown tunnel kind {0}")]
    Kind(u8),
    /// Flags or bytes that must be 0 are not.
    #[error("reserved bits are set")]
    Reserved,
}

impl TunnelImage {
    /// The image.
    #[must_use]
    pub fn encode(&self) -> [u8; TUNNEL_BYTES] {
        let bit = |set: bool, flag: u8| if set { flag } else { 0 };
        let mut bytes = [0; TUNNEL_BYTES];
        put(&mut bytes, 0, &self.number.to_le_bytes());
        bytes[2] = self.kind as u8;
        bytes[3] = flag::VALID
            | bit(self.remote_ip.is_some(), flag::REMOTE)
            | bit(self.tos.is_none(), flag::INHERIT_TOS)
            | bit(self.qfi.is_some(), flag::QFI);
        put(&mut bytes, 4, &self.over.to_le_bytes());
        put(&mut bytes, 6, &self.udp_port.to_le_bytes());
        put(&mut bytes, 8, &self.local_ip);
        put(&mut bytes, 12, &self.remote_ip.unwrap_or([0; 4]));
        put(&mut bytes, 16, &self.local_mac);
        put(&mut bytes, 22, &self.peer_mac);
        bytes[28] = self.tos.unwrap_or(0);
        bytes[29] = self.ttl;
        bytes[30] = self.qfi.unwrap_or(0);
        bytes
    }

    /// Reads and checks an image; `None` when it says that there is no tunnel.
    ///
    /// # Errors
    /// [`TunnelError`] for the first rule it breaks.
    pub fn decode(bytes: &[u8; TUNNEL_BYTES]) -> Result<Option<Self>, TunnelError> {
        let flags = bytes[3];
        if flags & !flag::ALL != 0 || !is_zero(&bytes[31..]) {
            return Err(TunnelError::Reserved);
        }
        if flags & flag::VALID == 0 {
            return Ok(None);
        }
        let kind = match bytes[2] {
            1 => TunnelKind::Vxlan,
            2 => TunnelKind::Geneve,
            3 => TunnelKind::Gtpu,
            other => return Err(TunnelError::Kind(other)),
        };
        Ok(Some(Self {
            number: u16_at(bytes, 0),
            kind,
            over: u16_at(bytes, 4),
            udp_port: u16_at(bytes, 6),
            local_ip: array_at(bytes, 8),
            remote_ip: (flags & flag::REMOTE != 0).then(|| array_at(bytes, 12)),
            local_mac: array_at(bytes, 16),
            peer_mac: array_at(bytes, 22),
            tos: (flags & flag::INHERIT_TOS == 0).then_some(bytes[28]),
            ttl: bytes[29],
            qfi: (flags & flag::QFI != 0).then_some(bytes[30]),
        }))
    }
}
