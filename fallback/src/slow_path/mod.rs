//! The slow path: walks the pipeline for one packet and makes the flow of all packets like it.
//!
//! The mask of a flow has the fewest bits that decide its outcome: those of the rules that matched,
//! those that steps read (input port, tunnel values), and, for every rule that would have won but
//! did not match, the cheapest bits that exclude it unless those present already do. The walk
//! comes first, the exclusions after it, so that these can use all bits of the path.

mod action_set;
mod compose;
mod deciding;
mod prerequisite;
mod state;
mod table;
mod tidy;

use compose::Composer;
pub use compose::TtlExpires;
use deciding::Visit;
use std::sync::Arc;
use table::Table;
use tidy::tidy;
use twinpath_flow::key::Key;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::steps::Flow;

/// A pipeline, indexed.
#[derive(Debug)]
pub struct SlowPath {
    pipeline: Arc<Pipeline>,
    tables: Vec<Table>,
}

impl SlowPath {
    /// Indexes a pipeline; `seed` is that of its hash tables.
    #[must_use]
    pub fn new(pipeline: Arc<Pipeline>, seed: u64) -> Self {
        let last = pipeline.iter().map(|placed| placed.rule.table).max().unwrap_or(0);
        let tables = (0..=last).map(|table| Table::new(pipeline.table(table), seed)).collect();
        Self { pipeline, tables }
    }

    /// The pipeline.
    #[must_use]
    pub const fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// The flow for a packet with that key.
    ///
    /// # Errors
    /// The packet's TTL expires on the way, so that it is an exception.
    pub fn translate(&self, key: &Key) -> Result<Flow, TtlExpires> {
        let mut composer = Composer::new(&self.pipeline, key);
        let mut visits: Vec<Visit<'_>> = Vec::new();
        let mut passed = Vec::new();
        let mut next = Some(0_u8);
        // Ends: a rule only goes to a later table, and beyond the last nothing matches.
        while let Some(number) = next.take() {
            let Some(table) = self.tables.get(usize::from(number)) else {
                break;
            };
            let rules = self.pipeline.table(number);
            let state = composer.state;
            let winner = table.lookup(&state.key, state.metadata);
            visits.push(Visit { state, table, rules, winner });
            let Some(winner) = winner.map(|place| &rules[place]) else {
                break;
            };
            passed.push(winner.id);
            composer.constrain(&winner.rule.matching.key.mask);
            composer.execute(&winner.rule.instructions)?;
            next = winner.rule.instructions.goto_table.filter(|table| *table > number);
        }
        composer.finish()?;
        let mut matching = composer.matching;
        for visit in &visits {
            visit.exclude_better(key, &mut matching);
        }
        let decrements = composer.state.decrements();
        Ok(Flow {
            steps: tidy(&composer.steps, &matching),
            matching,
            ttl_threshold: (decrements > 0).then_some(decrements),
            rules: passed,
        })
    }
}
