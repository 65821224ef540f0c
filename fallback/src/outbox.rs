//! What processing bursts produces, in the order it happened. The caller drains it.

use crate::packet::{Packet, PacketPool};
use std::sync::Arc;
use twinpath_flow::card::Generation;
use twinpath_flow::counters::Counts;
use twinpath_flow::key::Key;
use twinpath_flow::port::PortNo;
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::{Flow, FlowId};

/// A flow that was made, for the packet that asked for it.
#[derive(Clone, Debug)]
pub struct Made {
    /// Identity.
    pub id: FlowId,
    /// The flow.
    pub flow: Arc<Flow>,
    /// Key of the packet that made it.
    pub key: Key,
    /// Generation it was derived under: that of the pipeline that decided the packet.
    pub from: Generation,
    /// First generation it does not hold in: the prepared one, when it was made for a packet of the
    /// current one while a change is under way and the next must not use it.
    pub until: Option<Generation>,
}

/// A sampled packet that hit a flow, for the flow's heat.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    /// The flow.
    pub id: FlowId,
    /// Key of the packet.
    pub key: Key,
}

/// A packet copied to the controller.
#[derive(Debug)]
pub struct ControllerCopy {
    /// The packet as it was at the controller action, at most `max_len` bytes long.
    pub packet: Packet,
    /// Input port as rules see it: the tunnel port if it was decapsulated.
    pub in_port: PortNo,
    /// Length of the packet before it was cut.
    pub len: usize,
}

/// Why a frame, or one copy of it, was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropCause {
    /// The rules send it nowhere. Once per received packet.
    Rules,
    /// The input port is not a physical port. Nothing was decided, no rule counts it.
    NoPort,
    /// Longer than the input port's `mtu_in`. Nothing was decided, no rule counts it.
    MtuIn,
    /// The outer headers claim a tunnel and are wrong, or the frame has no Ethernet header. Nothing
    /// was decided, no rule counts it.
    Malformed,
    /// Longer than the output port's `mtu_out`. Only this copy.
    MtuOut,
    /// The tunnel port cannot encapsulate it. Only this copy.
    Encap,
    /// The pool had no buffer for this copy.
    NoBuffer,
    /// The pool had no buffer for the controller's copy, which no port would have sent.
    NoControllerBuffer,
    /// Too long for a buffer after encapsulation or pushes. Only this copy.
    TooLong,
}

/// A frame, or copy, that was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dropped {
    /// Why.
    pub cause: DropCause,
    /// Physical output port for `MtuOut`, `NoBuffer` and `TooLong`, tunnel port for `Encap`, else the
    /// physical input port.
    pub port: PortNo,
}

/// Collects what [`crate::SoftwarePath::process`] produces.
///
/// Bounded by what a burst can produce, provided the caller drains it after each burst. Draining
/// keeps the capacity of the vectors, so that nothing is allocated in steady state.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Frames to send, in order, each by its [`Packet::leaves_by`]; tunnel headers are in the frame.
    /// `port`, `time` and `generation` are still those of the received packet.
    pub transmissions: Vec<Packet>,
    /// Flows made.
    pub made: Vec<Made>,
    /// Sampled hits; at most [`crate::Settings::hit_samples`] per burst.
    pub hits: Vec<Hit>,
    /// Packets copied to the controller.
    pub controller: Vec<ControllerCopy>,
    /// Counts of rules that are not counted on a flow: exceptions, and packets beyond the flow
    /// limit. One element per packet and rule.
    pub rule_counts: Vec<(RuleId, Counts)>,
    /// Frames not sent.
    pub drops: Vec<Dropped>,
}

impl Outbox {
    /// Empties everything, giving the packets back to `pool`.
    pub fn clear(&mut self, pool: &mut PacketPool) {
        pool.give_many(self.transmissions.drain(..));
        self.controller.drain(..).for_each(|copy| pool.give(copy.packet));
        self.made.clear();
        self.hits.clear();
        self.rule_counts.clear();
        self.drops.clear();
    }
}
