//! The entries in the card and where each lives.
//!
//! Records addressed by a dense index, which is the entry's counter in the card and the cuckoo
//! placer's occupant. They take memory in chunks, as entries come.

use super::placement::Candidates;
use std::collections::HashMap;
use twinpath_flow::card::{EntryId, TableId};

/// Life of an entry as the driver sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// In the card, or its `Add` is in the command ring.
    Live,
    /// Likewise, its packets held until `Release`; it must not be moved.
    Held,
    /// Its removal is in the command ring; it must not be moved.
    Leaving,
}

/// One entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Identity.
    pub id: EntryId,
    /// Table.
    pub table: TableId,
    /// Life.
    pub life: Life,
    /// Sweeps asked for before it was added, modulo 256.
    pub born: u8,
    /// Of its image, to know it by when it is read back; 0 when that is not known.
    pub digest: u32,
    /// Where it is, or will be when the commands submitted so far are done.
    pub slot: u32,
    /// Candidate slots; unused for ternary tables.
    pub candidates: Candidates,
}

/// Records of a chunk.
const CHUNK: usize = 1024;

/// All entries of the card.
///
/// A host numbers its entries densely, so an identity's low bits are a good index: mostly they are
/// the entry's, and it is found without a search. An entry whose index another has is a stray.
#[derive(Debug)]
pub(crate) struct Roster {
    /// By index; a chunk without memory had no entry yet.
    chunks: Vec<Vec<Option<Record>>>,
    /// Vacant indices of each chunk.
    vacant: Vec<u16>,
    /// Indices of entries that are not where their identities say.
    strays: HashMap<EntryId, u32>,
    capacity: u32,
    len: usize,
    high_water: u32,
}

impl Roster {
    /// Room for `capacity` entries.
    pub(crate) fn new(capacity: u32) -> Self {
        let chunks = (capacity as usize).div_ceil(CHUNK);
        let whole = u16::try_from(CHUNK).expect("small");
        let mut vacant = vec![whole; chunks];
        if let (Some(last), Ok(rest)) =
            (vacant.last_mut(), u16::try_from(capacity as usize % CHUNK))
            && rest > 0
        {
            *last = rest;
        }
        Self {
            chunks: vec![Vec::new(); chunks],
            vacant,
            strays: HashMap::new(),
            capacity,
            len: 0,
            high_water: 0,
        }
    }

    /// Entries known.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The index an entry has when no other is in its way; may be beyond the capacity.
    const fn home(&self, id: EntryId) -> u32 {
        id.0 & (self.capacity.next_power_of_two() - 1)
    }

    /// Index of an identity.
    pub(crate) fn find(&self, id: EntryId) -> Option<u32> {
        let home = self.home(id);
        if self.record(home).is_some_and(|record| record.id == id) {
            return Some(home);
        }
        if self.strays.is_empty() { None } else { self.strays.get(&id).copied() }
    }

    /// Record at an index, `None` when nobody has it (the card may name any).
    pub(crate) fn record(&self, index: u32) -> Option<&Record> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)?.as_ref()
    }

    /// As [`Self::record`], to change it.
    pub(crate) fn record_mut(&mut self, index: u32) -> Option<&mut Record> {
        self.place(index)?.as_mut()
    }

    fn place(&mut self, index: u32) -> Option<&mut Option<Record>> {
        let index = index as usize;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }

    /// Index for a new identity; `None` when there is no room. [`Self::put`] takes it.
    pub(crate) fn vacancy(&self, id: EntryId) -> Option<u32> {
        let home = self.home(id);
        if home < self.capacity && self.record(home).is_none() {
            return Some(home);
        }
        let chunk = self.vacant.iter().position(|vacant| *vacant > 0)?;
        let place = self.chunks[chunk].iter().position(Option::is_none).unwrap_or(0);
        u32::try_from(chunk * CHUNK + place).ok()
    }

    /// Whether there is such an index and neither it nor the identity is taken.
    pub(crate) fn is_free(&self, index: u32, id: EntryId) -> bool {
        index < self.capacity && self.record(index).is_none() && self.find(id).is_none()
    }

    /// Puts a record at a vacant index below the capacity; [`Self::vacancy`] names one.
    pub(crate) fn put(&mut self, index: u32, record: Record) {
        let (chunk, place) = (index as usize / CHUNK, index as usize % CHUNK);
        if self.chunks[chunk].is_empty() {
            let rest = self.capacity as usize - chunk * CHUNK;
            self.chunks[chunk] = vec![None; rest.min(CHUNK)];
        }
        if index != self.home(record.id) {
            self.strays.insert(record.id, index);
        }
        self.chunks[chunk][place] = Some(record);
        self.vacant[chunk] -= 1;
        self.len += 1;
        self.high_water = self.high_water.max(index + 1);
    }

    /// Takes in a record that the card already has at an index; whether index and identity were free.
    pub(crate) fn adopt(&mut self, index: u32, record: Record) -> bool {
        let is_free = self.is_free(index, record.id);
        if is_free {
            self.put(index, record);
        }
        is_free
    }

    /// Lets a record go.
    pub(crate) fn remove(&mut self, index: u32) -> Option<Record> {
        let record = self.place(index)?.take()?;
        if index != self.home(record.id) {
            self.strays.remove(&record.id);
        }
        self.vacant[index as usize / CHUNK] += 1;
        self.len -= 1;
        Some(record)
    }

    /// One more than the highest index ever in use: counters beyond it were never written.
    pub(crate) const fn high_water(&self) -> u32 {
        self.high_water
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use std::collections::BTreeMap;

    #[test]
    fn an_entry_costs_a_few_dozen_bytes_of_host_memory() {
        assert!(size_of::<Option<Record>>() <= 32);
    }

    fn insert(roster: &mut Roster, record: Record) -> Option<u32> {
        let index = roster.vacancy(record.id)?;
        roster.put(index, record);
        Some(index)
    }

    fn record(id: u32) -> Record {
        Record {
            id: EntryId(id),
            table: TableId(0),
            life: Life::Live,
            born: 0,
            digest: 0,
            slot: 0,
            candidates: Candidates::default(),
        }
    }

    #[test]
    fn an_index_is_reused_only_after_its_owner_left() {
        let mut roster = Roster::new(2);
        assert_eq!(insert(&mut roster, record(7)), Some(1), "its low bits");
        assert_eq!(insert(&mut roster, record(9)), Some(0), "which another has");
        assert_eq!((roster.vacancy(EntryId(8)), insert(&mut roster, record(11))), (None, None));
        assert_eq!((roster.find(EntryId(7)), roster.find(EntryId(9))), (Some(1), Some(0)));
        assert_eq!(roster.remove(1).map(|record| record.id), Some(EntryId(7)));
        assert_eq!((roster.find(EntryId(7)), roster.find(EntryId(9))), (None, Some(0)));
        assert_eq!(insert(&mut roster, record(8)), Some(1));
        assert_eq!((roster.len(), roster.high_water()), (2, 2));
        assert!(roster.record(2).is_none() && roster.remove(5).is_none());
    }

    proptest! {
        #[test]
        fn whatever_identities_come_and_go_each_is_found_at_an_index_of_its_own(
            capacity in 1_u32..3000,
            steps in proptest::collection::vec((any::<bool>(), 1_u32..9000), 0..400),
        ) {
            let mut roster = Roster::new(capacity);
            let mut known = BTreeMap::new();
            for (comes, id) in steps {
                match known.remove(&id) {
                    Some(index) => {
                        let left = roster.remove(index).map(|record| record.id);
                        prop_assert_eq!(left, Some(EntryId(id)));
                    }
                    None if comes => {
                        let vacancy = roster.vacancy(EntryId(id));
                        let index = insert(&mut roster, record(id));
                        prop_assert_eq!(index, vacancy);
                        prop_assert_eq!(index.is_none(), known.len() == capacity as usize);
                        known.extend(index.map(|index| (id, index)));
                    }
                    None => prop_assert_eq!(roster.find(EntryId(id)), None),
                }
                prop_assert_eq!(roster.len(), known.len());
                for (id, index) in &known {
                    prop_assert!(*index < capacity.min(roster.high_water()));
                    prop_assert_eq!(roster.find(EntryId(*id)), Some(*index));
                }
            }
        }
    }
}
