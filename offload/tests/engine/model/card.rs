//! A card that keeps entries as written, asserts what no host may do, and answers in any order.

use super::Random;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use twinpath_flow::card::{
    Capabilities, Done, Entry, EntryCounts, EntryId, Event, Fence, FlowOp, Found, Generation,
    Inspected, OpTag, Refusal, TableKind,
};
use twinpath_flow::counters::Counts;
use twinpath_flow::key::{Key, Line};
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;

/// How often things go wrong: once in so many, 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) refuse_add: u64,
    pub(crate) refuse_delete: u64,
    pub(crate) cancel_hold: u64,
}

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) entry: Entry,
    pub(crate) holding: bool,
    /// Misses delivered before it was added.
    pub(crate) fence: u64,
    /// Packets in the hold queue.
    pub(crate) queue: Vec<(Key, usize)>,
    pub(crate) until: Option<(Generation, OpTag)>,
    pub(crate) counts: Counts,
    /// What the last sweep said.
    pub(crate) swept: Counts,
}

/// What became of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Miss,
    Held,
    Forwarded(EntryId),
}

#[derive(Debug)]
pub(crate) struct ModelCard {
    pub(crate) capabilities: Capabilities,
    pub(crate) generation: Generation,
    pub(crate) entries: BTreeMap<EntryId, Held>,
    masks: Vec<Option<Line>>,
    queue: VecDeque<FlowOp>,
    answers: Vec<Event>,
    pub(crate) faults: Faults,
    /// Entries that its driver believes to be there, and the last of them that was read back.
    known: BTreeSet<EntryId>,
    inspected: EntryId,
    /// Output port and packets not swept of entries that have vanished.
    pub(crate) vanished: Vec<(PortNo, u64)>,
    /// Counts in completions not handed out: by tag, output port and packets since the last sweep.
    pub(crate) unsaid: BTreeMap<OpTag, (PortNo, u64)>,
    /// Misses that software has sent on, as it told the host.
    pub(crate) processed: u64,
    /// Packets forwarded, by any entry.
    pub(crate) forwarded: u64,
    /// Misses delivered so far, for fences.
    pub(crate) delivered: u64,
    /// Packets that came out of a cancelled hold queue: misses.
    pub(crate) returned: Vec<(Key, usize)>,
    /// Packets that came out of a released hold queue.
    pub(crate) released: Vec<(EntryId, Key, usize)>,
}

impl ModelCard {
    pub(crate) fn new(capabilities: Capabilities, faults: Faults) -> Self {
        Self {
            masks: vec![None; capabilities.tables.len()],
            capabilities,
            generation: Generation(0),
            entries: BTreeMap::new(),
            queue: VecDeque::new(),
            answers: Vec::new(),
            faults,
            known: BTreeSet::new(),
            inspected: EntryId(0),
            vanished: Vec::new(),
            unsaid: BTreeMap::new(),
            processed: 0,
            forwarded: 0,
            delivered: 0,
            returned: Vec::new(),
            released: Vec::new(),
        }
    }

    pub(crate) fn submit(&mut self, op: FlowOp) {
        self.queue.push_back(op);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.answers.is_empty()
    }

    /// Executes up to `count` operations in order.
    pub(crate) fn work(&mut self, count: u64, random: &mut Random) {
        for _ in 0..count {
            let Some(op) = self.queue.pop_front() else { return };
            let tag = op.tag();
            if let Some(result) = self.execute(op, random) {
                self.answers.push(Event::Done { tag, result });
            }
        }
        let held: Vec<EntryId> =
            self.entries.values().filter(|h| h.holding).map(|h| h.entry.id).collect();
        for id in held {
            if random.once_in(self.faults.cancel_hold) {
                self.known.remove(&id);
                let held = self.entries.remove(&id).expect("listed above");
                self.returned.extend(held.queue);
                self.answers.push(Event::HoldCancelled { id });
                if let Some((_, tag)) = held.until {
                    self.answers.push(Event::Done { tag, result: Err(Refusal::NoEntry) });
                }
            }
        }
    }

    /// One answer, any of those waiting.
    pub(crate) fn answer(&mut self, random: &mut Random) -> Option<Event> {
        let count = self.answers.len();
        let event = (count > 0).then(|| self.answers.swap_remove(random.index(count)))?;
        if let Event::Done { tag, .. } = event {
            self.unsaid.remove(&tag);
        }
        Some(event)
    }

    fn execute(&mut self, op: FlowOp, random: &mut Random) -> Option<Result<Done, Refusal>> {
        Some(match op {
            FlowOp::SetMask { table, mask, .. } => {
                let table_index = usize::from(table.0);
                let caps = &self.capabilities.tables[table_index];
                assert_eq!(caps.kind, TableKind::Exact, "mask on a ternary table");
                assert!(mask.is_subset_of(&caps.fields), "mask beyond the fields");
                assert!(self.entries.values().all(|h| h.entry.table != table), "table not empty");
                self.masks[table_index] = Some(*mask);
                Ok(Done::default())
            }
            FlowOp::Add { entry, hold, .. } => self.add(*entry, hold, random),
            FlowOp::Modify { .. } => Err(Refusal::Unsupported),
            FlowOp::Delete { tag, id, until } => return self.delete(tag, id, until, random),
            FlowOp::Commit { generation, .. } => {
                self.commit(generation);
                Ok(Done::default())
            }
            FlowOp::Release { id, .. } => self.release(id),
            FlowOp::Inspect { .. } => {
                Ok(Done { inspected: Some(self.inspect()), ..Done::default() })
            }
        })
    }

    fn add(&mut self, entry: Entry, hold: bool, random: &mut Random) -> Result<Done, Refusal> {
        assert_eq!(hold, self.capabilities.hold_frames > 0, "hold");
        assert!(!self.entries.contains_key(&entry.id), "entry id used twice");
        let index = usize::from(entry.table.0);
        let caps = &self.capabilities.tables[index];
        let head = entry.matching.mask.head;
        assert!(!entry.matching.uses_tail(), "second line in the card");
        match caps.kind {
            TableKind::Exact => assert_eq!(self.masks[index], Some(head), "not the bank's mask"),
            TableKind::Ternary => assert!(head.is_subset_of(&caps.fields), "mask beyond fields"),
        }
        let mut others = self.entries.values().filter(|h| h.entry.table == entry.table);
        assert!(
            !others.any(|h| h.entry.matching == entry.matching),
            "two entries with one match in one table"
        );
        let used = self.entries.values().filter(|h| h.entry.table == entry.table).count();
        assert!(used < caps.capacity as usize, "table overfilled");
        if random.once_in(self.faults.refuse_add) {
            return Err(
                [Refusal::TableFull, Refusal::Unsupported, Refusal::Card(7)][random.index(3)]
            );
        }
        let held = Held {
            entry,
            holding: hold,
            fence: self.delivered,
            queue: Vec::new(),
            until: None,
            counts: Counts::default(),
            swept: Counts::default(),
        };
        self.known.insert(held.entry.id);
        self.entries.insert(held.entry.id, held);
        let mut fence = Fence::default();
        fence.delivered[0] = self.delivered;
        Ok(Done { fence: hold.then(|| fence.into()), ..Done::default() })
    }

    fn delete(
        &mut self,
        tag: OpTag,
        id: EntryId,
        until: Option<Generation>,
        random: &mut Random,
    ) -> Option<Result<Done, Refusal>> {
        if until.is_none() && random.once_in(self.faults.refuse_delete) {
            return Some(Err(Refusal::Card(9)));
        }
        let Some(held) = self.entries.get_mut(&id) else {
            self.known.remove(&id);
            return Some(Err(Refusal::NoEntry));
        };
        if let Some(until) = until.filter(|until| *until > self.generation) {
            held.until = Some((until, tag));
            return None;
        }
        Some(Ok(self.take(tag, id)))
    }

    fn take(&mut self, tag: OpTag, id: EntryId) -> Done {
        self.known.remove(&id);
        let held = self.entries.remove(&id).expect("the caller looked");
        let unsaid = held.counts.packets - held.swept.packets;
        self.unsaid.insert(tag, (held.entry.edit.outputs[0], unsaid));
        self.returned.extend(held.queue);
        let counts = self.capabilities.counters.then_some(held.counts);
        Done { counts, ..Done::default() }
    }

    /// Reads the next entry back.
    fn inspect(&mut self) -> Inspected {
        let next = self.known.range(EntryId(self.inspected.0 + 1)..).next().copied();
        self.inspected = next.unwrap_or(EntryId(0));
        let missing = next.filter(|id| !self.entries.contains_key(id));
        Inspected {
            found: missing.map_or(Found::AsWritten, Found::Missing),
            is_last: next.is_none(),
        }
    }

    /// An entry that serves and is not on its way out vanishes, and nobody is told.
    pub(crate) fn vanish(&mut self) -> Option<EntryId> {
        let settled = |h: &&Held| !h.holding && h.until.is_none();
        let id = self.entries.values().find(settled)?.entry.id;
        let held = self.entries.remove(&id)?;
        let unswept = held.counts.packets - held.swept.packets;
        self.vanished.push((held.entry.edit.outputs[0], unswept));
        Some(id)
    }

    fn commit(&mut self, generation: Generation) {
        self.generation = generation;
        let ended = |h: &Held| h.until.filter(|(g, _)| *g <= generation).map(|(_, tag)| tag);
        let over: Vec<_> =
            self.entries.iter().filter_map(|(id, h)| Some((*id, ended(h)?))).collect();
        for (id, tag) in over {
            let result = Ok(self.take(tag, id));
            self.answers.push(Event::Done { tag, result });
        }
    }

    fn release(&mut self, id: EntryId) -> Result<Done, Refusal> {
        let Some(held) = self.entries.get_mut(&id) else { return Err(Refusal::NoEntry) };
        assert!(held.holding, "released twice");
        assert!(held.fence <= self.processed, "released before the packets ahead were sent");
        held.holding = false;
        for (key, bytes) in held.queue.drain(..) {
            held.counts += Counts::one(bytes);
            self.released.push((id, key, bytes));
        }
        Ok(Done::default())
    }

    /// A packet: the lowest table with a match that serves in the current generation.
    pub(crate) fn packet(&mut self, key: &Key, bytes: usize) -> Verdict {
        let generation = self.generation;
        let serves = |h: &&mut Held| {
            h.entry.from <= generation
                && h.until.is_none_or(|(until, _)| generation < until)
                && h.entry.matching.matches(key)
        };
        match self.entries.values_mut().filter(serves).min_by_key(|h| h.entry.table) {
            None => Verdict::Miss,
            Some(h) if h.holding => {
                h.queue.push((*key, bytes));
                Verdict::Held
            }
            Some(h) => {
                h.counts += Counts::one(bytes);
                self.forwarded += 1;
                Verdict::Forwarded(h.entry.id)
            }
        }
    }

    pub(crate) fn sweep(&mut self, now: Time, mut entry: impl FnMut(EntryCounts)) {
        for held in self.entries.values_mut() {
            held.swept = held.counts;
            let (id, counts) = (held.entry.id, held.counts);
            entry(EntryCounts { id, counts, last_hit: (counts.packets > 0).then_some(now) });
        }
    }
}
