//! What forwards: software alone, the interpreter, or a card with software behind it.

use super::brain::Brain;
use super::card::CardPath;
use super::crew::Crew;
use super::hardware::HardwarePath;
use super::host::Order;
use super::keeper::FlowKeeper;
use super::keeping::Keeping;
use super::ports::Ports;
use super::recovery::Recovery;
use super::reference::Reference;
use super::remote::RemotePath;
use super::software::{Sent, Software};
use crate::statistics::WorkerView;
use twinpath_fallback::PacketPool;
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;

/// What became of the packets received (design section 8); the causes of loss by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Decided by the card alone; `None` where it does not say.
    pub card: Option<u64>,
    /// Decided by software.
    pub software: u64,
    /// Lost, by cause; causes that did not occur are absent.
    pub lost: Vec<(&'static str, u64)>,
    /// Inside now, as far as that is known.
    pub held: u64,
    /// Decided by the rules to go nowhere, by software.
    pub dropped: u64,
}

impl Fates {
    /// What was received and has no other fate is inside. A card's numbers are not trusted.
    pub(crate) fn hold_rest(&mut self, received: u64) {
        let lost = self.lost.iter().map(|(_, count)| *count);
        let known = [self.card.unwrap_or_default(), self.software].into_iter().chain(lost);
        self.held = received.saturating_sub(known.fold(0, u64::saturating_add));
    }

    /// Adds a cause of loss if it occurred.
    pub(crate) fn lose(&mut self, cause: &'static str, count: u64) {
        if count > 0 {
            self.lost.push((cause, count));
        }
    }
}

/// The device of a run.
#[derive(Debug)]
pub(crate) enum Forwarder {
    /// `sim`.
    Card(Box<CardPath>),
    /// `vfio:…`.
    Hardware(Box<HardwarePath>),
    /// `vfio-user:…`.
    Remote(Box<RemotePath>),
    /// `none`, in one thread.
    Software(Box<Software>),
    /// `none`, in several.
    Crew(Box<Crew>),
    /// `reference`.
    Reference(Reference),
}

impl Forwarder {
    /// Packets that software of former processes has decided.
    pub(crate) fn former_decided(&self) -> u64 {
        match self {
            Self::Remote(card) => card.software.former.0,
            Self::Hardware(card) => card.software.former.0,
            _ => 0,
        }
    }

    /// Takes a frame that arrived on a physical port.
    pub(crate) fn take(&mut self, now: Time, brain: &mut Brain, port: PortNo, frame: &[u8]) {
        match self {
            Self::Card(card) => card.take(now, port, frame),
            // Only standby wires bring any: its frames come through its queues.
            Self::Hardware(card) => card.take(now, brain, port, frame),
            Self::Remote(card) => card.take(now, brain, port, frame),
            Self::Software(software) => {
                let fill = &mut |buffer: &mut [u8]| buffer.copy_from_slice(frame);
                software.take((port, brain.generation(), now), frame.len(), fill);
            }
            // Its workers take them.
            Self::Crew(_) => {}
            Self::Reference(reference) => reference.take(now, brain, port, frame),
        }
    }

    /// Moves everything inside on to `now`, and sends what leaves.
    pub(crate) fn advance(&mut self, now: Time, brain: &mut Brain, ports: &mut Ports) {
        brain.tick(now);
        match self {
            Self::Card(card) => card.advance(now, brain, ports),
            Self::Hardware(card) => card.advance(now, brain, ports),
            Self::Remote(card) => card.advance(now, brain, ports),
            Self::Software(software) => {
                decide(now, software, brain, ports);
                brain.settle(now, Some(&mut **software));
            }
            Self::Crew(crew) => crew.advance(now, brain, ports),
            Self::Reference(reference) => {
                reference.send(now, ports);
                brain.settle(now, None);
            }
        }
    }

    /// Asks those that forward in other threads what they did.
    pub(crate) fn refresh(&mut self, now: Time, brain: &mut Brain, ports: &mut Ports) {
        if let Self::Crew(crew) = self {
            crew.refresh(now, brain, ports);
        }
    }

    /// Whether nothing will ever come any more, or going on makes no sense.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Crew(crew) if crew.is_over())
    }

    /// Takes no more frames.
    pub(crate) fn halt(&mut self, now: Time, brain: &mut Brain) {
        if let Self::Crew(crew) = self {
            crew.halt(now, brain);
        }
    }

    /// Ends what runs in other threads; what went wrong there.
    pub(crate) fn end(
        &mut self,
        now: Time,
        brain: &mut Brain,
        ports: &mut Ports,
    ) -> Option<anyhow::Error> {
        match self {
            Self::Crew(crew) => crew.end(now, brain, ports).err(),
            _ => None,
        }
    }

    /// Threads that forward, when there are several.
    pub(crate) fn workers(&self) -> Vec<WorkerView> {
        match self {
            Self::Crew(crew) => crew.views(),
            _ => Vec::new(),
        }
    }

    /// Whether every frame that comes in is seen here; cables of a real card are not.
    pub(crate) const fn sees_wires(&self) -> bool {
        !matches!(self, Self::Hardware(_))
    }

    /// Whether there is no card, by the user's choice.
    pub(crate) const fn is_software_only(&self) -> bool {
        matches!(self, Self::Software(_) | Self::Crew(_) | Self::Reference(_))
    }

    /// When something inside happens by itself; `None` when nothing will.
    pub(crate) fn next_event(&self) -> Option<Time> {
        match self {
            Self::Card(card) => card.next_event(),
            Self::Hardware(card) => Some(card.next_event()),
            Self::Remote(card) => Some(card.next_event()),
            Self::Crew(crew) => Some(crew.next_event()),
            Self::Software(_) | Self::Reference(_) => None,
        }
    }

    /// Whether nothing is inside.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Self::Card(card) => card.is_idle(),
            Self::Hardware(card) => card.is_idle(),
            Self::Remote(card) => card.is_idle(),
            Self::Software(software) => !software.is_waiting(),
            Self::Crew(_) => true,
            Self::Reference(reference) => reference.is_idle(),
        }
    }

    /// Who keeps software's flows, where there are any.
    pub(crate) fn keeper(&self) -> Option<&dyn FlowKeeper> {
        match self {
            Self::Card(card) => Some(&card.software),
            Self::Hardware(card) => Some(&card.software),
            Self::Remote(card) => Some(&card.software),
            Self::Software(software) => Some(&**software),
            Self::Crew(crew) => Some(&**crew),
            Self::Reference(_) => None,
        }
    }

    /// Who keeps software's flows, where there are any.
    pub(crate) fn keeper_mut(&mut self) -> Option<&mut dyn FlowKeeper> {
        match self {
            Self::Card(card) => Some(&mut card.software),
            Self::Hardware(card) => Some(&mut card.software),
            Self::Remote(card) => Some(&mut card.software),
            Self::Software(software) => Some(&mut **software),
            Self::Crew(crew) => Some(&mut **crew),
            Self::Reference(_) => None,
        }
    }

    /// Name and health of the card, where there is one.
    pub(crate) fn card(&mut self, now: Time) -> Option<(String, String)> {
        match self {
            Self::Card(card) => Some(card.describe(now)),
            Self::Hardware(card) => Some(card.describe(now)),
            Self::Remote(card) => Some(card.describe(now)),
            Self::Software(_) | Self::Crew(_) | Self::Reference(_) => None,
        }
    }

    /// The card's failures and whether it is trusted; `None` without a card.
    pub(crate) fn recovery(&self) -> Option<&Recovery> {
        match self {
            Self::Card(card) => Some(card.recovery()),
            Self::Hardware(card) => card.recovery(),
            Self::Remote(card) => Some(card.recovery()),
            Self::Software(_) | Self::Crew(_) | Self::Reference(_) => None,
        }
    }

    /// What is kept for a next process, if anything is.
    pub(crate) const fn keeping_mut(&mut self) -> Option<&mut Keeping> {
        match self {
            Self::Hardware(card) => card.keeping_mut(),
            Self::Remote(card) => card.keeping_mut(),
            Self::Card(_) | Self::Software(_) | Self::Crew(_) | Self::Reference(_) => None,
        }
    }

    /// Does what somebody wants of the card; `false` when there is none.
    pub(crate) fn obey(&mut self, now: Time, order: Order, brain: &mut Brain) -> bool {
        match self {
            Self::Card(card) => {
                card.obey(now, order, brain);
                true
            }
            Self::Hardware(card) => card.obey(now, order, brain),
            Self::Remote(card) => card.obey(now, order, brain),
            Self::Software(_) | Self::Crew(_) | Self::Reference(_) => false,
        }
    }

    /// Frames that the device should have sent out of the physical port at `index` and did not.
    pub(crate) fn send_dropped(&self, index: usize) -> u64 {
        match self {
            Self::Card(card) => card.send_dropped(index),
            Self::Hardware(card) => card.send_dropped(index),
            Self::Remote(card) => card.send_dropped(index),
            // Counted at the port itself.
            Self::Software(_) | Self::Crew(_) | Self::Reference(_) => 0,
        }
    }

    /// Brings the counters of all flows and rules up to date and returns the time then: a card
    /// needs some for its sweep.
    pub(crate) fn read_counters(&mut self, now: Time, brain: &mut Brain) -> Time {
        if let Some(keeper) = self.keeper_mut() {
            keeper.report(now, None, brain);
        }
        brain.tell_all_counts(now);
        brain.settle(now, self.keeper_mut());
        match self {
            Self::Card(card) => card.sweep_all(now, brain),
            Self::Hardware(card) => card.sweep_all(now, brain),
            Self::Remote(card) => card.sweep_all(now, brain),
            Self::Software(_) | Self::Crew(_) | Self::Reference(_) => now,
        }
    }

    /// What became of the packets so far, of `received` on all ports.
    pub(crate) fn fates(&self, received: u64) -> Fates {
        let mut fates = Fates { card: Some(0), ..Fates::default() };
        match self {
            Self::Card(card) => fates = card.fates(received),
            Self::Hardware(card) => fates = card.fates(),
            Self::Remote(card) => fates = card.fates(received),
            Self::Software(software) => {
                fates.software = software.decided();
                fates.dropped = software.tally.dropped;
                fates.lose("mtu_in", software.tally.mtu_in);
                fates.lose("malformed", software.tally.malformed);
                fates.lose("no_buffer", software.tally.no_buffer);
            }
            Self::Crew(crew) => fates = crew.fates(),
            Self::Reference(reference) => {
                fates.software = reference.decided;
                fates.dropped = reference.dropped;
                fates.lose("mtu_in", reference.mtu_in);
                fates.lose("malformed", reference.malformed);
            }
        }
        fates
    }
}

/// Decides what software has taken, and sends what leaves into the wires.
pub(super) fn decide(now: Time, software: &mut Software, brain: &mut Brain, ports: &mut Ports) {
    if software.is_waiting() {
        software.process(now, brain, &mut |pool, sent| emit(ports, pool, now, sent));
        brain.settle(now, Some(software));
    }
}

/// Sends what software sent straight into the wires.
fn emit(ports: &mut Ports, pool: &mut PacketPool, now: Time, sent: Sent) {
    match sent {
        Sent::Frame(port, packet) => {
            ports.send(port, packet.frame(), now);
            pool.give(packet);
        }
        Sent::Dropped(port) => ports.drop_at(port),
    }
}
