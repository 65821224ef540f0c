//! All tables in the order of precedence, and the counters (`docs/nic-abi.md` §6, §8.3).

use crate::bugs::IGNORED_BYTE;
use crate::entries::{KeyWords, Kind, State, Table, key_bytes, key_words, word32};
use crate::profile::Profile;
use twinpath_abi::completion::Counters;
use twinpath_abi::entry::{NO_ENTRY, field};

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Location {
    pub(crate) table: u8,
    pub(crate) place: u32,
}

/// Tables and counters.
#[derive(Debug)]
pub(crate) struct Tables {
    tables: Vec<Table>,
    counters: Vec<Counters>,
    /// Entry that owns each counter.
    owners: Vec<u32>,
}

impl Tables {
    pub(crate) fn new(profile: &Profile) -> Self {
        let exact = profile.banks.iter().map(|bank| Table::new(Kind::Exact(*bank), bank.places()));
        let mut tables: Vec<Table> = exact.collect();
        tables.push(Table::new(Kind::Ternary, profile.ternary));
        let counters = profile.capacity() as usize;
        Self { tables, counters: vec![Counters::ZERO; counters], owners: vec![NO_ENTRY; counters] }
    }

    pub(crate) fn reset(&mut self) {
        self.tables.iter_mut().for_each(Table::reset);
        self.owners.fill(NO_ENTRY);
    }

    /// Empties all, but for the entries that `stays` picks: they keep words, mask and counter.
    pub(crate) fn reset_but(&mut self, mut stays: impl FnMut() -> bool) {
        let mut stale: Vec<(Location, u32)> = Vec::new();
        for (table, entries) in (0_u8..).zip(&self.tables) {
            for place in entries.places_in(State::Direct).filter(|_| stays()) {
                let owner = word32(entries.entry(place), field::ID);
                stale.push((Location { table, place }, owner));
            }
        }
        let masks: Vec<KeyWords> = self.tables.iter().map(Table::mask).collect();
        self.reset();
        for (at, owner) in stale {
            let counter = self.counter_of(at);
            self.owners[counter] = owner;
            let table = self.of_mut(at);
            table.keep_mask(masks[usize::from(at.table)]);
            table.set_state(at.place, State::Direct);
        }
    }

    /// Breaks an entry chosen by a number; `false` when there is none.
    pub(crate) fn break_entry(&mut self, draw: u64) -> bool {
        let direct = |(table, entries): (u8, &Table)| -> Vec<Location> {
            let places = entries.places_in(State::Direct);
            places.map(|place| Location { table, place }).collect()
        };
        let all: Vec<Location> = (0_u8..).zip(&self.tables).flat_map(direct).collect();
        let index = usize::try_from(draw % (all.len().max(1) as u64)).expect("below a length");
        let Some(at) = all.get(index) else { return false };
        self.of_mut(*at).set_state(at.place, State::Broken);
        true
    }

    /// Broken entries serve again.
    pub(crate) fn mend(&mut self) {
        for table in &mut self.tables {
            let broken: Vec<u32> = table.places_in(State::Broken).collect();
            broken.into_iter().for_each(|place| table.set_state(place, State::Direct));
        }
    }

    /// Entries of all tables.
    pub(crate) fn used(&self) -> u64 {
        self.tables.iter().map(|table| u64::from(table.used())).sum()
    }

    /// Changes a counter.
    pub(crate) fn set_counter(&mut self, counter: u32, value: Counters) {
        self.counters[counter as usize] = value;
    }

    pub(crate) fn table(&self, table: u8) -> Option<&Table> {
        self.tables.get(usize::from(table))
    }

    pub(crate) fn table_mut(&mut self, table: u8) -> Option<&mut Table> {
        self.tables.get_mut(usize::from(table))
    }

    /// The table of an entry that was found.
    pub(crate) fn of(&self, at: Location) -> &Table {
        &self.tables[usize::from(at.table)]
    }

    /// The table of an entry that was found, to change it.
    pub(crate) fn of_mut(&mut self, at: Location) -> &mut Table {
        &mut self.tables[usize::from(at.table)]
    }

    /// The entry a packet of this key and generation meets.
    pub(crate) fn lookup(&self, key: &KeyWords, generation: u32) -> Option<Location> {
        (0_u8..).zip(&self.tables).find_map(|(table, entries)| {
            let place = entries.lookup(key, generation)?;
            Some(Location { table, place })
        })
    }

    /// Every entry that a packet of this key and generation could meet, in the order of precedence.
    pub(crate) fn matching(&self, key: &KeyWords, generation: u32) -> Vec<Location> {
        let of = |(table, entries): (u8, &Table)| {
            let places = entries.matching(key, generation).into_iter();
            places.map(|place| Location { table, place }).collect::<Vec<_>>()
        };
        (0_u8..).zip(&self.tables).flat_map(of).collect()
    }

    /// As [`Self::lookup`] in a card whose first bank does not compare the last byte of ip_src
    /// when nothing else matches.
    pub(crate) fn lookup_wide(&self, key: &KeyWords, generation: u32) -> Option<Location> {
        let right = self.lookup(key, generation);
        if right.is_some() {
            return right;
        }
        let mut other = key_bytes(key);
        (0..=u8::MAX).find_map(|byte| {
            other[IGNORED_BYTE] = byte;
            let place = self.tables.first()?.lookup(&key_words(&other), generation)?;
            Some(Location { table: 0, place })
        })
    }

    /// Counts one packet of the entry.
    pub(crate) fn count(&mut self, at: Location, bytes: usize, now: u64) {
        let counter = self.counter_of(at);
        let counters = &mut self.counters[counter];
        counters.packets = counters.packets.wrapping_add(1);
        counters.bytes = counters.bytes.wrapping_add(bytes as u64);
        counters.last_hit = now;
    }

    /// Counters of the entry.
    pub(crate) fn counters(&self, at: Location) -> Counters {
        self.counters[self.counter_of(at)]
    }

    fn counter_of(&self, at: Location) -> usize {
        word32(self.of(at).entry(at.place), field::COUNTER) as usize
    }

    /// Id of the entry.
    pub(crate) fn id(&self, at: Location) -> u32 {
        word32(self.of(at).entry(at.place), field::ID)
    }

    /// Takes a counter for an entry; false when it does not exist or is in use.
    pub(crate) fn take_counter(&mut self, counter: u32, id: u32) -> bool {
        let index = counter as usize;
        let Some(owner) = self.owners.get_mut(index).filter(|owner| **owner == NO_ENTRY) else {
            return false;
        };
        *owner = id;
        self.counters[index] = Counters::ZERO;
        true
    }

    /// Takes the entry out and returns its counters.
    pub(crate) fn remove(&mut self, at: Location) -> Counters {
        let counter = self.counter_of(at);
        self.owners[counter] = NO_ENTRY;
        self.of_mut(at).set_state(at.place, State::Empty);
        self.counters[counter]
    }

    /// Table, place and id of every entry.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u8, u32, u32)> {
        (0_u8..).zip(&self.tables).flat_map(|(table, entries)| {
            let used = move |place: &u32| entries.state(*place) != State::Empty;
            let id = move |place| (table, place, word32(entries.entry(place), field::ID));
            (0..entries.places()).filter(used).map(id)
        })
    }

    /// Number of counters.
    pub(crate) fn counter_count(&self) -> u32 {
        u32::try_from(self.counters.len()).expect("the profile's capacity is a u32")
    }

    /// A counter and its owner.
    pub(crate) fn record(&self, counter: u32) -> (Counters, u32) {
        let index = counter as usize;
        match self.owners[index] {
            NO_ENTRY => (Counters::ZERO, NO_ENTRY),
            owner => (self.counters[index], owner),
        }
    }
}
