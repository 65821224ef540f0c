//! Completions become events. Everything in them is checked first: no card sends an unknown tag,
//! another operation's code, an unknown status or another epoch.

use super::Active;
use super::commands::{Patience, Work};
use super::roster::Life;
use std::sync::Arc;
use twinpath_abi::bus::Bus;
use twinpath_abi::command::{Command, opcode};
use twinpath_abi::completion::{COMPLETION_BYTES, Completion, Status};
use twinpath_flow::card::{DeathCause, Done, EntryId, Event, OpTag, Refusal};
use twinpath_flow::counters::Counts;
#[cfg(sabotage)]
use twinpath_flow::sabotage::{Bug, strikes_at};
use twinpath_flow::time::Time;

/// Bit of a LINK event's detail that says that the link is up.
const LINK_UP: u32 = 1 << 31;

impl Work {
    /// Operation code its completion must carry.
    const fn opcode(&self) -> Option<u8> {
        Some(match self {
            Self::SetMask { .. } => opcode::SET_MASK,
            Self::Add { .. } => opcode::ADD,
            Self::Modify { .. } => opcode::MODIFY,
            Self::Delete { .. } => opcode::DELETE,
            Self::Move { .. } => opcode::MOVE,
            Self::Commit { .. } => opcode::COMMIT,
            Self::Release { .. } => opcode::RELEASE,
            Self::Sweep { .. } => opcode::SWEEP,
            Self::Inspect { .. } => opcode::READ_ENTRY,
            Self::Purge => opcode::DELETE,
            Self::Barrier => opcode::NOP,
            Self::Survey { .. } => opcode::READ_ENTRY,
            Self::Setup => return None,
        })
    }
}

fn refusal(status: Status) -> Refusal {
    match status {
        Status::NoEntry => Refusal::NoEntry,
        // Without a hold queue the install is cancelled as if its queue had overflowed.
        Status::HoldOverflow | Status::NoHold => Refusal::HoldOverflow,
        other => Refusal::Card(other as u16),
    }
}

impl<B: Bus> Active<B> {
    /// Takes completions, at most a ring full of them.
    ///
    /// # Errors
    /// [`DeathCause::Garbage`] when the card wrote what no card would write.
    pub(super) fn take_completions(
        &mut self,
        bus: &B,
        watched: Time,
        events: &mut Vec<Event>,
    ) -> Result<(), DeathCause> {
        let mut taken = 0;
        let mut bytes = [0; COMPLETION_BYTES];
        while taken < self.commands.burst_max() {
            let next = self.commands.completion(bus, &mut bytes);
            if !next.map_err(|_| DeathCause::Garbage)? {
                break;
            }
            self.answer(bus, &Completion::decode(&bytes), (watched, &mut *events))?;
            taken += 1;
        }
        if taken > 0 {
            self.commands.acknowledge(bus);
        }
        Ok(())
    }

    fn answer(
        &mut self,
        bus: &B,
        completion: &Completion,
        (watched, events): (Time, &mut Vec<Event>),
    ) -> Result<(), DeathCause> {
        let garbage = DeathCause::Garbage;
        if completion.epoch != self.card_epoch {
            return Err(garbage);
        }
        self.fence(completion)?;
        match completion.opcode {
            opcode::HOLD_OVERFLOW => {
                self.hold_overflow(EntryId(completion.entry), events);
                return Ok(());
            }
            opcode::LINK => {
                let index = (completion.detail & !LINK_UP) as usize;
                let port = *self.ports.get(index).ok_or(garbage)?;
                events.push(Event::Link { port, up: completion.detail & LINK_UP != 0 });
                return Ok(());
            }
            _ => {}
        }
        let status = Status::from_code(completion.status).ok_or(garbage)?;
        if self.commands.is_foreign(completion.tag) {
            // What a former driver asked for; only entries that leave are of interest.
            if completion.opcode == opcode::DELETE {
                self.foreign_delete(EntryId(completion.entry));
            }
            return Ok(());
        }
        let work = self.commands.finish(completion.tag).ok_or(garbage)?;
        if work.opcode().is_some_and(|wanted| wanted != completion.opcode) {
            // The operation must still end: the caller abandons what is outstanding, not this one.
            events.extend(work.op().map(|tag| Event::Done { tag, result: Err(Refusal::Reset) }));
            return Err(garbage);
        }
        if let Work::Inspect { op: tag, place, image } = work
            && matches!(status, Status::Done | Status::NoEntry | Status::BadImage)
        {
            let answer = (status, EntryId(completion.entry));
            let inspected = Some(self.compare(bus, (place, image), answer, watched));
            let result = Ok(Done { inspected, ..Done::default() });
            events.push(Event::Done { tag, result });
            return Ok(());
        }
        if let Work::Survey { table, number, image } = work {
            return self.surveyed(bus, (table, number, image), (status, completion));
        }
        let counts = completion
            .counters
            .map(|counters| Counts { packets: counters.packets, bytes: counters.bytes });
        let result = match status {
            Status::Done => {
                self.done(work, completion, watched);
                Ok(Done::default())
            }
            status => {
                self.failed(bus, (work, status), watched)?;
                Err(refusal(status))
            }
        };
        let result = result.map(|done| match work {
            Work::Add { hold: true, .. } | Work::Commit { .. } => {
                Done { fence: Some(Arc::clone(&self.delivered)), ..done }
            }
            Work::Modify { .. } | Work::Delete { .. } => Done { counts, ..done },
            _ => done,
        });
        #[cfg(sabotage)]
        if strikes_at(Bug::DropCompletion) {
            return Ok(());
        }
        events.extend(work.op().map(|tag: OpTag| Event::Done { tag, result }));
        Ok(())
    }

    /// Extends the 32-bit positions of a completion and checks them: they never go back, and the
    /// card cannot deliver more than the ring holds beyond what was taken.
    fn fence(&mut self, completion: &Completion) -> Result<(), DeathCause> {
        if completion.delivered == self.delivered_low {
            // As at the last completion; the bound has only grown.
            return Ok(());
        }
        let mut fence = *self.delivered;
        let positions = fence.delivered.iter_mut().zip(completion.delivered);
        for (queue, (position, low)) in positions.enumerate() {
            *position = extended(*position, low);
            let bound = self.gates.get(queue).zip(self.memory.queues.get(queue));
            let most = bound.map_or(0, |(gate, memory)| gate.taken() + (1 << memory.rx_log2));
            if *position > most {
                return Err(DeathCause::Garbage);
            }
        }
        self.delivered_low = completion.delivered;
        self.delivered = Arc::new(fence);
        Ok(())
    }

    fn done(&mut self, work: Work, completion: &Completion, watched: Time) {
        match work {
            Work::Delete { index, id, .. } => self.forget(index, id),
            Work::Release { index, id, .. } if self.is_held(index, id) => {
                self.set_life(index, Life::Live);
                self.unstick(index);
            }
            Work::Commit { generation, .. } => {
                self.commands.expect(generation, watched.after(self.patience));
            }
            Work::Sweep { records } => {
                self.sweep.arrived(completion.as_of, completion.detail, records);
            }
            Work::Setup => self.setup.answered += 1,
            Work::Barrier => self.begin_survey(),
            _ => {}
        }
    }

    /// A refused command has changed nothing in the card.
    fn failed(
        &mut self,
        bus: &B,
        (work, status): (Work, Status),
        watched: Time,
    ) -> Result<(), DeathCause> {
        if let Work::Delete { until: Some(until), .. } = work {
            self.endings.refused(until, status);
        }
        match work {
            Work::SetMask { table, .. } => self.tables.set_mask(table, None),
            Work::Add { index, id, .. } => self.forget(index, id),
            Work::Delete { index, id, .. } if status == Status::NoEntry => self.forget(index, id),
            Work::Delete { index, id, .. } if self.is(index, id) => {
                self.set_life(index, Life::Live);
                self.unstick(index);
            }
            // The caller takes the card at its word that the install is cancelled: so be it.
            Work::Release { index, id, .. }
                if matches!(refusal(status), Refusal::NoEntry | Refusal::HoldOverflow)
                    && self.is_held(index, id) =>
            {
                return self.expel(bus, (index, id), watched);
            }
            // The card does not have the entry where it must be: nothing is known any more.
            Work::Move { index, id } if self.is(index, id) => return Err(DeathCause::Garbage),
            Work::Sweep { .. } => self.sweep.refused(),
            Work::Setup | Work::Barrier => return Err(DeathCause::Garbage),
            _ => {}
        }
        Ok(())
    }

    /// Forgets an entry, and takes it out of the card should it be there all the same.
    fn expel(
        &mut self,
        bus: &B,
        (index, id): (u32, EntryId),
        watched: Time,
    ) -> Result<(), DeathCause> {
        let at = self.roster.record(index).map(super::roster::Record::at);
        let Some(at) = at.filter(|_| self.has_room()) else { return Err(DeathCause::Garbage) };
        self.forget(index, id);
        let until = Patience::Prompt(watched.after(self.patience));
        self.commands.issue(bus, &Command::Delete { at, until: None }, (Work::Purge, None), until);
        self.commands.publish(bus);
        Ok(())
    }

    fn is_held(&self, index: u32, id: EntryId) -> bool {
        self.is(index, id)
            && self.roster.record(index).is_some_and(|record| record.life == Life::Held)
    }

    fn is(&self, index: u32, id: EntryId) -> bool {
        self.roster.record(index).is_some_and(|record| record.id == id)
    }

    fn unstick(&mut self, index: u32) {
        if let Some(record) = self.roster.record(index) {
            self.tables.unstick(record.table.0);
        }
    }

    /// An entry is gone from the card. Its index may have another owner by now.
    pub(super) fn forget(&mut self, index: u32, id: EntryId) {
        if !self.is(index, id) {
            return;
        }
        if let Some(record) = self.roster.remove(index) {
            self.tables.remove(record.table.0, record.slot);
        }
    }

    /// The card has cancelled the install of a held entry. A removal under way reports it itself.
    fn hold_overflow(&mut self, id: EntryId, events: &mut Vec<Event>) {
        let Some(index) = self.roster.find(id) else { return };
        if self.roster.record(index).is_some_and(|record| record.life == Life::Held) {
            self.forget(index, id);
            events.push(Event::HoldCancelled { id });
        }
    }
}

/// The first position not before `known` whose low half is `low`.
fn extended(known: u64, low: u32) -> u64 {
    let known_low = u32::try_from(known & 0xffff_ffff).expect("masked");
    known + u64::from(low.wrapping_sub(known_low))
}

#[cfg(test)]
mod tests {
    use super::extended;

    #[test]
    fn positions_go_on_past_32_bits() {
        assert_eq!(extended(0, 5), 5);
        assert_eq!(extended(5, 5), 5);
        assert_eq!(extended(0xffff_fffe, 3), 0x1_0000_0003);
        assert_eq!(extended(0x7_0000_0003, 2), 0x8_0000_0002, "never back");
    }
}
