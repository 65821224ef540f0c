//! The flows of all workers, as the brain sees them: each has a name of its own, the worker's slot
//! times the number of workers plus the worker's number.

use super::Crew;
use super::order::{Answer, Order};
use crate::run::brain::{Brain, FlowCount};
use crate::run::keeper::{FlowKeeper, Part};
use std::sync::Arc;
use twinpath_fallback::slow_path::SlowPath;
use twinpath_fallback::software_path::{PrepareError, Removed};
use twinpath_flow::card::Generation;
use twinpath_flow::key::Key;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::steps::{Flow, FlowId};
use twinpath_flow::time::Time;

/// The flow that worker `index` of `count` calls `id`.
pub(super) fn global(id: FlowId, index: usize, count: usize) -> FlowId {
    let (slot, index) = (usize::try_from(id.index).unwrap_or(usize::MAX), index);
    let slot = u32::try_from(slot * count + index).expect("far fewer flows than 2^32 / 16");
    FlowId { index: slot, generation: id.generation }
}

/// The worker, of `count`, that has the flow, and what it calls it.
fn local(id: FlowId, count: usize) -> (usize, FlowId) {
    let count = u32::try_from(count).expect("few workers");
    let index = usize::try_from(id.index % count).expect("few workers");
    (index, FlowId { index: id.index / count, generation: id.generation })
}

impl Crew {
    /// Indexes rules, once for all workers.
    fn index(&self, pipeline: &Arc<Pipeline>) -> Arc<SlowPath> {
        Arc::new(SlowPath::new(Arc::clone(pipeline), self.seed))
    }

    /// Flows that are gone, by their names here.
    pub(super) fn gone(&self, answers: Vec<Answer>) -> Vec<Removed> {
        let count = self.hands.len();
        let rename = |(index, answer)| {
            let Answer::Gone(removed) = answer else { return Vec::new() };
            let rename =
                |removed: Removed| Removed { id: global(removed.id, index, count), ..removed };
            removed.into_iter().map(rename).collect()
        };
        answers.into_iter().enumerate().flat_map(rename).collect()
    }

    /// Stale flows, by their names here.
    fn stale(&self, answers: Vec<Answer>) -> Result<Vec<FlowId>, PrepareError> {
        let mut stale = Vec::new();
        for (index, answer) in answers.into_iter().enumerate() {
            match answer {
                Answer::Stale(ids) => {
                    stale.extend(ids.into_iter().map(|id| global(id, index, self.hands.len())));
                }
                Answer::Refused(error) => return Err(error),
                _ => {}
            }
        }
        Ok(stale)
    }
}

impl FlowKeeper for Crew {
    fn prepare(
        &mut self,
        now: Time,
        brain: &mut Brain,
        generation: Generation,
        pipeline: &Arc<Pipeline>,
    ) -> Result<Option<Vec<FlowId>>, PrepareError> {
        let slow_path = self.index(pipeline);
        let order = |_| Order::Prepare(generation, Arc::clone(&slow_path));
        let answers = self.ask(now, brain, order);
        let stale = self.stale(answers)?;
        self.prepared = Some(slow_path);
        Ok(Some(stale))
    }

    fn commit(&mut self, now: Time, brain: &mut Brain, generation: Generation) -> Vec<Removed> {
        // The old rules are freed here, not by the worker that lets go of them last.
        let new = self.prepared.take();
        let _old = new.map(|new| std::mem::replace(&mut self.slow_path, new));
        let answers = self.ask(now, brain, |_| Order::Commit(generation));
        self.gone(answers)
    }

    /// Workers answer when they have done all of it.
    fn go_on(&mut self) -> Part {
        Part::default()
    }

    fn is_under_way(&self) -> bool {
        false
    }

    fn remove(&mut self, id: FlowId) -> Option<Removed> {
        let (index, id) = local(id, self.hands.len());
        self.removals[index].push(id);
        None
    }

    fn report(&mut self, now: Time, since: Option<Time>, brain: &mut Brain) {
        let answers = self.ask(now, brain, |_| Order::Count(since));
        let count = self.hands.len();
        let flows = answers.into_iter().enumerate().flat_map(|(index, answer)| {
            let flows = if let Answer::Counts(flows) = answer { flows } else { Vec::new() };
            flows.into_iter().map(move |(id, counts, last_used)| {
                let id = global(id, index, count);
                FlowCount { id, counts, last_used }
            })
        });
        brain.report(now, flows);
    }

    fn find(&self, key: &Key) -> Option<(FlowId, Arc<Flow>)> {
        let answers = self.question(&Order::Find(Box::new(*key)));
        answers.into_iter().enumerate().find_map(|(index, answer)| match answer {
            Answer::Found(Some((id, flow))) => Some((global(id, index, self.hands.len()), flow)),
            _ => None,
        })
    }

    fn flow_for(&self, key: &Key) -> Option<Flow> {
        self.slow_path.translate(key).ok()
    }

    fn stale_under(&self, pipeline: &Arc<Pipeline>) -> Vec<FlowId> {
        let answers = self.question(&Order::Judge(self.index(pipeline)));
        self.stale(answers).unwrap_or_default()
    }

    fn flow_counts(&self) -> (usize, u64) {
        let flows = self.standings.iter().map(|standing| standing.flows).sum();
        (flows, self.standings.iter().map(|standing| standing.made).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_of_all_workers_have_different_names_that_lead_back() {
        let mut names = std::collections::HashSet::new();
        for index in 0..3 {
            for slot in 0..100 {
                let id = FlowId { index: slot, generation: 7 };
                let name = global(id, index, 3);
                assert!(names.insert(name));
                assert_eq!(local(name, 3), (index, id));
            }
        }
    }
}
