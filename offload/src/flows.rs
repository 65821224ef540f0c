//! What the engine knows of each flow.

use crate::heat::Heat;
use crate::ledger::EntryRecord;
use crate::seen::Seen;
use crate::slab::Slab;
use crate::tally::TallyId;
use crate::why::WhyNot;
use std::sync::Arc;
use std::time::Duration;
use twinpath_flow::card::{EntryId, Generation, Refusal};
use twinpath_flow::counters::Counts;
use twinpath_flow::steps::{Flow, FlowId};
use twinpath_flow::time::Time;

/// First wait after a refusal; doubles with each.
const BACK_OFF_FIRST: Duration = Duration::from_millis(50);

/// Doublings at most: 50 ms to 6.4 s.
const BACK_OFF_DOUBLINGS: u32 = 7;

/// The same when the card had no room, or a hold queue was too small: 50 ms to 400 ms, as others leave.
const BACK_OFF_DOUBLINGS_FULL: u32 = 3;

/// Reports of software after an install that may have packets from before it: one may have begun when
/// the entry came to serve.
const EXPOSED_REPORTS: u8 = 2;

/// Place of a flow in the engine's table; a flow that is gone keeps it until its entries are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FlowIndex(u32);

/// Where a flow is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Serves.
    Live,
    /// Will not hold under the next rules.
    Stale,
    /// The software path was told to drop it.
    Removing,
    /// Software has dropped it; waits for the final counts of its entries.
    Departed,
}

/// What went wrong with a flow.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    /// The last refusal by the card, and when.
    last_error: (Time, Refusal),
    retry_at: Time,
    /// Since it was taken last.
    refusals: u32,
}

/// What few flows have: a past in the card, or several entries.
#[derive(Debug, Default)]
struct Rare {
    trouble: Option<Trouble>,
    /// Counted by entries that are gone.
    card: Counts,
    /// Its entries in the order of their making, when there are several or were.
    entries: Vec<EntryId>,
}

/// No entry is called so.
const NOBODY: EntryId = EntryId(0);

/// A flow. There may be millions: what few of them have is in boxes.
#[derive(Debug)]
pub(crate) struct FlowRecord {
    pub(crate) id: FlowId,
    pub(crate) flow: Arc<Flow>,
    pub(crate) from: Generation,
    pub(crate) tally: TallyId,
    pub(crate) stage: Stage,
    pub(crate) created: Time,
    /// Its last packet, but for those that its entries have counted.
    pub(crate) last_used: Time,
    pub(crate) why_not: Option<WhyNot>,
    pub(crate) since: Time,
    rare: Option<Box<Rare>>,
    /// Kept out of the card: it treated a packet of the flow wrongly.
    pub(crate) quarantined: bool,
    /// Its TCP connection has ended.
    pub(crate) closing: bool,
    /// Whether the card had an entry of it and does not count.
    pub(crate) card_unknown: bool,
    /// Reports of software whose packets may be overtaken by the card's: see [`Self::expose`].
    exposure: u8,
    pub(crate) software: Counts,
    /// Of its packets in software.
    pub(crate) heat: Heat,
    /// Its packets sampled in software, while no entry takes them all.
    pub(crate) seen: Option<Box<Seen>>,
    /// Its only entry, or [`NOBODY`].
    entry: EntryId,
}

impl FlowRecord {
    pub(crate) const fn new(
        id: FlowId,
        flow: Arc<Flow>,
        from: Generation,
        tally: TallyId,
        now: Time,
    ) -> Self {
        Self {
            id,
            flow,
            from,
            tally,
            stage: Stage::Live,
            created: now,
            last_used: now,
            why_not: None,
            since: now,
            rare: None,
            quarantined: false,
            closing: false,
            card_unknown: false,
            exposure: 0,
            software: Counts { packets: 0, bytes: 0 },
            heat: Heat::new(0),
            seen: None,
            entry: NOBODY,
        }
    }

    /// Notes why it is (not) in the card.
    pub(crate) fn explain(&mut self, now: Time, why_not: Option<WhyNot>) {
        if self.why_not != why_not {
            self.why_not = why_not;
            self.since = now;
        }
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// An entry of it is made, or serves from now on, in a card that cannot hold: its packets that
    /// software still has may be overtaken. Those are in the next two reports of software.
    pub(crate) const fn expose(&mut self) {
        self.exposure = EXPOSED_REPORTS;
    }

    /// Whether packets that software reports now may have been overtaken.
    pub(crate) const fn is_exposed(&mut self) -> bool {
        let is_exposed = self.exposure > 0;
        self.exposure = self.exposure.saturating_sub(1);
        is_exposed
    }

    /// Its entries, in the order of their making.
    pub(crate) fn entries(&self) -> &[EntryId] {
        match &self.rare {
            Some(rare) if !rare.entries.is_empty() => &rare.entries,
            _ if self.entry == NOBODY => &[],
            _ => std::slice::from_ref(&self.entry),
        }
    }

    /// One more entry.
    pub(crate) fn enter(&mut self, id: EntryId) {
        let has_several = self.rare.as_ref().is_some_and(|rare| !rare.entries.is_empty());
        if !has_several && self.entry == NOBODY {
            self.entry = id;
            return;
        }
        let first = std::mem::replace(&mut self.entry, NOBODY);
        let entries = &mut self.rare_mut().entries;
        entries.extend((first != NOBODY).then_some(first));
        entries.push(id);
    }

    /// One entry less.
    pub(crate) fn leave(&mut self, id: EntryId) {
        if self.entry == id {
            self.entry = NOBODY;
        } else if let Some(rare) = &mut self.rare {
            rare.entries.retain(|other| *other != id);
        }
    }

    /// Its entries, which are gone with their card.
    pub(crate) fn take_entries(&mut self) -> Vec<EntryId> {
        let only = std::mem::replace(&mut self.entry, NOBODY);
        let several = self.rare.as_mut().map(|rare| std::mem::take(&mut rare.entries));
        several.into_iter().flatten().chain((only != NOBODY).then_some(only)).collect()
    }

    /// Counted by entries that are gone.
    pub(crate) fn card(&self) -> Counts {
        self.rare.as_ref().map_or_else(Counts::default, |rare| rare.card)
    }

    fn trouble(&self) -> Option<&Trouble> {
        self.rare.as_ref()?.trouble.as_ref()
    }

    fn trouble_mut(&mut self) -> Option<&mut Trouble> {
        self.rare.as_mut()?.trouble.as_mut()
    }

    /// The last refusal by the card, and when.
    pub(crate) fn last_error(&self) -> Option<(Time, Refusal)> {
        self.trouble().map(|trouble| trouble.last_error)
    }

    /// Time before which it is not offered again.
    pub(crate) fn retry_at(&self) -> Time {
        self.trouble().map_or(Time(0), |trouble| trouble.retry_at)
    }

    /// Notes a refusal, and the time before which it is not offered again.
    pub(crate) fn refused(&mut self, now: Time, refusal: Refusal) {
        let most = match refusal {
            Refusal::TableFull | Refusal::HoldOverflow => BACK_OFF_DOUBLINGS_FULL,
            _ => BACK_OFF_DOUBLINGS,
        };
        let refusals = self.trouble().map_or(0, |trouble| trouble.refusals);
        let retry_at = now.after(BACK_OFF_FIRST * (1 << refusals.min(most)));
        let last_error = (now, refusal);
        self.rare_mut().trouble = Some(Trouble { last_error, retry_at, refusals: refusals + 1 });
        self.explain(now, Some(WhyNot::Refused(refusal)));
    }

    /// An entry of it is gone: its counts stay, and what it foresaw is now software's to expect, if
    /// that is more.
    pub(crate) fn inherit(&mut self, entry: &EntryRecord, round: u32) {
        if entry.counts != Counts::default() {
            self.rare_mut().card += entry.counts;
        }
        if entry.counts.packets > 0 {
            self.last_used = self.last_used.max(entry.last_hit);
        }
        if entry.heat.at(round) > self.heat.at(round) {
            self.heat = entry.heat;
        }
    }

    /// Notes that the card took it.
    pub(crate) fn accepted(&mut self, now: Time) {
        if let Some(trouble) = self.trouble_mut() {
            trouble.refusals = 0;
        }
        self.explain(now, None);
    }

    /// A new card: old refusals do not count.
    pub(crate) fn meet_card(&mut self, now: Time) {
        if let Some(trouble) = self.trouble_mut() {
            trouble.retry_at = now;
        }
        if let Some(seen) = &mut self.seen {
            seen.is_blocked = false;
        }
    }

    /// What was seen of it, from now on.
    pub(crate) fn seen_mut(&mut self) -> &mut Seen {
        self.seen.get_or_insert_with(|| Box::new(Seen::new()))
    }

    /// Places promised to it by entries on their way out.
    pub(crate) fn promised(&self) -> u16 {
        self.seen.as_ref().map_or(0, |seen| seen.promised)
    }

    /// An entry takes all its packets.
    pub(crate) fn forget_seen(&mut self) {
        match &mut self.seen {
            Some(seen) if seen.promised > 0 => seen.forget_keys(),
            _ => self.seen = None,
        }
    }
}

/// Places by the slot of the software path's table, in pages.
#[derive(Debug, Default)]
struct ByIndex {
    pages: Vec<Vec<u32>>,
}

impl ByIndex {
    /// Slots of a page.
    const PAGE: usize = 4096;
    /// No flow.
    const NONE: u32 = u32::MAX;

    fn get(&self, index: u32) -> Option<u32> {
        let index = index as usize;
        let slot = *self.pages.get(index / Self::PAGE)?.get(index % Self::PAGE)?;
        (slot != Self::NONE).then_some(slot)
    }

    fn set(&mut self, index: u32, slot: u32) {
        let index = index as usize;
        let page = index / Self::PAGE;
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, Vec::new);
        }
        if self.pages[page].is_empty() {
            self.pages[page] = vec![Self::NONE; Self::PAGE];
        }
        self.pages[page][index % Self::PAGE] = slot;
    }
}

/// All flows. Iterated in the order of their places, so that runs repeat.
#[derive(Debug, Default)]
pub(crate) struct FlowTable {
    slots: Slab<FlowRecord>,
    free: Vec<u32>,
    by_index: ByIndex,
    len: usize,
}

impl FlowTable {
    /// Adds a flow whose id is not known yet.
    pub(crate) fn insert(&mut self, record: FlowRecord) -> FlowIndex {
        self.len += 1;
        let index = record.id.index;
        let slot = if let Some(slot) = self.free.pop() {
            *self.slots.slot_mut(slot as usize).expect("it had a flow before") = Some(record);
            slot
        } else {
            self.slots.push(record);
            u32::try_from(self.slots.numbers() - 1).expect("flows are fewer than their u32 ids")
        };
        self.by_index.set(index, slot);
        FlowIndex(slot)
    }

    /// Forgets a flow.
    pub(crate) fn remove(&mut self, index: FlowIndex) -> Option<FlowRecord> {
        let record = self.slots.slot_mut(index.0 as usize)?.take()?;
        self.len -= 1;
        if self.by_index.get(record.id.index) == Some(index.0) {
            self.by_index.set(record.id.index, ByIndex::NONE);
        }
        self.free.push(index.0);
        Some(record)
    }

    /// A flow that serves: of one that software has dropped, only the place is known.
    pub(crate) fn find(&self, id: FlowId) -> Option<FlowIndex> {
        let slot = self.by_index.get(id.index)?;
        let index = FlowIndex(slot);
        self.get(index).filter(|record| record.id == id).map(|_| index)
    }

    /// Looks at flows so that they are near when they are wanted: looks that nothing waits for go on
    /// side by side.
    pub(crate) fn touch(&self, indices: impl Iterator<Item = FlowIndex>) {
        for record in indices.filter_map(|index| self.get(index)) {
            // The first and the last of its lines.
            std::hint::black_box((record.id, record.software, record.heat, record.stage));
        }
    }

    /// The same, and what hangs on them.
    pub(crate) fn touch_whole(&self, indices: impl Iterator<Item = FlowIndex> + Clone) {
        self.touch(indices.clone());
        for record in indices.filter_map(|index| self.get(index)) {
            let flow = &record.flow;
            std::hint::black_box((
                Arc::strong_count(flow),
                flow.matching.mask.head.0[0],
                flow.rules.first().copied(),
                flow.steps.first().map(std::mem::discriminant),
                record.seen.as_ref().map(|seen| seen.in_round),
            ));
        }
    }

    /// Where flows are, by the software path's names; they may be gone.
    pub(crate) fn places(
        &self,
        ids: impl Iterator<Item = FlowId> + Clone,
    ) -> impl Iterator<Item = FlowIndex> + Clone {
        ids.filter_map(|id| self.by_index.get(id.index)).map(FlowIndex)
    }

    pub(crate) fn get(&self, index: FlowIndex) -> Option<&FlowRecord> {
        self.slots.get(index.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, index: FlowIndex) -> Option<&mut FlowRecord> {
        self.slots.get_mut(index.0 as usize)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &FlowRecord> {
        self.slots.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (FlowIndex, &mut FlowRecord)> {
        (0..)
            .zip(self.slots.iter_mut())
            .filter_map(|(slot, record)| record.map(|record| (FlowIndex(slot), record)))
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tallies;
    use twinpath_flow::key::MaskedKey;

    #[test]
    fn a_flow_costs_little_memory() {
        assert!(size_of::<Option<FlowRecord>>() <= 120, "{}", size_of::<Option<FlowRecord>>());
        assert!(size_of::<Option<EntryRecord>>() <= 64, "{}", size_of::<Option<EntryRecord>>());
    }

    #[test]
    fn entries_come_and_go_in_their_order() {
        let id = FlowId { index: 0, generation: 0 };
        let flow = Flow {
            matching: MaskedKey::default(),
            steps: Vec::new(),
            ttl_threshold: None,
            rules: Vec::new(),
        };
        let tally = Tallies::default().join(&[], false);
        let mut record = FlowRecord::new(id, Arc::new(flow), Generation(0), tally, Time(0));
        assert!(record.entries().is_empty());
        (1..=3).for_each(|id| record.enter(EntryId(id)));
        record.leave(EntryId(2));
        record.leave(EntryId(9));
        assert_eq!(record.entries(), [EntryId(1), EntryId(3)]);
        record.leave(EntryId(1));
        record.leave(EntryId(3));
        assert!(record.entries().is_empty());
        record.enter(EntryId(4));
        assert_eq!(record.entries(), [EntryId(4)]);
        record.enter(EntryId(5));
        assert_eq!(record.take_entries(), [EntryId(4), EntryId(5)]);
        assert!(record.entries().is_empty());
    }
}
