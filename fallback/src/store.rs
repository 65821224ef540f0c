//! The flows: slots that are reused, with an identity that is not.
//!
//! A flow takes two cache lines: what every packet of it changes, and the first line of the key it was
//! made for. Its mask is its tuple's; what it does is a recipe, shared with all flows that do the same.

use crate::compiled::Program;
use crate::isa::{Isa, Scalar};
use crate::recipe::{Recipe, Recipes};
use crate::rule_list::RuleList;
use crate::slab::Slab;
use std::collections::HashMap;
use twinpath_flow::counters::Counts;
use twinpath_flow::key::{Key, Line, MaskedKey};
use twinpath_flow::port::PortTable;
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::{Flow, FlowId};
use twinpath_flow::time::Time;

/// Recipes that the nearest cache holds about.
const RECIPES_NEAR: usize = 64;

/// Which of the two generations at once a flow decides; a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Serves(u8);

impl Serves {
    /// None: the slot is free.
    const NONE: Self = Self(0);
    /// The first generation, and every second one after it.
    pub(crate) const EVEN: Self = Self(1);
    /// Both.
    pub(crate) const BOTH: Self = Self(3);

    /// Those of the generation before and after one that has these.
    pub(crate) const fn turned(self) -> Self {
        Self(self.0 ^ Self::BOTH.0)
    }

    /// Whether this and `other` have a generation in common.
    #[inline(always)]
    pub(crate) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What packets change, and what they need for it: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Hot {
    /// Packets and bytes.
    pub(crate) counts: Counts,
    /// Last packet, or when it was made.
    pub(crate) last_used: Time,
    /// What it does.
    pub(crate) recipe: u32,
    /// Which tuple it is in.
    pub(crate) tuple: u32,
    /// Uses of the slot before.
    generation: u32,
    /// Packets whose TTL is less than this are exceptions.
    pub(crate) ttl_min: u16,
    /// Generations it decides.
    pub(crate) serves: Serves,
    /// The rules it counts on, unless they are many.
    rules: RuleList,
}

const _: () = assert!(size_of::<Hot>() == 64);

impl Hot {
    const FREE: Self = Self {
        counts: Counts { packets: 0, bytes: 0 },
        last_used: Time(0),
        recipe: 0,
        tuple: 0,
        generation: 0,
        ttl_min: 0,
        serves: Serves::NONE,
        rules: RuleList::EMPTY,
    };
}

/// A flow's two lines.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(128))]
struct Slot {
    hot: Hot,
    /// First line of the key that the flow was made for.
    head: Line,
}

/// All flows.
#[derive(Debug)]
pub(crate) struct Store {
    slots: Slab<Slot>,
    /// Second lines, of the few that have one.
    tails: HashMap<u32, Line>,
    /// Rules of the flows that count on many.
    many_rules: HashMap<u32, Box<[RuleId]>>,
    recipes: Recipes,
    free: Vec<u32>,
    len: usize,
}

impl Store {
    /// No flows, and room for at most `limit`, or as many as there are addresses for.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            slots: Slab::new(limit),
            tails: HashMap::default(),
            many_rules: HashMap::default(),
            recipes: Recipes::default(),
            free: Vec::new(),
            len: 0,
        }
    }

    /// Whether there is room for one more flow.
    pub(crate) fn has_room(&self) -> bool {
        !self.free.is_empty() || self.slots.len() < self.slots.limit()
    }

    /// Number of flows.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Puts a flow in place that was made for a packet with `key`. Its tuple comes later.
    pub(crate) fn insert(
        &mut self,
        (flow, key): (&Flow, &Key),
        ports: (&PortTable, u32),
        (serves, now): (Serves, Time),
    ) -> FlowId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { hot: Hot::FREE, head: Line::ZERO });
            u32::try_from(self.slots.len() - 1).expect("the flow limit is far below 2^32")
        });
        let recipe = self.recipes.of(flow, ports);
        let generation = self.slots.at(index).hot.generation;
        let ttl_min = flow.ttl_threshold.map_or(0, |threshold| u16::from(threshold) + 1);
        let rules = RuleList::new(&flow.rules).unwrap_or_else(|| {
            self.many_rules.insert(index, (*flow.rules).into());
            RuleList::EMPTY
        });
        let hot = Hot { last_used: now, recipe, generation, ttl_min, serves, rules, ..Hot::FREE };
        *self.slots.at_mut(index) = Slot { hot, head: key.head };
        if !key.tail.is_zero() {
            self.tails.insert(index, key.tail);
        }
        self.len += 1;
        FlowId { index, generation }
    }

    /// Takes a flow out. Its slot is used again under another identity, as long as there are any.
    pub(crate) fn remove(&mut self, id: FlowId) {
        if self.find(id).is_none() {
            return;
        }
        let hot = &mut self.slots.at_mut(id.index).hot;
        let recipe = hot.recipe;
        hot.serves = Serves::NONE;
        if let Some(generation) = hot.generation.checked_add(1) {
            hot.generation = generation;
            self.free.push(id.index);
        }
        self.tails.remove(&id.index);
        self.many_rules.remove(&id.index);
        self.recipes.release(recipe);
        self.len -= 1;
    }

    /// What packets change; of a free slot too, which serves no generation.
    #[inline(always)]
    pub(crate) fn hot(&self, index: u32) -> &Hot {
        &self.slots.at(index).hot
    }

    /// What packets change.
    #[inline(always)]
    pub(crate) fn hot_mut(&mut self, index: u32) -> &mut Hot {
        &mut self.slots.at_mut(index).hot
    }

    /// First line of the key that the flow was made for.
    #[inline(always)]
    pub(crate) fn head(&self, index: u32) -> &Line {
        &self.slots.at(index).head
    }

    /// Whether there is a flow in a slot, which exists.
    pub(crate) fn is_taken(&self, index: u32) -> bool {
        self.hot(index).serves != Serves::NONE
    }

    /// Number of slots.
    #[inline(always)]
    pub(crate) const fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Whether a packet agrees with the flow in a slot on the bits of `mask`.
    pub(crate) fn agrees(&self, index: u32, key: &Key, mask: &Key) -> bool {
        self.agrees_by::<Scalar>(index, key, mask)
    }

    /// The same, in the instructions of a kernel.
    #[inline(always)]
    pub(crate) fn agrees_by<I: Isa>(&self, index: u32, key: &Key, mask: &Key) -> bool {
        I::agree(&self.slots.at(index).head, &key.head, &mask.head)
            && (mask.tail.is_zero() || self.tail_agrees(index, &key.tail, &mask.tail))
    }

    #[cold]
    fn tail_agrees(&self, index: u32, tail: &Line, mask: &Line) -> bool {
        let own = self.tails.get(&index).unwrap_or(&Line::ZERO);
        own.and(mask) == tail.and(mask)
    }

    /// The key that a flow was made for.
    pub(crate) fn key(&self, index: u32) -> Key {
        let tail = self.tails.get(&index).copied().unwrap_or(Line::ZERO);
        Key { head: self.slots.at(index).head, tail }
    }

    /// What a flow does.
    #[inline(always)]
    pub(crate) fn recipe(&self, index: u32) -> &Recipe {
        self.recipes.at(self.slots.at(index).hot.recipe)
    }

    /// Counts a packet on its flow, and says what that does; `None`, and nothing done, when the
    /// packet's TTL makes it an exception.
    #[inline(always)]
    pub(crate) fn count(&mut self, index: u32, now: Time, len: usize, ttl: u8) -> Option<u32> {
        let hot = &mut self.slots.at_mut(index).hot;
        if u16::from(ttl) < hot.ttl_min {
            return None;
        }
        hot.counts += Counts::one(len);
        hot.last_used = now;
        Some(hot.recipe)
    }

    /// What flows do, by the number that [`Self::count`] gives.
    #[inline(always)]
    pub(crate) const fn recipes(&self) -> &Recipes {
        &self.recipes
    }

    /// What flows do.
    pub(crate) const fn recipes_mut(&mut self) -> &mut Recipes {
        &mut self.recipes
    }

    /// Whether recipes are too many to be in the nearest cache anyway.
    #[inline(always)]
    pub(crate) const fn has_many_recipes(&self) -> bool {
        self.recipes.len() > RECIPES_NEAR
    }

    /// Asks for what a flow does ahead of its use.
    #[inline(always)]
    pub(crate) fn touch_recipe(&self, index: u32) {
        self.recipes.touch(self.slots.at(index).hot.recipe);
    }

    /// The program of a flow.
    pub(crate) fn program(&self, index: u32) -> &Program {
        &self.recipe(index).program
    }

    /// The flow in a slot, put together, given its mask.
    pub(crate) fn flow(&self, index: u32, mask: &Key) -> Flow {
        let recipe = self.recipe(index);
        Flow {
            matching: MaskedKey::new(&self.key(index), *mask),
            steps: recipe.steps().to_vec(),
            ttl_threshold: recipe.ttl_threshold(),
            rules: self.rules(index).to_vec(),
        }
    }

    /// The rules that the flow in a slot counts on.
    pub(crate) fn rules(&self, index: u32) -> &[RuleId] {
        let own = self.slots.at(index).hot.rules.rules();
        if own.is_empty() && !self.many_rules.is_empty() {
            return self.many_rules.get(&index).map_or(own, |rules| rules);
        }
        own
    }

    /// The identity of the flow in a slot.
    pub(crate) fn id(&self, index: u32) -> FlowId {
        FlowId { index, generation: self.slots.at(index).hot.generation }
    }

    /// The slot of a flow that is here.
    pub(crate) fn find(&self, id: FlowId) -> Option<&Hot> {
        let here = (id.index as usize) < self.slots.len();
        let hot = here.then(|| &self.slots.at(id.index).hot)?;
        (hot.generation == id.generation && hot.serves != Serves::NONE).then_some(hot)
    }

    /// Slots in use, in order.
    pub(crate) fn indices(&self) -> impl Iterator<Item = u32> + use<'_> {
        let used = |(index, hot): (u32, &Hot)| (hot.serves != Serves::NONE).then_some(index);
        (0_u32..).zip(self.slots.elements().iter().map(|slot| &slot.hot)).filter_map(used)
    }
}
