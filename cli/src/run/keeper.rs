//! Who keeps software's flows, as the brain sees it: one software path, or the crew of workers.

use super::brain::Brain;
use std::sync::Arc;
use twinpath_fallback::software_path::{PrepareError, Removed};
use twinpath_flow::card::Generation;
use twinpath_flow::key::Key;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::steps::{Flow, FlowId};
use twinpath_flow::time::Time;

/// What a part of a change of rules brought.
#[derive(Debug, Default)]
pub struct Part {
    /// The flows that the prepared generation must not use, once all were looked at.
    pub stale: Option<Vec<FlowId>>,
    /// Flows that only the generation before used.
    pub gone: Vec<Removed>,
}

/// Keeps software's flows. What it learned before it answers is told to the brain first.
pub trait FlowKeeper {
    /// Prepares the next generation; the flows it must not use, or `None` when [`Self::go_on`] will
    /// tell.
    ///
    /// # Errors
    /// Another one is prepared, or it is not newer.
    fn prepare(
        &mut self,
        now: Time,
        brain: &mut Brain,
        generation: Generation,
        pipeline: &Arc<Pipeline>,
    ) -> Result<Option<Vec<FlowId>>, PrepareError>;

    /// Puts the prepared generation in force; the flows that only the old one used, as far as they
    /// are known already.
    fn commit(&mut self, now: Time, brain: &mut Brain, generation: Generation) -> Vec<Removed>;

    /// Does the next part of what [`Self::prepare`] or [`Self::commit`] began.
    fn go_on(&mut self) -> Part;

    /// Whether there is such a part to do. No other change begins before that.
    fn is_under_way(&self) -> bool;

    /// Removes a flow. `None` when there is none, or when its end will be told later.
    fn remove(&mut self, id: FlowId) -> Option<Removed>;

    /// Tells the brain the counts of every flow used since `since`.
    fn report(&mut self, now: Time, since: Option<Time>, brain: &mut Brain);

    /// The flow of the generation in force that decides packets with this key, if there is one.
    fn find(&self, key: &Key) -> Option<(FlowId, Arc<Flow>)>;

    /// The flow that a packet with this key would make now; `None` for an exception.
    fn flow_for(&self, key: &Key) -> Option<Flow>;

    /// The flows that `pipeline` would make stale. Changes nothing.
    fn stale_under(&self, pipeline: &Arc<Pipeline>) -> Vec<FlowId>;

    /// Flows now, and those made since the run began.
    fn flow_counts(&self) -> (usize, u64);
}
