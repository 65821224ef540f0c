//! The far ends of the wires: what left by each port, in order.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};
use twinpath_cli::run::ports::{PortLine, Ports};
use twinpath_fallback::wire::{FrameSink, Wire, WireCounters, WireError};
use twinpath_flow::counters::Counts;
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::time::Time;

/// Frames that left, in order, each with its port.
#[derive(Clone, Debug, Default)]
pub struct Departures(Arc<Mutex<Frames>>);

/// Frames with their ports.
pub type Frames = Vec<(PortNo, Vec<u8>)>;

impl Departures {
    /// Ports whose wires end here.
    #[must_use]
    pub fn ports(&self, table: &PortTable) -> Ports {
        let line = |number: PortNo, name: &str| {
            let wire = Sink { port: number, departures: self.clone(), sent: Counts::default() };
            PortLine::new(number, name.to_owned(), Box::new(wire))
        };
        Ports::new(table.physical().map(|port| line(port.number, &port.name)).collect())
    }

    /// What left since the last call.
    #[must_use]
    pub fn take(&self) -> Frames {
        // One thread: a poisoned lock is that of a world that failed.
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One wire; nothing comes from it.
struct Sink {
    port: PortNo,
    departures: Departures,
    sent: Counts,
}

impl Wire for Sink {
    fn receive(&mut self, _: Time, _: usize, _: &mut FrameSink<'_>) -> Result<usize, WireError> {
        Ok(0)
    }

    fn next_arrival(&mut self) -> Option<Time> {
        None
    }

    fn start_at(&mut self, _: Time) {}

    fn send(&mut self, frame: &[u8], _: Time) {
        self.sent += Counts::one(frame.len());
        let mut departures = self.departures.0.lock().unwrap_or_else(PoisonError::into_inner);
        departures.push((self.port, frame.to_vec()));
    }

    fn flush(&mut self) -> Result<(), WireError> {
        Ok(())
    }

    fn has_queued(&self) -> bool {
        false
    }

    fn is_finished(&self) -> bool {
        false
    }

    fn is_virtual(&self) -> bool {
        true
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn counters(&self) -> WireCounters {
        WireCounters { sent: self.sent, ..WireCounters::default() }
    }

    fn finish(&mut self) -> Result<(), WireError> {
        Ok(())
    }
}
