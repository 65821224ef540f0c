//! What the fast path reads of a frame by itself, one frame at a time: for those who hold it
//! against other readings. Bursts do the same with wider instructions.

use crate::{quick, quick_tunnel};
use twinpath_flow::key::{Key, Line};
use twinpath_flow::parse::{Parsed, Standing};
use twinpath_flow::port::{PortNo, PortTable};

/// Reads a frame; `None` for all but the commonest, which are left to the full parser.
#[must_use]
pub fn read(frame: &[u8], port: PortNo, ports: &PortTable) -> Option<Parsed> {
    let mut line = [0; 64];
    let length = frame.len().min(line.len());
    line[..length].copy_from_slice(&frame[..length]);
    let has_tunnels = ports.tunnels().any(|(_, tunnel)| tunnel.over == port);
    match quick::read(&line, frame.len(), port) {
        Some(quick) if !has_tunnels || !quick_tunnel::may_carry(&quick) => {
            let key = Key { head: quick.head, tail: Line::ZERO };
            Some(Parsed { key, layout: quick.layout, standing: Standing::Plain })
        }
        _ => {
            let mut parsed = Parsed::default();
            quick_tunnel::read(frame, port, ports, &mut parsed).map(|()| parsed)
        }
    }
}
