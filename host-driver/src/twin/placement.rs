//! Which slot: cuckoo placement in one exact-match bank of the card.
//!
//! Every key has one candidate slot per way and may else live in any stash slot. When all
//! candidates are taken, a breadth-first search finds the shortest chain of moves to a free slot;
//! the caller executes the moves in the order given (the deepest first), each make-before-break,
//! so every key is found at every moment. Nothing here touches the card: occupants are numbers,
//! and what is known of them comes from [`Occupants`].

#[cfg(test)]
mod load_tests;
mod search;
#[cfg(test)]
mod tests;

/// Most ways of a bank.
pub(crate) const WAYS_MAX: usize = twinpath_abi::hash::WAYS;

/// Longest chain of moves for one insertion; longer ones count as no place.
pub(crate) const MOVES_MAX: usize = 8;

/// Slots visited in one search at most: bounds the host time of an insertion that fails.
pub(crate) const VISITS_MAX: usize = 512;

const FREE: u32 = u32::MAX;

/// Candidate slots of a key, one per way; ways beyond the bank's are unused.
pub(crate) type Candidates = [u32; WAYS_MAX];

/// What the search needs to know about the occupants of a bank.
pub(crate) trait Occupants {
    /// Candidate slots of an occupant.
    fn candidates(&self, occupant: u32) -> Candidates;
    /// Whether it may be moved now.
    fn movable(&self, occupant: u32) -> bool;
}

/// One step of a chain: `occupant` goes from slot `source` to the free slot `target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    /// Who moves.
    pub occupant: u32,
    /// From where.
    pub source: u32,
    /// To where.
    pub target: u32,
}

/// Shape of a bank: `ways * rows` hashed slots, then `stash` slots for any key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Hash ways, 1 to [`WAYS_MAX`].
    pub ways: u32,
    /// Slots per way.
    pub rows: u32,
    /// Stash slots.
    pub stash: u32,
}

impl Shape {
    /// All slots.
    pub(crate) const fn slots(&self) -> u32 {
        self.ways * self.rows + self.stash
    }
}

/// Occupancy of one bank.
#[derive(Debug)]
pub(crate) struct Bank {
    shape: Shape,
    /// Occupant of each slot, or `FREE`.
    slots: Vec<u32>,
    used: u32,
    search: search::Search,
    /// The last attempt to empty a stash slot failed and nothing was removed since: it would fail
    /// again.
    stuck: bool,
}

impl Bank {
    /// An empty bank.
    ///
    /// # Panics
    /// When the shape has no way or more than [`WAYS_MAX`]; bring-up has checked the card's.
    pub(crate) fn new(shape: Shape) -> Self {
        assert!((1..=WAYS_MAX).contains(&(shape.ways as usize)), "ways of a bank");
        let slots = shape.slots() as usize;
        Self {
            shape,
            slots: vec![FREE; slots],
            used: 0,
            search: search::Search::new(slots),
            stuck: false,
        }
    }

    /// Occupied slots.
    pub(crate) const fn used(&self) -> u32 {
        self.used
    }

    /// Finds a slot for `occupant`, moving others if needed, and takes it.
    ///
    /// `moves` is cleared and filled with the moves to execute first, in order.
    pub(crate) fn place(
        &mut self,
        occupant: u32,
        candidates: &Candidates,
        occupants: &impl Occupants,
        moves: &mut Vec<Move>,
    ) -> Option<u32> {
        moves.clear();
        let ways = self.shape.ways as usize;
        let direct = candidates[..ways].iter().copied().find(|slot| self.is_free(*slot));
        let slot = direct
            .or_else(|| self.make_room(candidates, occupants, moves))
            .or_else(|| self.stash_slot(occupants, moves))?;
        self.slots[slot as usize] = occupant;
        self.used += 1;
        Some(slot)
    }

    /// Takes a slot in which the card already has `occupant`; whether it was free.
    pub(crate) fn adopt(&mut self, slot: u32, occupant: u32) -> bool {
        let is_free = self.slots.get(slot as usize) == Some(&FREE);
        if is_free {
            self.slots[slot as usize] = occupant;
            self.used += 1;
        }
        is_free
    }

    /// Gives a slot back.
    ///
    /// # Panics
    /// When the slot is free: only a bug frees twice.
    pub(crate) fn remove(&mut self, slot: u32) {
        assert!(!self.is_free(slot), "slot {slot} freed twice");
        self.slots[slot as usize] = FREE;
        self.used -= 1;
        self.stuck = false;
    }

    /// Says that an occupant became movable, so that a search may succeed now.
    pub(crate) const fn unstick(&mut self) {
        self.stuck = false;
    }

    /// Looks at candidate slots so that they are near when [`Self::place`] wants them: looks that
    /// nothing waits for go on side by side.
    pub(crate) fn touch(&self, candidates: &Candidates) {
        for slot in &candidates[..self.shape.ways as usize] {
            std::hint::black_box(self.slots.get(*slot as usize).copied());
        }
    }

    /// Who has a slot.
    pub(crate) fn occupant(&self, slot: u32) -> Option<u32> {
        self.slots.get(slot as usize).copied().filter(|occupant| *occupant != FREE)
    }

    fn is_free(&self, slot: u32) -> bool {
        self.slots[slot as usize] == FREE
    }

    /// Frees one of the candidate slots by a chain of moves.
    fn make_room(
        &mut self,
        candidates: &Candidates,
        occupants: &impl Occupants,
        moves: &mut Vec<Move>,
    ) -> Option<u32> {
        let ways = self.shape.ways as usize;
        let before = moves.len();
        let slot = self.search.run(&self.slots, &candidates[..ways], occupants, moves)?;
        for step in &moves[before..] {
            self.slots[step.target as usize] = step.occupant;
            self.slots[step.source as usize] = FREE;
        }
        Some(slot)
    }

    /// A free stash slot, or one freed by bringing its occupant back into the hashed part.
    fn stash_slot(&mut self, occupants: &impl Occupants, moves: &mut Vec<Move>) -> Option<u32> {
        let stash = self.shape.ways * self.shape.rows..self.shape.slots();
        if let Some(slot) = stash.clone().find(|slot| self.is_free(*slot)) {
            return Some(slot);
        }
        if self.stuck {
            return None;
        }
        for slot in stash {
            let occupant = self.slots[slot as usize];
            if !occupants.movable(occupant) {
                continue;
            }
            let candidates = occupants.candidates(occupant);
            let ways = self.shape.ways as usize;
            let direct = candidates[..ways].iter().copied().find(|slot| self.is_free(*slot));
            let target = direct.or_else(|| self.make_room(&candidates, occupants, moves));
            if let Some(target) = target {
                moves.push(Move { occupant, source: slot, target });
                self.slots[target as usize] = occupant;
                self.slots[slot as usize] = FREE;
                return Some(slot);
            }
        }
        self.stuck = true;
        None
    }
}
