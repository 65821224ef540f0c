//! Queues that stand still though the card says that there is something: a record that was written
//! elsewhere, a ring that nobody serves.

use super::Settings;
use crate::gate::Gate;
use std::time::Duration;
use twinpath_abi::bus::Bus;
use twinpath_abi::register::{QUEUE_ARRAY, QUEUE_STRIDE, queue};
use twinpath_flow::card::DeathCause;
use twinpath_flow::time::Time;

/// A receive ring whose next frame is announced and not there for so long is broken.
const RECEIVE_STALL: Duration = Duration::from_millis(20);

/// A transmit ring of which the card takes nothing for so long is not served.
const TRANSMIT_STALL: Duration = Duration::from_millis(200);

/// What was seen of one queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stall {
    /// Frames taken when the receive ring was first seen ahead, empty looks by then, and when.
    receive: Option<(u64, u32, Time)>,
    /// How far the card had sent when it was first seen behind, and when.
    transmit: Option<(u32, Time)>,
}

impl Stall {
    /// Looks at the registers of queue `index`.
    ///
    /// # Errors
    /// [`DeathCause`] when it stands still for too long.
    pub(super) fn look(
        &mut self,
        bus: &impl Bus,
        (index, gate): (u32, &Gate),
        watched: Time,
        settings: &Settings,
    ) -> Result<(), DeathCause> {
        let base = QUEUE_ARRAY + index * QUEUE_STRIDE;
        let taken = gate.taken();
        let low = u32::try_from(taken & 0xffff_ffff).expect("masked");
        let is_ahead = bus.read32(base + queue::RX_PRODUCER.offset) != low;
        match self.receive {
            Some((before, looks, since)) if is_ahead && before == taken => {
                // Two looks that found nothing: the second began after the index was seen.
                let looked = gate.empty_looks().wrapping_sub(looks) >= 2;
                if looked && watched.since(since) > settings.within(RECEIVE_STALL) {
                    return Err(DeathCause::Garbage);
                }
            }
            _ => self.receive = is_ahead.then(|| (taken, gate.empty_looks(), watched)),
        }
        let sent = bus.read32(base + queue::TX_CONSUMER.offset);
        let is_behind = sent != gate.produced();
        match self.transmit {
            Some((before, since)) if is_behind && before == sent => {
                if watched.since(since) > settings.within(TRANSMIT_STALL) {
                    return Err(DeathCause::Deadline);
                }
            }
            _ => self.transmit = is_behind.then_some((sent, watched)),
        }
        Ok(())
    }
}
