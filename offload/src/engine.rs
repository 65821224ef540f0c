//! The engine: wanted state in, card operations out.

use crate::io::{Input, Output};
use crate::view::{FlowView, RuleView, Settings, TableView, Totals};
use std::collections::VecDeque;
use twinpath_flow::card::{CounterSink, EntryCounts, EntryId};
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::FlowId;
use twinpath_flow::time::Time;

/// The brain, sans-I/O.
#[derive(Debug)]
pub struct Engine {
    outputs: VecDeque<Output>,
}

impl Engine {
    /// An engine without rules, flows or card.
    #[must_use]
    pub fn new(_settings: Settings, _now: Time) -> Self {
        Self { outputs: VecDeque::new() }
    }

    /// Takes one input. Follow with [`Self::poll_output`] until `None`.
    pub fn handle(&mut self, _now: Time, input: Input) {
        if let Input::PipelineChange { generation, .. } = input {
            self.outputs.push_back(Output::Committed(generation));
        }
    }

    /// The next thing to do, `None` when there is nothing more for now.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due at the latest.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<Time> {
        None
    }

    /// Everything known about a flow.
    #[must_use]
    pub const fn flow(&self, _id: FlowId) -> Option<FlowView> {
        None
    }

    /// All flows, by slot.
    pub fn flows(&self) -> impl Iterator<Item = FlowView> + '_ {
        std::iter::empty()
    }

    /// Counts of a rule, kept after it ended until its change is committed.
    #[must_use]
    pub const fn rule(&self, _id: RuleId) -> Option<RuleView> {
        None
    }

    /// The card's tables; empty without a card.
    #[must_use]
    pub const fn tables(&self) -> Vec<TableView> {
        Vec::new()
    }

    /// Sums.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::default()
    }

    /// The flow of an entry, for frames the card sent with one.
    #[must_use]
    pub const fn entry_flow(&self, _entry: EntryId) -> Option<FlowId> {
        None
    }

    /// Whether a change waits for its commit.
    #[must_use]
    pub const fn change_pending(&self) -> bool {
        false
    }
}

impl CounterSink for Engine {
    fn entry(&mut self, _counts: EntryCounts) {}
}
