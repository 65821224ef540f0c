//! The software path: bursts of packets in, an [`Outbox`] out; owns the flows and their counters.

use crate::outbox::Outbox;
use crate::packet::{Packet, PacketPool};
use crate::settings::Settings;
use std::sync::Arc;
use twinpath_flow::card::Generation;
use twinpath_flow::counters::Counts;
use twinpath_flow::key::Key;
use twinpath_flow::pipeline::Pipeline;
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
    /// Dropped before any rule: longer than the input port's `mtu_in`.
    pub mtu_in: u64,
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
pub struct FlowView<'a> {
    /// Identity.
    pub id: FlowId,
    /// The flow.
    pub flow: &'a Arc<Flow>,
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

/// Why a generation cannot be prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// One is prepared and not yet committed.
    #[error("generation {} is prepared and not yet committed", .0.0)]
    Pending(Generation),
    /// Generations only grow.
    #[error("generation {} is not newer than the current one", .0.0)]
    NotNewer(Generation),
}

/// The software path.
///
/// One per worker; it is `Send`, locks nothing and reads no clock.
#[derive(Debug)]
pub struct SoftwarePath {
    settings: Settings,
    current: (Generation, Arc<Pipeline>),
    next: Option<(Generation, Arc<Pipeline>)>,
    totals: Totals,
}

impl SoftwarePath {
    /// A software path without flows, deciding by `pipeline` as `generation`.
    #[must_use]
    pub fn new(settings: Settings, generation: Generation, pipeline: Arc<Pipeline>) -> Self {
        Self { settings, current: (generation, pipeline), next: None, totals: Totals::default() }
    }

    /// Decides all packets of `burst`, in order, and empties it. Any length; 32 is best.
    ///
    /// Packets that are not sent go back to `pool`, which also gives the buffers for copies.
    /// Each packet is decided by the generation it carries: the prepared one if it is that or
    /// newer, else the current one.
    pub fn process(
        &mut self,
        now: Time,
        burst: &mut Vec<Packet>,
        pool: &mut PacketPool,
        out: &mut Outbox,
    ) {
        let _ = (now, &self.settings, out);
        burst.drain(..).for_each(|packet| pool.give(packet));
    }

    /// Makes `pipeline` the next generation beside the current one and returns the stale flows:
    /// those that the current generation has and the next must not use.
    ///
    /// All other flows serve both, and go on counting. Until [`Self::commit`] packets of either
    /// generation are decided, each by its own.
    ///
    /// # Errors
    /// Another generation is prepared, or `generation` is not newer than the current one.
    pub fn prepare(
        &mut self,
        generation: Generation,
        pipeline: Arc<Pipeline>,
    ) -> Result<Vec<FlowId>, PrepareError> {
        if let Some((pending, _)) = self.next {
            return Err(PrepareError::Pending(pending));
        }
        if generation <= self.current.0 {
            return Err(PrepareError::NotNewer(generation));
        }
        self.next = Some((generation, pipeline));
        Ok(Vec::new())
    }

    /// Makes the prepared `generation` current, drops the old one, and returns the flows that only
    /// the old one used: the stale ones, and any made since for late packets. Nothing when that
    /// generation is not the prepared one.
    pub fn commit(&mut self, generation: Generation) -> Vec<Removed> {
        if let Some(next) = self.next.take_if(|(prepared, _)| *prepared == generation) {
            self.current = next;
        }
        Vec::new()
    }

    /// Removes a flow, in all generations; its next packet makes a new one.
    pub fn remove(&mut self, id: FlowId) -> Option<Removed> {
        let _ = id;
        None
    }

    /// Counters of a flow.
    #[must_use]
    pub fn usage(&self, id: FlowId) -> Option<Usage> {
        let _ = id;
        None
    }

    /// A flow by its identity.
    #[must_use]
    pub fn flow(&self, id: FlowId) -> Option<FlowView<'_>> {
        let _ = id;
        None
    }

    /// The flow of the current generation that decides packets with this key, if there is one.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<FlowView<'_>> {
        let _ = key;
        None
    }

    /// All flows.
    pub fn flows(&self) -> impl Iterator<Item = FlowView<'_>> {
        std::iter::empty()
    }

    /// Number of flows.
    #[must_use]
    pub fn flow_count(&self) -> usize {
        0
    }

    /// What was done so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }
}
