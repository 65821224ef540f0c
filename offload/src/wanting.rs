//! Flows that want places in the card, the hottest first.

use crate::flows::FlowIndex;
use std::cmp::Reverse;
use std::collections::VecDeque;

/// Flows of which the hottest are offered at the end of a round, at most.
const HOTTEST_MAX: usize = 16_384;

/// Flows seen in a round and remembered for a mask that is being set.
const SEEN_MAX: usize = 4096;

/// Candidates of a round.
#[derive(Debug, Default)]
pub(crate) struct Wanting {
    /// With packets in software this round, with their heat; those below the bar are left out.
    hot: Vec<(u64, FlowIndex)>,
    /// Heat that a flow must have to get anyone's place.
    bar: u64,
    /// Seen in software this round and not served; later ones are left out while full.
    seen: Vec<FlowIndex>,
    /// The hottest of the last round with their heat, being offered as the budget allows.
    queue: VecDeque<(u64, FlowIndex)>,
    /// To be offered once, after those: a card or a bank has come to have room for them.
    patient: VecDeque<FlowIndex>,
}

impl Wanting {
    /// A flow had packets in software this round.
    pub(crate) fn note(&mut self, heat: u64, index: FlowIndex) {
        if heat < self.bar {
            return;
        }
        self.hot.push((heat, index));
        if self.hot.len() >= 2 * HOTTEST_MAX {
            self.hot.select_nth_unstable_by_key(HOTTEST_MAX, |one| Reverse(*one));
            self.hot.truncate(HOTTEST_MAX);
            self.bar = self.hot.iter().map(|(heat, _)| *heat).min().unwrap_or(0);
        }
    }

    /// A packet of a flow that is not served was seen.
    pub(crate) fn see(&mut self, index: FlowIndex) {
        if self.seen.len() < SEEN_MAX && self.seen.last() != Some(&index) {
            self.seen.push(index);
        }
    }

    /// Offers those seen in this round soon: there may be places for them now. They are few, and
    /// masks are set seldom.
    pub(crate) fn hurry(&mut self) {
        self.patient.extend(self.seen.drain(..));
    }

    /// Offers `flows` once in their order, and forgets who was to be offered before.
    pub(crate) fn replace(&mut self, flows: impl IntoIterator<Item = FlowIndex>) {
        self.queue.clear();
        self.patient.clear();
        self.patient.extend(flows);
    }

    /// Ends the round: its hottest flows are offered from now on, and the next round's need `bar`.
    /// Those that were to be offered whatever their heat still are, unless all tables are full.
    pub(crate) fn end_round(&mut self, bar: u64) {
        let mut hot = std::mem::take(&mut self.hot);
        hot.retain(|(heat, _)| *heat >= bar);
        hot.sort_unstable_by_key(|one| Reverse(*one));
        hot.truncate(HOTTEST_MAX);
        self.queue.clear();
        self.queue.extend(hot.iter().copied());
        if bar > 0 {
            self.patient.clear();
        }
        hot.clear();
        self.hot = hot;
        self.bar = bar;
    }

    /// Forgets who was seen in the round that has ended: no mask is on its way for them.
    pub(crate) fn forget_seen(&mut self) {
        self.seen.clear();
    }

    /// Forgets the rest of the round's hottest when not even the first of them has `bar`.
    pub(crate) fn raise(&mut self, bar: u64) {
        if self.queue.front().is_some_and(|(heat, _)| *heat < bar) {
            self.queue.clear();
        }
    }

    /// The next flow to offer.
    pub(crate) fn pop(&mut self) -> Option<FlowIndex> {
        let hottest = self.queue.pop_front().map(|(_, index)| index);
        hottest.or_else(|| self.patient.pop_front())
    }

    /// Whether no flow waits to be offered.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.patient.is_empty()
    }

    /// Forgets everyone: the card is gone.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
