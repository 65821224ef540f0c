//! Changes of the wanted state: a new pipeline comes into force everywhere at once.
//!
//! Entries of stale flows get their `Delete` before the `Commit`, in one ordered stream; entries
//! still being installed settle first. A card without generations has them deleted before the
//! change is called committed: their packets are misses in between.

use crate::complete::passed;
use crate::engine::Engine;
use crate::event::EngineEvent;
use crate::flows::{FlowIndex, Stage};
use crate::io::Output;
use crate::ledger::{Doom, EntryRecord, Ledger};
use crate::view::EntryState;
use crate::why::WhyNot;
use std::collections::BTreeSet;
use std::sync::Arc;
use twinpath_flow::card::{EntryId, Fence, Generation};
use twinpath_flow::pipeline::Pipeline;
#[cfg(sabotage)]
use twinpath_flow::sabotage::{Bug, strikes_at};
use twinpath_flow::steps::FlowId;

/// A change under way.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) generation: Generation,
    pipeline: Arc<Pipeline>,
    /// Entries to be deleted that the commit must wait for.
    waiting: BTreeSet<EntryId>,
    pub(crate) commit_sent: bool,
    /// Once the card has committed: packets delivered before were decided by the rules until then, and
    /// software must have decided them too before those rules go.
    fence: Option<Arc<Fence>>,
}

impl Engine {
    /// Whether a change waits for its commit.
    #[must_use]
    pub const fn change_pending(&self) -> bool {
        self.change.is_some()
    }

    /// The generation in force.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.current
    }

    pub(crate) fn pipeline_change(
        &mut self,
        generation: Generation,
        pipeline: Arc<Pipeline>,
        stale: &[FlowId],
    ) {
        let newest = self.change.as_ref().map_or(self.current, |change| change.generation);
        if self.change.is_some() || generation <= newest {
            self.tell(EngineEvent::ChangeRefused { generation, current: newest });
            return;
        }
        self.rules.add(&pipeline, self.now);
        // Entries on their way out may not outlive the commit either.
        let leaving = |ledger: &Ledger| {
            ledger.entries.iter().filter(|e| e.doom.is_some()).map(EntryRecord::id).collect()
        };
        let waiting = self.ledger.as_ref().map_or_else(BTreeSet::new, leaving);
        self.change =
            Some(Change { generation, pipeline, waiting, commit_sent: false, fence: None });
        for id in stale {
            match self.flows.find(*id) {
                Some(index) => self.make_stale(index, generation),
                None => self.tell(EngineEvent::UnexpectedFlow { flow: *id }),
            }
        }
    }

    /// Marks a flow as ending with `generation`.
    pub(crate) fn make_stale(&mut self, index: FlowIndex, generation: Generation) {
        let now = self.now;
        if let Some(record) = self.flows.get_mut(index) {
            if record.stage == Stage::Live {
                record.stage = Stage::Stale;
            }
            record.explain(now, Some(WhyNot::Stale));
        }
        self.doom_entries(index, Doom::until(generation));
    }

    /// Takes the entries of a flow out: settled ones now, others when they have settled.
    pub(crate) fn doom_entries(&mut self, index: FlowIndex, doom: Doom) {
        let entries =
            self.flows.get(index).map_or_else(Vec::new, |record| record.entries().to_vec());
        for id in entries {
            self.doom(id, doom);
        }
    }

    /// Takes one entry out.
    pub(crate) fn doom(&mut self, id: EntryId, doom: Doom) {
        let Some(ledger) = self.ledger.as_mut() else { return };
        let Some(entry) = ledger.entries.get_mut(&id) else { return };
        if entry.state != EntryState::Deleting && entry.doom != Some(Doom::Now) {
            entry.doom = Some(doom);
        }
        #[cfg(sabotage)]
        if entry.state == EntryState::InCard && strikes_at(Bug::LeakEntry) {
            return self.gone(id);
        }
        if entry.state == EntryState::InCard {
            ledger.delete(self.current, id);
        }
        let ordered = ledger.ends_with_commit(id);
        if let Some(change) = self.change.as_mut().filter(|_| !ordered) {
            change.waiting.insert(id);
        }
    }

    /// Notes that the commit need not wait for an entry any more.
    pub(crate) fn unblock_change(&mut self, id: EntryId) {
        if let Some(change) = self.change.as_mut() {
            change.waiting.remove(&id);
        }
    }

    /// Commits when nothing stands in the way.
    pub(crate) fn advance_change(&mut self) {
        let Some(change) = self.change.as_mut() else { return };
        if change.commit_sent || !change.waiting.is_empty() {
            return;
        }
        #[cfg(sabotage)]
        if strikes_at(Bug::ForgetCommit) {
            return self.committed();
        }
        match self.ledger.as_mut().filter(|ledger| ledger.capabilities.generations) {
            Some(ledger) => {
                change.commit_sent = true;
                ledger.commit(change.generation);
            }
            None => self.committed(),
        }
    }

    /// The card has committed a generation.
    pub(crate) fn committed_by_card(&mut self, generation: Generation, fence: Arc<Fence>) {
        if let Some(change) = self.change.as_mut().filter(|change| change.generation == generation)
        {
            change.fence = Some(fence);
            self.end_change();
        }
    }

    /// Ends a change that the card has committed, when no packet from before is left.
    pub(crate) fn end_change(&mut self) {
        let fence = self.change.as_ref().and_then(|change| change.fence.as_ref());
        if fence.is_some_and(|fence| passed(fence, &self.processed)) {
            self.committed();
        }
    }

    /// The change under way is in force.
    pub(crate) fn committed(&mut self) {
        let Some(change) = self.change.take() else { return };
        self.current = change.generation;
        if self.pipeline.ports != change.pipeline.ports {
            self.verdicts.clear();
        }
        self.rules.keep(&change.pipeline);
        self.pipeline = change.pipeline;
        self.outputs.push_back(Output::Committed(self.current));
    }
}
