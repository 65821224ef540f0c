//! Device `reference`: every packet through the interpreter of `flow`.

use super::brain::Brain;
use super::ports::Ports;
use twinpath_flow::counters::Counts;
use twinpath_flow::port::PortNo;
use twinpath_flow::reference::{Cause, process};
use twinpath_flow::time::Time;
use twinpath_offload::io::Input;

/// The interpreter and what it counted.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    /// Packets decided.
    pub decided: u64,
    /// Of those, sent nowhere by the rules.
    pub dropped: u64,
    /// Packets longer than their input port takes.
    pub mtu_in: u64,
    /// Packets without an Ethernet header or with wrong outer headers.
    pub malformed: u64,
    outputs: Vec<(PortNo, Vec<u8>)>,
    drops: Vec<PortNo>,
}

impl Reference {
    /// Decides a frame at once; [`Reference::send`] sends what comes of it.
    pub(crate) fn take(&mut self, now: Time, brain: &mut Brain, port: PortNo, frame: &[u8]) {
        let outcome = process(brain.pipeline(), frame, port);
        if outcome.losses.contains(&Cause::MtuIn) {
            self.mtu_in += 1;
            return;
        }
        if outcome.losses.iter().any(|loss| matches!(loss, Cause::Malformed | Cause::NoPort)) {
            self.malformed += 1;
            return;
        }
        self.decided += 1;
        // A copy that its port could not send was sent somewhere by the rules.
        let failed = |loss: &Cause| matches!(loss, Cause::MtuOut(_) | Cause::Encap(_));
        let nowhere = outcome.is_drop() && !outcome.losses.iter().any(failed);
        self.dropped += u64::from(nowhere);
        for rule in outcome.rules {
            let counts = Counts::one(frame.len());
            brain.tell(now, Input::ExceptionCounts { rule, counts });
        }
        for copy in outcome.controller {
            brain.events.copy(now, port, copy.len(), &copy);
        }
        for loss in outcome.losses {
            match loss {
                Cause::MtuOut(port) => self.drops.push(port),
                Cause::Encap(port) => {
                    let over = brain.ports().tunnel(port).map_or(port, |tunnel| tunnel.over);
                    self.drops.push(over);
                }
                Cause::MtuIn | Cause::Malformed | Cause::NoPort => {}
            }
        }
        self.outputs.extend(outcome.outputs);
    }

    /// Sends what was decided.
    pub(crate) fn send(&mut self, now: Time, ports: &mut Ports) {
        for (port, frame) in self.outputs.drain(..) {
            ports.send(port, &frame, now);
        }
        for port in self.drops.drain(..) {
            ports.drop_at(port);
        }
    }

    /// Whether everything decided was sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.outputs.is_empty()
    }
}
