//! Which entry of a table matches a value: found by a digest, in one cache line.
//!
//! Memory is taken once, for as many entries as the table can hold, so nothing is ever moved. A
//! digest that finds its buckets full is not indexed: its match may then be made twice, which
//! wastes a place and no more.

use twinpath_flow::card::EntryId;
use twinpath_flow::key::Line;

/// Entries of a bucket.
const WAYS: usize = 12;

/// Entries per bucket on average, in a full table.
const LOAD: u64 = 10;

/// Buckets in which a digest can be.
const REACH: usize = 32;

/// Entries for which there is memory at most.
const ENTRIES_MAX: u32 = 1 << 24;

/// Nobody: no entry is called 0.
const NOBODY: EntryId = EntryId(0);

/// Added to the words of a value and its mask: digits of the golden ratio and of pi.
const ADDENDS: [u64; 8] = [
    0x9e37_79b9_7f4a_7c15,
    0xf39c_c060_5ced_c834,
    0x1082_276b_f3a2_7251,
    0xf86c_6a11_d0c1_8e95,
    0x4528_21e6_38d0_1377,
    0xbe54_66cf_34e9_0c6c,
    0xc0ac_29b7_c97c_50dd,
    0x3f84_d5b5_b547_0917,
];

/// The low half of a product.
const LOW: u128 = u64::MAX as u128;

/// A digest of what an entry matches.
pub(crate) fn digest(value: &Line, mask: &Line) -> u64 {
    // Products that wait for none of the others.
    let product = |sum: u128, ((value, mask), addend): ((u64, u64), u64)| {
        let factors = (value.wrapping_add(addend), (!mask).wrapping_add(addend >> 7));
        sum.wrapping_add(u128::from(factors.0) * u128::from(factors.1))
    };
    let sum = value.words().into_iter().zip(mask.words()).zip(ADDENDS).fold(0, product);
    let [low, high] = [sum, sum >> 64].map(|half| u64::try_from(half & LOW).expect("masked"));
    let hash = (low ^ high.rotate_left(32)).wrapping_mul(0xd131_0ba6_98df_b5ad);
    let hash = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 29
}

/// A cache line of entries.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Bucket {
    entries: [EntryId; WAYS],
    /// A part of the digest of each.
    tags: [u8; WAYS],
    /// Entries that are further on because they found it full.
    spilled: u16,
}

impl Bucket {
    const EMPTY: Self = Self { entries: [NOBODY; WAYS], tags: [0; WAYS], spilled: 0 };

    fn find(&self, tag: u8, mut is_it: impl FnMut(EntryId) -> bool) -> Option<usize> {
        let mut likely = self.likely(tag);
        // Ends: each turn takes one way out.
        while likely != 0 {
            let way = likely.trailing_zeros() as usize / 8;
            let (known, id) = (self.tags[way], self.entries[way]);
            if known == tag && id != NOBODY && is_it(id) {
                return Some(way);
            }
            likely &= likely - 1;
        }
        None
    }

    /// The highest bit of each byte whose tag is this one, and perhaps of some after such a byte.
    fn likely(&self, tag: u8) -> u128 {
        const LOW: u128 = u128::MAX / 255;
        // Bytes beyond the tags differ from every tag.
        let mut bytes = [!tag; 16];
        bytes[..WAYS].copy_from_slice(&self.tags);
        let differing = u128::from_le_bytes(bytes) ^ (LOW * u128::from(tag));
        differing.wrapping_sub(LOW) & !differing & LOW << 7
    }
}

/// The entries of one table by what they match.
#[derive(Debug)]
pub(crate) struct MatchIndex {
    buckets: Vec<Bucket>,
}

impl MatchIndex {
    /// For a table of `capacity` entries.
    pub(crate) fn new(capacity: u32) -> Self {
        let count = u64::from(capacity.min(ENTRIES_MAX)) / LOAD + 1;
        let count = usize::try_from(count).expect("a few millions");
        Self { buckets: vec![Bucket::EMPTY; count] }
    }

    /// Buckets in which a digest can be, the likeliest first.
    fn places(&self, digest: u64) -> impl Iterator<Item = usize> + use<> {
        let count = self.buckets.len();
        let home = ((digest >> 32) * count as u64) >> 32;
        let home = usize::try_from(home).expect("less than their number");
        (0..REACH.min(count)).map(move |step| (home + step) % count)
    }

    const fn tag(digest: u64) -> u8 {
        digest.to_le_bytes()[0]
    }

    /// Reads where a digest would be: reads that nothing waits for go on side by side.
    pub(crate) fn touch(&self, digest: u64) {
        if let Some(place) = self.places(digest).next() {
            std::hint::black_box(self.buckets[place].spilled);
        }
    }

    /// The entry of this digest of which `is_it` says that it matches.
    pub(crate) fn find(
        &self,
        digest: u64,
        mut is_it: impl FnMut(EntryId) -> bool,
    ) -> Option<EntryId> {
        for place in self.places(digest) {
            let bucket = &self.buckets[place];
            if let Some(way) = bucket.find(Self::tag(digest), &mut is_it) {
                return Some(bucket.entries[way]);
            }
            if bucket.spilled == 0 {
                return None;
            }
        }
        None
    }

    /// Adds an entry of this digest.
    pub(crate) fn add(&mut self, digest: u64, id: EntryId) {
        let vacant = |place: usize| self.buckets[place].entries.iter().position(|e| *e == NOBODY);
        let mut places = self.places(digest).enumerate();
        let found = places.find_map(|(steps, place)| Some((steps, place, vacant(place)?)));
        let Some((steps, place, way)) = found else { return };
        let bucket = &mut self.buckets[place];
        (bucket.entries[way], bucket.tags[way]) = (id, Self::tag(digest));
        for passed in self.places(digest).take(steps) {
            // No more than the next buckets hold.
            self.buckets[passed].spilled += 1;
        }
    }

    /// Takes an entry of this digest out, if it is there.
    pub(crate) fn remove(&mut self, digest: u64, id: EntryId) {
        let way = |place: usize| self.buckets[place].find(Self::tag(digest), |known| known == id);
        let mut places = self.places(digest).enumerate();
        let found = places.find_map(|(steps, place)| Some((steps, place, way(place)?)));
        let Some((steps, place, way)) = found else { return };
        self.buckets[place].entries[way] = NOBODY;
        for passed in self.places(digest).take(steps) {
            self.buckets[passed].spilled -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use std::collections::BTreeMap;

    fn line(word: u32) -> Line {
        let mut line = Line::ZERO;
        line.0[..4].copy_from_slice(&word.to_le_bytes());
        line
    }

    #[test]
    fn a_bucket_is_one_cache_line() {
        assert_eq!(size_of::<Bucket>(), 64);
    }

    #[test]
    fn a_full_table_is_indexed_whole() {
        let mut index = MatchIndex::new(50_000);
        let digests: Vec<u64> = (0..50_000).map(|n| digest(&line(n), &line(u32::MAX))).collect();
        for (id, digest) in (1..).map(EntryId).zip(&digests) {
            index.add(*digest, id);
        }
        let found = |(id, digest): &(EntryId, &u64)| {
            index.find(**digest, |other| other == *id) == Some(*id)
        };
        assert_eq!((1..).map(EntryId).zip(&digests).filter(found).count(), 50_000);
    }

    proptest! {
        #[test]
        fn what_was_added_is_found_until_it_is_removed(
            steps in proptest::collection::vec((any::<bool>(), 1_u32..60), 0..300),
        ) {
            let mut index = MatchIndex::new(60);
            let mut known = BTreeMap::new();
            for (comes, number) in steps {
                // Few digests, so that many are alike.
                let digest = digest(&line(number % 7), &line(1));
                match known.remove(&number) {
                    Some(digest) => index.remove(digest, EntryId(number)),
                    None if comes => {
                        index.add(digest, EntryId(number));
                        known.insert(number, digest);
                    }
                    None => index.remove(digest, EntryId(number)),
                }
                for number in 1..60 {
                    let digest = self::digest(&line(number % 7), &line(1));
                    let found = index.find(digest, |id| id == EntryId(number));
                    let wanted = known.contains_key(&number).then_some(EntryId(number));
                    prop_assert_eq!(found, wanted);
                }
            }
        }
    }
}
