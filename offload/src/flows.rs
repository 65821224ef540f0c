//! What the engine knows of each flow.

use crate::heat::Heat;
use crate::seen::Seen;
use crate::why::WhyNot;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use twinpath_flow::card::{EntryId, Generation, Refusal};
use twinpath_flow::counters::Counts;
use twinpath_flow::edit::Edit;
use twinpath_flow::steps::{Flow, FlowId};
use twinpath_flow::time::Time;

/// First wait after a refusal; doubles with each.
const BACK_OFF_FIRST: Duration = Duration::from_millis(50);

/// Doublings at most: 50 ms to 6.4 s.
const BACK_OFF_DOUBLINGS: u32 = 7;

/// The same when the card had no room: 50 ms to 400 ms, as others leave.
const BACK_OFF_DOUBLINGS_FULL: u32 = 3;

/// Place of a flow in the engine's table; a flow that is gone keeps it until its entries are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FlowIndex(u32);

/// Where a flow is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Serves.
    Live,
    /// Will not hold from this generation on.
    Stale(Generation),
    /// The software path was told to drop it.
    Removing,
    /// Software has dropped it; waits for the final counts of its entries.
    Departed,
}

/// A flow.
#[derive(Debug)]
pub(crate) struct FlowRecord {
    pub(crate) id: FlowId,
    pub(crate) flow: Arc<Flow>,
    pub(crate) from: Generation,
    pub(crate) stage: Stage,
    pub(crate) created: Time,
    pub(crate) last_used: Time,
    /// What the present card makes of it; `None` before it was asked.
    pub(crate) judged: Option<Result<Arc<Edit>, WhyNot>>,
    pub(crate) why_not: Option<WhyNot>,
    pub(crate) since: Time,
    pub(crate) last_error: Option<(Time, Refusal)>,
    pub(crate) retry_at: Time,
    refusals: u32,
    /// Kept out of the card: it treated a packet of the flow wrongly.
    pub(crate) quarantined: bool,
    pub(crate) card: Counts,
    /// Whether the card had an entry of it and does not count.
    pub(crate) card_unknown: bool,
    pub(crate) software: Counts,
    /// Of its packets in software.
    pub(crate) heat: Heat,
    /// Its packets sampled in software.
    pub(crate) seen: Seen,
    pub(crate) entries: Vec<EntryId>,
}

impl FlowRecord {
    pub(crate) const fn new(id: FlowId, flow: Arc<Flow>, from: Generation, now: Time) -> Self {
        Self {
            id,
            flow,
            from,
            stage: Stage::Live,
            created: now,
            last_used: now,
            judged: None,
            why_not: None,
            since: now,
            last_error: None,
            retry_at: Time(0),
            refusals: 0,
            quarantined: false,
            card: Counts { packets: 0, bytes: 0 },
            card_unknown: false,
            software: Counts { packets: 0, bytes: 0 },
            heat: Heat::new(0),
            seen: Seen::new(),
            entries: Vec::new(),
        }
    }

    /// Notes why it is (not) in the card.
    pub(crate) fn explain(&mut self, now: Time, why_not: Option<WhyNot>) {
        if self.why_not != why_not {
            self.why_not = why_not;
            self.since = now;
        }
    }

    /// Notes a refusal, and the time before which it is not offered again.
    pub(crate) fn refused(&mut self, now: Time, refusal: Refusal) {
        self.last_error = Some((now, refusal));
        let most = match refusal {
            Refusal::TableFull => BACK_OFF_DOUBLINGS_FULL,
            _ => BACK_OFF_DOUBLINGS,
        };
        self.retry_at = now.after(BACK_OFF_FIRST * (1 << self.refusals.min(most)));
        self.refusals += 1;
        self.explain(now, Some(WhyNot::Refused(refusal)));
    }

    /// An entry of it is gone: what it foresaw is now software's to expect, if that is more.
    pub(crate) fn cooled_to(&mut self, entry: &Heat, round: u32) {
        if entry.at(round) > self.heat.at(round) {
            self.heat = *entry;
        }
    }

    /// Notes that the card took it.
    pub(crate) fn accepted(&mut self, now: Time) {
        self.refusals = 0;
        self.explain(now, None);
    }
}

/// All flows. Iterated in the order of their places, so that runs repeat.
#[derive(Debug, Default)]
pub(crate) struct FlowTable {
    slots: Vec<Option<FlowRecord>>,
    free: Vec<u32>,
    by_id: HashMap<FlowId, FlowIndex>,
}

impl FlowTable {
    /// Adds a flow; `None` when its id is known already.
    pub(crate) fn insert(&mut self, record: FlowRecord) -> Option<FlowIndex> {
        if self.by_id.contains_key(&record.id) {
            return None;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("flows are fewer than their u32 ids")
        });
        let index = FlowIndex(slot);
        self.by_id.insert(record.id, index);
        self.slots[slot as usize] = Some(record);
        Some(index)
    }

    /// Forgets a flow.
    pub(crate) fn remove(&mut self, index: FlowIndex) {
        if let Some(record) = self.slots[index.0 as usize].take() {
            self.by_id.remove(&record.id);
            self.free.push(index.0);
        }
    }

    pub(crate) fn find(&self, id: FlowId) -> Option<FlowIndex> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn get(&self, index: FlowIndex) -> Option<&FlowRecord> {
        self.slots.get(index.0 as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, index: FlowIndex) -> Option<&mut FlowRecord> {
        self.slots.get_mut(index.0 as usize)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &FlowRecord> {
        self.slots.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (FlowIndex, &mut FlowRecord)> {
        (0..)
            .zip(&mut self.slots)
            .filter_map(|(slot, record)| record.as_mut().map(|record| (FlowIndex(slot), record)))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}
