//! The ledger: what the host knows the card holds, and which operations are under way.

use crate::entries::Entries;
use crate::flows::{FlowIndex, FlowTable};
use crate::heat::Heat;
use crate::match_index::digest;
use crate::sweeps::Sweeps;
use crate::table::{Spot, Table};
use crate::tally::TallyId;
use crate::under_way::UnderWay;
use crate::view::EntryState;
use std::collections::{HashMap, VecDeque};
use std::num::NonZero;
use std::sync::Arc;
use twinpath_flow::card::{
    Capabilities, Entry, EntryId, Epoch, FlowOp, Generation, Inherited, OpTag, TableId,
};
use twinpath_flow::counters::Counts;
use twinpath_flow::edit::Edit;
use twinpath_flow::key::{Key, Line, MaskedKey};
use twinpath_flow::steps::Flow;
use twinpath_flow::time::Time;

/// Entries whose memory is kept for the next: as many as are submitted together at most.
const SPENT_MAX: usize = 1024;

/// When an entry is to go, once it has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doom {
    /// At once.
    Now,
    /// When this generation is committed.
    Until(Ending),
}

impl Doom {
    /// At the commit of a generation.
    pub(crate) const fn until(generation: Generation) -> Self {
        Self::Until(Ending(generation.0.to_le_bytes()[0]))
    }
}

/// A generation by its lowest byte: no commit is made while an entry of the one before waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending(u8);

impl Ending {
    /// The generation, the nearest to the one in force.
    pub(crate) const fn generation(self, current: Generation) -> Generation {
        let ahead = self.0.wrapping_sub(current.0.to_le_bytes()[0]).cast_signed();
        Generation(current.0.wrapping_add_signed(ahead as i32))
    }
}

/// One entry, in a cache line: a sweep of counters looks at all.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct EntryRecord {
    pub(crate) id: NonZero<u32>,
    pub(crate) flow: FlowIndex,
    pub(crate) tally: TallyId,
    /// Index in the table's list of members.
    position: u32,
    pub(crate) counts: Counts,
    /// Its last packet in the card; when it was made, while there was none.
    pub(crate) last_hit: Time,
    pub(crate) heat: Heat,
    pub(crate) doom: Option<Doom>,
    pub(crate) table: TableId,
    pub(crate) state: EntryState,
    /// The sweep that saw it last, modulo 256.
    pub(crate) swept: u8,
    /// Whether it covers every packet of its flow.
    pub(crate) whole: bool,
    /// Deletes refused so far.
    pub(crate) delete_refusals: u8,
}

impl EntryRecord {
    /// Whether it serves or will, and is not on its way out.
    pub(crate) fn stays(&self) -> bool {
        self.state != EntryState::Deleting && self.doom.is_none()
    }

    /// Whether it may lose its place: it serves and is not on its way out.
    pub(crate) fn may_leave(&self) -> bool {
        self.state == EntryState::InCard && self.doom.is_none()
    }

    /// Identity.
    pub(crate) const fn id(&self) -> EntryId {
        EntryId(self.id.get())
    }
}

/// A match on the first line.
const fn matching(value: &Line, mask: &Line) -> MaskedKey {
    MaskedKey {
        value: Key { head: *value, tail: Line::ZERO },
        mask: Key { head: *mask, tail: Line::ZERO },
    }
}

/// What an operation under way is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    SetMask(TableId),
    Add(EntryId),
    Release(EntryId),
    /// With the generation after whose commit it ends.
    Delete(EntryId, Option<Generation>),
    Commit(Generation),
    Inspect,
}

/// What is to become an entry.
#[derive(Debug)]
pub(crate) struct Install {
    pub(crate) flow: FlowIndex,
    pub(crate) spot: Spot,
    pub(crate) edit: Arc<Edit>,
    pub(crate) ttl_threshold: Option<u8>,
    pub(crate) from: Generation,
    pub(crate) heat: Heat,
    pub(crate) tally: TallyId,
    /// What it matches.
    pub(crate) value: Line,
    pub(crate) mask: Line,
}

/// A card that is up, as the host knows it.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) capabilities: Arc<Capabilities>,
    pub(crate) epoch: Epoch,
    pub(crate) up_since: Time,
    pub(crate) tables: Vec<Table>,
    pub(crate) entries: Entries,
    /// What entries match that cover only a part of their flows.
    parts: HashMap<EntryId, Line>,
    pub(crate) sweeps: Sweeps,
    /// Operations not handed out yet. Bounded: `Add`s are not made beyond a limit, the others are
    /// at most a few per entry.
    queue: VecDeque<(FlowOp, Op)>,
    /// Handed out and not ended.
    in_flight: UnderWay,
    /// Of those in flight, `Delete`s that end only after the next commit: they must not fill the
    /// window that the commit needs.
    deferred: usize,
    next_tag: u64,
    /// Memory of entries that were given to the card, for the next.
    #[expect(clippy::vec_box, reason = "operations have them boxed")]
    spent: Vec<Box<Entry>>,
}

impl Ledger {
    /// An empty card; `next_tag` continues that of the card before.
    pub(crate) fn new(
        capabilities: Arc<Capabilities>,
        epoch: Epoch,
        now: Time,
        next_tag: u64,
    ) -> Self {
        let tables = capabilities.tables.iter().map(|caps| Table::new(caps.clone())).collect();
        let capacity = capabilities.tables.iter().map(|caps| u64::from(caps.capacity)).sum();
        Self {
            capabilities,
            epoch,
            up_since: now,
            tables,
            entries: Entries::new(capacity),
            parts: HashMap::new(),
            sweeps: Sweeps::new(now),
            queue: VecDeque::new(),
            in_flight: UnderWay::new(next_tag),
            deferred: 0,
            next_tag,
            spent: Vec::new(),
        }
    }

    /// The first tag that was not used yet.
    pub(crate) const fn next_tag(&self) -> u64 {
        self.next_tag
    }

    /// Operations made and not ended.
    pub(crate) fn backlog(&self) -> usize {
        self.queue.len() + self.in_flight.len() - self.deferred
    }

    /// Operations that wait because as many are under way as may be.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn table(&self, table: TableId) -> &Table {
        &self.tables[usize::from(table.0)]
    }

    pub(crate) fn table_mut(&mut self, table: TableId) -> &mut Table {
        &mut self.tables[usize::from(table.0)]
    }

    fn make(&mut self, op: Op, build: impl FnOnce(OpTag) -> FlowOp) {
        let tag = OpTag(self.next_tag);
        self.next_tag += 1;
        self.queue.push_back((build(tag), op));
    }

    /// Takes the next operation to submit, at most `window` at a time being under way.
    pub(crate) fn hand_out(&mut self, now: Time, window: usize) -> Option<FlowOp> {
        if self.in_flight.len() - self.deferred >= window {
            return None;
        }
        let (flow_op, op) = self.queue.pop_front()?;
        self.deferred += usize::from(matches!(op, Op::Delete(_, Some(_))));
        self.in_flight.push(flow_op.tag(), op, now);
        Some(flow_op)
    }

    /// Ends an operation; `None` when the tag is unknown.
    pub(crate) fn end(&mut self, tag: OpTag) -> Option<Op> {
        let op = self.in_flight.end(tag)?;
        self.deferred -= usize::from(matches!(op, Op::Delete(_, Some(_))));
        Some(op)
    }

    /// When the oldest operation under way was handed out.
    pub(crate) fn oldest(&self) -> Option<Time> {
        self.in_flight.oldest()
    }

    /// Adds an entry, held if the card can. There must be identities left.
    pub(crate) fn add(&mut self, now: Time, install: Install) -> EntryId {
        let id = self.entries.next_id();
        let Install { flow, spot, edit, ttl_threshold, from, heat, tally, value, mask } = install;
        let position = self.table_mut(spot.table).enter(id, spot.digest);
        if !spot.whole {
            self.parts.insert(id, value);
        }
        self.entries.insert(EntryRecord {
            id: NonZero::new(id.0).expect("no entry is called 0"),
            flow,
            tally,
            position,
            counts: Counts::default(),
            last_hit: now,
            heat,
            doom: None,
            table: spot.table,
            state: EntryState::Adding,
            swept: self.sweeps.number(),
            whole: spot.whole,
            delete_refusals: 0,
        });
        let table = spot.table;
        let entry = match self.spent.pop() {
            None => {
                let matching = matching(&value, &mask);
                Box::new(Entry { id, table, matching, edit, ttl_threshold, from })
            }
            Some(mut spent) => {
                // Their second lines are always empty.
                (spent.id, spent.table, spent.edit) = (id, table, edit);
                (spent.ttl_threshold, spent.from) = (ttl_threshold, from);
                (spent.matching.value.head, spent.matching.mask.head) = (value, mask);
                spent
            }
        };
        let hold = self.capabilities.hold_frames > 0;
        self.make(Op::Add(id), |tag| FlowOp::Add { tag, entry, hold });
        id
    }

    /// Takes in an entry that a card has which is taken over.
    pub(crate) fn adopt(
        &mut self,
        found: &Inherited,
        (flow, tally): (FlowIndex, TallyId),
        whole: bool,
        (heat, now): (Heat, Time),
    ) {
        let Some(id) = NonZero::new(found.id.0) else { return };
        let (value, mask) = (found.matching.value.head, found.matching.mask.head);
        let position = self.table_mut(found.table).enter(found.id, digest(&value, &mask));
        if !whole {
            self.parts.insert(found.id, value);
        }
        self.entries.adopt(EntryRecord {
            id,
            flow,
            tally,
            position,
            counts: found.counts,
            last_hit: found.last_hit.unwrap_or(now).min(now),
            heat,
            doom: None,
            table: found.table,
            state: EntryState::InCard,
            swept: self.sweeps.number(),
            whole,
            delete_refusals: 0,
        });
    }

    /// Takes the memory of an operation back that was submitted.
    pub(crate) fn give_back(&mut self, op: FlowOp) {
        if let FlowOp::Add { entry, .. } = op
            && self.spent.len() < SPENT_MAX
        {
            self.spent.push(entry);
        }
    }

    /// What an entry matches.
    pub(crate) fn matching(&self, entry: &EntryRecord, flows: &FlowTable) -> Option<MaskedKey> {
        self.lines(entry, flows).map(|(value, mask)| matching(value, mask))
    }

    /// Value and mask of an entry.
    fn lines<'a>(
        &'a self,
        entry: &EntryRecord,
        flows: &'a FlowTable,
    ) -> Option<(&'a Line, &'a Line)> {
        if entry.whole {
            let whole = &flows.get(entry.flow)?.flow.matching;
            return Some((&whole.value.head, &whole.mask.head));
        }
        let part = self.parts.get(&entry.id())?;
        Some((part, self.table(entry.table).mask_line()?))
    }

    /// The entry that matches just what a spot is for.
    pub(crate) fn holder(
        &self,
        spot: &Spot,
        (flow, key): (&Flow, Option<&Key>),
        flows: &FlowTable,
    ) -> Option<&EntryRecord> {
        // Equal digests of unequal matches are possible.
        let is_it = |id: EntryId| {
            let found = self.entries.get(&id).and_then(|entry| self.lines(entry, flows));
            let wanted = spot.lines(flow, key, &self.tables);
            found.zip(wanted).is_some_and(|(found, wanted)| found == (&wanted.0, &wanted.1))
        };
        let id = self.table(spot.table).holder(spot.digest, is_it)?;
        self.entries.get(&id)
    }

    /// When the counts of an entry were true.
    pub(crate) fn as_of(&self, entry: &EntryRecord) -> Time {
        self.sweeps.time(entry.swept).max(entry.last_hit)
    }

    /// Lets a held entry serve.
    pub(crate) fn release(&mut self, id: EntryId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.state = EntryState::Releasing;
            self.make(Op::Release(id), |tag| FlowOp::Release { tag, id });
        }
    }

    /// Takes an entry out as its doom says.
    pub(crate) fn delete(&mut self, current: Generation, id: EntryId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.state = EntryState::Deleting;
        let until = match entry.doom {
            Some(Doom::Until(ending)) if self.capabilities.generations => {
                Some(ending.generation(current))
            }
            _ => None,
        };
        self.make(Op::Delete(id, until), |tag| FlowOp::Delete { tag, id, until });
    }

    /// Whether the `Delete` of an entry is made and takes effect by the commit itself.
    pub(crate) fn ends_with_commit(&self, id: EntryId) -> bool {
        self.capabilities.generations
            && self.entries.get(&id).is_some_and(|entry| {
                entry.state == EntryState::Deleting && matches!(entry.doom, Some(Doom::Until(_)))
            })
    }

    /// Sets the mask of an exact table.
    pub(crate) fn set_mask(&mut self, table: TableId, mask: Line) {
        self.table_mut(table).mask_wanted(mask);
        self.make(Op::SetMask(table), |tag| FlowOp::SetMask { tag, table, mask: Box::new(mask) });
    }

    /// Reads the next place of the card back.
    pub(crate) fn inspect(&mut self) {
        self.make(Op::Inspect, |tag| FlowOp::Inspect { tag });
    }

    /// Makes a generation current.
    pub(crate) fn commit(&mut self, generation: Generation) {
        self.make(Op::Commit(generation), |tag| FlowOp::Commit { tag, generation });
    }

    /// Forgets an entry that the card does not hold any more.
    pub(crate) fn forget(&mut self, id: EntryId, flows: &FlowTable) -> Option<EntryRecord> {
        let matched = self.entries.get(&id).and_then(|entry| self.lines(entry, flows));
        let digest = matched.map_or(0, |(value, mask)| digest(value, mask));
        let entry = self.entries.remove(id)?;
        self.parts.remove(&id);
        let table = &mut self.tables[usize::from(entry.table.0)];
        if let Some(moved) = table.leave(id, entry.position, digest)
            && let Some(other) = self.entries.get_mut(&moved)
        {
            other.position = entry.position;
        }
        Some(entry)
    }
}
