//! The slow path: walks the pipeline for one packet and makes the flow of all packets like it.
//!
//! The mask of a flow has the fewest bits that decide its outcome: those of the rules that matched,
//! those that steps read (input port, tunnel values), and, for every rule that would have won but
//! did not match, the cheapest bits that exclude it unless those present already do. The walk
//! comes first, the exclusions after it, so that these can use all bits of the path.

mod action_set;
mod compact;
mod compose;
mod deciding;
mod dimension;
mod group;
mod prerequisite;
mod scratch;
mod sets;
mod state;
mod table;
mod tidy;
mod trie;

use compose::Composer;
pub use compose::TtlExpires;
use deciding::Passed;
pub use scratch::Scratch;
use scratch::Visit;
use std::sync::Arc;
use table::Table;
use tidy::tidy;
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, Line, MaskedKey};
use twinpath_flow::parse::{Parsed, Standing};
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::steps::{Flow, Step};

/// A mask of all bits of both lines.
const EVERY_BIT: Key = Key { head: Line([0xff; 64]), tail: Line([0xff; 64]) };

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
        let mut scratch = Scratch::default();
        self.translate_into(key, &mut scratch)?;
        Ok(scratch.flow)
    }

    /// As [`Self::translate`], in memory that is used again and again: nothing is allocated once it
    /// has grown to what the rules need.
    ///
    /// # Errors
    /// The packet's TTL expires on the way, so that it is an exception.
    pub fn translate_into<'s>(
        &self,
        key: &Key,
        scratch: &'s mut Scratch,
    ) -> Result<&'s Flow, TtlExpires> {
        let mut mask = self.walk(key, scratch)?;
        let visits = std::mem::take(&mut scratch.visits);
        for visit in &visits {
            let table = &self.tables[usize::from(visit.table)];
            let rules = self.pipeline.table(visit.table);
            Passed { visit, table, rules }.exclude_better(&mut mask, scratch);
        }
        scratch.visits = visits;
        let flow = &mut scratch.flow;
        flow.matching = MaskedKey::new(key, mask);
        tidy(&mut flow.steps, &flow.matching);
        Ok(flow)
    }

    /// What becomes of one packet, whether its TTL expires or not: steps and rules as those of a flow
    /// that matches nothing but its key.
    ///
    /// When the TTL expires, no further action of that list is executed and no further table is
    /// passed, yet the action set is executed, as in Open vSwitch.
    #[must_use]
    pub fn execute(&self, parsed: &Parsed) -> Flow {
        let key = &parsed.key;
        let mut scratch = Scratch::default();
        let (Ok(_) | Err(TtlExpires)) = self.walk(key, &mut scratch);
        let mut flow = scratch.flow;
        if parsed.standing == Standing::Exception {
            // A congestion mark copied inwards is in the key and not yet in the bytes.
            let tos = Step::Set { field: Field::IpTos, value: key.get(Field::IpTos), mask: 0xff };
            flow.steps.insert(0, tos);
        }
        flow.matching = MaskedKey { value: *key, mask: EVERY_BIT };
        flow
    }

    /// Walks the tables: steps, rules and TTL threshold to `scratch`, and the tables passed. Returns
    /// the bits that the rules which matched, and the steps, read.
    ///
    /// # Errors
    /// The TTL expires; steps and rules are those of such a packet.
    fn walk(&self, key: &Key, scratch: &mut Scratch) -> Result<Key, TtlExpires> {
        scratch.clear();
        let steps = std::mem::take(&mut scratch.flow.steps);
        let mut composer = Composer::new(&self.pipeline, key, steps);
        let result = self.compose(&mut composer, scratch);
        let decrements = composer.state.decrements();
        scratch.flow.ttl_threshold = (decrements > 0).then_some(decrements);
        let mask = composer.mask;
        scratch.flow.steps = composer.steps;
        result.map(|()| mask)
    }

    fn compose(
        &self,
        composer: &mut Composer<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), TtlExpires> {
        let passed = self.pass(composer, scratch);
        let finished = composer.finish();
        passed.and(finished)
    }

    fn pass(&self, composer: &mut Composer<'_>, scratch: &mut Scratch) -> Result<(), TtlExpires> {
        let mut next = Some(0_u8);
        // Ends: a rule only goes to a later table, and beyond the last nothing matches.
        while let Some(number) = next.take() {
            let Some(table) = self.tables.get(usize::from(number)) else {
                break;
            };
            let paths = scratch.paths.len();
            let winner = table.lookup(&composer.state, paths, scratch);
            scratch.visits.push(Visit { state: composer.state, table: number, winner, paths });
            let Some(winner) = winner else {
                break;
            };
            let winner = &self.pipeline.table(number)[winner.place as usize];
            scratch.flow.rules.push(winner.id);
            composer.constrain(&winner.rule.matching.key.mask);
            composer.execute(&winner.rule.instructions)?;
            next = winner.rule.instructions.goto_table.filter(|table| *table > number);
        }
        Ok(())
    }
}
