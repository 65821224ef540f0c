//! Breadth-first search for the shortest chain of moves that frees a candidate slot.

use super::{MOVES_MAX, Move, Occupants, VISITS_MAX};

const ROOT: u32 = u32::MAX;
const FREE: u32 = super::FREE;

#[derive(Clone, Copy, Debug)]
struct Visit {
    slot: u32,
    /// Index of the visit that led here.
    parent: u32,
    depth: u8,
}

/// Scratch memory of the search, kept so that insertions do not allocate.
#[derive(Debug)]
pub(super) struct Search {
    visits: Vec<Visit>,
    /// One bit per slot; only bits of `visits` are set, and only during a search.
    seen: Vec<u64>,
}

impl Search {
    pub(super) fn new(slots: usize) -> Self {
        Self { visits: Vec::with_capacity(VISITS_MAX), seen: vec![0; slots.div_ceil(64)] }
    }

    /// Appends the moves that free one of `candidates` and returns it.
    ///
    /// Ends: each slot is visited once, and at most `VISITS_MAX` are.
    pub(super) fn run(
        &mut self,
        slots: &[u32],
        candidates: &[u32],
        occupants: &impl Occupants,
        moves: &mut Vec<Move>,
    ) -> Option<u32> {
        for slot in candidates {
            self.visit(*slot, ROOT, 1);
        }
        let found = self.breadth_first(slots, candidates.len(), occupants);
        let root = found.map(|(visit, free)| self.chain(slots, visit, free, moves));
        for visit in self.visits.drain(..) {
            self.seen[visit.slot as usize / 64] = 0;
        }
        root
    }

    /// The visit whose occupant can move to a free slot, and that slot.
    fn breadth_first(
        &mut self,
        slots: &[u32],
        ways: usize,
        occupants: &impl Occupants,
    ) -> Option<(u32, u32)> {
        let mut next = 0;
        while let Some(visit) = self.visits.get(next).copied() {
            let parent = u32::try_from(next).expect("visits are bounded");
            let occupant = slots[visit.slot as usize];
            next += 1;
            if !occupants.movable(occupant) {
                continue;
            }
            let others = occupants.candidates(occupant);
            let others = others[..ways].iter().filter(|other| **other != visit.slot);
            if let Some(free) = others.clone().find(|other| slots[**other as usize] == FREE) {
                return Some((parent, *free));
            }
            if usize::from(visit.depth) < MOVES_MAX {
                others.for_each(|other| self.visit(*other, parent, visit.depth + 1));
            }
        }
        None
    }

    fn visit(&mut self, slot: u32, parent: u32, depth: u8) {
        let (word, bit) = (slot as usize / 64, 1_u64 << (slot % 64));
        if self.seen[word] & bit == 0 && self.visits.len() < VISITS_MAX {
            self.seen[word] |= bit;
            self.visits.push(Visit { slot, parent, depth });
        }
    }

    /// Writes the chain, deepest move first, and returns the slot it frees.
    fn chain(&self, slots: &[u32], visit: u32, free: u32, moves: &mut Vec<Move>) -> u32 {
        let (mut index, mut target) = (visit, free);
        while index != ROOT {
            let Visit { slot: source, parent, .. } = self.visits[index as usize];
            moves.push(Move { occupant: slots[source as usize], source, target });
            (index, target) = (parent, source);
        }
        target
    }
}
