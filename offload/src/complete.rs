//! What the card reports: completions move entries from state to state; death empties the ledger.

use crate::engine::{Engine, HOLD_DEADLINE, OP_DEADLINE};
use crate::event::EngineEvent;
use crate::flows::FlowIndex;
use crate::io::{Output, ResetCause};
use crate::ledger::{Doom, Ledger, Op};
use crate::table::Mask;
use crate::view::EntryState;
use crate::why::WhyNot;
use std::cmp::Reverse;
use std::sync::Arc;
use twinpath_flow::card::{
    Capabilities, Done, EntryCounts, EntryId, Epoch, Event, Fence, Generation, OpTag, Refusal,
    TableId,
};
#[cfg(sabotage)]
use twinpath_flow::sabotage::{Bug, strikes_at, strikes_one_in, touches};

/// Refused deletes of one entry after which the card is reset.
const DELETE_TRIES: u8 = 3;

/// What is known of what a card counted at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// All of it.
    All,
    /// Not what it counted since the last sweep.
    Unknown,
}

/// Whether `processed` has passed `fence` on every queue.
pub(crate) fn passed(fence: &Fence, processed: &Fence) -> bool {
    fence.delivered.iter().zip(processed.delivered).all(|(wanted, done)| *wanted <= done)
}

impl Engine {
    pub(crate) fn card_event(&mut self, event: Event) {
        match event {
            Event::Done { tag, result } => self.complete(tag, result),
            Event::Link { port, up } => self.tell(EngineEvent::Link { port, up }),
            Event::HoldCancelled { id } => self.lost(id, Refusal::HoldOverflow),
            Event::Missing { id } => self.missing(id),
            // `Input::CardUp` follows, with the capabilities.
            Event::Up(_) => {}
            Event::ResetRequest => self.reset(ResetCause::Requested),
            Event::Dead(cause) => {
                self.tell(EngineEvent::CardDead(cause));
                self.reset(ResetCause::Dead);
            }
        }
    }

    pub(crate) fn card_up(
        &mut self,
        capabilities: Arc<Capabilities>,
        epoch: Epoch,
        generation: Generation,
    ) {
        self.card_down(Counted::Unknown);
        let card = capabilities.card.clone();
        let mut ledger = Ledger::new(capabilities, epoch, self.now, self.next_tag);
        if generation != self.current && ledger.capabilities.generations {
            ledger.commit(self.current);
        }
        self.ledger = Some(ledger);
        self.had_card = true;
        self.shadow.forget();
        self.processed = Fence::default();
        self.tell(EngineEvent::CardUp { card, epoch });
        self.offer_all();
    }

    /// Offers all flows to a card that is up, the hottest first.
    pub(crate) fn offer_all(&mut self) {
        let round = self.rounds.number;
        let mut all = Vec::with_capacity(self.flows.len());
        for (index, record) in self.flows.iter_mut() {
            record.meet_card(self.now);
            all.push((Reverse(record.heat.at(round)), index));
        }
        all.sort_unstable();
        self.wanting.replace(all.into_iter().map(|(_, index)| index));
    }

    /// Empties the ledger: the card holds nothing any more, or nothing that can be trusted.
    pub(crate) fn card_down(&mut self, counted: Counted) {
        let Some(ledger) = self.ledger.take() else { return };
        self.reconcile.restart(self.now);
        self.next_tag = ledger.next_tag();
        self.verdicts.clear();
        let now = self.now;
        let mut gone: Vec<FlowIndex> = Vec::new();
        let round = self.rounds.number;
        for (index, record) in self.flows.iter_mut() {
            if let Some(seen) = &mut record.seen {
                seen.promised = 0;
            }
            for id in record.take_entries() {
                if let Some(entry) = ledger.entries.get(&id) {
                    record.inherit(entry, round);
                }
            }
            if record.why_not != Some(WhyNot::Stale) {
                record.explain(now, Some(WhyNot::CardDown));
            }
            gone.push(index);
        }
        gone.into_iter().for_each(|index| self.drop_if_done(index));
        self.held.clear();
        self.sweeping = None;
        self.wanting.clear();
        self.demand.clear();
        self.vacancies.clear();
        self.rounds.card_done = true;
        let lost = counted == Counted::Unknown && ledger.capabilities.counters;
        if lost && !ledger.entries.is_empty() {
            self.lose_counters(self.rounds.last_sweep.max(ledger.up_since));
        }
        // No packet is decided by the old generation any more.
        self.committed();
    }

    /// The card is taken out of use, its counters swept.
    pub(crate) fn withdraw(&mut self) {
        if self.ledger.is_some() {
            self.tell(EngineEvent::CardWithdrawn);
            self.card_down(Counted::All);
        }
    }

    /// Gives the card up and asks for its reset, once.
    pub(crate) fn reset(&mut self, cause: ResetCause) {
        if self.ledger.is_some() {
            self.tell(EngineEvent::ResetWanted(cause));
            self.card_down(Counted::Unknown);
            self.outputs.push_back(Output::ResetCard(cause));
        }
    }

    fn complete(&mut self, tag: OpTag, result: Result<Done, Refusal>) {
        let Some(op) = self.ledger.as_mut().and_then(|ledger| ledger.end(tag)) else {
            // Operations of an earlier epoch end so, as announced.
            if result != Err(Refusal::Reset) {
                self.tell(EngineEvent::UnknownCompletion { tag });
            }
            return;
        };
        let queued = self.ledger.as_ref().map_or(0, Ledger::queued);
        self.budget.completed(self.now, queued);
        if result == Err(Refusal::Timeout) {
            self.reset(ResetCause::LostOperation);
            return;
        }
        match op {
            Op::SetMask(table) => self.mask_set(tag, table, result.err()),
            Op::Add(id) => self.added(id, result),
            Op::Release(id) => self.released(id, result.err()),
            Op::Delete(id, _) => self.deleted(id, result),
            Op::Commit(generation) => self.commit_ended(tag, generation, result),
            Op::Inspect => self.inspected(result.map(|done| done.inspected)),
        }
    }

    fn mask_set(&mut self, tag: OpTag, table: TableId, refusal: Option<Refusal>) {
        let Some(ledger) = self.ledger.as_mut() else { return };
        let table = ledger.table_mut(table);
        match (table.mask, refusal) {
            (Mask::Wanted(mask), None) => {
                table.mask = Mask::Set(mask);
                self.wanting.hurry();
            }
            (_, None) => {}
            (_, Some(refusal)) => {
                table.mask = Mask::Refused;
                self.tell(EngineEvent::OperationRefused { tag, refusal });
            }
        }
    }

    fn commit_ended(&mut self, tag: OpTag, generation: Generation, result: Result<Done, Refusal>) {
        match result {
            Ok(done) => self.committed_by_card(generation, done.fence.unwrap_or_default()),
            Err(Refusal::Reset) => {}
            Err(refusal) => {
                self.tell(EngineEvent::OperationRefused { tag, refusal });
                self.reset(ResetCause::LostOperation);
            }
        }
    }

    fn added(&mut self, id: EntryId, result: Result<Done, Refusal>) {
        let done = match result {
            Ok(done) => done,
            Err(refusal) => return self.lost(id, refusal),
        };
        let Some(ledger) = self.ledger.as_mut() else { return };
        let Some(entry) = ledger.entries.get_mut(&id) else { return };
        if ledger.capabilities.hold_frames == 0 {
            self.in_card(id);
            return;
        }
        let fence = done.fence.filter(|fence| !passed(fence, &self.processed));
        #[cfg(sabotage)]
        touches(Bug::SkipHold);
        #[cfg(sabotage)]
        let fence = fence.filter(|_| !strikes_one_in(Bug::SkipHold, 12));
        match fence {
            None => ledger.release(id),
            Some(fence) => {
                entry.state = EntryState::Held;
                let flow = entry.flow;
                self.held.push_back((id, fence, self.now));
                if let Some(record) = self.flows.get_mut(flow)
                    && record.why_not == Some(WhyNot::Pending)
                {
                    record.explain(self.now, Some(WhyNot::Held));
                }
            }
        }
    }

    fn released(&mut self, id: EntryId, refusal: Option<Refusal>) {
        match refusal {
            None => self.in_card(id),
            Some(refusal @ (Refusal::HoldOverflow | Refusal::NoEntry | Refusal::Reset)) => {
                self.lost(id, refusal)
            }
            // Whether it serves is uncertain: out with it.
            Some(refusal) => self.cancel(id, refusal),
        }
    }

    fn cancel(&mut self, id: EntryId, refusal: Refusal) {
        let now = self.now;
        let Some(ledger) = self.ledger.as_mut() else { return };
        let Some(entry) = ledger.entries.get_mut(&id) else { return };
        let flow = entry.flow;
        // Not with a coming commit, even if stale: its held packets must come out.
        entry.doom = Some(Doom::Now);
        ledger.delete(self.current, id);
        self.settled(id);
        if let Some(record) = self.flows.get_mut(flow) {
            record.refused(now, refusal);
        }
    }

    /// The entry serves.
    fn in_card(&mut self, id: EntryId) {
        let now = self.now;
        let Some(ledger) = self.ledger.as_mut() else { return };
        let Some(entry) = ledger.entries.get_mut(&id) else { return };
        entry.state = EntryState::InCard;
        let (flow, doomed) = (entry.flow, entry.doom.is_some());
        if doomed {
            ledger.delete(self.current, id);
            self.settled(id);
        } else if let Some(record) = self.flows.get_mut(flow) {
            if ledger.capabilities.hold_frames == 0 {
                record.expose();
            }
            record.accepted(now);
        }
    }

    /// A doomed entry has settled and its `Delete` is made: in order, that is enough for a commit.
    fn settled(&mut self, id: EntryId) {
        if self.ledger.as_ref().is_some_and(|ledger| ledger.ends_with_commit(id)) {
            self.unblock_change(id);
        }
    }

    fn deleted(&mut self, id: EntryId, result: Result<Done, Refusal>) {
        let now = self.now;
        match result {
            Ok(done) => {
                if let Some(counts) = done.counts {
                    self.credit_card(&EntryCounts { id, counts, last_hit: None }, now);
                    self.card_dropped += self.tallies.settle(&mut self.rules);
                    #[cfg(sabotage)]
                    if strikes_at(Bug::DoubleCount) {
                        self.card += counts;
                    }
                }
                self.gone(id);
            }
            Err(Refusal::Reset) => self.gone(id),
            Err(Refusal::NoEntry) => {
                self.note_lost_counts(id);
                self.gone(id);
            }
            Err(_) => {
                let Some(ledger) = self.ledger.as_mut() else { return };
                let Some(entry) = ledger.entries.get_mut(&id) else { return };
                entry.delete_refusals += 1;
                let tries_left = entry.delete_refusals < DELETE_TRIES;
                // When the commit is on its way already, the entry would serve after its end.
                let in_time = self.change.as_ref().is_none_or(|change| !change.commit_sent)
                    && !matches!(
                        entry.doom,
                        Some(Doom::Until(end)) if end.generation(self.current) <= self.current
                    );
                if tries_left && in_time {
                    ledger.delete(self.current, id);
                } else {
                    self.reset(ResetCause::StuckEntry);
                }
            }
        }
    }

    fn note_lost_counts(&mut self, id: EntryId) {
        let Some(ledger) = self.ledger.as_ref() else { return };
        if let Some(entry) = ledger.entries.get(&id).filter(|_| ledger.capabilities.counters) {
            self.lose_counters(ledger.as_of(entry));
        }
    }

    /// The entry is gone, not because the host took it out.
    fn lost(&mut self, id: EntryId, refusal: Refusal) {
        let now = self.now;
        let Some(ledger) = self.ledger.as_mut() else { return };
        let Some(entry) = ledger.entries.get(&id) else { return };
        let (index, table) = (entry.flow, entry.table);
        if refusal == Refusal::TableFull {
            let table = ledger.table_mut(table);
            table.refused_for_room();
        }
        self.gone(id);
        let Some(record) = self.flows.get_mut(index) else { return };
        let flow = record.id;
        if refusal == Refusal::Reset {
            record.explain(now, Some(WhyNot::CardDown));
        } else {
            record.refused(now, refusal);
            self.tell(EngineEvent::Refused { flow, refusal });
        }
    }

    /// Forgets an entry everywhere.
    pub(crate) fn gone(&mut self, id: EntryId) {
        let Some(ledger) = self.ledger.as_mut() else { return };
        let Some(entry) = ledger.forget(id, &self.flows) else { return };
        self.unblock_change(id);
        let round = self.rounds.number;
        if let Some(record) = self.flows.get_mut(entry.flow) {
            record.leave(id);
            record.inherit(&entry, round);
        }
        self.drop_if_done(entry.flow);
        self.fill_vacancy(entry.table);
    }

    /// Takes how far software has come; entries whose earlier packets have all left are released, and
    /// a change whose earlier packets were all decided is in force.
    pub(crate) fn fence(&mut self, fence: &Fence) {
        for (done, newer) in self.processed.delivered.iter_mut().zip(fence.delivered) {
            *done = newer.max(*done);
        }
        self.end_change();
        // Later entries have later fences.
        while let Some((id, _, _)) =
            self.held.pop_front_if(|(_, fence, _)| passed(fence, &self.processed))
        {
            let Some(ledger) = self.ledger.as_mut() else { return };
            if ledger.entries.get(&id).is_some_and(|entry| entry.state == EntryState::Held) {
                ledger.release(id);
            }
        }
    }

    /// Takes out entries that have held too long.
    pub(crate) fn expire_holds(&mut self) {
        let now = self.now;
        while let Some((id, _, _)) =
            self.held.pop_front_if(|(_, _, since)| now >= since.after(HOLD_DEADLINE))
        {
            let held = |ledger: &Ledger| {
                ledger.entries.get(&id).is_some_and(|entry| entry.state == EntryState::Held)
            };
            if self.ledger.as_ref().is_some_and(held) {
                self.cancel(id, Refusal::Timeout);
            }
        }
    }

    /// Gives a card up that leaves an operation unanswered.
    pub(crate) fn expire_operations(&mut self) {
        let oldest = self.ledger.as_ref().and_then(Ledger::oldest);
        if oldest.is_some_and(|since| self.now >= since.after(OP_DEADLINE)) {
            self.reset(ResetCause::LostOperation);
        }
    }
}
