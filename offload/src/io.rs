//! The engine's whole alphabet: what it is told, and what it wants done.
//!
//! Contract: one [`Input`], then [`crate::Engine::poll_output`] until it answers `None`, then the
//! next input. Nothing is lost when several inputs come before a drain; outputs only come later.

use crate::adopt::Adoption;
use crate::event::EngineEvent;
use crate::shadow::{Finding, Sample};
use std::sync::Arc;
use std::time::Duration;
use twinpath_flow::card::{Capabilities, Epoch, Event, Fence, FlowOp, Generation, Sweep};
use twinpath_flow::counters::Counts;
use twinpath_flow::key::Key;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::{Flow, FlowId};
use twinpath_flow::time::Time;

/// What the engine is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// The software path made a flow. `now` of the call is its time of creation.
    FlowMade {
        /// Identity.
        id: FlowId,
        /// The flow.
        flow: Arc<Flow>,
        /// Key of the packet it was made for.
        key: Key,
        /// Generation it was derived under.
        from: Generation,
        /// First generation it does not hold in: set when it was made while a change is under way
        /// and does not survive it. Such flows are not offered to the card.
        until: Option<Generation>,
    },
    /// A packet of a known flow came to software: a chance for one more specialisation. May be
    /// sampled, at most one per key and burst is useful.
    Hit {
        /// The flow.
        id: FlowId,
        /// Key of the packet.
        key: Key,
    },
    /// What the software path counted for a flow.
    SoftwareCounts {
        /// The flow.
        id: FlowId,
        /// Absolute since the flow was made.
        counts: Counts,
        /// When its last packet passed in software; `None` for none yet.
        last_used: Option<Time>,
    },
    /// All [`Input::SoftwareCounts`] that [`Output::SoftwareCountsWanted`] asked for were given.
    SoftwareReported,
    /// The software path dropped a flow (on [`Output::RemoveFlow`], for room, or stale). The id is
    /// dead afterwards.
    FlowGone {
        /// The flow.
        id: FlowId,
        /// Final absolute counts in software.
        counts: Counts,
        /// When its last packet passed in software.
        last_used: Option<Time>,
    },
    /// Packets executed without a flow (exceptions, table misses by limits) counted on a rule.
    ExceptionCounts {
        /// The rule.
        rule: RuleId,
        /// What to add.
        counts: Counts,
    },
    /// A card is ready and empty: first bring-up or after a reset.
    CardUp {
        /// What it can do.
        capabilities: Arc<Capabilities>,
        /// Its epoch; entries and counters of earlier ones are void.
        epoch: Epoch,
        /// Generation current in it.
        generation: Generation,
    },
    /// The card is taken out of use: no packet meets its entries any more, and what they counted
    /// was swept. What it still answers does not matter.
    CardWithdrawn,
    /// A card went on by itself and is taken over with what it holds; the flows of its entries were
    /// told before.
    CardAdopted(Box<Adoption>),
    /// The card's driver reports.
    Card(Event),
    /// A sweep ended; its entries were handed to the engine as a
    /// [`twinpath_flow::card::CounterSink`] before.
    Swept(Sweep),
    /// No sweep could be had (no answer in time); decisions waiting for it are taken without.
    SweepFailed,
    /// A sample of what the card forwarded.
    Mirrored(Box<Sample>),
    /// How far every worker has processed received frames and sent their results: the minimum over
    /// workers, per queue.
    Fence(Fence),
    /// The next pipeline is prepared in software. One change at a time: only after
    /// [`Output::Committed`] of the one before.
    PipelineChange {
        /// Its generation, greater than all before.
        generation: Generation,
        /// The rules then in place.
        pipeline: Arc<Pipeline>,
        /// Flows whose result differs under it.
        stale: Vec<FlowId>,
    },
    /// Host time that updates of the card took since this was told last: what [`Self::Timeout`], the
    /// driver's answers and submissions cost. Where it is never told, updates are free.
    HostTime(Duration),
    /// Time passed; due when [`crate::Engine::next_timeout`] is reached.
    Timeout,
}

/// What the engine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Submit to the card, in this order. What the driver does not accept stays with the caller.
    Card(FlowOp),
    /// The software path drops this flow, then answers [`Input::FlowGone`].
    RemoveFlow {
        /// The flow.
        id: FlowId,
        /// Why.
        cause: RemoveCause,
    },
    /// These rules ended: take them out of the pipeline ([`crate::RuleStore::expire`]) and start a
    /// change.
    RulesExpired(Vec<(RuleId, ExpiryCause)>),
    /// This generation is in force: the software path drops the older one and its stale flows.
    Committed(Generation),
    /// Sweep the card's counters; [`Input::Swept`] when a sweep arrives, [`Input::SweepFailed`]
    /// when none can be had. Sweeps may also be given unasked, as at the end of a run.
    SweepWanted,
    /// Report the counts of all flows used in software since the last report: any number of
    /// [`Input::SoftwareCounts`], then [`Input::SoftwareReported`].
    SoftwareCountsWanted,
    /// Reset the card, then [`Input::CardUp`]; the engine already holds it for empty.
    ResetCard(ResetCause),
    /// The card differed from the rules: keep this, so that it can be seen again.
    Diverged(Box<Finding>),
    /// For the ring that `twinpath events` shows.
    Event(EngineEvent),
}

/// Why a flow is to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RemoveCause {
    /// No packet for the idle time of flows.
    #[error("idle")]
    Idle,
    /// The pipeline changed and it does not hold any more.
    #[error("stale")]
    Stale,
}

/// Why a rule ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum ExpiryCause {
    /// `idle_timeout` seconds without a packet.
    #[error("idle timeout")]
    Idle,
    /// `hard_timeout` seconds passed.
    #[error("hard timeout")]
    Hard,
}

/// Why the card is to be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ResetCause {
    /// The card asked for it.
    #[error("the card asked for it")]
    Requested,
    /// It was found dead.
    #[error("the card is dead")]
    Dead,
    /// An operation did not end within its deadline: its entries are uncertain.
    #[error("an operation did not end in time")]
    LostOperation,
    /// Entry identities are used up; they may not be reused within an epoch.
    #[error("entry identities used up")]
    IdsExhausted,
    /// An entry could not be deleted: the card holds what the ledger does not.
    #[error("an entry could not be deleted")]
    StuckEntry,
}
