//! The software path: bursts of packets in, an [`crate::Outbox`] out; owns the flows and their
//! counters.

mod burst;
mod change;
mod exception;
mod kernels;
mod lane;
pub mod watch;

use crate::exact_cache::ExactCache;
use crate::hash::KeyHasher;
use crate::kernel::Kernel;
use crate::settings::Settings;
use crate::slow_path::{Scratch, SlowPath};
use crate::store::{Hot, Serves, Store};
use crate::tuple_space::TupleSpace;
pub use change::PrepareError;
use change::Revalidation;
use lane::Lane;
use std::ops::Range;
use std::sync::Arc;
use twinpath_flow::card::Generation;
use twinpath_flow::counters::Counts;
use twinpath_flow::key::Key;
use twinpath_flow::pipeline::Pipeline;
#[cfg(sabotage)]
use twinpath_flow::sabotage::{Bug, strikes_at, strikes_one_in, touches};
use twinpath_flow::steps::{Flow, FlowId};
use twinpath_flow::time::Time;

/// What the software path did since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets taken in.
    pub packets: u64,
    /// Of those, found in the exact cache.
    pub cache_hits: u64,
    /// Found in the tuple space.
    pub tuple_hits: u64,
    /// Walked through the pipeline and made into a flow.
    pub flows_made: u64,
    /// Exceptions (TTL, tunnel messages), executed one by one.
    pub exceptions: u64,
    /// Executed one by one because [`Settings::flow_limit`] was reached.
    pub flow_limit: u64,
    /// Dropped before any rule: longer than `mtu_in`, malformed, or from no physical port.
    pub refused: u64,
}

/// Counters of one flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Packets and bytes as received.
    pub counts: Counts,
    /// When it was last used; when it was made, if never.
    pub last_used: Time,
}

/// A flow in place.
#[derive(Clone, Debug)]
pub struct FlowView {
    /// Identity.
    pub id: FlowId,
    /// The flow, put together for this view.
    pub flow: Arc<Flow>,
    /// Its counters.
    pub usage: Usage,
}

/// A flow that is gone, with its final counters.
#[derive(Clone, Debug)]
pub struct Removed {
    /// Identity, never used again.
    pub id: FlowId,
    /// The flow.
    pub flow: Arc<Flow>,
    /// Its final counters.
    pub usage: Usage,
}

/// A pipeline and the generation it decides.
#[derive(Debug)]
struct Phase {
    generation: Generation,
    slow_path: Arc<SlowPath>,
    /// Changes with the ports.
    ports_epoch: u32,
    /// The mark of its flows.
    serves: Serves,
}

/// The software path.
///
/// One per worker; it is `Send`, locks nothing and reads no clock.
#[derive(Debug)]
pub struct SoftwarePath {
    settings: Settings,
    hasher: KeyHasher,
    current: Phase,
    next: Option<Phase>,
    /// Flows not yet looked at for the next generation.
    revalidation: Option<Revalidation>,
    /// Next slot to look at for flows of the generation before the current one.
    unswept: Option<u32>,
    store: Store,
    tuples: TupleSpace,
    cache: ExactCache,
    totals: Totals,
    lane: Option<Box<Lane>>,
    /// Memory of the slow path.
    scratch: Option<Box<Scratch>>,
    kernel: Kernel,
    /// Moves the places of sampled hits.
    sample_clock: usize,
}

impl SoftwarePath {
    /// A software path without flows, deciding by `pipeline` as `generation`.
    #[must_use]
    pub fn new(settings: Settings, generation: Generation, pipeline: Arc<Pipeline>) -> Self {
        let hasher = KeyHasher::new(settings.seed);
        Self {
            settings,
            current: Phase {
                generation,
                slow_path: Arc::new(SlowPath::new(pipeline, settings.seed)),
                ports_epoch: 0,
                serves: Serves::EVEN,
            },
            next: None,
            revalidation: None,
            unswept: None,
            store: Store::new(settings.flow_limit),
            tuples: TupleSpace::new(hasher.clone()),
            cache: ExactCache::new(settings.cache_slots),
            totals: Totals::default(),
            lane: None,
            scratch: None,
            kernel: settings.kernel.filter(|k| k.is_here()).unwrap_or_else(Kernel::best),
            sample_clock: 0,
            hasher,
        }
    }

    /// The flow that a packet with this key would make now; `None` for an exception.
    #[must_use]
    pub fn flow_for(&self, key: &Key) -> Option<Flow> {
        self.current.slow_path.translate(key).ok()
    }

    /// The flows of the current generation that `pipeline` would make stale. Changes nothing.
    #[must_use]
    pub fn stale_under(&self, pipeline: Arc<Pipeline>) -> Vec<FlowId> {
        self.stale_in(0..u32::MAX, &SlowPath::new(pipeline, self.settings.seed))
    }

    /// The same, of the flows in some slots.
    #[must_use]
    pub fn stale_in(&self, slots: Range<u32>, slow_path: &SlowPath) -> Vec<FlowId> {
        let slots = slots.start..slots.end.min(self.slot_count());
        let mut scratch = Scratch::default();
        let serving = |index: &u32| self.store.hot(*index).serves.meets(self.current.serves);
        let stale =
            slots.filter(serving).filter(|index| !self.stays(*index, slow_path, &mut scratch));
        stale.map(|index| self.store.id(index)).collect()
    }

    /// Whether the flow in a slot also holds under another pipeline.
    fn stays(&self, index: u32, slow_path: &SlowPath, scratch: &mut Scratch) -> bool {
        let recipe = self.store.recipe(index);
        self.same_ports(slow_path)
            && slow_path.translate_into(&self.store.key(index), scratch).is_ok_and(|again| {
                let mask = self.tuples.mask(self.store.hot(index).tuple);
                again.steps == recipe.steps()
                    && again.rules == self.store.rules(index)
                    && again.ttl_threshold == recipe.ttl_threshold()
                    && again.matching.mask.is_subset_of(mask)
            })
    }

    /// Whether another pipeline's ports are those of the current one.
    fn same_ports(&self, slow_path: &SlowPath) -> bool {
        let (ports, current) = (&slow_path.pipeline().ports, self.current.slow_path.pipeline());
        Arc::ptr_eq(ports, &current.ports) || *ports == current.ports
    }

    /// Removes a flow, in all generations; its next packet makes a new one.
    pub fn remove(&mut self, id: FlowId) -> Option<Removed> {
        let removed = self.flow(id)?;
        let tuple = self.store.hot(id.index).tuple;
        #[cfg(sabotage)]
        if strikes_at(Bug::MissingUnmap) {
            self.store.remove(id);
            return Some(Removed { id, usage: removed.usage, flow: removed.flow });
        }
        self.tuples.remove(tuple, &self.store.key(id.index), id.index);
        self.store.remove(id);
        Some(Removed { id, usage: removed.usage, flow: removed.flow })
    }

    /// The flow that decides packets with this key, made if there is none yet, and whether it was.
    /// `None` for an exception, or when there are as many flows as may be. Not while a generation is
    /// prepared.
    pub fn adopt(&mut self, now: Time, key: &Key) -> Option<(FlowView, bool)> {
        if let Some(known) = self.find(key) {
            return Some((known, false));
        }
        if self.next.is_some() || self.store.len() >= self.settings.flow_limit {
            return None;
        }
        let flow = self.current.slow_path.translate(key).ok()?;
        let ports = (&*self.current.slow_path.pipeline().ports, self.current.ports_epoch);
        let id = self.store.insert((&flow, key), ports, (self.current.serves, now));
        let tuple = self.tuples.insert(&flow.matching, id.index);
        self.store.hot_mut(id.index).tuple = tuple;
        self.totals.flows_made += 1;
        self.flow(id).map(|view| (view, true))
    }

    /// Counters of a flow.
    #[must_use]
    pub fn usage(&self, id: FlowId) -> Option<Usage> {
        self.store.find(id).map(Hot::usage)
    }

    /// A flow by its identity.
    #[must_use]
    pub fn flow(&self, id: FlowId) -> Option<FlowView> {
        self.store.find(id).map(|_| self.view(id.index))
    }

    /// The flow of the current generation that decides packets with this key, if there is one.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<FlowView> {
        let index = self.tuples.find(key, self.current.serves, &self.store)?;
        self.flow(self.store.id(index))
    }

    /// All flows.
    pub fn flows(&self) -> impl Iterator<Item = FlowView> {
        self.store.indices().map(|index| self.view(index))
    }

    /// Counters of all flows.
    pub fn usages(&self) -> impl Iterator<Item = (FlowId, Usage)> {
        self.store.indices().map(|index| (self.store.id(index), self.store.hot(index).usage()))
    }

    /// Counters of the flows in some slots, for those that may not stop for all of them at once.
    /// Slots beyond [`Self::slot_count`] are free.
    pub fn usages_in(&self, slots: Range<u32>) -> impl Iterator<Item = (FlowId, Usage)> {
        let slots = slots.start..slots.end.min(self.slot_count());
        let taken = slots.filter(|index| self.store.is_taken(*index));
        taken.map(|index| (self.store.id(index), self.store.hot(index).usage()))
    }

    /// Slots that flows have been in so far.
    #[must_use]
    pub fn slot_count(&self) -> u32 {
        u32::try_from(self.store.slots()).unwrap_or(u32::MAX)
    }

    fn view(&self, index: u32) -> FlowView {
        let hot = self.store.hot(index);
        let flow = Arc::new(self.store.flow(index, self.tuples.mask(hot.tuple)));
        FlowView { id: self.store.id(index), flow, usage: hot.usage() }
    }

    /// The kernel it runs on.
    #[must_use]
    pub const fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Number of flows.
    #[must_use]
    pub fn flow_count(&self) -> usize {
        self.store.len()
    }

    /// Number of distinct masks of the flows.
    #[must_use]
    pub const fn mask_count(&self) -> usize {
        self.tuples.mask_count()
    }

    /// What was done so far.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }
}

/// Whether a flow made for a packet with key `sample` also holds under another pipeline.
fn holds(flow: &Flow, sample: &Key, slow_path: &SlowPath) -> bool {
    #[cfg(sabotage)]
    touches(Bug::StaleMask);
    slow_path.translate(sample).is_ok_and(|again| {
        again.steps == flow.steps
            && again.rules == flow.rules
            && again.ttl_threshold == flow.ttl_threshold
            && keeps_mask(flow, &again)
    })
}

/// Whether a flow's mask is wide enough for what it would be now.
fn keeps_mask(flow: &Flow, again: &Flow) -> bool {
    let is_wide = again.matching.mask.is_subset_of(&flow.matching.mask);
    #[cfg(sabotage)]
    let is_wide = is_wide || strikes_one_in(Bug::StaleMask, 4);
    is_wide
}

impl Hot {
    fn usage(&self) -> Usage {
        Usage { counts: self.counts, last_used: self.last_used }
    }
}
