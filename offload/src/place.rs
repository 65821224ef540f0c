//! Placement: which flows live in the card.
//!
//! A flow is offered when software sees a packet of it. While its table is full it is offered again
//! at the end of each round in which it was hot enough to get someone's place, the hottest flows
//! first and as many as the budget allows; a flow that has had more packets in this round alone
//! than the coldest entry expects does not wait for the end.

use crate::engine::Engine;
use crate::express::{Spots, spots};
use crate::flows::{FlowIndex, FlowRecord, Stage};
use crate::heat::{Heat, ONE};
use crate::io::ResetCause;
use crate::ledger::Install;
use crate::table::{Mask, Spot, Table};
use crate::view::EntryState;
use crate::why::WhyNot;
use std::sync::Arc;
use twinpath_flow::edit::Edit;
use twinpath_flow::key::Key;
use twinpath_flow::time::Time;

/// Operations waiting for the card, per operation that may be under way, beyond which no entry is
/// added.
const BACKLOG_FACTOR: usize = 4;

/// Sampled packets in one round from which on a flow is not taken for noise.
const INSIST_MIN: u32 = 4;

/// How an update is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pay {
    /// From the budget, now.
    Now,
    /// It was paid for when a place was made for it.
    Paid,
}

impl Engine {
    /// A packet of the flow is in software: tries to place it.
    pub(crate) fn packet_seen(&mut self, index: FlowIndex, key: &Key) {
        self.rounds.sampled_packets += 1;
        self.look_at_flags(index, key);
        let round = self.rounds.number;
        let Some(record) = self.flows.get_mut(index) else { return };
        let mut is_blocked = false;
        if let Some(seen) = &mut record.seen {
            seen.advance(round);
            is_blocked = seen.is_blocked;
        }
        let why_not = match is_blocked {
            true => WhyNot::TableFull,
            false => match self.offer(index, Some(key), Pay::Now) {
                Ok(()) => return,
                Err(why_not) => why_not,
            },
        };
        let wants_keys = self.wants_keys(index);
        let Some(record) = self.flows.get_mut(index) else { return };
        let is_its_own = wants_keys && record.flow.matching.matches(key);
        let seen = record.seen_mut();
        seen.advance(round);
        seen.in_round = seen.in_round.saturating_add(1);
        seen.is_blocked = matches!(why_not, WhyNot::TableFull | WhyNot::UpdateBudget);
        let count = if is_its_own { seen.remember(key) } else { seen.in_round };
        match why_not {
            WhyNot::TableFull => {
                self.insist(index, key, count);
                if self.mask_may_come() {
                    self.wanting.see(index);
                }
            }
            _ => self.wanting.see(index),
        }
    }

    /// Whether a bank gets a mask, or may get one.
    fn mask_may_come(&self) -> bool {
        let waits = |table: &Table| table.awaits_mask() || table.unmasked();
        self.ledger.as_ref().is_some_and(|ledger| ledger.tables.iter().any(waits))
    }

    /// Whether only packets of the flow can be in exact banks, not the flow as a whole.
    fn wants_keys(&self, index: FlowIndex) -> bool {
        let (Some(ledger), Some(record)) = (self.ledger.as_ref(), self.flows.get(index)) else {
            return true;
        };
        let own = Mask::Set(record.flow.matching.mask.head);
        !ledger.tables.iter().any(|table| table.mask == own)
    }

    /// Takes a colder entry's place in the middle of a round, for packets seen `count` times in it.
    fn insist(&mut self, index: FlowIndex, key: &Key, count: u32) {
        let promised = self.flows.get(index).map_or(0, FlowRecord::promised);
        if count < INSIST_MIN || !count.is_power_of_two() || promised > 0 {
            return;
        }
        // Two standard deviations less than counted, as for other candidates.
        let sure = u64::from(count) * ONE - 2 * (u64::from(count) * ONE * ONE).isqrt();
        let wanted = sure * self.rounds.sample_weight;
        let Some(table) = self.spots_of(index, Some(key)).first().map(|spot| spot.table) else {
            return;
        };
        let round = self.rounds.number;
        let Some(ledger) = self.ledger.as_mut() else { return };
        let Some((present, _)) = ledger.coldest(table, round) else { return };
        // Three standard deviations of a Poisson count: it is not just the coldest flow's equal.
        let noise = 3 * (present.saturating_mul(ONE)).isqrt();
        if wanted > present.saturating_add(noise) {
            self.challenge(table, (index, Some(*key)), wanted);
        }
    }

    /// Tries to put a flow, or its packets with `key`, into the card. `Ok` when they are there or
    /// on the way.
    pub(crate) fn offer(
        &mut self,
        index: FlowIndex,
        key: Option<&Key>,
        pay: Pay,
    ) -> Result<(), WhyNot> {
        let outcome = self.place(index, key, pay);
        let now = self.now;
        if let (Err(why_not), Some(record)) = (outcome, self.flows.get_mut(index))
            && record.entries().is_empty()
            && record.retry_at() <= now
        {
            record.explain(now, Some(why_not));
        }
        outcome
    }

    fn place(&mut self, index: FlowIndex, key: Option<&Key>, pay: Pay) -> Result<(), WhyNot> {
        let edit = self.admit(index)?;
        let Some(options) = self.options(index, key)? else { return Ok(()) };
        let Some(ledger) = self.ledger.as_ref() else { return Err(WhyNot::CardDown) };
        let fits_exact = options.iter().any(|spot| !ledger.table(spot.table).is_ternary());
        let roomy = |spot: &&Spot| match fits_exact {
            true => ledger.table(spot.table).has_room_to_spare(),
            false => ledger.table(spot.table).has_room(),
        };
        let spot = options.iter().find(roomy).copied();
        self.spare = options;
        let spot = spot.ok_or(WhyNot::TableFull)?;
        let Some(record) = self.flows.get(index) else { return Err(WhyNot::Stale) };
        if !spot.whole && record.entries().len() >= self.settings.specialisations {
            let most = u32::try_from(self.settings.specialisations).unwrap_or(u32::MAX);
            return Err(WhyNot::Specialisations(most));
        }
        let heat = self.heat_of(index, key, spot.whole);
        self.install((index, key), spot, (edit, heat), pay)
    }

    /// What is expected of the flow, or of its packets with `key`.
    fn heat_of(&self, index: FlowIndex, key: Option<&Key>, whole: bool) -> Heat {
        let round = self.rounds.number;
        let Some(record) = self.flows.get(index) else { return Heat::new(round) };
        match key.filter(|_| !whole) {
            None => record.heat,
            Some(key) => {
                let heat = record.heat.at(round);
                let share = record.seen.as_ref().map_or(heat, |seen| seen.share_of(heat, key));
                Heat::of(share, round)
            }
        }
    }

    /// Whether the flow may be in the card at all; its edit.
    fn admit(&mut self, index: FlowIndex) -> Result<Arc<Edit>, WhyNot> {
        let absent = if self.had_card { WhyNot::CardDown } else { WhyNot::NoCard };
        let ledger = self.ledger.as_ref().ok_or(absent)?;
        let record = self.flows.get_mut(index).ok_or(WhyNot::Stale)?;
        let can = &ledger.capabilities;
        if record.quarantined {
            return Err(WhyNot::Quarantined);
        }
        if record.stage != Stage::Live {
            return Err(WhyNot::Stale);
        }
        if record.from > self.current && !can.generations {
            return Err(WhyNot::AwaitsCommit);
        }
        if record.closing {
            return Err(WhyNot::Closing);
        }
        if record.retry_at() > self.now {
            return Err(record.why_not.unwrap_or(WhyNot::Pending));
        }
        if !can.counters && self.rules.any_idle_timeout(&record.flow.rules) {
            return Err(WhyNot::NeedsCounters);
        }
        let (packets, threshold) = (record.software.packets, self.settings.threshold);
        if packets < threshold {
            let small = |count| u32::try_from(count).unwrap_or(u32::MAX);
            let (packets, threshold) = (small(packets), small(threshold));
            return Err(WhyNot::BelowThreshold { packets, threshold });
        }
        self.verdicts.of(&record.flow, &can.actions, &self.pipeline.ports)
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
        if record.entries().iter().filter_map(serving).any(|entry| entry.whole) {
            return Ok(None);
        }
        let mask = record.flow.matching.mask.head;
        let heat = record.heat.at(self.rounds.number);
        let Spots { found, mask_under_way, unmasked } =
            spots(&record.flow, key, &ledger.tables, std::mem::take(&mut self.spare))?;
        let flow = (&*record.flow, key);
        let holder = found.iter().find_map(|spot| ledger.holder(spot, flow, &self.flows));
        if let Some(entry) = holder {
            return match entry.state {
                EntryState::Deleting => Err(WhyNot::Pending),
                _ if entry.doom.is_some() => Err(WhyNot::Pending),
                _ if entry.flow == index => Ok(None),
                _ => Err(WhyNot::Covered),
            };
        }
        // No exact bank takes it now: none has a mask for it, or those that have are full.
        let takes = |spot: &Spot| {
            let table = ledger.table(spot.table);
            !table.is_ternary() && table.has_room()
        };
        let scarce = !found.iter().any(takes);
        if scarce && mask_under_way {
            return Err(WhyNot::Pending);
        }
        if scarce && unmasked {
            self.want_mask(mask, heat);
        }
        if found.is_empty() { Err(WhyNot::NoBank) } else { Ok(Some(found)) }
    }

    fn install(
        &mut self,
        (index, key): (FlowIndex, Option<&Key>),
        spot: Spot,
        (edit, heat): (Arc<Edit>, Heat),
        pay: Pay,
    ) -> Result<(), WhyNot> {
        if pay == Pay::Now && !(self.has_backlog_room() && self.budget.take(self.now, 1)) {
            return Err(WhyNot::UpdateBudget);
        }
        let (Some(ledger), Some(record)) = (self.ledger.as_mut(), self.flows.get_mut(index)) else {
            return Err(WhyNot::CardDown);
        };
        if ledger.entries.ids_exhausted() {
            self.reset(ResetCause::IdsExhausted);
            return Err(WhyNot::CardDown);
        }
        let Some((value, mask)) = spot.lines(&record.flow, key, &ledger.tables) else {
            return Err(WhyNot::NoPacketSeen);
        };
        let (ttl_threshold, from) = (record.flow.ttl_threshold, record.from);
        let (flow, tally) = (index, record.tally);
        let install = Install { flow, spot, edit, ttl_threshold, from, heat, tally, value, mask };
        let id = ledger.add(self.now, install);
        let counts = ledger.capabilities.counters;
        if ledger.capabilities.hold_frames == 0 {
            record.expose();
        }
        if record.entries().is_empty() {
            record.explain(self.now, Some(WhyNot::Pending));
        }
        record.enter(id);
        if spot.whole {
            record.forget_seen();
        }
        if !counts {
            self.mark_uncounted(index);
        }
        Ok(())
    }

    /// Whether another update can be made now.
    fn can_update(&mut self) -> bool {
        self.has_backlog_room() && self.budget.has(self.now, 2)
    }

    fn has_backlog_room(&self) -> bool {
        let most = self.settings.ops_in_flight.saturating_mul(BACKLOG_FACTOR);
        self.ledger.as_ref().is_some_and(|ledger| ledger.backlog() < most)
    }

    /// Offers up to `most` of the flows that want places, as the budget allows.
    pub(crate) fn place_wanting(&mut self, most: usize) {
        if self.wanting.is_empty() {
            return;
        }
        // The coldest have left since the round's end: who is not hotter than the rest gets no place.
        let bar = self.bar();
        self.wanting.raise(bar);
        for _ in 0..most {
            if self.wanting.is_empty() || !self.can_update() {
                return;
            }
            if let Some(index) = self.wanting.pop() {
                self.place_candidate(index);
            }
        }
    }

    /// When the next flow can be offered without another input.
    pub(crate) fn next_offer(&self) -> Option<Time> {
        let waits = !self.wanting.is_empty() && self.has_backlog_room();
        waits.then(|| self.budget.ready_at(2)).flatten()
    }

    /// Offers a flow with each of its remembered packets; `refused` is told of those that were not
    /// placed, with why and how hot, when all were offered.
    pub(crate) fn offer_seen(
        &mut self,
        index: FlowIndex,
        mut refused: impl FnMut(&mut Self, Option<Key>, WhyNot, u64),
    ) {
        let round = self.rounds.number;
        let Some(record) = self.flows.get_mut(index) else { return };
        let heat = record.heat.sure_at(round);
        let mut keys = Vec::new();
        if let Some(seen) = &mut record.seen {
            seen.advance(round);
            keys = seen.take_keys();
        }
        if keys.is_empty() {
            if let Err(why_not) = self.offer(index, None, Pay::Now) {
                refused(self, None, why_not, heat);
            }
            return;
        }
        let mut failed = Vec::new();
        keys.retain(|(key, seen)| match self.offer(index, Some(key), Pay::Now) {
            Ok(()) => false,
            Err(why_not) => {
                let all = self.flows.get(index).and_then(|record| record.seen.as_ref());
                let share = all.map_or(0, |all| all.share(heat, *seen));
                failed.push((Some(*key), why_not, share));
                true
            }
        });
        if let Some(record) = self.flows.get_mut(index).filter(|_| !keys.is_empty()) {
            record.seen_mut().put_keys(keys);
        }
        for (key, why_not, share) in failed {
            refused(self, key, why_not, share);
        }
    }

    /// The tables in which the flow's packets could be, best first; none when they are served.
    pub(crate) fn spots_of(&mut self, index: FlowIndex, key: Option<&Key>) -> Vec<Spot> {
        self.options(index, key).ok().flatten().unwrap_or_default()
    }
}
