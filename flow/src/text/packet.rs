//! A packet as text: `in_port=1,tcp,nw_src=10.0.0.1,…` or `in_port=1 HEX`.

use super::error::{Problem, TextError};
use crate::port::{PortNo, PortTable};

/// A packet made from text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Physical port it comes in on.
    pub in_port: PortNo,
    /// The frame, without FCS.
    pub frame: Vec<u8>,
}

/// Reads a packet.
///
/// Fields not given have defaults that make a well-formed frame with right checksums: locally
/// administered MACs, IPv4 10.0.0.1 to 10.0.0.2, TTL 64. A tunnel port as `in_port` encapsulates
/// the packet as its peer would and takes the port below.
///
/// # Errors
/// The first thing wrong with it.
pub fn parse_packet(text: &str, ports: &PortTable) -> Result<Packet, TextError> {
    let _ = (text, ports);
    Err(TextError {
        source_name: "packet".to_owned(),
        line: 1,
        column: 1,
        problem: Problem::BadFrame,
    })
}
