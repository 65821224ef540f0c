//! Flow operations become commands.

use super::Active;
use super::commands::{Patience, Work};
use super::inspect::digest;
use super::notes::Notes;
use super::placement::{Candidates, MOVES_MAX};
use super::roster::{Life, Record};
use twinpath_abi::bus::Bus;
use twinpath_abi::command::{Command, EntryRef, Holding};
use twinpath_abi::completion::Status;
use twinpath_abi::entry::{EntryImage, FOREVER};
use twinpath_abi::key::KEY_BYTES;
use twinpath_abi::register::QUEUES_MAX;
use twinpath_flow::card::{Entry, EntryId, FlowOp, OpTag, Refusal, TableId, TableKind};
use twinpath_flow::edit::Edit;
use twinpath_flow::key::Line;

/// Commands one operation can need: a chain of moves, one more out of the stash, itself.
const COMMANDS_MAX: usize = MOVES_MAX + 2;

/// Operations of which places are looked up together: each look waits for memory, and together
/// they wait as long as one.
const LOOK_AHEAD: usize = 16;

/// Places where the entries of the next operations could be.
pub(super) type Ahead = [Option<Candidates>; LOOK_AHEAD];

/// Operations refused by the driver and not yet reported; more wait in `submit`.
pub(super) const REFUSED_MAX: usize = 4096;

impl Record {
    /// Where the card has the entry.
    pub(super) const fn at(&self) -> EntryRef {
        EntryRef { table: self.table.0, place: self.slot, id: self.id.0 }
    }
}

impl<B: Bus> Active<B> {
    /// Whether any operation can be taken.
    pub(super) fn has_room(&self) -> bool {
        self.commands.room() >= COMMANDS_MAX
    }

    /// Puts the commands of operations into the ring while there is room; how many were taken.
    /// Those that the driver itself refuses are told to `refuse`.
    pub(super) fn operate_all(
        &mut self,
        bus: &B,
        ops: &[FlowOp],
        until: Patience,
        mut refuse: impl FnMut(OpTag, Refusal) -> usize,
    ) -> usize {
        let mut accepted = 0;
        for some in ops.chunks(LOOK_AHEAD) {
            let ahead = self.look_ahead(some);
            for (op, candidates) in some.iter().zip(ahead) {
                if !self.has_room() {
                    return accepted;
                }
                accepted += 1;
                if let Err(refusal) = self.operate(bus, (op, candidates), until)
                    && refuse(op.tag(), refusal) >= REFUSED_MAX
                {
                    return accepted;
                }
            }
        }
        accepted
    }

    /// The places where entries to be added could be, with the memory that says whether they are
    /// free on its way.
    fn look_ahead(&self, ops: &[FlowOp]) -> Ahead {
        let mut ahead = Ahead::default();
        for (op, candidates) in ops.iter().zip(&mut ahead) {
            if let FlowOp::Add { entry, .. } = op {
                let value = &entry.matching.value.head;
                *candidates = self.tables.candidates(entry.table.0, value);
            }
        }
        let tables = ops.iter().map(|op| match op {
            FlowOp::Add { entry, .. } => entry.table.0,
            _ => 0,
        });
        for (table, candidates) in tables.zip(&ahead) {
            self.tables.touch(table, candidates.as_ref());
        }
        ahead
    }

    /// Puts the commands of an operation into the ring.
    ///
    /// # Errors
    /// [`Refusal`] when the driver itself refuses it; nothing was issued then.
    fn operate(
        &mut self,
        bus: &B,
        (op, candidates): (&FlowOp, Option<Candidates>),
        until: Patience,
    ) -> Result<(), Refusal> {
        match op {
            FlowOp::SetMask { tag, table, mask } => self.set_mask(bus, (*tag, *table), mask, until),
            FlowOp::Add { tag, entry, hold } => {
                let holding = if *hold { Holding::Hold } else { Holding::Direct };
                self.add(bus, (*tag, holding), (entry, candidates), until)
            }
            FlowOp::Modify { tag, id, edit, ttl_threshold } => {
                self.modify(bus, (*tag, *id), (edit, *ttl_threshold), until)
            }
            FlowOp::Delete { tag, id, until: generation } => {
                let (index, record) = self.find(*id)?;
                let at = record.at();
                let work = Work::Delete { op: *tag, index, id: *id, until: *generation };
                let last = generation.map(|generation| generation.0);
                let patience = if last.is_some() { Patience::Open } else { until };
                let command = Command::Delete { at, until: last };
                if last.is_some() {
                    self.endings.deleted();
                }
                self.commands.issue(bus, &command, (work, None), patience);
                self.set_life(index, Life::Leaving);
                Ok(())
            }
            FlowOp::Commit { tag, generation } => {
                let work = Work::Commit { op: *tag, generation: *generation };
                let ends = self.endings.commit(*generation);
                let command = Command::Commit { generation: generation.0, ends };
                self.commands.issue(bus, &command, (work, None), until);
                Ok(())
            }
            FlowOp::Release { tag, id } => self.release(bus, *tag, *id, until),
            FlowOp::Inspect { tag } => {
                self.inspect(bus, *tag, until);
                Ok(())
            }
        }
    }

    /// An entry that is in the card and stays there.
    fn find(&self, id: EntryId) -> Result<(u32, Record), Refusal> {
        let index = self.roster.find(id).ok_or(Refusal::NoEntry)?;
        let record = self.roster.record(index).ok_or(Refusal::NoEntry)?;
        if record.life == Life::Leaving { Err(Refusal::NoEntry) } else { Ok((index, *record)) }
    }

    pub(super) fn set_life(&mut self, index: u32, life: Life) {
        if let Some(record) = self.roster.record_mut(index) {
            record.life = life;
        }
    }

    fn set_mask(
        &mut self,
        bus: &B,
        (op, table): (OpTag, TableId),
        mask: &Line,
        until: Patience,
    ) -> Result<(), Refusal> {
        if self.tables.kind(table.0) != Some(TableKind::Exact) {
            return Err(Refusal::Unsupported);
        }
        if self.tables.used(table.0) > 0 {
            return Err(Refusal::Card(Status::NotEmpty as u16));
        }
        // Entries behind it in the ring need it for their places; if the card refuses the mask it
        // refuses them too.
        self.tables.set_mask(table.0, Some(*mask));
        Notes(self.memory.notes).put_mask(bus, table.0, mask);
        let image = self.commands.image(bus, &mask.0);
        let command = Command::SetMask { table: table.0, mask: image.operand };
        let work = Work::SetMask { op, table: table.0 };
        self.commands.issue(bus, &command, (work, Some(image)), until);
        Ok(())
    }

    fn add(
        &mut self,
        bus: &B,
        (op, holding): (OpTag, Holding),
        (entry, candidates): (&Entry, Option<Candidates>),
        until: Patience,
    ) -> Result<(), Refusal> {
        if self.roster.find(entry.id).is_some() {
            return Err(Refusal::Exists);
        }
        let kind = self.tables.kind(entry.table.0).ok_or(Refusal::Unsupported)?;
        let fits = kind == TableKind::Ternary
            || self.tables.mask(entry.table.0) == Some(entry.matching.mask.head);
        if !fits {
            return Err(Refusal::Unsupported);
        }
        let index = self.roster.vacancy(entry.id).ok_or(Refusal::TableFull)?;
        // Before anything changes: it may be refused.
        let digest = digest(self.encoder.entry(entry, kind, index)?);
        let mut moves = std::mem::take(&mut self.moves);
        let wanted = (index, candidates.unwrap_or_default());
        let placed = self.tables.place(entry.table.0, wanted, &self.roster, &mut moves);
        for step in &moves {
            self.relocate(bus, (step.occupant, step.target), until);
        }
        self.moves = moves;
        let slot = placed.ok_or(Refusal::TableFull)?;
        let candidates = wanted.1;
        let hold = holding == Holding::Hold;
        let life = if hold { Life::Held } else { Life::Live };
        let born = self.sweeps_asked;
        let record =
            Record { id: entry.id, table: entry.table, life, born, digest, slot, candidates };
        self.roster.put(index, record);
        let image = self.commands.image(bus, self.encoder.last());
        let command = Command::Add { at: record.at(), holding, image: image.operand };
        let work = Work::Add { op, index, id: entry.id, hold };
        self.commands.issue(bus, &command, (work, Some(image)), until);
        Ok(())
    }

    /// Moves an entry within its table; commands behind it find it at the new place.
    fn relocate(&mut self, bus: &B, (index, target): (u32, u32), until: Patience) {
        let record = self.roster.record_mut(index).expect("occupants are in the roster");
        let (at, id) = (record.at(), record.id);
        record.slot = target;
        let command = Command::Move { at, target };
        self.commands.issue(bus, &command, (Work::Move { index, id }, None), until);
    }

    fn modify(
        &mut self,
        bus: &B,
        (op, id): (OpTag, EntryId),
        (edit, ttl_threshold): (&Edit, Option<u8>),
        until: Patience,
    ) -> Result<(), Refusal> {
        let (index, record) = self.find(id)?;
        if let Some(record) = self.roster.record_mut(index) {
            // The rest of its image is in the card alone.
            record.digest = 0;
        }
        let (edit, set) = self.encoder.edit(edit, ttl_threshold)?;
        // Match, generations and identity of the entry stay (`docs/nic-abi.md` §9.5).
        let image = EntryImage {
            matching: [0; KEY_BYTES],
            mask: [0; KEY_BYTES],
            set,
            edit,
            from: 0,
            until: FOREVER,
            id: id.0,
            counter: index,
        };
        let image = self.commands.image(bus, &image.encode());
        let command = Command::Modify { at: record.at(), image: image.operand };
        self.commands.issue(bus, &command, (Work::Modify { op }, Some(image)), until);
        Ok(())
    }

    fn release(&mut self, bus: &B, op: OpTag, id: EntryId, until: Patience) -> Result<(), Refusal> {
        let (index, record) = self.find(id)?;
        let mut indices = [0; QUEUES_MAX * 4];
        for (gate, index) in self.gates.iter().zip(indices.chunks_exact_mut(4)) {
            index.copy_from_slice(&gate.produced().to_le_bytes());
        }
        let image = self.commands.image(bus, &indices);
        let command = Command::Release { at: record.at(), indices: image.operand };
        let patience = match until {
            Patience::Prompt(until) => Patience::Slow(until.after(self.patience)),
            other => other,
        };
        let work = Work::Release { op, index, id };
        self.commands.issue(bus, &command, (work, Some(image)), patience);
        Ok(())
    }
}
