//! Values of rules under one mask, only the words that the mask has bits in, found by hash.

use twinpath_flow::key::Key;

/// A slot without a value.
const EMPTY: u32 = u32::MAX;

/// Values under one mask. They are numbered in the order they come in.
#[derive(Debug)]
pub(super) struct Compact {
    /// Words of the key, by index, and the mask's bits there.
    words: Vec<(usize, u64)>,
    metadata_mask: u64,
    /// The words of each value, then its metadata.
    values: Vec<u64>,
    /// Numbers by hash: open addressing, at most half full. Of equal values the first is here.
    slots: Vec<u32>,
    seed: u64,
}

impl Compact {
    /// No values, and room to find `count`.
    pub(super) fn new(mask: &Key, metadata_mask: u64, count: usize, seed: u64) -> Self {
        let words = (0..16).map(|index| (index, word(mask, index)));
        let slots = vec![EMPTY; (count * 2).next_power_of_two()];
        let words = words.filter(|(_, word)| *word != 0).collect();
        Self { words, metadata_mask, values: Vec::new(), slots, seed: seed | 1 }
    }

    /// Adds a value; no more than there is room for.
    pub(super) fn push(&mut self, value: &Key, metadata: u64) {
        let number = self.values.len() / self.stride();
        self.values.extend(self.words.iter().map(|(index, mask)| word(value, *index) & mask));
        self.values.push(metadata & self.metadata_mask);
        if let Err(free) = self.search(value, metadata) {
            self.slots[free] = u32::try_from(number).expect("rules are numbered by 32 bits");
        }
    }

    /// The number of the first value that a key and metadata have.
    pub(super) fn find(&self, key: &Key, metadata: u64) -> Option<usize> {
        self.search(key, metadata).ok()
    }

    /// Its number, or the free slot where it would be.
    fn search(&self, key: &Key, metadata: u64) -> Result<usize, usize> {
        let metadata = metadata & self.metadata_mask;
        let mixed = |hash, word| fold(hash ^ word, self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let hash = self.words.iter().fold(self.seed ^ metadata, |hash, (index, mask)| {
            mixed(hash, word(key, *index) & mask)
        });
        let mut at = slot(hash) & (self.slots.len() - 1);
        // Ends: at most half of the slots are taken.
        loop {
            let number = self.slots[at];
            if number == EMPTY {
                return Err(at);
            }
            let value = self.value(number as usize);
            let words = self.words.iter().zip(value);
            let differs = words
                .fold(value[self.words.len()] ^ metadata, |differs, (own, value)| {
                    differs | ((word(key, own.0) & own.1) ^ value)
                });
            if differs == 0 {
                return Ok(number as usize);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    fn stride(&self) -> usize {
        self.words.len() + 1
    }

    fn value(&self, number: usize) -> &[u64] {
        &self.values[number * self.stride()..][..self.stride()]
    }

    /// Whether a value and a key agree on all `known` bits of the mask.
    pub(super) fn agrees(&self, number: usize, key: &Key, known: &Key) -> bool {
        let words = self.words.iter().zip(self.value(number));
        words.fold(0, |differs, ((index, mask), value)| {
            differs | ((word(key, *index) ^ value) & mask & word(known, *index))
        }) == 0
    }

    /// Whether all bits of the mask are among `known`.
    pub(super) fn is_decided_by(&self, known: &Key) -> bool {
        self.words.iter().all(|(index, mask)| mask & !word(known, *index) == 0)
    }
}

/// A word of 8 bytes of both key lines.
fn word(key: &Key, index: usize) -> u64 {
    let line = if index < 8 { &key.head } else { &key.tail };
    line.0.as_chunks::<8>().0.get(index % 8).map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

#[expect(clippy::cast_possible_truncation, reason = "takes both halves of the product")]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
const fn slot(hash: u64) -> usize {
    hash as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_flow::field::Field;

    #[test]
    fn the_first_of_equal_values_is_found_and_no_other_value() {
        let mask = Key::ZERO.with(Field::IpDst, 0xffff_ff00).with(Field::NdTarget, 0xff);
        let mut compact = Compact::new(&mask, 0x0f, 400, 3);
        let key = |i: u128| Key::ZERO.with(Field::IpDst, i << 8).with(Field::NdTarget, i & 7);
        for i in 0..200 {
            compact.push(&key(i), 1);
            compact.push(&key(i), 1);
        }
        for i in 0..200 {
            let number = usize::try_from(2 * i).expect("small");
            assert_eq!(compact.find(&key(i).with(Field::L4Dst, 9), 0x11), Some(number));
            assert_eq!(compact.find(&key(i), 2), None);
            assert_eq!(compact.find(&key(i + 200), 1), None);
        }
    }
}
