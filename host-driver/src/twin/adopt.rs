//! Taking a card over that went on forwarding while its driver's process was gone.
//!
//! The card is the truth. Ring indices come from its registers, places and counters from reading every
//! place back (`docs/nic-abi.md` §9.13), masks from the notes. What a former driver had put into the
//! command ring is carried out first: a NOP behind it says so. Its completions are known by their tags and
//! passed over, but for entries that leave with a later commit.
//!
//! An entry that still holds packets is deleted: its packets come to the host behind the misses before
//! them, so nothing is reordered.

use super::bring_up::{Phase, set_port, tunnel_image};
use super::commands::{Commands, Patience, Work};
use super::endings::Endings;
use super::geometry::{self, Memory};
use super::inspect::digest as digest_of_image;
use super::notes::{self, Notes};
use super::queue::{Queue, Surroundings};
use super::roster::{Life, Record};
use super::tables::Tables;
use super::{Active, Twin};
use crate::gate::Gate;
use std::collections::VecDeque;
use std::sync::Arc;
use twinpath_abi::bus::Bus;
use twinpath_abi::capability::Capability;
use twinpath_abi::command::{Command, EntryRef};
use twinpath_abi::completion::{Completion, NEVER, Status};
use twinpath_abi::entry::{EntryImage, FOREVER};
use twinpath_abi::register::{self, control, status};
use twinpath_flow::card::{
    DeathCause, Entry, EntryId, Event, Generation, Inheritance, Inherited, TableId, TableKind,
};
use twinpath_flow::counters::Counts;
use twinpath_flow::key::{Key, Line, MaskedKey};
use twinpath_flow::time::Time;

/// Why a card is reset rather than taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unadoptable {
    /// It does not forward on its own.
    #[error("the card is not forwarding (status {status:#x}, control {control:#x})")]
    NotForwarding {
        /// Its status.
        status: u32,
        /// Its control register.
        control: u32,
    },
    /// Its capability block is not credible, or it is another card.
    #[error("the card is not the one of before")]
    OtherCard,
    /// Rings, ports or tunnels are others than these settings give.
    #[error("rings, ports or tunnels were set up otherwise")]
    OtherLayout,
    /// It was reset by others, or its last driver left no notes.
    #[error("the card was reset meanwhile")]
    OtherEpoch,
    /// A ring index that cannot be.
    #[error("ring indices make no sense")]
    Indices,
}

/// Queues and their gates.
type Gated<B> = (Vec<Arc<Gate>>, Vec<Queue<B>>);

/// Progress of reading a card back.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Table and place that are read next; `None` until the barrier.
    next: Option<(u8, u32)>,
    /// Readings not answered.
    under_way: usize,
    found: Inheritance,
    strays: Vec<EntryRef>,
}

/// What is left of an adoption when the card is up.
#[derive(Debug, Default)]
pub(super) struct Estate {
    /// To be handed out.
    pub inheritance: Option<Inheritance>,
    /// Entries to be taken out before anything else is done.
    pub disowned: VecDeque<EntryId>,
}

impl<B: Bus + 'static> Twin<B> {
    /// Takes over the card that a former driver left forwarding, over a bus with the same memory of
    /// which nothing is allocated yet. `Event::Up` ends it, and [`crate::nic::SmartNic::take_inheritance`]
    /// says what was found; a card that cannot be taken over is reset as by [`Twin::attach`], and
    /// [`Twin::unadoptable`] says why.
    #[must_use]
    pub fn adopt(
        bus: Arc<B>,
        ports: twinpath_flow::port::PortTable,
        settings: super::Settings,
        now: Time,
    ) -> Self {
        let mut twin = Self::attach(bus, ports, settings, now);
        match twin.take_over() {
            Ok(()) => twin.phase = Phase::Surveying,
            Err(reason) => {
                tracing::warn!(%reason, "card is reset");
                twin.unadoptable = Some(reason);
                twin.active = None;
            }
        }
        twin
    }

    /// Why the card was reset and not taken over.
    #[must_use]
    pub const fn unadoptable(&self) -> Option<&Unadoptable> {
        self.unadoptable.as_ref()
    }

    fn take_over(&mut self) -> Result<(), Unadoptable> {
        let bus = Arc::clone(&self.bus);
        let read = |register: &register::Register| bus.read32(register.offset);
        let (state, wanted) = (read(&register::STATUS), control::RINGS | control::TABLES);
        let forwards = state == status::READY && read(&register::CONTROL) == wanted;
        if read(&register::IDENTITY) != register::IDENTITY_VALUE || !forwards {
            let control = read(&register::CONTROL);
            return Err(Unadoptable::NotForwarding { status: state, control });
        }
        let card = geometry::read(&*bus).map_err(|_| Unadoptable::OtherCard)?;
        self.check_counts(&card).map_err(|_| Unadoptable::OtherCard)?;
        let memory = self.memory_for(&card).map_err(|_| Unadoptable::OtherLayout)?;
        if !notes::is_programmed(&*bus, &memory, &card) {
            return Err(Unadoptable::OtherLayout);
        }
        let epoch = read(&register::EPOCH);
        let notes = Notes(memory.notes);
        let life =
            notes.take_over(&*bus, self.layout_digest(), epoch).ok_or(Unadoptable::OtherEpoch)?;
        let commands =
            Commands::resume(&*bus, memory.rings, life).map_err(|_| Unadoptable::Indices)?;
        let queues = self.resumed_queues(&memory)?;
        let mut active = self.active_for(&card, memory, commands, queues);
        for (index, gate) in active.gates.iter().enumerate() {
            Arc::make_mut(&mut active.delivered).delivered[index] = gate.taken();
        }
        active.tables = Tables::new(&geometry::shapes(&card), card.ternary);
        for table in 0..u8::try_from(card.banks.len()).expect("at most 32") {
            active.tables.set_mask(table, notes.mask(&*bus, table));
        }
        active.survey = Some(Survey::default());
        active.endings = Endings::INHERITED;
        self.active = Some(active);
        bus.write32(register::MIRROR_SAMPLE.offset, self.settings.mirror_sample);
        Ok(())
    }

    /// The queues as they were left.
    fn resumed_queues(&self, memory: &Memory) -> Result<Gated<B>, Unadoptable> {
        let ports = self.ports.physical().map(|port| port.number).collect();
        let around = Surroundings { clock: self.clock.clone(), ports };
        let (mut gates, mut queues) = (Vec::new(), Vec::new());
        for (index, queue) in (0..).zip(&memory.queues) {
            let gate = Arc::new(Gate::new());
            let parts = (index, *queue, around.clone(), Arc::clone(&gate));
            let queue = Queue::resume(Arc::clone(&self.bus), parts);
            queues.push(queue.map_err(|_| Unadoptable::Indices)?);
            gates.push(gate);
        }
        Ok((gates, queues))
    }

    /// A digest of how ports and tunnels are set.
    pub(super) fn layout_digest(&self) -> u64 {
        let ports = self.ports.physical().enumerate();
        let ports =
            ports.map(|(index, port)| Vec::from(Command::SetPort(set_port(index, port)).encode(0)));
        let tunnels = self.ports.tunnels();
        let tunnels = tunnels
            .map(|(number, tunnel)| Vec::from(tunnel_image(number, tunnel, &self.ports).encode()));
        notes::digest(ports.chain(tunnels))
    }

    /// Reads on; the card is up when every place was read.
    pub(super) fn survey(&mut self, watched: Time) -> Result<(), DeathCause> {
        let bus = Arc::clone(&self.bus);
        let Some(active) = &mut self.active else { return Ok(()) };
        active.commands.refresh(&*bus).map_err(|_| DeathCause::Garbage)?;
        let until = Patience::Prompt(watched.after(active.patience));
        let is_done = active.read_on(&*bus, until);
        active.commands.publish(&*bus);
        if !is_done {
            return Ok(());
        }
        let Some(survey) = active.survey.take() else { return Ok(()) };
        let mut found = survey.found;
        found.generation = Generation(bus.read32(register::GENERATION.offset));
        found.masks = active.masks();
        let clock = self.clock.clone();
        for entry in &mut found.entries {
            entry.last_hit = entry.last_hit.map(|time| clock.host_time(time.0));
        }
        active.estate.inheritance = Some(found);
        self.phase = Phase::Running;
        self.events.push(Event::Up(self.epoch));
        self.tell_links();
        Ok(())
    }
}

impl<B: Bus> Active<B> {
    /// The command ring is quiet: what a former driver asked for is done.
    pub(super) fn begin_survey(&mut self) {
        if let Some(survey) = &mut self.survey {
            survey.next = Some((0, 0));
            survey.under_way = 0;
        }
    }

    /// Asks for as many places as there is room for; whether all were read and strays are on their
    /// way out.
    fn read_on(&mut self, bus: &B, until: Patience) -> bool {
        let Some(mut survey) = self.survey.take() else { return true };
        if survey.next.is_none() && survey.under_way == 0 && self.has_room() {
            self.commands.issue(bus, &Command::Nop, (Work::Barrier, None), until);
            survey.under_way = 1;
        }
        while let Some((table, number)) = survey.next.filter(|_| self.has_room()) {
            let Some(places) = self.tables.places(table) else { break };
            survey.next = Some(if number < places { (table, number + 1) } else { (table + 1, 0) });
            if number == places {
                continue;
            }
            let image = self.commands.image(bus, &[]);
            let command = Command::ReadEntry { table, place: number, image: image.operand };
            let work = Work::Survey { table, number, image: image.number };
            self.commands.issue(bus, &command, (work, Some(image)), until);
            survey.under_way += 1;
        }
        let all_read = survey.under_way == 0
            && survey.next.is_some_and(|(table, _)| self.tables.places(table).is_none());
        while let Some(at) = survey.strays.last().copied().filter(|_| all_read && self.has_room()) {
            survey.strays.pop();
            self.take_out(bus, at, until);
        }
        let is_done = all_read && survey.strays.is_empty();
        self.survey = Some(survey);
        is_done
    }

    /// A place was read.
    pub(super) fn surveyed(
        &mut self,
        bus: &B,
        (table, number, image): (u8, u32, u32),
        (status, completion): (Status, &Completion),
    ) -> Result<(), DeathCause> {
        let bytes = self.commands.read_image(bus, image);
        let Some(mut survey) = self.survey.take() else { return Err(DeathCause::Garbage) };
        survey.under_way = survey.under_way.saturating_sub(1);
        match status {
            Status::NoEntry => {}
            Status::Done => {
                let at = EntryRef { table, place: number, id: completion.entry };
                let image = EntryImage::decode(&bytes).ok().filter(|image| image.id == at.id);
                let known = image.and_then(|image| {
                    self.recognise(at, &image, digest_of_image(&bytes), completion)
                });
                match known {
                    None => {
                        survey.found.strays += 1;
                        survey.strays.push(at);
                    }
                    Some(None) => survey.found.leaving += 1,
                    Some(Some(entry)) => survey.found.entries.push(entry),
                }
            }
            _ => return Err(DeathCause::Garbage),
        }
        self.survey = Some(survey);
        Ok(())
    }

    /// Takes an entry into the books; `Some(None)` for one that leaves with a commit, `None` for one
    /// that cannot stay.
    fn recognise(
        &mut self,
        at: EntryRef,
        image: &EntryImage,
        digest: u32,
        completion: &Completion,
    ) -> Option<Option<Inherited>> {
        let holds = completion.detail != 0;
        let is_free = self.roster.is_free(image.counter, EntryId(at.id));
        if holds || !is_free {
            return None;
        }
        let value = Line(image.matching);
        let candidates = self.tables.adopt((at.table, at.place), image.counter, &value)?;
        let leaves = image.until != FOREVER;
        let life = if leaves { Life::Leaving } else { Life::Live };
        let id = EntryId(at.id);
        let (table, slot) = (TableId(at.table), at.place);
        let record = Record { id, table, life, born: 0, digest, slot, candidates };
        let is_new = self.roster.adopt(image.counter, record);
        assert!(is_new, "index and identity were just seen to be free");
        if leaves {
            return Some(None);
        }
        let mask = match self.tables.kind(at.table)? {
            TableKind::Exact => self.tables.mask(at.table)?,
            TableKind::Ternary => Line(image.mask),
        };
        let key = |head| Key { head, tail: Line::ZERO };
        let matching = MaskedKey { value: key(value), mask: key(mask) };
        let counters = completion.counters?;
        Some(Some(Inherited {
            id,
            table,
            matching,
            from: Generation(image.from),
            counts: Counts { packets: counters.packets, bytes: counters.bytes },
            // The card's clock, until the survey ends.
            last_hit: (counters.last_hit != NEVER).then_some(Time(counters.last_hit)),
        }))
    }

    /// Masks of banks with entries; an empty bank is given a new one like any other.
    fn masks(&mut self) -> Vec<(TableId, Line)> {
        let mut masks = Vec::new();
        let mut table = 0;
        while self.tables.places(table).is_some() {
            match self.tables.mask(table) {
                Some(mask) if self.tables.used(table) > 0 => masks.push((TableId(table), mask)),
                _ => self.tables.set_mask(table, None),
            }
            table += 1;
        }
        masks
    }

    /// Takes out of the card what nobody wants there. In ring order, so that its place is free for
    /// commands behind it.
    fn take_out(&mut self, bus: &B, at: EntryRef, until: Patience) {
        self.commands.issue(bus, &Command::Delete { at, until: None }, (Work::Purge, None), until);
    }

    /// Takes disowned entries out, as many as there is room for.
    pub(super) fn evict_disowned(&mut self, bus: &B, watched: Time) {
        if self.estate.disowned.is_empty() {
            return;
        }
        let until = Patience::Prompt(watched.after(self.patience));
        while let Some(id) = self.estate.disowned.front().copied().filter(|_| self.has_room()) {
            self.estate.disowned.pop_front();
            if let Some(index) = self.roster.find(id)
                && let Some(record) = self.roster.record(index)
            {
                let at = record.at();
                self.take_out(bus, at, until);
                self.forget(index, id);
            }
        }
        self.commands.publish(bus);
    }

    /// Whether the card holds just this entry.
    pub(super) fn holds_just(&mut self, entry: &Entry) -> bool {
        let Some(index) = self.roster.find(entry.id) else { return false };
        let Some(record) = self.roster.record(index) else { return false };
        let kind = self.tables.kind(entry.table.0);
        let image = kind.and_then(|kind| self.encoder.entry(entry, kind, index).ok());
        record.table == entry.table
            && image.is_some_and(|image| digest_of_image(image) == record.digest)
    }

    /// An entry of which a former driver had asked that it leave is gone.
    pub(super) fn foreign_delete(&mut self, id: EntryId) {
        if let Some(index) = self.roster.find(id)
            && self.roster.record(index).is_some_and(|record| record.life == Life::Leaving)
        {
            self.forget(index, id);
        }
    }
}

/// What all of it needs: whether the card has as many ports and tunnels as are configured.
impl<B: Bus + 'static> Twin<B> {
    /// Checks that the card has as many ports and tunnels as are configured.
    pub(super) fn check_counts(&self, card: &Capability) -> Result<(), super::BringUpError> {
        let physical = self.ports.physical().count();
        let tunnels = self.ports.tunnels().count();
        for (what, wanted, has) in
            [("ports", physical, card.ports), ("tunnel ports", tunnels, card.tunnels)]
        {
            if wanted > has as usize {
                return Err(super::BringUpError::TooMany { what, wanted, has });
            }
        }
        Ok(())
    }
}
