//! What the fast path reads of a frame by itself, one frame at a time: for those who hold it
//! against other readings. Bursts do the same with wider instructions.

use crate::packet::PacketPool;
use crate::quick;
use crate::quick_tunnel::{self, Inner};
use twinpath_flow::key::{Key, Line};
use twinpath_flow::parse::{Parsed, Standing};
use twinpath_flow::port::{PortNo, PortTable};

/// Reads a frame; `None` for all but the commonest, which are left to the full parser, and when no
/// buffer is left.
#[must_use]
pub fn read(frame: &[u8], port: PortNo, ports: &PortTable) -> Option<Parsed> {
    let mut packet = PacketPool::new(1).take()?;
    packet.port = port;
    if !packet.fill(frame) {
        return None;
    }
    let mut key = Key { head: Line::ZERO, tail: Line::ZERO };
    let quick = quick::read(packet.first_line(), frame.len(), port, &mut key.head)?;
    let has_tunnels = ports.has_tunnels_over(port);
    let inner = if has_tunnels && quick_tunnel::may_carry(quick, &key.head) {
        quick_tunnel::read(&packet, ports, &mut key)?
    } else {
        Inner::bare(quick)
    };
    Some(Parsed { key, layout: inner.layout(frame), standing: Standing::Plain })
}
