//! Driver of Twinpath's reference card, the twin (`docs/nic-abi.md`), over any `Bus`.
//!
//! [`Twin::attach`] starts bring-up; [`SmartNic::poll`] moves everything on: bring-up and reset
//! (`bring_up`), completions (`answer`), deadlines and heartbeat (`health`). `operation` turns
//! flow operations into commands, with places from `placement` and images from `encode`. Nothing
//! waits: an in-process card is stepped between two polls, a real one works meanwhile.
//!
//! What the card writes is checked, never trusted: nonsense ends in [`DeathCause`], not in a panic.

mod adopt;
mod answer;
mod bring_up;
mod commands;
mod encode;
mod endings;
mod geometry;
mod health;
mod inspect;
mod notes;
mod operation;
mod placement;
mod queue;
mod ring;
mod roster;
mod settings;
mod stall;
mod sweep;
mod tables;
mod watch;

pub use adopt::Unadoptable;
pub use bring_up::BringUpError;
pub use geometry::{capabilities, dma_bytes};
pub use settings::Settings;

use crate::gate::Gate;
use crate::nic::{CardQueue, Mode, ResetError, SmartNic};
use bring_up::Phase;
use commands::{Commands, Patience};
use encode::Encoder;
use health::Heart;
use queue::Queue;
use roster::Roster;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use sweep::SweepState;
use tables::Tables;
use twinpath_abi::bus::Bus;
use twinpath_abi::register::{self, QUEUES_MAX};
use twinpath_flow::card::{
    Capabilities, CounterSink, DeathCause, Entry, EntryId, Epoch, Event, Fence, FlowOp, Health,
    Inheritance, OpTag, Refusal, Sweep,
};
use twinpath_flow::port::{PortNo, PortTable};
#[cfg(sabotage)]
use twinpath_flow::sabotage::{Bug, strikes_at};
use twinpath_flow::time::Time;
use watch::{CardClock, Sampler, Watch};

/// What exists only while the card is configured.
struct Active<B> {
    memory: geometry::Memory,
    commands: Commands,
    encoder: Encoder,
    tables: Tables,
    roster: Roster,
    /// Port numbers by the card's index.
    ports: Arc<[PortNo]>,
    gates: Vec<Arc<Gate>>,
    queues: Vec<Queue<B>>,
    stalls: Vec<stall::Stall>,
    sweep: SweepState,
    /// Sweeps asked for, modulo 256.
    sweeps_asked: u8,
    /// Entries that the last sweep did not know.
    missing: Vec<EntryId>,
    /// Table and place that are read back next.
    inspected: (u8, u32),
    /// Frames delivered per queue at the last completion; shared by all that say the same.
    delivered: Arc<Fence>,
    /// Their low halves.
    delivered_low: [u32; QUEUES_MAX],
    /// The card's own count of resets.
    card_epoch: u32,
    /// Commands of bring-up still to issue and to be answered.
    setup: bring_up::Setup,
    /// Scratch for move chains.
    moves: Vec<placement::Move>,
    /// What the next COMMIT ends.
    endings: endings::Endings,
    /// Longest time of a command.
    patience: Duration,
    /// Reading back of an adopted card.
    survey: Option<adopt::Survey>,
    /// What an adoption left to do.
    estate: adopt::Estate,
}

/// Driver of one twin card.
pub struct Twin<B> {
    bus: Arc<B>,
    ports: PortTable,
    settings: Settings,
    capabilities: Capabilities,
    phase: Phase,
    epoch: Epoch,
    active: Option<Active<B>>,
    /// Memory allocated and the card it was allocated for; kept over resets.
    memory: Option<(twinpath_abi::capability::Capability, geometry::Memory)>,
    /// Gates of queues that were handed out in earlier epochs and may still be in a burst.
    old_gates: Vec<Arc<Gate>>,
    /// Operations the driver itself refused, to be reported at the next poll.
    refused: VecDeque<(OpTag, Refusal)>,
    /// Events to be reported at the next poll.
    events: Vec<Event>,
    watch: Watch,
    heart: Heart,
    clock: CardClock,
    sampler: Sampler,
    failure: Option<BringUpError>,
    unadoptable: Option<Unadoptable>,
    reset_wanted: bool,
    mode: Mode,
    /// Until then the card may still follow an earlier mode.
    mode_until: Time,
    /// The last request for a reset.
    asked: u32,
    /// Counters that earlier epochs may have used.
    used: u32,
}

impl<B> std::fmt::Debug for Twin<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Twin")
            .field("phase", &self.phase)
            .field("epoch", &self.epoch)
            .field("entries", &self.active.as_ref().map(|active| active.roster.len()))
            .finish_non_exhaustive()
    }
}

impl<B: Bus + 'static> Twin<B> {
    /// Takes a card over and starts bring-up, which [`SmartNic::poll`] moves on; `Event::Up` or
    /// `Event::Dead` ends it.
    #[must_use]
    pub fn attach(bus: Arc<B>, ports: PortTable, settings: Settings, now: Time) -> Self {
        let mut twin = Self {
            bus,
            ports,
            settings,
            capabilities: bring_up::no_capabilities(),
            phase: Phase::Dead(DeathCause::Deadline),
            epoch: Epoch(0),
            active: None,
            memory: None,
            old_gates: Vec::new(),
            refused: VecDeque::new(),
            events: Vec::new(),
            watch: Watch::new(settings.heartbeat_deadline / 2),
            heart: Heart::default(),
            clock: CardClock::default(),
            sampler: Sampler::default(),
            failure: None,
            unadoptable: None,
            reset_wanted: false,
            mode: Mode::Forward,
            mode_until: Time(0),
            asked: 0,
            used: u32::MAX,
        };
        twin.watch.look(now);
        twin.start();
        twin
    }

    /// Why the last bring-up failed, when the card answered but is not usable.
    #[must_use]
    pub const fn failure(&self) -> Option<&BringUpError> {
        self.failure.as_ref()
    }

    /// Frames handed to `tx_burst` of this epoch's queues that could not be sent: unknown port,
    /// shorter than 14 bytes, or longer than a buffer.
    #[must_use]
    pub fn dropped_frames(&self) -> u64 {
        let gates = self.active.iter().flat_map(|active| &active.gates);
        gates.map(|gate| gate.dropped()).sum()
    }

    /// Gives the card up: everything outstanding ends, queues become inert.
    fn die(&mut self, cause: DeathCause) {
        tracing::warn!(%cause, phase = ?self.phase, "card is dead");
        self.phase = Phase::Dead(cause);
        self.abandon();
        self.events.push(Event::Dead(cause));
    }

    /// Ends every outstanding operation with `Refusal::Reset` and shuts the queues' gates. The card must
    /// not forward by what it holds: rules go on without it, and it may not carry out its reset.
    fn abandon(&mut self) {
        let Some(mut active) = self.active.take() else { return };
        self.bus.write32(register::CONTROL.offset, 0);
        self.used = if active.checked() { active.roster.high_water() } else { u32::MAX };
        let refused = self.refused.drain(..);
        self.events.extend(refused.map(|(tag, refusal)| Event::Done { tag, result: Err(refusal) }));
        let ended = active.commands.abandon().filter_map(|work| work.op());
        self.events.extend(ended.map(|tag| Event::Done { tag, result: Err(Refusal::Reset) }));
        for gate in active.gates {
            gate.shut();
            self.old_gates.push(gate);
        }
    }
}

impl<B: Bus + 'static> SmartNic for Twin<B> {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn submit(&mut self, now: Time, ops: &[FlowOp]) -> usize {
        let watched = self.watch.look(now);
        if self.phase != Phase::Running || self.refused.len() >= operation::REFUSED_MAX {
            return 0;
        }
        let Some(active) = &mut self.active else { return 0 };
        if !active.estate.disowned.is_empty() {
            return 0;
        }
        if active.commands.refresh(&*self.bus).is_err() {
            self.die(DeathCause::Garbage);
            return 0;
        }
        let until = Patience::Prompt(watched.after(active.patience));
        let refused = &mut self.refused;
        let accepted = active.operate_all(&*self.bus, ops, until, |tag, refusal| {
            refused.push_back((tag, refusal));
            refused.len()
        });
        #[cfg(sabotage)]
        if accepted > 0 && strikes_at(Bug::LostWakeup) {
            return accepted;
        }
        if accepted > 0 {
            active.commands.publish(&*self.bus);
        }
        accepted
    }

    fn poll(&mut self, now: Time, out: &mut Vec<Event>) {
        let watched = self.watch.look(now);
        self.advance(now, watched);
        let refused = self.refused.drain(..);
        self.events.extend(refused.map(|(tag, refusal)| Event::Done { tag, result: Err(refusal) }));
        out.append(&mut self.events);
    }

    fn sweep_counters(&mut self, now: Time, sink: &mut dyn CounterSink) -> Option<Sweep> {
        let watched = self.watch.look(now);
        if self.phase != Phase::Running {
            return None;
        }
        let (epoch, clock) = (self.epoch, self.clock.clone());
        let active = self.active.as_mut()?;
        let swept = active.report(&*self.bus, (now, epoch, &clock), sink);
        // `submit` looks how far the card has read, but there may be nothing to submit.
        if !active.has_room() && active.commands.refresh(&*self.bus).is_err() {
            self.die(DeathCause::Garbage);
            return None;
        }
        let missing = active.missing.drain(..);
        self.events.extend(missing.map(|id| Event::Missing { id }));
        active.ask(&*self.bus, watched);
        swept
    }

    fn health(&mut self, _now: Time) -> Health {
        match self.phase {
            Phase::Dead(cause) => Health::Dead(cause),
            Phase::Running if self.in_bypass() => Health::Bypass,
            Phase::Running => Health::Good,
            _ => Health::Starting,
        }
    }

    fn reset(&mut self, now: Time) -> Result<Epoch, ResetError> {
        self.watch.look(now);
        self.abandon();
        self.start();
        Ok(self.epoch)
    }

    fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
        if self.phase == Phase::Running {
            self.bus.write32(register::CONTROL.offset, self.control());
            let longest = self.settings.within(bring_up::MODE_MAX);
            self.mode_until = self.watch.watched().after(longest);
        }
    }

    fn take_inheritance(&mut self) -> Option<Inheritance> {
        self.active.as_mut()?.estate.inheritance.take()
    }

    fn claim(&mut self, entry: &Entry) -> bool {
        let Some(active) = &mut self.active else { return false };
        let is_so = active.holds_just(entry);
        if !is_so {
            active.estate.disowned.push_back(entry.id);
        }
        is_so
    }

    fn disown(&mut self, id: EntryId) {
        if let Some(active) = &mut self.active {
            active.estate.disowned.push_back(id);
        }
    }

    fn take_queues(&mut self) -> Vec<Box<dyn CardQueue>> {
        if self.phase != Phase::Running {
            return Vec::new();
        }
        let queues = self.active.as_mut().map(|active| std::mem::take(&mut active.queues));
        queues
            .into_iter()
            .flatten()
            .map(|queue| -> Box<dyn CardQueue> { Box::new(queue) })
            .collect()
    }
}

#[cfg(test)]
mod tests;
