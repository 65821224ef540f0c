//! The command ring and what is outstanding in it.
//!
//! A command's tag names a slot of a slab and the slot's serial number, so a completion that no
//! card should send (unknown tag, answered twice) is found out. Images (operands) come from a pool
//! and go back to it with the completion.

use super::ring::{Garbage, Producer, Size};
use std::collections::VecDeque;
use std::time::Duration;
use twinpath_abi::bus::{Bus, Iova};
use twinpath_abi::command::{COMMAND_BYTES, Command, Operand};
use twinpath_abi::completion::{COMPLETION_BYTES, PHASE_BIT, PHASE_WORD};
use twinpath_abi::entry::ENTRY_BYTES;
use twinpath_abi::register;
use twinpath_flow::card::{EntryId, Generation, OpTag};
use twinpath_flow::time::Time;

/// What a command in the ring is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// `FlowOp::SetMask`.
    SetMask { op: OpTag, table: u8 },
    /// `FlowOp::Add`.
    Add { op: OpTag, index: u32, id: EntryId, hold: bool },
    /// `FlowOp::Modify`.
    Modify { op: OpTag },
    /// `FlowOp::Delete`.
    Delete { op: OpTag, index: u32, id: EntryId, until: Option<Generation> },
    /// A move the driver wants.
    Move { index: u32, id: EntryId },
    /// `FlowOp::Commit`.
    Commit { op: OpTag, generation: Generation },
    /// `FlowOp::Release`.
    Release { op: OpTag, index: u32, id: EntryId },
    /// A sweep of counters.
    Sweep { records: u32 },
    /// `FlowOp::Inspect`; the image is where the card writes.
    Inspect { op: OpTag, place: Place, image: u32 },
    /// An entry that nobody put there is taken out.
    Purge,
    /// A port or tunnel at bring-up.
    Setup,
    /// Ends when all commands before it have.
    Barrier,
    /// A place of an adopted card; the image is where the card writes.
    Survey { table: u8, number: u32, image: u32 },
}

/// A place that is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Table.
    pub table: u8,
    /// Place in it.
    pub number: u32,
    /// Who should be there, with the digest of its image (0: not known).
    pub expected: Option<(EntryId, u32)>,
    /// Whether it is the last of the last table.
    pub is_last: bool,
}

impl Work {
    /// Whether it is answered in the order of the ring.
    const fn is_prompt(&self) -> bool {
        !matches!(
            self,
            Self::Sweep { .. } | Self::Release { .. } | Self::Delete { until: Some(_), .. }
        )
    }

    /// The operation it completes, if it is one of the host's.
    pub(crate) const fn op(&self) -> Option<OpTag> {
        match self {
            Self::SetMask { op, .. }
            | Self::Add { op, .. }
            | Self::Modify { op }
            | Self::Delete { op, .. }
            | Self::Commit { op, .. }
            | Self::Release { op, .. }
            | Self::Inspect { op, .. } => Some(*op),
            Self::Move { .. } | Self::Sweep { .. } | Self::Purge | Self::Setup => None,
            Self::Barrier | Self::Survey { .. } => None,
        }
    }
}

/// An image in the pool, taken by exactly one command.
#[derive(Debug)]
pub(crate) struct Image {
    pub number: u32,
    /// What the command says of it.
    pub operand: Operand,
}

/// How long a command may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Answered in order, by this time.
    Prompt(Time),
    /// Waits for other things in the card, by this time.
    Slow(Time),
    /// Waits for a later command; [`Commands::expect`] sets its time.
    Open,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    serial: u32,
    work: Option<Work>,
    image: Option<u32>,
}

/// Bits of a tag's serial number that name the driver's life, above those that count.
const LIFE_SHIFT: u32 = 24;

/// Addresses of what the rings are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingMemory {
    /// Command descriptors.
    pub commands: Iova,
    /// Completions.
    pub completions: Iova,
    /// Images, one for each command descriptor.
    pub images: Iova,
    /// Binary logarithm of the number of commands.
    pub log2: u32,
    /// Binary logarithm of the number of completions.
    pub completion_log2: u32,
}

/// Command and completion ring.
#[derive(Debug)]
pub(crate) struct Commands {
    memory: RingMemory,
    ring: Producer,
    size: Size,
    completion_size: Size,
    /// Completions taken.
    taken: u32,
    /// Which driver of this card since its reset, modulo 256.
    life: u8,
    /// Whether there was one before.
    is_successor: bool,
    slots: Vec<Slot>,
    free: Vec<u32>,
    images: Vec<u32>,
    prompt: VecDeque<(Time, u64)>,
    slow: VecDeque<(Time, u64)>,
    /// A prompt command that a later one has passed.
    passed: Option<u64>,
    /// Until when it may still be answered.
    passed_until: Option<Time>,
}

/// A prompt command that a later one has passed is lost, or will be answered this soon.
const PASSED_MAX: Duration = Duration::from_millis(50);

impl Commands {
    /// Empty rings; writes zeros where the card will write completions.
    pub(crate) fn new(bus: &impl Bus, memory: RingMemory) -> Self {
        let size = Size::new(1 << memory.log2);
        let completion_size = Size::new(1 << memory.completion_log2);
        for index in 0..u64::from(completion_size.slots()) {
            let at = memory.completions.plus(index * COMPLETION_BYTES as u64);
            bus.copy_in(at, &[0; COMPLETION_BYTES]);
        }
        Self::with(memory, Producer::new(size), (0, 0))
    }

    /// The rings as a former driver left them, for driver number `life`.
    ///
    /// # Errors
    /// [`Garbage`] when the registers are not those of rings in use.
    pub(crate) fn resume(bus: &impl Bus, memory: RingMemory, life: u8) -> Result<Self, Garbage> {
        let size = Size::new(1 << memory.log2);
        let produced = bus.read32(register::COMMAND_PRODUCER.offset);
        let consumed = bus.read32(register::COMMAND_CONSUMER.offset);
        let ring = Producer::resume(size, produced, consumed)?;
        let taken = bus.read32(register::COMPLETION_CONSUMER.offset);
        Ok(Self { is_successor: true, ..Self::with(memory, ring, (taken, life)) })
    }

    fn with(memory: RingMemory, ring: Producer, (taken, life): (u32, u8)) -> Self {
        let size = Size::new(1 << memory.log2);
        let completion_size = Size::new(1 << memory.completion_log2);
        let slots = size.slots();
        let slot = Slot { serial: u32::from(life) << LIFE_SHIFT, ..Slot::default() };
        Self {
            memory,
            ring,
            size,
            completion_size,
            taken,
            life,
            is_successor: false,
            slots: vec![slot; slots as usize],
            free: (0..slots).rev().collect(),
            images: (0..slots).rev().collect(),
            prompt: VecDeque::with_capacity(slots as usize),
            slow: VecDeque::new(),
            passed: None,
            passed_until: None,
        }
    }

    /// Tells the card where the rings are.
    pub(crate) fn program(&self, bus: &impl Bus) {
        bus.write64(register::COMMAND_BASE.offset, self.memory.commands.0);
        bus.write32(register::COMMAND_SIZE_LOG2.offset, self.memory.log2);
        bus.write32(register::COMMAND_PRODUCER.offset, 0);
        bus.write64(register::COMPLETION_BASE.offset, self.memory.completions.0);
        bus.write32(register::COMPLETION_SIZE_LOG2.offset, self.memory.completion_log2);
        bus.write32(register::COMPLETION_CONSUMER.offset, 0);
    }

    /// Commands that can be issued now.
    pub(crate) fn room(&self) -> usize {
        self.images.len().min(self.ring.free() as usize)
    }

    /// Takes over how far the card has read.
    pub(crate) fn refresh(&mut self, bus: &impl Bus) -> Result<(), Garbage> {
        self.ring.consumed_to(bus.read32(register::COMMAND_CONSUMER.offset)).map(|_| ())
    }

    /// Writes an image for the next command.
    ///
    /// # Panics
    /// When there is no [`Self::room`]: the caller asked before.
    pub(crate) fn image(&mut self, bus: &impl Bus, bytes: &[u8]) -> Image {
        assert!(bytes.len() <= ENTRY_BYTES, "image of {} bytes", bytes.len());
        let number = self.images.pop().expect("the caller has asked for room");
        let at = self.memory.images.plus(u64::from(number) * ENTRY_BYTES as u64);
        bus.copy_in(at, bytes);
        Image { number, operand: Operand::Dma(at.0) }
    }

    /// The image that the card wrote for a command that has just ended.
    pub(crate) fn read_image(&self, bus: &impl Bus, number: u32) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let at = self.memory.images.plus(u64::from(number) * ENTRY_BYTES as u64);
        bus.copy_out(at, &mut bytes);
        bytes
    }

    /// Puts a command into the ring; [`Self::publish`] shows it to the card.
    ///
    /// # Panics
    /// When there is no [`Self::room`]: the caller asked before.
    pub(crate) fn issue(
        &mut self,
        bus: &impl Bus,
        command: &Command,
        (work, image): (Work, Option<Image>),
        patience: Patience,
    ) {
        let slot = self.free.pop().unwrap_or_else(|| {
            let serial = u32::from(self.life) << LIFE_SHIFT;
            self.slots.push(Slot { serial, ..Slot::default() });
            u32::try_from(self.slots.len() - 1).expect("bounded by ring and card capacity")
        });
        let state = &mut self.slots[slot as usize];
        let count = state.serial.wrapping_add(1) & ((1 << LIFE_SHIFT) - 1);
        state.serial = u32::from(self.life) << LIFE_SHIFT | count;
        state.work = Some(work);
        state.image = image.map(|image| image.number);
        let tag = u64::from(state.serial) << 32 | u64::from(slot);
        match patience {
            Patience::Prompt(until) => self.prompt.push_back((until, tag)),
            Patience::Slow(until) => self.slow.push_back((until, tag)),
            Patience::Open => {}
        }
        let index = self.ring.next().expect("the caller has asked for room");
        let at = self.memory.commands.plus((self.size.slot(index) * COMMAND_BYTES) as u64);
        bus.copy_in(at, &command.encode(tag));
        self.ring.push();
    }

    /// Shows the card all commands issued so far.
    pub(crate) fn publish(&self, bus: &impl Bus) {
        bus.write32(register::COMMAND_PRODUCER.offset, self.ring.produced());
    }

    /// Copies the next completion, if the card has written one; whether it has.
    ///
    /// # Errors
    /// [`Garbage`] when its last word is not one that a card writes.
    pub(crate) fn completion(
        &mut self,
        bus: &impl Bus,
        bytes: &mut [u8; COMPLETION_BYTES],
    ) -> Result<bool, Garbage> {
        let slot = self.completion_size.slot(self.taken);
        let at = self.memory.completions.plus((slot * COMPLETION_BYTES) as u64);
        let word = bus.load64(at.plus(PHASE_WORD as u64));
        let phase = word & PHASE_BIT != 0;
        if word >> 33 != 0 {
            return Err(Garbage { index: u32::MAX, low: self.taken, high: self.taken });
        }
        if phase != self.completion_size.phase(self.taken) {
            return Ok(false);
        }
        bus.copy_out(at, bytes);
        self.taken = self.taken.wrapping_add(1);
        Ok(true)
    }

    /// Completions that one look may take: a card that writes faster must wait for the next.
    pub(crate) const fn burst_max(&self) -> u32 {
        self.completion_size.slots()
    }

    /// Gives the completions taken back to the card.
    pub(crate) fn acknowledge(&self, bus: &impl Bus) {
        bus.write32(register::COMPLETION_CONSUMER.offset, self.taken);
    }

    /// Whether a tag is a former driver's.
    pub(crate) fn is_foreign(&self, tag: u64) -> bool {
        self.is_successor && split(tag).0 >> LIFE_SHIFT != u32::from(self.life)
    }

    /// Ends the command of a completion's tag; `None` when no such command is outstanding.
    pub(crate) fn finish(&mut self, tag: u64) -> Option<Work> {
        let (serial, slot) = split(tag);
        let state = self.slots.get_mut(slot as usize).filter(|state| state.serial == serial)?;
        let work = state.work.take()?;
        self.images.extend(state.image.take());
        self.free.push(slot);
        if work.is_prompt() {
            self.note_passed(tag);
        }
        Some(work)
    }

    /// Notes the oldest prompt command when a later one ends before it.
    fn note_passed(&mut self, ended: u64) {
        while let Some((_, oldest)) = self.prompt.front().copied() {
            if self.is_outstanding(oldest) {
                self.passed.get_or_insert(oldest);
                return;
            }
            self.prompt.pop_front();
            if oldest == ended {
                return;
            }
        }
    }

    fn is_outstanding(&self, tag: u64) -> bool {
        let (serial, slot) = split(tag);
        let state = &self.slots[slot as usize];
        state.serial == serial && state.work.is_some()
    }

    /// Whether a command that others have passed stays unanswered.
    fn is_passed_over(&mut self, watched: Time) -> bool {
        if self.passed.is_some_and(|tag| !self.is_outstanding(tag)) {
            (self.passed, self.passed_until) = (None, None);
        }
        if self.passed.is_none() {
            return false;
        }
        *self.passed_until.get_or_insert_with(|| watched.after(PASSED_MAX)) < watched
    }

    /// Gives a time to every outstanding `Delete { until }` that `generation` ends.
    pub(crate) fn expect(&mut self, generation: Generation, until: Time) {
        for (slot, state) in (0_u64..).zip(&self.slots) {
            if let Some(Work::Delete { until: Some(last), .. }) = state.work
                && last <= generation
            {
                self.slow.push_back((until, u64::from(state.serial) << 32 | slot));
            }
        }
    }

    /// Whether a command should have been answered before `watched`.
    pub(crate) fn overdue(&mut self, watched: Time) -> bool {
        if self.is_passed_over(watched) {
            return true;
        }
        let Self { slots, prompt, slow, .. } = self;
        let outstanding = |tag: u64| {
            let (serial, slot) = split(tag);
            slots[slot as usize].serial == serial && slots[slot as usize].work.is_some()
        };
        [prompt, slow].into_iter().any(|queue| {
            while queue.front().is_some_and(|(_, tag)| !outstanding(*tag)) {
                queue.pop_front();
            }
            // An old command at the front must not let answered ones pile up behind it.
            if queue.len() > 2 * slots.len() {
                queue.retain(|(_, tag)| outstanding(*tag));
            }
            queue.front().is_some_and(|(until, _)| *until < watched)
        })
    }

    /// Ends all outstanding commands and says what they were for.
    pub(crate) fn abandon(&mut self) -> impl Iterator<Item = Work> {
        self.slots.iter_mut().filter_map(|state| state.work.take())
    }
}

fn split(tag: u64) -> (u32, u32) {
    let halves = tag.to_le_bytes();
    let (slot, serial) = halves.split_at(4);
    let word = |half: &[u8]| u32::from_le_bytes(half.try_into().expect("half of 8 bytes"));
    (word(serial), word(slot))
}
