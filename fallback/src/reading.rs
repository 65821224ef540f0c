//! What the fast path reads of a frame by itself, one frame at a time: for those who hold it
//! against other readings. Bursts do the same with wider instructions.

use crate::quick;
use crate::quick_tunnel::{self, Inner};
use twinpath_flow::key::{Key, Line};
use twinpath_flow::parse::{Parsed, Standing};
use twinpath_flow::port::{PortNo, PortTable};

/// Reads a frame; `None` for all but the commonest, which are left to the full parser.
#[must_use]
pub fn read(frame: &[u8], port: PortNo, ports: &PortTable) -> Option<Parsed> {
    let mut line = [0; 64];
    let length = frame.len().min(line.len());
    line[..length].copy_from_slice(&frame[..length]);
    let mut key = Key { head: Line::ZERO, tail: Line::ZERO };
    let quick = quick::read(&line, frame.len(), port, &mut key.head)?;
    let has_tunnels = ports.tunnels().any(|(_, tunnel)| tunnel.over == port);
    let inner = if has_tunnels && quick_tunnel::may_carry(quick, &key.head) {
        quick_tunnel::read(frame, port, ports, &mut key)?
    } else {
        Inner::bare(quick)
    };
    Some(Parsed { key, layout: inner.layout(frame), standing: Standing::Plain })
}
