//! What each command does (`docs/nic-abi.md` §9).

use crate::card::Card;
use crate::commands::Fetched;
use crate::completions::Source;
use crate::entries::State;
use crate::fault::Class;
use crate::hold::{Arrival, Release};
use crate::registers::{load_bytes, low32, store_bytes};
use crate::tables::Location;
use twinpath_abi::bus::CardMemory;
use twinpath_abi::command::{Command, EntryRef, Holding, Operand, opcode};
use twinpath_abi::completion::{Completion, Counters, Status};
use twinpath_abi::entry::{ENTRY_BYTES, EntryImage, NO_ENTRY, field};
use twinpath_abi::port::SetPort;
use twinpath_abi::register::{QUEUES_MAX, WINDOW_IMAGE};
use twinpath_abi::sweep::{RECORD_BYTES, Record};
use twinpath_abi::tunnel::{TUNNEL_BYTES, TunnelImage};

/// A DELETE that waits for its generation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parked {
    until: u32,
    tag: u64,
    source: Source,
    /// Place in the order of such commands.
    order: u64,
}

/// What a completion says beside the status.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    entry: u32,
    counters: Option<Counters>,
    detail: u32,
    complete: bool,
}

impl Outcome {
    const PLAIN: Self = Self { entry: NO_ENTRY, counters: None, detail: 0, complete: false };

    const fn of_entry(entry: u32) -> Self {
        Self { entry, ..Self::PLAIN }
    }
}

/// Names a command in its completion.
#[derive(Clone, Copy, Debug)]
struct Call {
    tag: u64,
    opcode: u8,
    source: Source,
}

/// Outcome now, or `None` when the command waits.
type Executed = Result<Option<Outcome>, Status>;

impl<M: CardMemory> Card<M> {
    /// Executes a command and answers it.
    pub(crate) fn run(&mut self, fetched: &Fetched) {
        let descriptor = &fetched.descriptor;
        let call =
            Call { tag: Command::tag(descriptor), opcode: descriptor[0], source: fetched.source };
        let executed = match Command::decode(descriptor) {
            Ok(command) if self.faults.is_some() => self.execute_badly(command, call),
            Ok(command) => self.execute(command, call),
            Err(_) => Err(Status::BadCommand),
        };
        match executed {
            Ok(None) => {}
            Ok(Some(outcome)) => self.answer(call, Status::Done, outcome),
            Err(status) => self.answer(call, status, Outcome::PLAIN),
        }
    }

    fn answer(&mut self, call: Call, status: Status, outcome: Outcome) {
        let mut delivered = [0; QUEUES_MAX];
        for queue in &self.receive {
            delivered[queue.queue() as usize] = low32(queue.delivered());
        }
        let completion = Completion {
            delivered,
            tag: call.tag,
            counters: outcome.counters,
            as_of: self.clock,
            epoch: self.front.epoch,
            entry: outcome.entry,
            detail: outcome.detail,
            status: status as u16,
            opcode: call.opcode,
            complete: outcome.complete,
            consumer: self.commands.consumer(),
        };
        self.complete(call.source, completion);
    }

    /// Gives a completion to the ring, unless it is lost.
    fn complete(&mut self, source: Source, completion: Completion) {
        let clock = self.clock;
        match &mut self.faults {
            Some(faults) if source == Source::Ring => {
                for completion in faults.completion(completion, clock) {
                    self.completions.push(&self.memory, source, completion);
                }
            }
            _ => self.completions.push(&self.memory, source, completion),
        }
    }

    /// Reports an event of a port.
    pub(crate) fn announce(&mut self, event: u8, detail: u32) {
        let call = Call { tag: 0, opcode: event, source: Source::Ring };
        self.answer(call, Status::Done, Outcome { detail, ..Outcome::PLAIN });
    }

    /// Executes a command in a card that has faults.
    fn execute_badly(&mut self, command: Command, call: Call) -> Executed {
        if self.strikes(Class::CommandTimeout).is_some() {
            return Ok(None);
        }
        let clock = self.clock;
        if let Some(faults) = &mut self.faults {
            if let Some(cost) = faults.strikes(Class::UpdateCost, clock) {
                faults.busy_until = faults.busy_until.max(clock).saturating_add(cost);
            }
            if faults.strikes(Class::CommandStatus, clock).is_some() {
                let status = 1 + faults.below(Status::ALL.len() - 1);
                return Err(Status::ALL[status]);
            }
        }
        self.execute(command, call)
    }

    fn execute(&mut self, command: Command, call: Call) -> Executed {
        match command {
            Command::Nop => Ok(Some(Outcome::PLAIN)),
            Command::SetMask { table, mask } => self.set_mask(table, mask),
            Command::Add { at, holding, image } => self.add(at, holding, image, call.tag),
            Command::Modify { at, image } => self.modify(at, image),
            Command::Delete { at, until } => self.delete(at, until, call),
            Command::Move { at, target } => self.relocate(at, target),
            Command::Commit { generation, ends } => self.commit(generation, ends),
            Command::Release { at, indices } => self.release(at, indices, call),
            Command::Sweep { first, address, length } => {
                self.sweep(first, (address, length), call.source)
            }
            Command::SetPort(settings) => self.set_port(&settings),
            Command::SetTunnel { index, image } => self.set_tunnel(index, image),
            Command::ReadEntry { table, place, image } => self.read_entry(table, place, image),
        }
    }

    /// Reads an operand.
    fn operand<const N: usize>(&self, operand: Operand) -> Result<[u8; N], Status> {
        let mut bytes = [0; N];
        match operand {
            Operand::Dma(address) => {
                self.memory.dma_read(address, &mut bytes).map_err(|_| Status::DmaFault)?;
            }
            Operand::Window => load_bytes(&self.memory, WINDOW_IMAGE, &mut bytes),
        }
        Ok(bytes)
    }

    /// The place, if the table has it.
    fn place(&self, table: u8, place: u32) -> Result<Location, Status> {
        let places = self.tables.table(table).ok_or(Status::BadTable)?.places();
        if place < places { Ok(Location { table, place }) } else { Err(Status::BadPlace) }
    }

    /// The entry, if it is there.
    fn find(&self, at: EntryRef) -> Result<Location, Status> {
        let location = self.place(at.table, at.place)?;
        let taken = self.tables.of(location).state(location.place) != State::Empty;
        if taken && self.tables.id(location) == at.id { Ok(location) } else { Err(Status::NoEntry) }
    }

    fn set_mask(&mut self, table: u8, mask: Operand) -> Executed {
        let mask = self.operand(mask)?;
        let table = self.tables.table_mut(table).ok_or(Status::BadTable)?;
        if !table.is_exact() {
            return Err(Status::BadTable);
        }
        if !table.is_empty() {
            return Err(Status::NotEmpty);
        }
        table.set_mask(&mask);
        Ok(Some(Outcome::PLAIN))
    }

    /// Reads and checks an entry image (§7.3).
    fn entry_image(&self, image: Operand) -> Result<([u8; ENTRY_BYTES], EntryImage), Status> {
        let bytes: [u8; ENTRY_BYTES] = self.operand(image)?;
        let decoded = EntryImage::decode(&bytes).map_err(|_| Status::BadImage)?;
        let beyond = |outputs: u64| self.ports.len() < 64 && outputs >> self.ports.len() != 0;
        let no_tunnel = |index: u16| usize::from(index) >= self.tunnels.len();
        if beyond(decoded.edit.outputs) || decoded.edit.tunnel.is_some_and(no_tunnel) {
            return Err(Status::BadImage);
        }
        Ok((bytes, decoded))
    }

    fn add(&mut self, at: EntryRef, holding: Holding, image: Operand, tag: u64) -> Executed {
        let location = self.place(at.table, at.place)?;
        let (bytes, entry) = self.entry_image(image)?;
        let table = self.tables.of(location);
        if entry.id != at.id || !table.match_is_inside(&bytes) {
            return Err(Status::BadImage);
        }
        if table.state(at.place) != State::Empty {
            return Err(Status::Occupied);
        }
        if !table.may_live(&entry.matching, at.place) {
            return Err(Status::WrongPlace);
        }
        let held = self.holds.len() + self.completions.events() as usize;
        let no_room = held >= self.profile.hold_entries as usize || self.profile.hold_frames == 0;
        if holding == Holding::Hold && no_room {
            return Err(Status::NoHold);
        }
        if self.faults.is_some() {
            if self.is_full() {
                return Err(Status::Occupied);
            }
            if self.strikes(Class::EntryIgnored).is_some() {
                return Ok(Some(Outcome::of_entry(entry.id)));
            }
        }
        if !self.tables.take_counter(entry.counter, entry.id) {
            return Err(Status::BadCounter);
        }
        self.put_in(location, &bytes, (holding, tag));
        Ok(Some(Outcome::of_entry(entry.id)))
    }

    /// Whether a fault makes the card full.
    fn is_full(&mut self) -> bool {
        let (used, clock) = (self.tables.used(), self.clock);
        let Some(faults) = &mut self.faults else { return false };
        faults.is_full(used, clock)
    }

    fn put_in(&mut self, at: Location, bytes: &[u8; ENTRY_BYTES], (holding, tag): (Holding, u64)) {
        let location = at;
        let table = self.tables.of_mut(location);
        table.write(at.place, bytes);
        match holding {
            Holding::Direct => table.set_state(at.place, State::Direct),
            Holding::Hold => {
                table.set_state(at.place, State::Held);
                self.holds.begin(location, tag);
            }
        }
    }

    fn modify(&mut self, at: EntryRef, image: Operand) -> Executed {
        let location = self.find(at)?;
        let (bytes, _) = self.entry_image(image)?;
        let table = self.tables.of_mut(location);
        let mut merged = table.image(at.place);
        merged[field::SET..field::FROM].copy_from_slice(&bytes[field::SET..field::FROM]);
        table.write(at.place, &merged);
        if table.state(at.place) == State::Broken {
            table.set_state(at.place, State::Direct);
        }
        let counters = Some(self.tables.counters(location));
        Ok(Some(Outcome { counters, ..Outcome::of_entry(at.id) }))
    }

    fn delete(&mut self, at: EntryRef, until: Option<u32>, call: Call) -> Executed {
        let found = self.find(at);
        if found.is_ok_and(|location| self.parked.contains_key(&location)) {
            return Err(Status::Deleting);
        }
        // §9.8: one whose entry is not there counts too.
        if until.is_some() && matches!(found, Ok(_) | Err(Status::NoEntry)) {
            self.endings = self.endings.wrapping_add(1);
        }
        let location = found?;
        if let Some(until) = until.filter(|until| *until > self.front.generation) {
            let table = self.tables.of_mut(location);
            let mut image = table.image(at.place);
            image[field::UNTIL..field::UNTIL + 4].copy_from_slice(&until.to_le_bytes());
            table.write(at.place, &image);
            self.parked_order += 1;
            let Call { tag, source, .. } = call;
            let parked = Parked { until, tag, source, order: self.parked_order };
            self.parked.insert(location, parked);
            return Ok(None);
        }
        let counters = Some(self.remove_entry(location, Status::NoEntry));
        Ok(Some(Outcome { counters, ..Outcome::of_entry(at.id) }))
    }

    /// Takes an entry out; held frames go to the host, a waiting RELEASE ends with `status`.
    fn remove_entry(&mut self, at: Location, status: Status) -> Counters {
        let id = self.entry_id(at);
        let counters = self.tables.remove(at);
        if let Some(hold) = self.holds.end(at) {
            for arrival in hold.frames {
                self.miss_held(arrival);
            }
            if let Some(Release { tag, source, .. }) = hold.release {
                let call = Call { tag, opcode: opcode::RELEASE, source };
                self.answer(call, status, Outcome::of_entry(id));
            }
            // What the host is given now is older than what they hold, and behind their fences.
            // Ends: each turn takes one hold away.
            while let Some(behind) = self.holds.one_behind(hold.order) {
                self.cancel_hold(behind, None);
            }
        }
        counters
    }

    /// §8.4: the hold queue is full, or its packets could overtake others: the install is cancelled.
    pub(crate) fn cancel_hold(&mut self, at: Location, overflow: Option<Arrival>) {
        let id = self.entry_id(at);
        let tag = self.holds.tag(at).unwrap_or(0);
        self.remove_entry(at, Status::HoldOverflow);
        if let Some(overflow) = overflow {
            self.miss_held(overflow);
        }
        if let Some(Parked { tag, source, .. }) = self.parked.remove(&at) {
            let call = Call { tag, opcode: opcode::DELETE, source };
            self.answer(call, Status::HoldOverflow, Outcome::of_entry(id));
        }
        let call = Call { tag, opcode: opcode::HOLD_OVERFLOW, source: Source::Ring };
        self.answer(call, Status::HoldOverflow, Outcome::of_entry(id));
    }

    fn relocate(&mut self, at: EntryRef, target: u32) -> Executed {
        let from = self.find(at)?;
        let to = self.place(at.table, target)?;
        let table = self.tables.of_mut(from);
        if table.state(target) != State::Empty {
            return Err(Status::Occupied);
        }
        let image = table.image(at.place);
        let value = image.first_chunk().expect("an image has four beats");
        if !table.may_live(value, target) {
            return Err(Status::WrongPlace);
        }
        let state = table.state(at.place);
        table.write(target, &image);
        table.set_state(target, state);
        table.set_state(at.place, State::Empty);
        self.holds.rename(from, to);
        if let Some(parked) = self.parked.remove(&from) {
            self.parked.insert(to, parked);
        }
        Ok(Some(Outcome::of_entry(at.id)))
    }

    fn commit(&mut self, generation: u32, ends: Option<u32>) -> Executed {
        if generation <= self.front.generation {
            return Err(Status::BadGeneration);
        }
        if ends.is_some_and(|ends| ends != self.endings) {
            return Err(Status::DeletesMissing);
        }
        self.endings = 0;
        self.front.generation = generation;
        let due = self.parked.iter().filter(|(_, parked)| parked.until <= generation);
        let mut due: Vec<(Location, Parked)> = due.map(|(at, parked)| (*at, *parked)).collect();
        due.sort_by_key(|(_, parked)| parked.order);
        for (at, Parked { tag, source, .. }) in due {
            // One whose hold was cancelled by the removal of another is answered already.
            if self.parked.remove(&at).is_none() {
                continue;
            }
            let id = self.entry_id(at);
            let counters = Some(self.remove_entry(at, Status::NoEntry));
            let call = Call { tag, opcode: opcode::DELETE, source };
            self.answer(call, Status::Done, Outcome { counters, ..Outcome::of_entry(id) });
        }
        Ok(Some(Outcome::PLAIN))
    }

    fn release(&mut self, at: EntryRef, indices: Operand, call: Call) -> Executed {
        let location = self.find(at)?;
        let bytes: [u8; QUEUES_MAX * 4] = self.operand(indices)?;
        let mut indices = [0; QUEUES_MAX];
        for (index, word) in indices.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *index = u32::from_le_bytes(*word);
        }
        let release = Release { tag: call.tag, source: call.source, indices };
        if self.holds.release(location, release) { Ok(None) } else { Err(Status::NotHeld) }
    }

    /// Ends the holds whose RELEASE is due.
    pub(crate) fn finish_releases(&mut self) {
        loop {
            let transmit = &self.transmit;
            let sent = |queue: usize, index: u32| {
                let ring = transmit.iter().find(|ring| ring.queue() as usize == queue);
                // Serial numbers: reached when not ahead of what was fetched.
                ring.is_none_or(|ring| ring.consumer().wrapping_sub(index) < 1 << 31)
            };
            // Ends: each turn takes one hold away.
            let Some(at) = self.holds.due(sent) else { return };
            let Some(hold) = self.holds.end(at) else { return };
            self.tables.of_mut(at).set_state(at.place, State::Direct);
            for arrival in hold.frames {
                self.forward_held(at, arrival);
            }
            self.holds.pass(hold.order);
            if let Some(Release { tag, source, .. }) = hold.release {
                let call = Call { tag, opcode: opcode::RELEASE, source };
                let outcome = Outcome::of_entry(self.entry_id(at));
                self.answer(call, Status::Done, outcome);
            }
        }
    }

    fn sweep(&mut self, first: u32, (address, length): (u64, u32), source: Source) -> Executed {
        if source != Source::Ring {
            return Err(Status::NeedsDma);
        }
        let total = self.tables.counter_count();
        if first > total {
            return Err(Status::BadCounter);
        }
        let count = (length / 32).min(total - first);
        const { assert!(RECORD_BYTES == 32) };
        // The last record first: nothing is written when the memory does not reach.
        let probe = u64::from(count.saturating_sub(1)) * RECORD_BYTES as u64;
        let mut bytes = [0; RECORD_BYTES];
        if count > 0 {
            let last = address.checked_add(probe).ok_or(Status::DmaFault)?;
            self.memory.dma_read(last, &mut bytes).map_err(|_| Status::DmaFault)?;
        }
        for index in 0..count {
            let at = address + u64::from(index) * RECORD_BYTES as u64;
            let mut record = self.record(first + index);
            if self.faults.is_some() {
                self.tear(first + index, &mut record);
            }
            let record = record.encode();
            self.memory.dma_write(at, &record).map_err(|_| Status::DmaFault)?;
        }
        let complete = first + count == total;
        Ok(Some(Outcome { detail: count, complete, ..Outcome::PLAIN }))
    }

    fn record(&self, counter: u32) -> Record {
        let (counters, entry) = self.tables.record(counter);
        Record { counters, entry }
    }

    fn set_port(&mut self, settings: &SetPort) -> Executed {
        let index = settings.index as usize;
        let port = self.ports.get_mut(index).ok_or(Status::BadPort)?;
        port.configure(settings);
        Ok(Some(Outcome::PLAIN))
    }

    fn set_tunnel(&mut self, index: u32, image: Operand) -> Executed {
        if index as usize >= self.tunnels.len() {
            return Err(Status::BadTunnel);
        }
        let bytes: [u8; TUNNEL_BYTES] = self.operand(image)?;
        let tunnel = TunnelImage::decode(&bytes).map_err(|_| Status::BadImage)?;
        if tunnel.is_some_and(|tunnel| usize::from(tunnel.over) >= self.ports.len()) {
            return Err(Status::BadPort);
        }
        self.tunnels[index as usize] = tunnel;
        Ok(Some(Outcome::PLAIN))
    }

    fn read_entry(&self, table: u8, place: u32, image: Operand) -> Executed {
        let at = self.place(table, place)?;
        if self.tables.of(at).state(place) == State::Empty {
            return Err(Status::NoEntry);
        }
        if self.tables.of(at).state(place) == State::Broken {
            return Err(Status::BadImage);
        }
        let bytes = self.tables.of(at).image(place);
        match image {
            Operand::Dma(address) => {
                self.memory.dma_write(address, &bytes).map_err(|_| Status::DmaFault)?;
            }
            Operand::Window => store_bytes(&self.memory, WINDOW_IMAGE, &bytes),
        }
        let counters = Some(self.tables.counters(at));
        let detail = u32::from(self.tables.of(at).state(place) == State::Held);
        Ok(Some(Outcome { counters, detail, ..Outcome::of_entry(self.entry_id(at)) }))
    }
}
