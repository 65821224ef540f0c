//! Flows by mask: one hash table for each mask, masks ranked by use.
//!
//! Several flows may have the same masked key, one for each generation. The tables hold slots of
//! the [`Store`]; whether a flow serves a packet is decided there.

use crate::hash::KeyHasher;
use crate::isa::Isa;
use crate::prefetch::prefetch;
use crate::store::{Serves, Store};
use twinpath_flow::key::{Key, MaskedKey};

/// Names that [`TupleSpace::find_many`] takes are below this.
const WANTED_MAX: usize = 32;

const EMPTY: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Place {
    tag: u32,
    /// Slot of the store, or [`EMPTY`].
    flow: u32,
}

/// The flows of one mask: open addressing, linear probing, at most half full.
#[derive(Debug)]
#[repr(C, align(64))]
struct Tuple {
    mask: Key,
    places: Vec<Place>,
    len: usize,
    /// Hits since long, halved at each ranking.
    hits: u64,
}

/// All flows by mask.
#[derive(Debug)]
pub(crate) struct TupleSpace {
    hasher: KeyHasher,
    tuples: Vec<Tuple>,
    /// Tuples in use, most used first.
    ranking: Vec<u32>,
    /// Tuples that flows were put into since keys were last looked up.
    fresh: Vec<u32>,
}

impl TupleSpace {
    /// No flows.
    pub(crate) const fn new(hasher: KeyHasher) -> Self {
        Self { hasher, tuples: Vec::new(), ranking: Vec::new(), fresh: Vec::new() }
    }

    /// Number of masks in use.
    pub(crate) const fn mask_count(&self) -> usize {
        self.ranking.len()
    }

    /// The mask of a tuple.
    #[inline(always)]
    pub(crate) fn mask(&self, tuple: u32) -> &Key {
        &self.tuples[tuple as usize].mask
    }

    /// Whether the flow in a slot decides packets with this key in a generation.
    #[inline(always)]
    pub(crate) fn decides<I: Isa>(
        &self,
        flow: u32,
        key: &Key,
        serves: Serves,
        store: &Store,
    ) -> bool {
        let hot = store.hot(flow);
        hot.serves.meets(serves) && store.agrees_by::<I>(flow, key, self.mask(hot.tuple))
    }

    /// The slot of a flow that matches `key` in a generation.
    pub(crate) fn find(&self, key: &Key, serves: Serves, store: &Store) -> Option<u32> {
        self.find_in(&self.ranking, (key, serves), store)
    }

    /// The same for a key that [`Self::find_many`] has not found: it can only be one put in since.
    pub(crate) fn find_fresh(&self, key: &Key, serves: Serves, store: &Store) -> Option<u32> {
        self.find_in(&self.fresh, (key, serves), store)
    }

    #[inline(always)]
    fn find_in(&self, tuples: &[u32], (key, serves): (&Key, Serves), store: &Store) -> Option<u32> {
        tuples.iter().find_map(|&index| {
            let tuple = &self.tuples[index as usize];
            tuple.find(self.hasher.hash(key, &tuple.mask), |flow| {
                store.hot(flow).serves.meets(serves) && store.agrees(flow, key, &tuple.mask)
            })
        })
    }

    /// Looks several keys up at once, mask by mask, so that waiting for memory overlaps: `wanted`
    /// names those to look up, and afterwards those without a flow; `key` is the key of a name and
    /// the generation that decides it, and `found` takes what is found.
    #[inline(always)]
    pub(crate) fn find_many<'k>(
        &mut self,
        wanted: &mut Vec<u8>,
        key: impl Fn(u8) -> (&'k Key, Serves),
        store: &Store,
        mut found: impl FnMut(u8, u32),
    ) {
        self.fresh.clear();
        let mut hashes = [0; WANTED_MAX];
        for &index in &self.ranking {
            let tuple = &mut self.tuples[index as usize];
            for &at in wanted.iter() {
                let hash = self.hasher.hash(key(at).0, &tuple.mask);
                hashes[usize::from(at) % WANTED_MAX] = hash;
                prefetch(&tuple.places[tuple.home(tag(hash))]);
            }
            for &at in wanted.iter() {
                if let Some(flow) = tuple.first(hashes[usize::from(at) % WANTED_MAX]) {
                    prefetch(store.hot(flow));
                    prefetch(store.head(flow));
                }
            }
            let mut hits = 0;
            wanted.retain(|&at| {
                let (key, serves) = key(at);
                let flow = tuple.find(hashes[usize::from(at) % WANTED_MAX], |flow| {
                    store.hot(flow).serves.meets(serves) && store.agrees(flow, key, &tuple.mask)
                });
                if let Some(flow) = flow {
                    hits += 1;
                    found(at, flow);
                }
                flow.is_none()
            });
            tuple.hits += hits;
            if wanted.is_empty() {
                return;
            }
        }
    }

    /// Adds the flow in slot `flow`; returns its tuple.
    pub(crate) fn insert(&mut self, matching: &MaskedKey, flow: u32) -> u32 {
        let index = self.tuple_of(&matching.mask);
        if !self.fresh.contains(&index) {
            self.fresh.push(index);
        }
        let tuple = &mut self.tuples[index as usize];
        tuple.insert(self.hasher.hash(&matching.value, &tuple.mask), flow);
        index
    }

    /// The tuple of a mask, made when new.
    fn tuple_of(&mut self, mask: &Key) -> u32 {
        if let Some(index) = self.ranking.iter().find(|i| self.tuples[**i as usize].mask == *mask) {
            return *index;
        }
        let fresh = Tuple { mask: *mask, places: Vec::new(), len: 0, hits: 0 };
        let index = if let Some(index) = self.tuples.iter().position(|tuple| tuple.len == 0) {
            self.tuples[index] = fresh;
            index
        } else {
            self.tuples.push(fresh);
            self.tuples.len() - 1
        };
        let index = u32::try_from(index).expect("there are no more masks than flows");
        self.ranking.push(index);
        index
    }

    /// Takes a flow out of a tuple; `value` is any key it matches.
    pub(crate) fn remove(&mut self, tuple: u32, value: &Key, flow: u32) {
        let index = tuple;
        let tuple = &mut self.tuples[tuple as usize];
        tuple.remove(self.hasher.hash(value, &tuple.mask), flow);
        if tuple.len == 0 {
            tuple.places = Vec::new();
            self.ranking.retain(|other| *other != index);
        }
    }

    /// Puts the masks used most in front.
    pub(crate) fn rank(&mut self) {
        let tuples = &mut self.tuples;
        self.ranking.sort_by_key(|index| std::cmp::Reverse(tuples[*index as usize].hits));
        tuples.iter_mut().for_each(|tuple| tuple.hits /= 2);
    }
}

impl Tuple {
    /// The flow at the home of a hash, if its tag is there: to be asked for ahead of its use.
    #[inline(always)]
    fn first(&self, hash: u64) -> Option<u32> {
        let place = self.places[self.home(tag(hash))];
        (place.tag == tag(hash) && place.flow != EMPTY).then_some(place.flow)
    }

    #[inline(always)]
    fn home(&self, tag: u32) -> usize {
        tag as usize & (self.places.len() - 1)
    }

    #[inline(always)]
    fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = tag(hash);
        let mut at = self.home(tag);
        // Ends: at most half of the places are taken.
        loop {
            let place = self.places[at];
            if place.flow == EMPTY {
                return None;
            }
            if place.tag == tag && is_it(place.flow) {
                return Some(place.flow);
            }
            at = (at + 1) & (self.places.len() - 1);
        }
    }

    fn insert(&mut self, hash: u64, flow: u32) {
        if (self.len + 1) * 2 > self.places.len() {
            let wanted = (self.places.len() * 2).max(8);
            let empty = vec![Place { tag: 0, flow: EMPTY }; wanted];
            let old = std::mem::replace(&mut self.places, empty);
            old.into_iter().filter(|place| place.flow != EMPTY).for_each(|place| self.put(place));
        }
        self.put(Place { tag: tag(hash), flow });
        self.len += 1;
    }

    fn put(&mut self, place: Place) {
        let mut at = self.home(place.tag);
        while self.places[at].flow != EMPTY {
            at = (at + 1) & (self.places.len() - 1);
        }
        self.places[at] = place;
    }

    fn remove(&mut self, hash: u64, flow: u32) {
        let wrap = self.places.len() - 1;
        let mut at = self.home(tag(hash));
        while self.places[at].flow != flow {
            if self.places[at].flow == EMPTY {
                return;
            }
            at = (at + 1) & wrap;
        }
        self.places[at].flow = EMPTY;
        self.len -= 1;
        // Places behind, up to the next empty one, may have been pushed over the one now free.
        let mut next = (at + 1) & wrap;
        while self.places[next].flow != EMPTY {
            let place = self.places[next];
            self.places[next].flow = EMPTY;
            self.put(place);
            next = (next + 1) & wrap;
        }
    }
}

/// The upper half of the hash.
const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}
