//! Placement: which flows live in the card.
//!
//! A flow is offered when software sees a packet of it, and again at the end of each round in
//! which it had packets in software. When its table is full, the end of the round decides by heat.

use crate::engine::Engine;
use crate::express::{Spots, judge, spots};
use crate::flows::{FlowIndex, Stage};
use crate::heat::{Heat, ONE};
use crate::io::ResetCause;
use crate::ledger::{Install, Ledger};
use crate::table::Spot;
use crate::view::EntryState;
use crate::why::WhyNot;
use std::cmp::Reverse;
use std::sync::Arc;
use twinpath_flow::card::EntryId;
use twinpath_flow::edit::Edit;
use twinpath_flow::key::Key;
use twinpath_flow::time::Time;

/// Operations waiting for the card, per operation that may be under way, beyond which no entry is
/// added.
const BACKLOG_FACTOR: usize = 4;

/// A budget of updates: a bucket that holds a tenth of a second.
#[derive(Debug)]
pub(crate) struct Budget {
    per_second: u64,
    /// In 1/1,000,000,000 updates.
    level: u128,
    filled: Time,
}

impl Budget {
    pub(crate) fn new(per_second: u32, now: Time) -> Self {
        let per_second = u64::from(per_second);
        Self { per_second, level: Self::depth(per_second), filled: now }
    }

    fn depth(per_second: u64) -> u128 {
        (u128::from(per_second) * 100_000_000).max(1_000_000_000)
    }

    /// Takes one update if there is one left.
    pub(crate) fn take(&mut self, now: Time) -> bool {
        let gained = u128::from(self.per_second) * now.since(self.filled).as_nanos();
        self.level = Self::depth(self.per_second).min(self.level + gained);
        self.filled = self.filled.max(now);
        let paid = self.level.checked_sub(1_000_000_000);
        self.level = paid.unwrap_or(self.level);
        paid.is_some()
    }
}

impl Engine {
    /// Tries to put a flow, or its packets with `key`, into the card. `Ok` when they are there or
    /// on the way.
    pub(crate) fn offer(&mut self, index: FlowIndex, key: Option<&Key>) -> Result<(), WhyNot> {
        let outcome = self.place(index, key);
        let now = self.now;
        if let (Err(why_not), Some(record)) = (outcome, self.flows.get_mut(index))
            && record.entries.is_empty()
            && record.retry_at <= now
        {
            record.explain(now, Some(why_not));
        }
        outcome
    }

    fn place(&mut self, index: FlowIndex, key: Option<&Key>) -> Result<(), WhyNot> {
        let edit = self.admit(index)?;
        let Some(options) = self.options(index, key)? else { return Ok(()) };
        let (Some(ledger), Some(record)) = (self.ledger.as_ref(), self.flows.get(index)) else {
            return Err(WhyNot::CardDown);
        };
        let roomy = |spot: &&Spot| ledger.table(spot.table).has_room();
        let spot = *options.iter().find(roomy).ok_or(WhyNot::TableFull)?;
        if !spot.whole && record.entries.len() >= self.settings.specialisations {
            return Err(WhyNot::Specialisations(self.settings.specialisations));
        }
        self.install(index, spot, edit)
    }

    /// Whether the flow may be in the card at all; its edit.
    fn admit(&mut self, index: FlowIndex) -> Result<Arc<Edit>, WhyNot> {
        let absent = if self.had_card { WhyNot::CardDown } else { WhyNot::NoCard };
        let ledger = self.ledger.as_ref().ok_or(absent)?;
        let record = self.flows.get_mut(index).ok_or(WhyNot::Stale)?;
        let can = &ledger.capabilities;
        if record.stage != Stage::Live {
            return Err(WhyNot::Stale);
        }
        if record.from > self.current && !can.generations {
            return Err(WhyNot::AwaitsCommit);
        }
        if record.retry_at > self.now {
            return Err(record.why_not.unwrap_or(WhyNot::Pending));
        }
        if !can.counters && self.rules.any_idle_timeout(&record.flow.rules) {
            return Err(WhyNot::NeedsCounters);
        }
        let (packets, threshold) = (record.software.packets, self.settings.threshold);
        if packets < threshold {
            return Err(WhyNot::BelowThreshold { packets, threshold });
        }
        record
            .judged
            .get_or_insert_with(|| judge(&record.flow, &can.actions, &self.pipeline.ports))
            .clone()
    }

    /// The spots for the flow's packets, room or not; `None` when an entry serves them already.
    fn options(
        &mut self,
        index: FlowIndex,
        key: Option<&Key>,
    ) -> Result<Option<Vec<Spot>>, WhyNot> {
        let (Some(ledger), Some(record)) = (self.ledger.as_ref(), self.flows.get(index)) else {
            return Err(WhyNot::CardDown);
        };
        let serving = |id| ledger.entries.get(id).filter(|e| e.state != EntryState::Deleting);
        if record.entries.iter().filter_map(serving).any(|entry| entry.whole) {
            return Ok(None);
        }
        let mask = record.flow.matching.mask.head;
        let heat = record.heat.at(self.rounds.number);
        let Spots { found, mask_under_way, unmasked } = spots(&record.flow, key, &ledger.tables)?;
        let holder =
            found.iter().find_map(|spot| ledger.table(spot.table).holder(spot.value, spot.mask));
        if let Some(entry) = holder.and_then(|id| ledger.entries.get(&id)) {
            return match entry.state {
                EntryState::Deleting => Err(WhyNot::Pending),
                _ if entry.doom.is_some() => Err(WhyNot::Pending),
                _ if entry.flow == index => Ok(None),
                _ => Err(WhyNot::Covered),
            };
        }
        let scarce = found.first().is_none_or(|spot| ledger.table(spot.table).is_ternary());
        if scarce && mask_under_way {
            return Err(WhyNot::Pending);
        }
        if scarce && unmasked {
            self.want_mask(mask, heat);
        }
        if found.is_empty() { Err(WhyNot::NoBank) } else { Ok(Some(found)) }
    }

    fn install(&mut self, index: FlowIndex, spot: Spot, edit: Arc<Edit>) -> Result<(), WhyNot> {
        let (Some(ledger), Some(record)) = (self.ledger.as_mut(), self.flows.get_mut(index)) else {
            return Err(WhyNot::CardDown);
        };
        if ledger.ids_exhausted() {
            self.reset(ResetCause::IdsExhausted);
            return Err(WhyNot::CardDown);
        }
        let backlog_max = self.settings.ops_in_flight.saturating_mul(BACKLOG_FACTOR);
        if ledger.backlog() >= backlog_max || !self.budget.take(self.now) {
            return Err(WhyNot::UpdateBudget);
        }
        let round = self.rounds.number;
        let heat = if spot.whole { record.heat } else { Heat::new(ONE, round) };
        let (ttl_threshold, from) = (record.flow.ttl_threshold, record.from);
        let install = Install { flow: index, spot, edit, ttl_threshold, from, heat };
        let id = ledger.add(self.now, install);
        let counts = ledger.capabilities.counters;
        if record.entries.is_empty() {
            record.explain(self.now, Some(WhyNot::Pending));
        }
        record.entries.push(id);
        if !counts {
            self.mark_uncounted(index);
        }
        Ok(())
    }

    /// Offers all warm flows, the hottest first. They stay on the list.
    pub(crate) fn place_warm(&mut self) {
        for (index, _) in self.warm_by_heat() {
            self.offer_seen(index);
        }
    }

    /// The warm flows with their heat, the hottest first.
    pub(crate) fn warm_by_heat(&self) -> Vec<(FlowIndex, u64)> {
        let round = self.rounds.number;
        let heat = |index: &FlowIndex| {
            self.flows.get(*index).map(|record| (*index, record.heat.at(round)))
        };
        let mut warm: Vec<_> = self.warm.iter().filter_map(heat).collect();
        warm.sort_by_key(|(index, heat)| (Reverse(*heat), *index));
        warm
    }

    /// Offers a flow with each of its remembered packets; returns those that were not placed, with
    /// why and how hot.
    pub(crate) fn offer_seen(&mut self, index: FlowIndex) -> Vec<(Option<Key>, WhyNot, u64)> {
        let Some(record) = self.flows.get_mut(index) else { return Vec::new() };
        let heat = record.heat.at(self.rounds.number);
        let is_outside = record.entries.is_empty();
        let mut keys = std::mem::take(&mut record.keys);
        let total = keys.iter().map(|(_, seen)| *seen).sum::<u64>().max(1);
        // Entries are judged by their heat, which decays slowly; so must be what wants their places:
        // a flow wholly outside lends each packet its share of the flow's heat.
        let wanted = |seen: u64| {
            let own = seen.saturating_mul(ONE);
            if is_outside { own.max(heat / total * seen) } else { own }
        };
        let mut failed = Vec::new();
        if keys.is_empty() {
            failed.extend(self.offer(index, None).err().map(|why| (None, why, heat)));
        }
        keys.retain(|(key, seen)| match self.offer(index, Some(key)) {
            Ok(()) => false,
            Err(why_not) => {
                failed.push((Some(*key), why_not, wanted(*seen)));
                true
            }
        });
        if let Some(record) = self.flows.get_mut(index) {
            record.keys = keys;
        }
        failed
    }

    /// The tables in which the flow's packets could be, best first; none when they are served.
    pub(crate) fn spots_of(&mut self, index: FlowIndex, key: Option<&Key>) -> Vec<Spot> {
        self.options(index, key).ok().flatten().unwrap_or_default()
    }
}

/// Whether an entry may lose its place: it serves and is not on its way out.
pub(crate) fn evictable(ledger: &Ledger, id: EntryId) -> bool {
    ledger
        .entries
        .get(&id)
        .is_some_and(|entry| entry.state == EntryState::InCard && entry.doom.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_holds_a_tenth_of_a_second_and_refills_with_time() {
        let mut budget = Budget::new(100, Time(0));
        let take = |budget: &mut Budget, now| (0..1000).filter(|_| budget.take(now)).count();
        assert_eq!(take(&mut budget, Time(0)), 10);
        assert_eq!(take(&mut budget, Time::from_millis(50)), 5);
        assert_eq!(take(&mut budget, Time::from_secs(60)), 10);
    }
}
