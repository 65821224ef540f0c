//! What the driver notes for a driver to come, in the DMA memory that outlives it: the device cannot be
//! asked what it holds.
//!
//! A page for what is being added now, then a record for each entry. Commands end within the doorbell's
//! store, so a driver that is killed at any moment leaves at most one command of which it is not known
//! whether it was carried out; its flow or group is on the page before it is asked for. A record is written when all
//! of its entry is in the device, and says that it leaves before the first of it is taken out. The
//! device could scribble here, as in all of this memory: check words find what is not ours.

use super::io::RockerIo;
use crate::digest::digest;
use twinpath_abi::bus::Iova;
use twinpath_abi::key::KEY_BYTES;
use twinpath_flow::card::EntryId;
use twinpath_flow::key::Line;

/// "RKNOTES" and the version of this layout.
const MAGIC: u64 = u64::from_le_bytes(*b"RKNOTES1");
/// Offset of the digest of how the switch is set up.
const DIGEST: u64 = 8;
/// Offset of the number of things being added.
const COUNT: u64 = 16;
/// Offset of the things being added.
const UNDER_WAY: u64 = 64;
/// Most of them: two flows, each with a flood group of 62 rewritten ways out.
const UNDER_WAY_MAX: usize = 2 * (1 + GROUPS_MAX / 2);
/// Bytes before the first record.
const HEAD_BYTES: usize = 4096;
/// Groups of an entry: two flows, each with a flood group of 62 rewritten ways out.
const GROUPS_MAX: usize = 2 * (1 + 2 * 62);
/// Bytes of a record: state, check word, numbers, match, groups.
const RECORD_BYTES: usize = (64 + 2 * KEY_BYTES + 4 * GROUPS_MAX).next_multiple_of(64);
/// Marks a thing being added as a group.
const GROUP: u64 = 1 << 63;

/// Bytes for so many entries.
pub(crate) const fn bytes(entries: u32) -> usize {
    HEAD_BYTES + entries as usize * RECORD_BYTES
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum State {
    Free = 0,
    Installed = 0x1b5_7a11,
    Leaving = 0x1ea_7e5,
}

/// An entry that is, or was, in the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Identity.
    pub id: EntryId,
    /// Key of its first flow; the others follow.
    pub first: u64,
    /// Flows.
    pub flows: u32,
    /// Digest of what was to be installed.
    pub digest: u64,
    /// Value and mask of its match.
    pub matching: (Line, Line),
    /// Keys of its groups, in the order in which its flows name them.
    pub groups: Vec<u32>,
}

/// A record found, and where.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Its slot.
    pub slot: u32,
    /// What it says.
    pub record: Record,
    /// Whether its entry was not being taken out.
    pub serves: bool,
}

/// What was being added when the driver ended: keys of flows, keys of groups.
pub(crate) type UnderWay = (Vec<u64>, Vec<u32>);

/// The notes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notes {
    base: Iova,
    entries: u32,
    /// Whether what is added is noted: not while the switch is set up.
    pub is_begun: bool,
    count: usize,
}

impl Notes {
    pub(crate) const fn new(base: Iova, entries: u32) -> Self {
        Self { base, entries, is_begun: false, count: 0 }
    }

    /// Begins: the switch is set up by `layout`, without an entry.
    pub(crate) fn begin(&mut self, io: &impl RockerIo, layout: u64) {
        for slot in 0..self.entries {
            self.set_state(io, slot, State::Free);
        }
        self.put(io, DIGEST, layout);
        self.put(io, COUNT, 0);
        self.put(io, 0, MAGIC);
        self.is_begun = true;
    }

    /// Says that there is nothing to take over.
    pub(crate) fn forget(&mut self, io: &impl RockerIo) {
        self.put(io, 0, 0);
        self.is_begun = false;
    }

    /// Takes notes over: what is in the device and what was being added; `None` when these are not
    /// notes on a switch that is set up so.
    pub(crate) fn take_over(
        &mut self,
        io: &impl RockerIo,
        layout: u64,
    ) -> Option<(Vec<Found>, UnderWay)> {
        if self.word(io, 0) != MAGIC || self.word(io, DIGEST) != layout {
            return None;
        }
        let count = usize::try_from(self.word(io, COUNT)).ok()?;
        self.count = Some(count).filter(|count| *count <= UNDER_WAY_MAX)?;
        self.is_begun = true;
        let (mut flows, mut groups) = (Vec::new(), Vec::new());
        for index in 0..self.count {
            let thing = self.word(io, UNDER_WAY + 8 * index as u64);
            match u32::try_from(thing & !GROUP) {
                Ok(group) if thing & GROUP != 0 => groups.push(group),
                _ => flows.push(thing),
            }
        }
        let mut found = Vec::new();
        for slot in 0..self.entries {
            let state = self.word(io, self.place(slot));
            if state != State::Free as u64 {
                let record = self.read(io, slot)?;
                found.push(Found { slot, record, serves: state == State::Installed as u64 });
            }
        }
        Some((found, (flows, groups)))
    }

    /// Notes a flow that is about to be added.
    pub(crate) fn adds_flow(&mut self, io: &impl RockerIo, cookie: u64) {
        self.add(io, cookie);
    }

    /// Notes a group that is about to be added.
    pub(crate) fn adds_group(&mut self, io: &impl RockerIo, group: u32) {
        self.add(io, GROUP | u64::from(group));
    }

    fn add(&mut self, io: &impl RockerIo, thing: u64) {
        if self.is_begun && self.count < UNDER_WAY_MAX {
            self.put(io, UNDER_WAY + 8 * self.count as u64, thing);
            self.count += 1;
            self.put(io, COUNT, self.count as u64);
        }
    }

    /// Notes that nothing is being added any more: it has a record, or is out again.
    pub(crate) fn settled(&mut self, io: &impl RockerIo) {
        if self.is_begun {
            self.count = 0;
            self.put(io, COUNT, 0);
        }
    }

    /// Notes an entry that is in the device.
    pub(crate) fn installed(&self, io: &impl RockerIo, slot: u32, record: &Record) {
        let at = self.base.plus(self.place(slot));
        let bytes = encode(record);
        io.copy_in(at.plus(16), &bytes);
        io.copy_in(at.plus(8), &check(slot, &bytes).to_le_bytes());
        self.set_state(io, slot, State::Installed);
    }

    /// Notes that an entry is about to be taken out.
    pub(crate) fn leaves(&self, io: &impl RockerIo, slot: u32) {
        self.set_state(io, slot, State::Leaving);
    }

    /// Notes that nothing is left of an entry.
    pub(crate) fn left(&self, io: &impl RockerIo, slot: u32) {
        self.set_state(io, slot, State::Free);
    }

    fn read(&self, io: &impl RockerIo, slot: u32) -> Option<Record> {
        let at = self.place(slot);
        let mut bytes = [0; RECORD_BYTES - 16];
        io.copy_out(self.base.plus(at + 16), &mut bytes);
        (self.word(io, at + 8) == check(slot, &bytes)).then(|| decode(&bytes))?
    }

    /// Offset of a record.
    const fn place(&self, slot: u32) -> u64 {
        HEAD_BYTES as u64 + slot as u64 * RECORD_BYTES as u64
    }

    fn set_state(&self, io: &impl RockerIo, slot: u32, state: State) {
        self.put(io, self.place(slot), state as u64);
    }

    fn put(&self, io: &impl RockerIo, offset: u64, word: u64) {
        io.copy_in(self.base.plus(offset), &word.to_le_bytes());
    }

    fn word(&self, io: &impl RockerIo, offset: u64) -> u64 {
        io.load64(self.base.plus(offset))
    }
}

/// Check word of a record.
fn check(slot: u32, bytes: &[u8]) -> u64 {
    digest([&slot.to_le_bytes()[..], bytes])
}

fn encode(record: &Record) -> [u8; RECORD_BYTES - 16] {
    let mut bytes = [0; RECORD_BYTES - 16];
    let count = u32::try_from(record.groups.len()).unwrap_or(u32::MAX);
    let (value, mask) = &record.matching;
    let numbers = [record.id.0, record.flows, count].into_iter().flat_map(u32::to_le_bytes);
    let words = [record.first, record.digest].into_iter().flat_map(u64::to_le_bytes);
    let keys = value.0.iter().chain(&mask.0).copied();
    let groups = record.groups.iter().flat_map(|group| group.to_le_bytes());
    let all = numbers.chain([0; 4]).chain(words).chain(keys).chain(groups);
    bytes.iter_mut().zip(all).for_each(|(to, from)| *to = from);
    bytes
}

fn decode(bytes: &[u8; RECORD_BYTES - 16]) -> Option<Record> {
    let (numbers, rest) = bytes.split_first_chunk::<16>()?;
    let (words, rest) = rest.split_first_chunk::<16>()?;
    let (value, rest) = rest.split_first_chunk::<KEY_BYTES>()?;
    let (mask, rest) = rest.split_first_chunk::<KEY_BYTES>()?;
    let small = |at: usize| numbers[at..].first_chunk().copied().map(u32::from_le_bytes);
    let long = |at: usize| words[at..].first_chunk().copied().map(u64::from_le_bytes);
    let count = usize::try_from(small(8)?).ok().filter(|count| *count <= GROUPS_MAX)?;
    let groups = rest.as_chunks::<4>().0.iter().take(count);
    Some(Record {
        id: EntryId(small(0)?),
        first: long(0)?,
        flows: small(4)?,
        digest: long(8)?,
        matching: (Line(*value), Line(*mask)),
        groups: groups.map(|group| u32::from_le_bytes(*group)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for groups in [0, 1, GROUPS_MAX] {
            let record = Record {
                id: EntryId(7),
                first: 1 << 40,
                flows: 2,
                digest: 99,
                matching: (Line([5; KEY_BYTES]), Line([255; KEY_BYTES])),
                groups: (1..).take(groups).collect(),
            };
            assert_eq!(decode(&encode(&record)), Some(record));
        }
    }

    #[test]
    fn a_record_that_names_too_many_groups_is_none() {
        let mut bytes = [0; RECORD_BYTES - 16];
        bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decode(&bytes), None);
    }
}
