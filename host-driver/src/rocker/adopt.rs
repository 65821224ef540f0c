//! Taking a switch over that went on forwarding while its driver's process was gone.
//!
//! The device cannot be asked what it holds, so the notes say it (see `notes`). Ring indices are in its
//! registers. An entry stays if the rules make of its match just what was installed; anything else is
//! taken out, with what was being added when the former driver ended.

use super::bring_up::{Phase, identify, standing_parts};
use super::control::{CommandError, Control};
use super::event::Events;
use super::io::RockerIo;
use super::layout::Memory;
use super::notes::{Found, UnderWay};
use super::port::PortMap;
use super::queue::{Queue, Shared};
use super::register;
use super::roster::Roster;
use super::translate::{Part, Translator};
use super::vlan::Admission;
use super::{Active, RockerNic, Settings};
use crate::digest::digest;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use twinpath_flow::card::{DeathCause, Entry, Generation, Inheritance, Inherited, TableId};
use twinpath_flow::counters::Counts;
use twinpath_flow::key::{Key, Line, MaskedKey};
use twinpath_flow::port::PortTable;
use twinpath_flow::time::Time;

/// Why a switch is reset rather than taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unadoptable {
    /// It is no rocker, or does not answer.
    #[error("the switch does not answer as one")]
    OtherCard,
    /// Its ports are not enabled as configured: it was reset meanwhile, or never set up.
    #[error("the switch was reset meanwhile")]
    NotForwarding,
    /// Rings, ports or tunnels are others than these settings give.
    #[error("rings, ports or tunnels were set up otherwise")]
    OtherLayout,
}

/// What is left of an adoption.
#[derive(Debug, Default)]
pub(super) struct Estate {
    /// To be handed out.
    pub inheritance: Option<Inheritance>,
    /// Entries that nobody has claimed.
    unclaimed: Vec<Found>,
    /// What was being added; `None` when all is settled.
    under_way: Option<UnderWay>,
}

impl<I: RockerIo + 'static> RockerNic<I> {
    /// Takes over the switch that a former driver left forwarding, over a function with the same memory
    /// of which nothing is allocated yet. `Event::Up` ends it; a switch that cannot be taken over is
    /// reset as by [`RockerNic::attach`].
    #[must_use]
    pub fn adopt(io: Arc<I>, ports: PortTable, settings: Settings) -> Self {
        let mut nic = Self::attach(io, ports, settings);
        nic.is_heir = true;
        nic
    }

    /// Takes the switch over at the first call; whether it did.
    pub(super) fn take_over_if_wanted(&mut self, now: Time) -> bool {
        if !std::mem::take(&mut self.is_heir) {
            return false;
        }
        self.take_over(now)
            .inspect_err(|reason| {
                tracing::warn!(%reason, "switch is reset");
                self.unadoptable = Some(*reason);
            })
            .is_ok()
    }

    fn take_over(&mut self, now: Time) -> Result<(), Unadoptable> {
        let io = Arc::clone(&self.io);
        identify(&*io).map_err(|_| Unadoptable::OtherCard)?;
        let ports = io.read32(register::PORT_COUNT);
        let known = (1..=register::PORTS_MAX).contains(&ports);
        let map = PortMap::new(&self.ports, ports).ok().filter(|_| known);
        let map = map.ok_or(Unadoptable::OtherCard)?;
        if io.read64(register::PORT_ENABLE) != map.configured_bits() {
            return Err(Unadoptable::NotForwarding);
        }
        let memory = self.allocate().map_err(|_| Unadoptable::OtherLayout)?.clone();
        let translator = Translator { map, ports: self.ports.clone(), settings: self.settings };
        let mut notes = memory.notes;
        let layout = self.layout_digest(&translator, &memory);
        let (found, under_way) = notes.take_over(&*io, layout).ok_or(Unadoptable::OtherLayout)?;
        io.start_dma().map_err(|_| Unadoptable::OtherCard)?;
        let shared = Arc::new(Shared::new());
        shared.now.store(now.0, Ordering::Relaxed);
        let map = &translator.map;
        let queue = Queue::resume(Arc::clone(&io), &memory.queue, map, Arc::clone(&shared));
        let queue = queue.ok_or(Unadoptable::OtherLayout)?;
        // Nothing is under way in these: commands end before the driver goes on, and what the events
        // say is read from registers.
        let control = Control::program(&*io, memory.control, notes);
        let events = Events::program(&*io, memory.event);
        let mut roster = Roster::new(self.settings.entries_max);
        let admissions = map.configured().count() * Admission::every_frame().count();
        roster.adopt_standing(admissions as u64, &standing_parts(&translator));
        found.iter().for_each(|found| roster.spare(found));
        let estate = Estate::new(found, under_way);
        self.go((control, events, roster, estate), translator, (shared, queue), now);
        Ok(())
    }

    /// A digest of how the switch is set up.
    pub(super) fn layout_digest(&self, translator: &Translator, memory: &Memory) -> u64 {
        let parts = standing_parts(translator);
        let ports: Vec<u8> = translator
            .map
            .configured()
            .flat_map(|(port, number)| [port.number(), number.0.into()])
            .flat_map(u32::to_le_bytes)
            .collect();
        let Settings { entries_max, rx_log2, ipv4_header, .. } = self.settings;
        let sizes = [entries_max, rx_log2, ipv4_header as u32, memory.queue.frame_bytes.into()];
        let sizes = sizes.into_iter().flat_map(u32::to_le_bytes).collect();
        digest(parts.iter().map(Part::image).chain([ports, sizes]))
    }

    /// Takes out what nobody has claimed, once what was found was handed out.
    pub(super) fn clear_estate(&mut self) -> Result<(), DeathCause> {
        let Some(active) = self.active.as_mut().filter(|_| self.phase == Phase::Running) else {
            return Ok(());
        };
        if active.estate.inheritance.is_some() {
            return Ok(());
        }
        let Some(under_way) = active.estate.under_way.take() else { return Ok(()) };
        let unclaimed = std::mem::take(&mut active.estate.unclaimed);
        let left = (unclaimed, under_way);
        active.roster.clear(&*self.io, &mut active.control, left).map_err(|error| match error {
            CommandError::Dead(cause) => cause,
            CommandError::Card(_) | CommandError::TooLong(_) => DeathCause::Garbage,
        })
    }
}

impl Estate {
    fn new(found: Vec<Found>, under_way: UnderWay) -> Self {
        let serving = found.iter().filter(|found| found.serves);
        let entries: Vec<_> = serving.map(inherited).collect();
        let strays = found.len() - entries.len();
        let inheritance = Inheritance { entries, strays, ..Inheritance::default() };
        Self { inheritance: Some(inheritance), unclaimed: found, under_way: Some(under_way) }
    }
}

fn inherited(found: &Found) -> Inherited {
    let (value, mask) = found.record.matching;
    let key = |head| Key { head, tail: Line::ZERO };
    Inherited {
        id: found.record.id,
        table: TableId(0),
        matching: MaskedKey { value: key(value), mask: key(mask) },
        from: Generation(0),
        // The device counts nothing.
        counts: Counts::default(),
        last_hit: None,
    }
}

impl<I> Active<I> {
    /// Keeps an entry of a former driver if just this was installed.
    pub(super) fn claim(&mut self, entry: &Entry) -> bool {
        let is = |found: &Found| found.serves && found.record.id == entry.id;
        let Some(at) = self.estate.unclaimed.iter().position(is) else { return false };
        let Ok(parts) = self.translator.parts(&entry.matching, &entry.edit) else { return false };
        let found = &self.estate.unclaimed[at];
        let same = entry.table == TableId(0)
            && entry.ttl_threshold.is_none()
            && found.record.flows as usize == parts.len()
            && found.record.digest == digest(parts.iter().map(Part::image));
        if !same || !self.roster.adopt(found, entry.matching, parts) {
            return false;
        }
        self.estate.unclaimed.swap_remove(at);
        true
    }
}
