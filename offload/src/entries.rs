//! The entries of a card, and their identities.
//!
//! An identity is the number of the entry's place here plus a multiple of a stride, so that it is
//! found without a search; each use of a place takes the next multiple, so that no identity is used
//! twice. A place whose multiples are used up is left empty.

use crate::ledger::EntryRecord;
use crate::slab::Slab;
use std::collections::VecDeque;
use std::ops::Index;
use twinpath_flow::card::EntryId;

/// Least number of places that identities provide for.
const STRIDE_MIN: u32 = 1 << 16;

/// Most.
const STRIDE_MAX: u32 = 1 << 28;

/// Uses of a place of which a process that was killed may have left no trace.
const USES_MARGIN: u32 = 16;

/// Entries by identity.
#[derive(Debug)]
pub(crate) struct Entries {
    records: Slab<EntryRecord>,
    /// Places that identities provide for; a power of two.
    stride: u32,
    /// How often places that were found vacant in a card that was taken over may have been used.
    uses: u32,
    /// Identities that vacant places have next, the longest vacant first.
    next: VecDeque<EntryId>,
    len: usize,
}

impl Entries {
    /// None yet, of a card for at most `capacity`.
    pub(crate) fn new(capacity: u64) -> Self {
        let places = u32::try_from(2 * capacity).unwrap_or(u32::MAX).min(STRIDE_MAX);
        let stride = places.next_power_of_two().clamp(STRIDE_MIN, STRIDE_MAX);
        Self { records: Slab::default(), stride, uses: 0, next: VecDeque::new(), len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether no identity is left.
    pub(crate) fn ids_exhausted(&self) -> bool {
        self.next.is_empty() && self.records.numbers() >= self.stride as usize
    }

    /// The identity that [`Self::insert`] uses next.
    ///
    /// # Panics
    /// When none is left: the caller has asked.
    pub(crate) fn next_id(&self) -> EntryId {
        self.next.front().copied().unwrap_or_else(|| {
            let number = u32::try_from(self.records.numbers()).expect("at most the stride");
            assert!(number < self.stride, "entry identities are used up");
            // No entry is called 0.
            EntryId(if number == 0 { self.stride } else { number })
        })
    }

    /// Adds an entry; its identity is [`Self::next_id`].
    pub(crate) fn insert(&mut self, record: EntryRecord) -> EntryId {
        let id = self.next_id();
        self.len += 1;
        match self.next.pop_front() {
            None => self.records.push(record),
            Some(_) => {
                let number = self.number(id);
                let slot = self.records.slot_mut(number);
                *slot.expect("it had an entry before") = Some(record);
            }
        }
        id
    }

    /// Makes room for entries of a card that is taken over, and goes on behind their identities.
    /// [`Self::adopt`] brings them, then [`Self::open_vacancies`].
    pub(crate) fn resume(&mut self, known: impl Iterator<Item = EntryId>) {
        let (mut numbers, mut uses) = (0, 0);
        for id in known {
            numbers = numbers.max(self.number(id) + 1);
            uses = uses.max(id.0 / self.stride);
        }
        self.records.extend_vacant(numbers);
        self.uses = uses.saturating_add(USES_MARGIN);
    }

    /// Takes in an entry under its own identity, whose number is vacant.
    pub(crate) fn adopt(&mut self, record: EntryRecord) {
        let number = self.number(record.id());
        if let Some(slot) = self.records.slot_mut(number).filter(|slot| slot.is_none()) {
            *slot = Some(record);
            self.len += 1;
        }
    }

    /// Gives identities that were never used to the vacant places.
    pub(crate) fn open_vacancies(&mut self) {
        let (stride, uses) = (self.stride, self.uses);
        let fresh = |number: usize| {
            let number = u32::try_from(number).ok()?;
            let id = uses.checked_mul(stride)?.checked_add(number)?;
            (id != u32::MAX).then_some(EntryId(id))
        };
        let vacant = self.records.iter().enumerate().filter(|(_, record)| record.is_none());
        self.next = vacant.filter_map(|(number, _)| fresh(number)).collect();
    }

    /// Whether no entry has the identity's number.
    pub(crate) fn is_vacant(&self, id: EntryId) -> bool {
        self.records.get(self.number(id)).is_none()
    }

    const fn number(&self, id: EntryId) -> usize {
        (id.0 & (self.stride - 1)) as usize
    }

    pub(crate) fn get(&self, id: &EntryId) -> Option<&EntryRecord> {
        self.records.get(self.number(*id)).filter(|record| record.id() == *id)
    }

    pub(crate) fn get_mut(&mut self, id: &EntryId) -> Option<&mut EntryRecord> {
        self.records.get_mut(self.number(*id)).filter(|record| record.id() == *id)
    }

    pub(crate) fn remove(&mut self, id: EntryId) -> Option<EntryRecord> {
        self.get(&id)?;
        let number = self.number(id);
        let record = self.records.slot_mut(number)?.take()?;
        self.len -= 1;
        // The greatest number means "none" to a card.
        if let Some(next) = id.0.checked_add(self.stride).filter(|next| *next != u32::MAX) {
            self.next.push_back(EntryId(next));
        }
        Some(record)
    }

    /// All entries, by place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &EntryRecord> {
        self.records.iter().flatten()
    }
}

impl Index<&EntryId> for Entries {
    type Output = EntryRecord;

    fn index(&self, id: &EntryId) -> &EntryRecord {
        self.get(id).expect("the caller knows the entry")
    }
}
