//! The software path with its buffers: bursts in, frames out, news for the brain.

use super::brain::{Brain, FlowCount};
use super::keeper::{FlowKeeper, Part};
use super::state::SoftwareAccount;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use twinpath_fallback::outbox::{DropCause, Dropped};
use twinpath_fallback::packet::FRAME_MAX;
use twinpath_fallback::slow_path::SlowPath;
use twinpath_fallback::software_path::{PrepareError, Removed};
use twinpath_fallback::{Kernel, Outbox, Packet, PacketPool, Settings, SoftwarePath};
use twinpath_flow::card::Generation;
use twinpath_flow::counters::Counts;
use twinpath_flow::key::Key;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::steps::{Flow, FlowId};
use twinpath_flow::time::Time;
use twinpath_offload::io::Input;

/// Packets in the process at most; beyond it frames are lost under the cause `no_buffer`.
const PACKETS_MAX: usize = 4096;

/// Packets processed at once at most.
pub const BURST_MAX: usize = 32;

/// Slots of flows looked at between two bursts when rules change: at most 150 µs.
const PART: u32 = 256;

/// What the event ring says of copies that found no buffer.
pub(super) const NO_CONTROLLER_BUFFER: &str = "no buffer for a packet to the controller";

/// What the software path sends and could not send.
#[derive(Debug)]
pub enum Sent {
    /// A frame for a port.
    Frame(PortNo, Packet),
    /// A frame that should have left by a port and could not.
    Dropped(PortNo),
}

/// What software did with packets that no rule decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoftwareTally {
    /// Decided by the rules to go nowhere.
    pub dropped: u64,
    /// Longer than the input port takes.
    pub mtu_in: u64,
    /// No Ethernet header, or outer headers that claim a tunnel and are wrong.
    pub malformed: u64,
    /// No buffer.
    pub no_buffer: u64,
}

/// A seed of hashes, another one at each start: nobody can make packets whose keys collide.
pub(super) fn fresh_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Settings whose hashes nobody can foresee, with the instructions of `kernel` or the best there are.
pub(super) fn fresh_settings(kernel: Option<Kernel>) -> Settings {
    Settings { seed: fresh_seed(), kernel, ..Settings::default() }
}

/// The software path and what it needs around it.
#[derive(Debug)]
pub struct Software {
    /// The path.
    pub path: SoftwarePath,
    /// Its buffers.
    pub pool: PacketPool,
    /// What was counted here.
    pub tally: SoftwareTally,
    /// What former processes had decided, and flows they had made.
    pub former: (u64, u64),
    burst: Vec<Packet>,
    /// Slots of flows looked at in one go when rules change.
    part: u32,
    /// What was decided and not yet told or sent.
    pub(super) outbox: Outbox,
}

impl Software {
    /// A software path that decides by `pipeline` as `generation`.
    #[must_use]
    pub fn new(settings: Settings, generation: Generation, pipeline: Arc<Pipeline>) -> Self {
        Self {
            path: SoftwarePath::new(settings, generation, pipeline),
            pool: PacketPool::new(PACKETS_MAX),
            tally: SoftwareTally::default(),
            former: (0, 0),
            burst: Vec::with_capacity(BURST_MAX),
            part: u32::MAX,
            outbox: Outbox::default(),
        }
    }

    /// The same, for a run in real time: a change of rules is worked off between bursts.
    #[must_use]
    pub fn in_parts(self) -> Self {
        Self { part: PART, ..self }
    }

    /// Takes a frame of `length` bytes that `fill` writes; `false` when it is lost.
    pub fn take(
        &mut self,
        (port, generation, time): (PortNo, Generation, Time),
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> bool {
        if length > FRAME_MAX {
            // No port takes longer ones; parsing it would say the same.
            self.tally.mtu_in += 1;
            return false;
        }
        let Some(mut packet) = self.pool.take() else {
            self.tally.no_buffer += 1;
            return false;
        };
        fill(&mut packet.receive_buffer()[..length]);
        packet.set_received(length);
        packet.port = port;
        packet.generation = generation;
        packet.time = time;
        self.burst.push(packet);
        true
    }

    /// Takes packets that `receive` appends to the burst, out of the pool; how many arrived. It
    /// returns that, and how many found no buffer.
    pub(super) fn take_burst(
        &mut self,
        generation: Generation,
        receive: impl FnOnce(&mut PacketPool, &mut Vec<Packet>) -> (usize, usize),
    ) -> usize {
        let before = self.burst.len();
        let (arrived, missing) = receive(&mut self.pool, &mut self.burst);
        self.tally.no_buffer += u64::try_from(missing).unwrap_or(u64::MAX);
        for packet in &mut self.burst[before..] {
            packet.generation = generation;
        }
        arrived
    }

    /// Whether packets wait for [`Self::process`].
    pub fn is_waiting(&self) -> bool {
        !self.burst.is_empty()
    }

    /// Packets taken and decided so far, whatever was decided.
    pub fn decided(&self) -> u64 {
        let totals = self.path.totals();
        self.former.0 + totals.packets - totals.refused
    }

    /// Goes on from what a former process's software counted.
    pub(crate) const fn go_on_from(&mut self, account: &SoftwareAccount) {
        self.former = (account.decided, account.flows_made);
        let tally = &mut self.tally;
        (tally.dropped, tally.mtu_in) = (account.dropped, account.mtu_in);
        (tally.malformed, tally.no_buffer) = (account.malformed, account.no_buffer);
    }

    /// Flows made so far.
    pub(crate) fn flows_made(&self) -> u64 {
        self.former.1 + self.path.totals().flows_made
    }

    /// Decides everything taken, hands what leaves to `send` in order, and tells `brain` what it
    /// learned. The caller settles the brain afterwards.
    pub fn process(
        &mut self,
        now: Time,
        brain: &mut Brain,
        send: &mut dyn FnMut(&mut PacketPool, Sent),
    ) {
        self.decide(now);
        self.tell(now, brain);
        self.emit(brain.ports(), send);
    }

    /// Decides everything taken; what comes of it waits in [`Self::outbox`].
    pub(super) fn decide(&mut self, now: Time) {
        self.path.process(now, &mut self.burst, &mut self.pool, &mut self.outbox);
    }

    /// Tells the brain what was learned.
    fn tell(&mut self, now: Time, brain: &mut Brain) {
        for made in self.outbox.made.drain(..) {
            let (id, flow, key) = (made.id, made.flow, made.key);
            let (from, until) = (made.from, made.until);
            brain.tell(now, Input::FlowMade { id, flow, key, from, until });
        }
        brain.engine.look_ahead_at_hits(self.outbox.hits.iter().map(|hit| hit.id));
        for hit in self.outbox.hits.drain(..) {
            brain.tell(now, Input::Hit { id: hit.id, key: hit.key });
        }
        for (rule, counts) in self.outbox.rule_counts.drain(..) {
            brain.tell(now, Input::ExceptionCounts { rule, counts });
        }
        for copy in self.outbox.controller.drain(..) {
            brain.events.copy(copy.packet.time, copy.in_port, copy.len, copy.packet.frame());
            self.pool.give(copy.packet);
        }
        let is_lost_copy = |dropped: &&Dropped| dropped.cause == DropCause::NoControllerBuffer;
        for _ in self.outbox.drops.iter().filter(is_lost_copy) {
            brain.events.repeated(now, "times", NO_CONTROLLER_BUFFER.to_owned());
        }
    }

    /// Counts what was dropped and hands what leaves to `send`, in order.
    pub(super) fn emit(&mut self, ports: &PortTable, send: &mut dyn FnMut(&mut PacketPool, Sent)) {
        for dropped in self.outbox.drops.drain(..) {
            match dropped.cause {
                DropCause::Rules => self.tally.dropped += 1,
                DropCause::NoControllerBuffer => {}
                DropCause::MtuIn => self.tally.mtu_in += 1,
                DropCause::Malformed | DropCause::NoPort => self.tally.malformed += 1,
                DropCause::Encap => {
                    let over = ports.tunnel(dropped.port).map(|tunnel| tunnel.over);
                    send(&mut self.pool, Sent::Dropped(over.unwrap_or(dropped.port)));
                }
                DropCause::MtuOut | DropCause::NoBuffer | DropCause::TooLong => {
                    send(&mut self.pool, Sent::Dropped(dropped.port));
                }
            }
        }
        for packet in self.outbox.transmissions.drain(..) {
            send(&mut self.pool, Sent::Frame(packet.leaves_by, packet));
        }
    }
}

impl FlowKeeper for Software {
    fn prepare(
        &mut self,
        _: Time,
        _: &mut Brain,
        generation: Generation,
        pipeline: &Arc<Pipeline>,
    ) -> Result<Option<Vec<FlowId>>, PrepareError> {
        let slow_path = SlowPath::new(Arc::clone(pipeline), fresh_seed());
        self.path.begin(generation, Arc::new(slow_path))?;
        Ok(self.path.revalidate(self.part))
    }

    fn commit(&mut self, _: Time, _: &mut Brain, generation: Generation) -> Vec<Removed> {
        let mut gone = Vec::new();
        if self.path.switch(generation) {
            self.path.sweep(self.part, &mut gone);
        }
        gone
    }

    fn go_on(&mut self) -> Part {
        let mut part = Part { stale: self.path.revalidate(self.part), gone: Vec::new() };
        self.path.sweep(self.part, &mut part.gone);
        part
    }

    fn is_under_way(&self) -> bool {
        self.path.has_flows_to_check()
    }

    fn remove(&mut self, id: FlowId) -> Option<Removed> {
        self.path.remove(id)
    }

    fn report(&mut self, now: Time, since: Option<Time>, brain: &mut Brain) {
        let flows = self.path.usages().filter_map(|(id, usage)| {
            let used = usage.counts != Counts::default();
            let (counts, last_used) = (usage.counts, usage.last_used);
            let is_news = used && since.is_none_or(|since| last_used >= since);
            is_news.then_some(FlowCount { id, counts, last_used })
        });
        brain.report(now, flows);
    }

    fn find(&self, key: &Key) -> Option<(FlowId, Arc<Flow>)> {
        self.path.find(key).map(|view| (view.id, view.flow))
    }

    fn flow_for(&self, key: &Key) -> Option<Flow> {
        self.path.flow_for(key)
    }

    fn stale_under(&self, pipeline: &Arc<Pipeline>) -> Vec<FlowId> {
        self.path.stale_under(Arc::clone(pipeline))
    }

    fn flow_counts(&self) -> (usize, u64) {
        (self.path.flow_count(), self.flows_made())
    }
}

#[cfg(test)]
mod tests;
