//! Sets of rule groups as rows of bits, each distinct row kept once.

use foldhash::fast::FixedState;
use std::collections::HashMap;

/// A row of [`Sets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row(u32);

/// All rows of a table, of one width.
#[derive(Debug)]
pub(super) struct Sets {
    width: usize,
    words: Vec<u64>,
    places: HashMap<Box<[u64]>, Row, FixedState>,
}

impl Sets {
    /// No rows, for sets of `count` groups.
    pub(super) fn new(count: usize, seed: u64) -> Self {
        let places = HashMap::with_hasher(FixedState::with_seed(seed));
        Self { width: count.div_ceil(64).max(1), words: Vec::new(), places }
    }

    /// An empty set, to be filled.
    pub(super) fn empty(&self) -> Box<[u64]> {
        vec![0; self.width].into()
    }

    /// The row equal to `set`, made when new.
    pub(super) fn intern(&mut self, set: &[u64]) -> Row {
        if let Some(row) = self.places.get(set) {
            return *row;
        }
        let count = self.words.len() / self.width;
        let row = Row(u32::try_from(count).expect("rows are fewer than rules' bits"));
        self.words.extend_from_slice(set);
        self.places.insert(set.into(), row);
        row
    }

    /// Forgets how to find rows: no more are made.
    pub(super) fn finish(&mut self) {
        self.places = HashMap::with_hasher(self.places.hasher().clone());
        self.words.shrink_to_fit();
    }

    /// The words of a row.
    pub(super) fn row(&self, row: Row) -> &[u64] {
        &self.words[row.0 as usize * self.width..][..self.width]
    }

    /// Whether a group is in a row.
    pub(super) fn has(&self, row: Row, group: usize) -> bool {
        self.words[row.0 as usize * self.width + group / 64] >> (group % 64) & 1 != 0
    }
}

/// Adds a group to a set.
pub(super) fn add(set: &mut [u64], group: usize) {
    set[group / 64] |= 1 << (group % 64);
}

/// The set of the first `count` groups, of as many words as `set` has.
pub(super) fn fill(set: &mut [u64], count: usize) {
    let (full, rest) = (count / 64, count % 64);
    set[..full].fill(u64::MAX);
    set[full..].fill(0);
    if rest > 0 {
        set[full] = !(u64::MAX << rest);
    }
}

/// Takes a group out of a set.
pub(super) fn remove(set: &mut [u64], group: usize) {
    set[group / 64] &= !(1 << (group % 64));
}

/// Keeps what is also in `other`.
pub(super) fn keep(set: &mut [u64], other: &[u64]) {
    set.iter_mut().zip(other).for_each(|(word, other)| *word &= other);
}

/// Adds what is in `other`.
pub(super) fn unite(set: &mut [u64], other: &[u64]) {
    set.iter_mut().zip(other).for_each(|(word, other)| *word |= other);
}

/// Whether two sets have a group in common.
pub(super) fn meet(set: &[u64], other: &[u64]) -> bool {
    set.iter().zip(other).any(|(word, other)| word & other != 0)
}

/// The first group at or behind `from`.
pub(super) fn first(set: &[u64], from: usize) -> Option<usize> {
    let mut index = from / 64;
    let mut word = set.get(index)? & (u64::MAX << (from % 64));
    while word == 0 {
        index += 1;
        word = *set.get(index)?;
    }
    Some(index * 64 + word.trailing_zeros() as usize)
}
