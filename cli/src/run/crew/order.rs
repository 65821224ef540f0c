//! What the control thread asks of workers, and what they answer: once per burst, one at a time.

use super::super::software::SoftwareTally;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use twinpath_fallback::outbox::Made;
use twinpath_fallback::slow_path::SlowPath;
use twinpath_fallback::software_path::{PrepareError, Removed};
use twinpath_fallback::wire::WireError;
use twinpath_flow::card::Generation;
use twinpath_flow::counters::Counts;
use twinpath_flow::key::Key;
use twinpath_flow::port::PortNo;
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::{Flow, FlowId};
use twinpath_flow::time::Time;

/// What a worker is asked. Flows are named as the worker does.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// Only the news.
    Report,
    /// Counts of the flows used since then.
    Count(Option<Time>),
    /// Prepare the next generation and decide by it from now on.
    Prepare(Generation, Arc<SlowPath>),
    /// Drop the generations before this one.
    Commit(Generation),
    /// Remove these flows.
    Remove(Vec<FlowId>),
    /// The flow that decides packets with this key.
    Find(Box<Key>),
    /// The flows that these rules would make stale.
    Judge(Arc<SlowPath>),
    /// Take no more frames; send what others hand over.
    Halt,
    /// Send what is left, end the wires, end.
    End,
}

/// What a worker answers.
#[derive(Debug)]
pub(super) struct Reply {
    /// What it learned since its last news; none for questions that change nothing.
    pub(super) news: Option<Box<News>>,
    /// The answer.
    pub(super) answer: Answer,
}

/// The answer proper. Flows are named as the worker does.
#[derive(Debug)]
pub(super) enum Answer {
    /// Done.
    Done,
    /// Counts and last use of flows.
    Counts(Vec<(FlowId, Counts, Time)>),
    /// Stale flows.
    Stale(Vec<FlowId>),
    /// A generation that could not be prepared.
    Refused(PrepareError),
    /// Flows that are gone.
    Gone(Vec<Removed>),
    /// A flow in place.
    Found(Option<(FlowId, Arc<Flow>)>),
    /// The worker has ended; why a wire failed.
    Ended(Option<WireError>),
}

/// A packet for the controller.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) time: Time,
    pub(super) in_port: PortNo,
    pub(super) length: usize,
    pub(super) frame: Vec<u8>,
}

/// What a worker learned since its last reply, and where it stands.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Flows made, in order; at most as many as the flow limit, as only orders remove flows.
    pub(super) made: Vec<Made>,
    /// Packets that rules counted without a flow.
    pub(super) rule_counts: HashMap<RuleId, Counts>,
    /// The last packets for the controller.
    pub(super) copies: VecDeque<Copied>,
    /// Earlier ones, forgotten for room.
    pub(super) copies_forgotten: u64,
    /// Packets for the controller that found no buffer.
    pub(super) copies_lost: u64,
    /// Where it stands.
    pub(super) standing: Standing,
}

/// Totals of a worker since it began.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// Its ports, and those of others where it could not send.
    pub(super) ports: Vec<PortStanding>,
    /// Packets decided.
    pub(super) decided: u64,
    /// What no rule decided.
    pub(super) tally: SoftwareTally,
    /// Flows now.
    pub(super) flows: usize,
    /// Flows made.
    pub(super) made: u64,
    /// Packets handed to other workers to send.
    pub(super) handed: u64,
    /// Packets another worker had no room for.
    pub(super) full: u64,
    /// No wire of it will bring another frame.
    pub(super) is_finished: bool,
    /// An output cannot be written.
    pub(super) is_blocked: bool,
}

/// What a worker counted at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortStanding {
    pub(super) number: PortNo,
    pub(super) received: Counts,
    pub(super) sent: Counts,
    pub(super) dropped: u64,
    pub(super) missed: u64,
}
