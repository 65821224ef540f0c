//! Wires that go on when a card's function is gone, and the card's cables when it is back.

use super::brain::Brain;
use super::cable::Cable;
use super::forwarder::decide;
use super::ports::Ports;
use super::software::Software;
use crate::config::Config;
use std::path::PathBuf;
use twinpath_fallback::wire::{Wire, WireSpec};
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;

/// Frames taken from one standby wire at a time when it is closed.
const LAST_FRAMES: usize = 256;

/// The standby wires of all ports, by position.
#[derive(Debug)]
pub(super) struct Standby {
    wires: Vec<(PortNo, Option<WireSpec>)>,
    folder: PathBuf,
    is_open: bool,
}

impl Standby {
    /// Those of a configuration.
    pub(super) fn new(config: &Config) -> Self {
        let wires = config.wires.iter().map(|wire| (wire.number, wire.standby.clone())).collect();
        Self { wires, folder: config.folder.clone(), is_open: false }
    }

    /// Whether they are open.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Opens them all; a port without one, or whose wire cannot be opened, is down.
    pub(super) fn open(&mut self, now: Time, brain: &mut Brain, ports: &mut Ports) {
        self.is_open = true;
        for (at, (number, standby)) in self.wires.iter().enumerate() {
            let number = number.0;
            let Some(standby) = standby else {
                brain.events.error(now, format!("port {number} is down: it has no standby"));
                continue;
            };
            match standby.open(&self.folder) {
                Ok(opened) => {
                    let notices = opened.notices.iter().chain(&opened.warnings);
                    notices.for_each(|notice| tracing::debug!("port {number}: {notice}"));
                    put(at, opened.wire, ports);
                    ports.start_one_at(at, now);
                    brain.events.event(now, format!("port {number} is on its standby"));
                }
                Err(error) => {
                    brain.events.error(now, format!("port {number} is down: standby: {error}"));
                }
            }
        }
    }

    /// Decides what the wires still hold.
    pub(super) fn drain(
        &self,
        now: Time,
        software: &mut Software,
        brain: &mut Brain,
        ports: &mut Ports,
    ) {
        for at in 0..self.wires.len() {
            let generation = brain.generation();
            ports.receive(at, now, LAST_FRAMES, &mut |port, frame, _| {
                let fill = &mut |buffer: &mut [u8]| buffer.copy_from_slice(frame);
                software.take((port, generation, now), frame.len(), fill);
            });
            decide(now, software, brain, ports);
        }
    }

    /// Closes them all: frames come through the card again.
    pub(super) fn close(&mut self, ports: &mut Ports) {
        self.is_open = false;
        let put = |at| put(at, Box::<Cable>::default(), ports);
        let ended: Vec<_> = (0..self.wires.len()).filter_map(put).collect();
        // The kernel takes several milliseconds to close a packet socket; the card does not wait.
        std::thread::spawn(move || drop(ended));
    }
}

/// Puts a wire at a port and returns the one that was there.
fn put(at: usize, wire: Box<dyn Wire>, ports: &mut Ports) -> Option<Box<dyn Wire>> {
    let ended = ports.replace(at, wire);
    ended.inspect_err(|error| tracing::warn!("{error}")).ok()
}
