//! Flows that were just made: placed some at a time, so that looking for entries that match the same
//! waits for memory as long as one look does.

use crate::engine::Engine;
use crate::flows::FlowIndex;
use crate::ledger::Ledger;
use twinpath_flow::key::Key;

/// Flows placed together at most.
const TOGETHER: usize = 32;

/// Flows that were made and not offered yet, with the packet each was made for.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    waiting: Vec<(FlowIndex, Key)>,
}

impl Engine {
    /// A flow was made: it is offered with those that come right behind it.
    pub(crate) fn arrive(&mut self, index: FlowIndex, key: &Key) {
        self.arrivals.waiting.push((index, *key));
        if self.arrivals.waiting.len() == TOGETHER {
            self.place_arrivals();
        }
    }

    /// Offers the flows that wait, in the order of their making. Anything else comes after this.
    pub(crate) fn place_arrivals(&mut self) {
        if self.arrivals.waiting.is_empty() {
            return;
        }
        let mut waiting = std::mem::take(&mut self.arrivals.waiting);
        if let Some(ledger) = self.ledger.as_ref() {
            for (index, _) in &waiting {
                if let Some(record) = self.flows.get(*index) {
                    ledger.touch(&record.flow);
                }
            }
        }
        for (index, key) in waiting.drain(..) {
            self.packet_seen(index, &key);
        }
        self.arrivals.waiting = waiting;
    }
}

impl Ledger {
    /// Looks where entries for all of a flow would be found, and does not wait for what is there.
    fn touch(&self, flow: &twinpath_flow::steps::Flow) {
        let (value, mask) = (&flow.matching.value.head, &flow.matching.mask.head);
        let digest = crate::match_index::digest(value, mask);
        for table in self.tables.iter().filter(|table| table.is_for(mask)) {
            table.touch(digest);
        }
    }
}
