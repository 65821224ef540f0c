//! Flow operations: carried out at once, reported at the next poll.

use super::bring_up::Phase;
use super::control::CommandError;
use super::io::RockerIo;
use super::{Active, RockerNic};
use twinpath_flow::card::{DeathCause, Done, Entry, EntryId, Event, FlowOp, Refusal, TableId};
use twinpath_flow::edit::Edit;

/// How an operation failed.
enum Failure {
    /// It was refused; the device is well.
    Refused(Refusal),
    /// The device is dead.
    Dead(DeathCause),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A failure to add: the device's own answer counts.
fn adding(error: CommandError) -> Failure {
    error.refusal().map_or_else(Failure::Dead, Failure::Refused)
}

/// A failure to take out: the device does not hold what it must.
fn removing(error: CommandError) -> Failure {
    tracing::warn!(%error, "rocker does not hold what was put into it");
    Failure::Dead(match error {
        CommandError::Dead(cause) => cause,
        CommandError::Card(_) | CommandError::TooLong(_) => DeathCause::Garbage,
    })
}

impl<I: RockerIo + 'static> RockerNic<I> {
    /// Carries one operation out.
    pub(super) fn operate(&mut self, op: &FlowOp) {
        let tag = op.tag();
        let Some(active) = self.active.as_mut().filter(|_| self.phase == Phase::Running) else {
            return;
        };
        let (result, death) = match active.carry_out(&*self.io, self.settings.entries_max, op) {
            // Counts of the entry are unknown, never 0.
            Ok(()) => (Ok(Done::default()), None),
            Err(Failure::Refused(refusal)) => (Err(refusal), None),
            Err(Failure::Dead(cause)) => (Err(Refusal::Reset), Some(cause)),
        };
        self.events.push(Event::Done { tag, result });
        if let Some(cause) = death {
            self.die(cause);
        }
    }
}

impl<I: RockerIo> Active<I> {
    fn carry_out(&mut self, io: &I, entries_max: u32, op: &FlowOp) -> Result<(), Failure> {
        match op {
            FlowOp::Add { entry, hold: false, .. } => self.add(io, entries_max, entry),
            FlowOp::Modify { id, edit, ttl_threshold: None, .. } => self.modify(io, *id, edit),
            FlowOp::Delete { id, until: None, .. } => self.delete(io, *id),
            // The device can neither hold, nor wait for a generation, nor has it exact tables,
            // and its capabilities say so.
            FlowOp::Add { .. }
            | FlowOp::Modify { .. }
            | FlowOp::Delete { .. }
            | FlowOp::SetMask { .. }
            | FlowOp::Commit { .. }
            | FlowOp::Release { .. }
            | FlowOp::Inspect { .. } => Err(Refusal::Unsupported.into()),
        }
    }

    fn add(&mut self, io: &I, entries_max: u32, entry: &Entry) -> Result<(), Failure> {
        if self.roster.find(entry.id).is_some() {
            return Err(Refusal::Exists.into());
        }
        if entry.table != TableId(0) || entry.ttl_threshold.is_some() {
            return Err(Refusal::Unsupported.into());
        }
        if self.roster.len() >= entries_max as usize {
            return Err(Refusal::TableFull.into());
        }
        let parts = self.translator.parts(&entry.matching, &entry.edit)?;
        let target = (entry.id, entry.matching);
        self.roster.install(io, &mut self.control, target, parts).map_err(adding)
    }

    /// Deletes and adds: the device's own change leaves half of it behind when it fails. Packets
    /// in between are misses. When the new flows are refused the entry is gone.
    fn modify(&mut self, io: &I, id: EntryId, edit: &Edit) -> Result<(), Failure> {
        let matching = self.roster.find(id).ok_or(Refusal::NoEntry)?.matching;
        let parts = self.translator.parts(&matching, edit)?;
        self.roster.remove(io, &mut self.control, id).map_err(removing)?;
        self.roster.install(io, &mut self.control, (id, matching), parts).map_err(adding)
    }

    fn delete(&mut self, io: &I, id: EntryId) -> Result<(), Failure> {
        self.roster.find(id).ok_or(Refusal::NoEntry)?;
        self.roster.remove(io, &mut self.control, id).map_err(removing)
    }
}
