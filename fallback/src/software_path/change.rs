//! From one generation to the next: prepare, switch, remove what is left of the old one.
//!
//! Flows carry a mark for each of the two generations there can be at once, and generations take
//! turns with the marks. So to switch is to look for the other mark, whatever the number of flows;
//! looking at all of them, before and after, is done a few at a time between bursts.

use super::{Phase, Removed, SoftwarePath};
use crate::slow_path::{Scratch, SlowPath};
use crate::store::Serves;
use std::sync::Arc;
use twinpath_flow::card::Generation;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::steps::FlowId;

/// Why a generation cannot be prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// One is prepared and not yet committed.
    #[error("generation {} is prepared and not yet committed", .0.0)]
    Pending(Generation),
    /// Generations only grow.
    #[error("generation {} is not newer than the current one", .0.0)]
    NotNewer(Generation),
    /// The last change is not done with.
    #[error("flows of the generation before are still being removed")]
    Unswept,
}

/// How far flows were looked at for the next generation.
#[derive(Debug)]
pub(super) struct Revalidation {
    next_slot: u32,
    stale: Vec<FlowId>,
}

impl SoftwarePath {
    /// Makes `pipeline` the next generation beside the current one and returns the stale flows:
    /// those that the current generation has and the next must not use.
    ///
    /// All other flows serve both, and go on counting. Until [`Self::commit`] packets of either
    /// generation are decided, each by its own.
    ///
    /// # Errors
    /// Another generation is prepared, `generation` is not newer than the current one, or
    /// [`Self::sweep`] has not removed all flows of the last one.
    pub fn prepare(
        &mut self,
        generation: Generation,
        pipeline: Arc<Pipeline>,
    ) -> Result<Vec<FlowId>, PrepareError> {
        let slow_path = SlowPath::new(pipeline, self.settings.seed);
        self.begin(generation, Arc::new(slow_path))?;
        Ok(self.revalidate(u32::MAX).unwrap_or_default())
    }

    /// Begins what [`Self::prepare`] does at once, for those that may not stop so long; the rules
    /// may be indexed elsewhere, once for several paths. [`Self::revalidate`] goes on; packets must
    /// not carry `generation` before that is done.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn begin(
        &mut self,
        generation: Generation,
        slow_path: Arc<SlowPath>,
    ) -> Result<(), PrepareError> {
        if let Some(pending) = &self.next {
            return Err(PrepareError::Pending(pending.generation));
        }
        if generation <= self.current.generation {
            return Err(PrepareError::NotNewer(generation));
        }
        if self.unswept.is_some() {
            return Err(PrepareError::Unswept);
        }
        let (ports_epoch, serves) = (self.current.ports_epoch, self.current.serves.turned());
        let mut next = Phase { generation, slow_path, ports_epoch, serves };
        if !self.same_ports(&next.slow_path) {
            next.ports_epoch += 1;
        }
        self.next = Some(next);
        self.revalidation = Some(Revalidation { next_slot: 0, stale: Vec::new() });
        Ok(())
    }

    /// Looks at the flows of so many slots more whether they hold in the generation begun; the
    /// stale ones, once all were looked at. Nothing when no generation has been begun.
    pub fn revalidate(&mut self, slots: u32) -> Option<Vec<FlowId>> {
        let (mut work, next) = (self.revalidation.take()?, self.next.take()?);
        let mut scratch = Scratch::default();
        let end = work.next_slot.saturating_add(slots).min(self.slot_count());
        for index in work.next_slot..end {
            if !self.store.is_taken(index) {
                continue;
            }
            if self.stays(index, &next.slow_path, &mut scratch) {
                self.store.hot_mut(index).serves = Serves::BOTH;
            } else {
                work.stale.push(self.store.id(index));
            }
        }
        self.next = Some(next);
        work.next_slot = end;
        if end == self.slot_count() {
            return Some(work.stale);
        }
        self.revalidation = Some(work);
        None
    }

    /// Makes the prepared `generation` current, drops the old one, and returns the flows that only
    /// the old one used: the stale ones, and any made since for late packets. Nothing when that
    /// generation is not the prepared one.
    ///
    /// # Panics
    /// When [`Self::revalidate`] has not looked at all flows.
    pub fn commit(&mut self, generation: Generation) -> Vec<Removed> {
        let mut gone = Vec::new();
        if self.switch(generation) {
            self.sweep(u32::MAX, &mut gone);
        }
        gone
    }

    /// Begins what [`Self::commit`] does at once, for those that may not stop so long: from now on
    /// the prepared `generation` decides everything. [`Self::sweep`] removes the flows of the old
    /// one. `false`, and nothing done, when that generation is not the prepared one.
    ///
    /// # Panics
    /// As [`Self::commit`].
    pub fn switch(&mut self, generation: Generation) -> bool {
        let Some(next) = self.next.take_if(|next| next.generation == generation) else {
            return false;
        };
        assert!(self.revalidation.is_none(), "committed before all flows were looked at");
        self.current = next;
        self.unswept = Some(0);
        true
    }

    /// Whether a change has flows yet to be looked at, by [`Self::revalidate`] or [`Self::sweep`].
    #[must_use]
    pub const fn has_flows_to_check(&self) -> bool {
        self.revalidation.is_some() || self.unswept.is_some()
    }

    /// Looks at the flows of so many slots more, and appends to `gone` those that only the old
    /// generation used. Whether there is more to look at.
    pub fn sweep(&mut self, slots: u32, gone: &mut Vec<Removed>) -> bool {
        let Some(next_slot) = self.unswept.take() else { return false };
        let end = next_slot.saturating_add(slots).min(self.slot_count());
        for index in next_slot..end {
            if !self.store.is_taken(index) {
                continue;
            }
            if self.store.hot(index).serves.meets(self.current.serves) {
                self.store.hot_mut(index).serves = self.current.serves;
            } else {
                gone.extend(self.remove(self.store.id(index)));
            }
        }
        self.unswept = (end < self.slot_count()).then_some(end);
        self.unswept.is_some()
    }
}
