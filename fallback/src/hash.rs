//! The seeded hash of masked keys.
//!
//! Each pair of words is multiplied to 128 bits and folded (the mixing of wyhash); secrets come
//! from the seed, so that nobody who does not know it can make keys collide.

use twinpath_flow::key::{Key, Line};

/// Secrets of the hash.
#[derive(Clone, Debug)]
pub(crate) struct KeyHasher {
    secrets: [u64; 16],
    /// The same as keys of AES rounds.
    round_keys: [[u8; 16]; 8],
    /// Keys for four parts at once.
    wide_keys: [[u8; 64]; 4],
}

impl KeyHasher {
    /// Derives the secrets from a seed (splitmix64).
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        };
        let secrets = std::array::from_fn(|_| next());
        let round_key = |i: usize| {
            let pair = [secrets[2 * i], secrets[2 * i + 1]].map(u64::to_le_bytes);
            *pair.as_flattened().first_chunk().expect("two words")
        };
        let round_keys = std::array::from_fn(round_key);
        let mut wide_key = || {
            let words: [_; 8] = std::array::from_fn(|_| next().to_le_bytes());
            *words.as_flattened().first_chunk().expect("eight words")
        };
        Self { secrets, round_keys, wide_keys: std::array::from_fn(|_| wide_key()) }
    }

    /// Hash of `key & mask`.
    #[inline(always)]
    pub(crate) fn hash(&self, key: &Key, mask: &Key) -> u64 {
        let (low, high) = self.secrets.split_at(8);
        let mut hash = fold_line(&key.head, &mask.head, low);
        if !mask.tail.is_zero() {
            hash ^= fold_line(&key.tail, &mask.tail, high);
        }
        fold(hash, self.secrets[0] | 1)
    }

    /// Keys for a hash by AES rounds.
    #[inline(always)]
    pub(crate) const fn round_keys(&self) -> &[[u8; 16]; 8] {
        &self.round_keys
    }

    /// The same for four parts of 16 bytes at once.
    #[inline(always)]
    pub(crate) const fn wide_keys(&self) -> &[[u8; 64]; 4] {
        &self.wide_keys
    }

    /// Hash of a whole key's first line, when its second is zero.
    #[inline(always)]
    pub(crate) fn hash_head(&self, head: &Line) -> u64 {
        const ALL: Line = Line([0xff; 64]);
        let (low, _) = self.secrets.split_at(8);
        fold(fold_line(head, &ALL, low), self.secrets[0] | 1)
    }

    /// What the second line of a key adds to the hash of its first.
    pub(crate) fn hash_tail(&self, tail: &Line) -> u64 {
        const ALL: Line = Line([0xff; 64]);
        let (_, high) = self.secrets.split_at(8);
        fold_line(tail, &ALL, high)
    }
}

#[inline(always)]
fn fold_line(line: &Line, mask: &Line, secrets: &[u64]) -> u64 {
    let (words, mask) = (line.words(), mask.words());
    (0..8).step_by(2).fold(0, |hash: u64, i| {
        let a = (words[i] & mask[i]) ^ secrets[i];
        let b = (words[i + 1] & mask[i + 1]) ^ secrets[i + 1];
        hash.wrapping_add(fold(a, b)).rotate_left(7)
    })
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "takes both halves of the product")]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_flow::field::Field;

    #[test]
    fn masked_bits_do_not_change_the_hash_and_others_do() {
        let hasher = KeyHasher::new(1);
        let mask = Key::ZERO.with(Field::IpDst, 0xffff_ff00).with(Field::TunSrc, 0xff);
        let hash = |dst, tun| {
            hasher.hash(&Key::ZERO.with(Field::IpDst, dst).with(Field::TunSrc, tun), &mask)
        };
        assert_eq!(hash(0x0a00_0001, 1), hash(0x0a00_00ff, 1));
        assert_ne!(hash(0x0a00_0001, 1), hash(0x0a00_0101, 1));
        assert_ne!(hash(0x0a00_0001, 1), hash(0x0a00_0001, 2));
        assert_ne!(KeyHasher::new(2).hash(&Key::ZERO, &mask), hasher.hash(&Key::ZERO, &mask));
    }

    #[test]
    fn counting_keys_spread_evenly() {
        let hasher = KeyHasher::new(7);
        let mut hits = [0_u32; 256];
        for count in 0..65536 {
            let key = Key::ZERO.with(Field::IpSrc, 0x0a00_0000 + count);
            hits[(hasher.hash_head(&key.head) % 256) as usize] += 1;
        }
        // 256 on average with a standard deviation of 16.
        assert!(hits.iter().all(|hits| (150..370).contains(hits)), "{hits:?}");
    }
}
