//! Counter sweeps: the card writes a record for each counter; the newest arrived sweep is reported.
//!
//! One memory serves all sweeps: the next is asked for only after the last was read, so records
//! are never read while they are written.

use super::Active;
use super::commands::{Patience, Work};
use super::roster::Life;
use super::watch::CardClock;
use twinpath_abi::bus::Bus;
use twinpath_abi::command::Command;
use twinpath_abi::completion::NEVER;
use twinpath_abi::entry::NO_ENTRY;
use twinpath_abi::sweep::{RECORD_BYTES, Record};
use twinpath_flow::card::{CounterSink, EntryCounts, Epoch, Sweep};
use twinpath_flow::counters::Counts;
#[cfg(sabotage)]
use twinpath_flow::sabotage::{Bug, strikes_one_in, touches};
use twinpath_flow::time::Time;

/// Records read from DMA memory at once.
const CHUNK: u32 = 128;

/// Entries of one sweep that are reported missing; the next sweep has the others.
const MISSING_MAX: usize = 256;

/// Where the current sweep is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SweepState {
    /// None asked for.
    #[default]
    Idle,
    /// In the command ring.
    Asked,
    /// Written: the card's time, and records written and asked for.
    Arrived {
        /// The card's clock when the records were true.
        as_of: u64,
        /// Records that can be read.
        written: u32,
        /// Records asked for.
        asked: u32,
    },
}

impl SweepState {
    /// The card has written `written` of `asked` records, or says so.
    pub(super) fn arrived(&mut self, as_of: u64, written: u32, asked: u32) {
        *self = Self::Arrived { as_of, written: written.min(asked), asked };
    }

    /// The card has not swept; the next call asks again.
    pub(super) fn refused(&mut self) {
        *self = Self::Idle;
    }
}

impl<B: Bus> Active<B> {
    /// Whether nothing can be in the card that the roster does not know.
    pub(super) fn checked(&self) -> bool {
        self.setup.check == super::bring_up::Check::Done
    }

    /// Entries in a card that should be empty, by the sweep that has arrived.
    pub(super) fn survivors(&mut self, bus: &B) -> usize {
        let SweepState::Arrived { written, .. } = self.sweep else { return 0 };
        self.sweep = SweepState::Idle;
        let mut bytes = [0; RECORD_BYTES];
        let in_use = (0..u64::from(written)).filter(|index| {
            bus.copy_out(self.memory.records.plus(index * RECORD_BYTES as u64), &mut bytes);
            Record::decode(&bytes).entry != NO_ENTRY
        });
        in_use.count()
    }

    /// Reports a sweep that has arrived.
    pub(super) fn report(
        &mut self,
        bus: &B,
        (now, epoch, clock): (Time, Epoch, &CardClock),
        sink: &mut dyn CounterSink,
    ) -> Option<Sweep> {
        let SweepState::Arrived { as_of, written, asked } = self.sweep else { return None };
        let as_of = clock.host_time(as_of).min(now);
        let sweep = Sweep { as_of, epoch, complete: written == asked };
        sink.begin(now, &sweep);
        let mut bytes = [0; CHUNK as usize * RECORD_BYTES];
        for first in (0..written).step_by(CHUNK as usize) {
            let count = CHUNK.min(written - first);
            let part = &mut bytes[..count as usize * RECORD_BYTES];
            bus.copy_out(self.memory.records.plus(u64::from(first) * RECORD_BYTES as u64), part);
            for (index, record) in (first..).zip(part.as_chunks::<RECORD_BYTES>().0) {
                // A counter that has changed hands since the sweep says nothing of its new owner.
                let record = Record::decode(record);
                let Some(known) = self.roster.record(index) else { continue };
                if known.id.0 == record.entry {
                    sink.entry(&counts(known.id, &record, clock));
                } else if known.life == Life::Live
                    && known.born != self.sweeps_asked
                    && self.missing.len() < MISSING_MAX
                {
                    self.missing.push(known.id);
                }
            }
        }
        self.sweep = SweepState::Idle;
        Some(sweep)
    }

    /// Asks for the next sweep, unless one is under way or the ring is full.
    pub(super) fn ask(&mut self, bus: &B, watched: Time) {
        if self.sweep != SweepState::Idle || !self.has_room() {
            return;
        }
        // An empty card is swept too: that it has nothing to report is worth a time.
        let records = self.roster.high_water();
        #[cfg(sabotage)]
        let records = {
            touches(Bug::OffByOne);
            let is_full = records == self.memory.entries;
            records - u32::from(is_full && strikes_one_in(Bug::OffByOne, 48))
        };
        self.ask_for(bus, watched, records);
    }

    /// Asks for a sweep of the first `records` counters, at least one.
    pub(super) fn ask_for(&mut self, bus: &B, watched: Time, records: u32) {
        let records = records.clamp(1, self.memory.entries.max(1));
        let length = records * u32::try_from(RECORD_BYTES).expect("32");
        let command = Command::Sweep { first: 0, address: self.memory.records.0, length };
        let patience = Patience::Slow(watched.after(self.patience));
        self.commands.issue(bus, &command, (Work::Sweep { records }, None), patience);
        self.commands.publish(bus);
        self.sweep = SweepState::Asked;
        self.sweeps_asked = self.sweeps_asked.wrapping_add(1);
    }
}

fn counts(id: twinpath_flow::card::EntryId, record: &Record, clock: &CardClock) -> EntryCounts {
    let counters = record.counters;
    EntryCounts {
        id,
        counts: Counts { packets: counters.packets, bytes: counters.bytes },
        last_hit: (counters.last_hit != NEVER).then(|| clock.host_time(counters.last_hit)),
    }
}
