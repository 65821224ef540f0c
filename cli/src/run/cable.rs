//! The wire of a port of a real card: the card's own cable, out of the host's sight.

use std::os::fd::BorrowedFd;
use twinpath_fallback::wire::{FrameSink, Wire, WireCounters, WireError};
use twinpath_flow::time::Time;

/// Nothing passes here: frames come and go through the card's queues. What is sent here all the
/// same, when there is no card, is dropped.
#[derive(Debug, Default)]
pub(super) struct Cable {
    dropped: u64,
}

impl Wire for Cable {
    fn receive(&mut self, _: Time, _: usize, _: &mut FrameSink<'_>) -> Result<usize, WireError> {
        Ok(0)
    }

    fn next_arrival(&mut self) -> Option<Time> {
        None
    }

    fn start_at(&mut self, _: Time) {}

    fn send(&mut self, _: &[u8], _: Time) {
        self.dropped += 1;
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
        false
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn counters(&self) -> WireCounters {
        WireCounters { send_dropped: self.dropped, ..WireCounters::default() }
    }

    fn finish(&mut self) -> Result<(), WireError> {
        Ok(())
    }
}
