//! The flows: slots that are reused, with an identity that is not.

use crate::compiled::Program;
use std::sync::Arc;
use twinpath_flow::counters::Counts;
use twinpath_flow::key::{Key, MaskedKey};
use twinpath_flow::steps::{Flow, FlowId};
use twinpath_flow::time::Time;

/// Which of the two generations at once a flow decides; a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Serves(u8);

impl Serves {
    /// The current generation.
    pub(crate) const CURRENT: Self = Self(1);
    /// The prepared one.
    pub(crate) const NEXT: Self = Self(2);
    /// Both.
    pub(crate) const BOTH: Self = Self(3);

    /// Whether this and `other` have a generation in common.
    pub(crate) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A flow in place.
#[derive(Debug)]
pub(crate) struct Stored {
    /// What it matches; a copy of the flow's, near the counters.
    pub(crate) matching: MaskedKey,
    /// Key of the packet it was made for.
    pub(crate) sample: Key,
    /// Packets and bytes.
    pub(crate) counts: Counts,
    /// Last packet, or when it was made.
    pub(crate) last_used: Time,
    /// Generations it decides.
    pub(crate) serves: Serves,
    /// Which tuple it is in.
    pub(crate) tuple: u32,
    /// Packets at or below this TTL are exceptions.
    pub(crate) ttl_threshold: Option<u8>,
    /// The steps, compiled.
    pub(crate) program: Program,
    /// The flow.
    pub(crate) flow: Arc<Flow>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    stored: Option<Box<Stored>>,
}

/// All flows.
#[derive(Debug, Default)]
pub(crate) struct Store {
    slots: Vec<Slot>,
    free: Vec<u32>,
    len: usize,
}

impl Store {
    /// Number of flows.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Puts a flow in place.
    pub(crate) fn insert(&mut self, stored: Stored) -> FlowId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("the flow limit is far below 2^32")
        });
        let slot = &mut self.slots[index as usize];
        slot.stored = Some(Box::new(stored));
        self.len += 1;
        FlowId { index, generation: slot.generation }
    }

    /// Takes a flow out. Its slot is used again under another identity, as long as there are any.
    pub(crate) fn remove(&mut self, id: FlowId) -> Option<Box<Stored>> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let stored = slot.stored.take()?;
        self.len -= 1;
        if let Some(generation) = slot.generation.checked_add(1) {
            slot.generation = generation;
            self.free.push(id.index);
        }
        Some(stored)
    }

    /// The flow in a slot.
    pub(crate) fn at(&self, index: u32) -> Option<&Stored> {
        self.slots.get(index as usize)?.stored.as_deref()
    }

    /// The flow in a slot, to be changed.
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut Stored> {
        self.slots.get_mut(index as usize)?.stored.as_deref_mut()
    }

    /// The identity of the flow in a slot.
    pub(crate) fn id(&self, index: u32) -> FlowId {
        FlowId { index, generation: self.slots[index as usize].generation }
    }

    /// A flow by identity.
    pub(crate) fn find(&self, id: FlowId) -> Option<&Stored> {
        let slot = self.slots.get(id.index as usize)?;
        slot.stored.as_deref().filter(|_| slot.generation == id.generation)
    }

    /// All flows, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (FlowId, &mut Stored)> {
        (0_u32..).zip(&mut self.slots).filter_map(|(index, slot)| {
            let id = FlowId { index, generation: slot.generation };
            Some((id, slot.stored.as_deref_mut()?))
        })
    }

    /// All flows, in the order of slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (FlowId, &Stored)> {
        (0_u32..).zip(&self.slots).filter_map(|(index, slot)| {
            let id = FlowId { index, generation: slot.generation };
            Some((id, slot.stored.as_deref()?))
        })
    }
}
