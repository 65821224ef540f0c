//! Wires that go on when a card's function is gone, and the card's cables when it is back.

use super::brain::Brain;
use super::cable::Cable;
use super::ports::Ports;
use crate::config::Config;
use std::path::PathBuf;
use twinpath_fallback::wire::WireSpec;
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;

/// The standby wires of all ports, by position.
#[derive(Debug)]
pub(super) struct Standby {
    wires: Vec<(PortNo, Option<WireSpec>)>,
    folder: PathBuf,
}

impl Standby {
    /// Those of a configuration.
    pub(super) fn new(config: &Config) -> Self {
        let wires = config.wires.iter().map(|wire| (wire.number, wire.standby.clone())).collect();
        Self { wires, folder: config.folder.clone() }
    }

    /// Opens them all; a port without one, or whose wire cannot be opened, is down.
    pub(super) fn open(&self, now: Time, brain: &mut Brain, ports: &mut Ports) {
        for (at, (number, standby)) in self.wires.iter().enumerate() {
            let number = number.0;
            let Some(standby) = standby else {
                brain.events.error(now, format!("port {number} is down: it has no standby"));
                continue;
            };
            match standby.open(&self.folder) {
                Ok(opened) => {
                    let notices = opened.notices.iter();
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

    /// Closes them all: frames come through the card again.
    pub(super) fn close(&self, ports: &mut Ports) {
        for at in 0..self.wires.len() {
            put(at, Box::<Cable>::default(), ports);
        }
    }
}

fn put(at: usize, wire: Box<dyn twinpath_fallback::wire::Wire>, ports: &mut Ports) {
    if let Err(error) = ports.replace(at, wire) {
        tracing::warn!("{error}");
    }
}
