//! The entries in the card and where each lives.
//!
//! A slab of records addressed by a dense index, which is the entry's counter in the card and the
//! cuckoo placer's occupant; and a map from [`EntryId`] to it. All memory is taken at bring-up for the card's capacity.

use super::placement::Candidates;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
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

/// Hash of identities that the host hands out in sequence: one multiplication spreads them, and
/// nobody hostile chooses them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }
    fn write_u32(&mut self, value: u32) {
        self.0 = (self.0 ^ u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

/// All entries of the card.
#[derive(Debug)]
pub(crate) struct Roster {
    records: Vec<Option<Record>>,
    free: Vec<u32>,
    by_id: HashMap<u32, u32, BuildHasherDefault<IdHasher>>,
    high_water: u32,
}

impl Roster {
    /// Room for `capacity` entries.
    pub(crate) fn new(capacity: u32) -> Self {
        Self {
            records: vec![None; capacity as usize],
            free: (0..capacity).rev().collect(),
            by_id: HashMap::with_capacity_and_hasher(
                capacity as usize,
                BuildHasherDefault::default(),
            ),
            high_water: 0,
        }
    }

    /// Entries known.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Index of an identity.
    pub(crate) fn find(&self, id: EntryId) -> Option<u32> {
        self.by_id.get(&id.0).copied()
    }

    /// Record at an index, `None` when nobody has it (the card may name any).
    pub(crate) fn record(&self, index: u32) -> Option<&Record> {
        self.records.get(index as usize)?.as_ref()
    }

    /// As [`Self::record`], to change it.
    pub(crate) fn record_mut(&mut self, index: u32) -> Option<&mut Record> {
        self.records.get_mut(index as usize)?.as_mut()
    }

    /// Index the next [`Self::insert`] will use.
    pub(crate) fn vacancy(&self) -> Option<u32> {
        self.free.last().copied()
    }

    /// Takes in a record whose identity is new; `None` when there is no room.
    pub(crate) fn insert(&mut self, record: Record) -> Option<u32> {
        let index = self.free.pop()?;
        let earlier = self.by_id.insert(record.id.0, index);
        assert!(earlier.is_none(), "identity inserted twice");
        self.records[index as usize] = Some(record);
        self.high_water = self.high_water.max(index + 1);
        Some(index)
    }

    /// Lets a record go.
    pub(crate) fn remove(&mut self, index: u32) -> Option<Record> {
        let record = self.records.get_mut(index as usize)?.take()?;
        self.by_id.remove(&record.id.0);
        self.free.push(index);
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

    #[test]
    fn an_entry_costs_a_few_dozen_bytes_of_host_memory() {
        assert!(size_of::<Option<Record>>() <= 32);
    }

    #[test]
    fn an_index_is_reused_only_after_its_owner_left() {
        let record = |id| Record {
            id: EntryId(id),
            table: TableId(0),
            life: Life::Live,
            born: 0,
            digest: 0,
            slot: 0,
            candidates: Candidates::default(),
        };
        let mut roster = Roster::new(2);
        assert_eq!(roster.insert(record(7)), Some(0));
        assert_eq!(roster.insert(record(8)), Some(1));
        assert_eq!((roster.vacancy(), roster.insert(record(9))), (None, None));
        assert_eq!(roster.remove(0).map(|record| record.id), Some(EntryId(7)));
        assert_eq!((roster.find(EntryId(7)), roster.find(EntryId(8))), (None, Some(1)));
        assert_eq!(roster.insert(record(9)), Some(0));
        assert_eq!((roster.len(), roster.high_water()), (2, 2));
        assert!(roster.record(2).is_none() && roster.remove(5).is_none());
    }
}
