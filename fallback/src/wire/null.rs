//! The wire that brings nothing and swallows everything.

use std::os::fd::BorrowedFd;

use twinpath_flow::counters::Counts;
use twinpath_flow::time::Time;

use super::{FrameSink, Wire, WireCounters, WireError};

/// No source; what is sent is counted and gone.
#[derive(Debug, Default)]
pub(super) struct Null {
    counters: WireCounters,
}

impl Wire for Null {
    fn receive(
        &mut self,
        _now: Time,
        _limit: usize,
        _sink: &mut FrameSink<'_>,
    ) -> Result<usize, WireError> {
        Ok(0)
    }

    fn next_arrival(&mut self) -> Option<Time> {
        None
    }

    fn start_at(&mut self, _time: Time) {}

    fn send(&mut self, frame: &[u8], _departure: Time) {
        self.counters.sent += Counts::one(frame.len());
    }

    fn flush(&mut self) -> Result<(), WireError> {
        Ok(())
    }

    fn has_queued(&self) -> bool {
        false
    }

    fn is_finished(&self) -> bool {
        true
    }

    fn is_virtual(&self) -> bool {
        true
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn counters(&self) -> WireCounters {
        self.counters
    }

    fn finish(&mut self) -> Result<(), WireError> {
        Ok(())
    }
}
