//! The inner steps of the packet path in the instructions of each kernel.
//!
//! [`Scalar`] is the reference: the others give the same results (tests below), but for the hash, of
//! which each kernel has its own; it is used within one run only.

#![expect(unsafe_code, reason = "code for instructions that not every processor has")]

use crate::hash::KeyHasher;
use crate::quick::{self, Quick};
use twinpath_flow::key::Line;
use twinpath_flow::port::PortNo;

/// The steps. Types other than [`Scalar`] may only be used on processors that have their
/// instructions: they are named only in functions compiled for these.
pub(crate) trait Isa {
    /// What one frame tells the next about where to look first.
    type Hint: Copy + Default;

    /// Hash of the first line of a key whose second is zero.
    fn hash(hasher: &KeyHasher, head: &Line) -> u64;

    /// Whether `one` and `other` agree on the bits of `mask`.
    fn agree(one: &Line, other: &Line, mask: &Line) -> bool;

    /// The element of `set` whose upper half is that of `hash`, else 0.
    fn find(set: &[u64; 4], hash: u64) -> u64;

    /// As [`quick::read`].
    fn read(
        line: &[u8; 64],
        len: usize,
        from: (PortNo, &mut Self::Hint),
        head: &mut Line,
    ) -> Option<Quick>;
}

/// What every processor has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scalar;

impl Isa for Scalar {
    type Hint = ();

    #[inline(always)]
    fn hash(hasher: &KeyHasher, head: &Line) -> u64 {
        hasher.hash_head(head)
    }

    #[inline(always)]
    fn agree(one: &Line, other: &Line, mask: &Line) -> bool {
        let (one, other, mask) = (one.words(), other.words(), mask.words());
        (0..8).fold(0, |differ, i| differ | ((one[i] ^ other[i]) & mask[i])) == 0
    }

    #[inline(always)]
    fn find(set: &[u64; 4], hash: u64) -> u64 {
        set.iter().fold(0, |found, one| if one >> 32 == hash >> 32 { *one } else { found })
    }

    #[inline(always)]
    fn read(
        line: &[u8; 64],
        len: usize,
        (port, ()): (PortNo, &mut ()),
        head: &mut Line,
    ) -> Option<Quick> {
        quick::read(line, len, port, head)
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Isa, KeyHasher, Line, PortNo, Quick, quick};
    use crate::quick::{TEMPLATES, Template};
    use std::arch::x86_64::{
        __m128i, __m256i, __m512i, _mm_aesenc_si128, _mm_cvtsi128_si64, _mm_loadu_si128,
        _mm_xor_si128, _mm256_and_si256, _mm256_castsi256_pd, _mm256_castsi256_si128,
        _mm256_cmpeq_epi64, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_movemask_pd,
        _mm256_or_si256, _mm256_set1_epi64x, _mm256_srli_epi64, _mm256_testz_si256,
        _mm256_xor_si256, _mm512_aesenc_epi128, _mm512_and_si512, _mm512_castsi512_si128,
        _mm512_castsi512_si256, _mm512_extracti64x4_epi64, _mm512_loadu_si512,
        _mm512_maskz_permutexvar_epi8, _mm512_maskz_set1_epi16, _mm512_or_si512,
        _mm512_storeu_si512, _mm512_test_epi8_mask, _mm512_test_epi64_mask, _mm512_xor_si512,
    };

    /// AVX2, BMI and AES.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Avx2;

    impl Isa for Avx2 {
        type Hint = ();

        #[inline(always)]
        fn hash(hasher: &KeyHasher, head: &Line) -> u64 {
            // SAFETY: whoever names `Avx2` is compiled for a superset of these features and runs
            // only where they are (see the trait).
            unsafe { hash(hasher, head) }
        }

        #[inline(always)]
        fn agree(one: &Line, other: &Line, mask: &Line) -> bool {
            // SAFETY: as above.
            unsafe { agree_by_32(one, other, mask) }
        }

        #[inline(always)]
        fn find(set: &[u64; 4], hash: u64) -> u64 {
            // SAFETY: as above.
            unsafe { find(set, hash) }
        }

        #[inline(always)]
        fn read(
            line: &[u8; 64],
            len: usize,
            (port, ()): (PortNo, &mut ()),
            head: &mut Line,
        ) -> Option<Quick> {
            quick::read(line, len, port, head)
        }
    }

    /// AVX-512 with byte permutations, and AES.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Avx512;

    impl Isa for Avx512 {
        /// Number of the template that fitted last.
        type Hint = u8;

        #[inline(always)]
        fn hash(hasher: &KeyHasher, head: &Line) -> u64 {
            // SAFETY: whoever names `Avx512` is compiled for a superset of these features and runs
            // only where they are (see the trait).
            unsafe { hash_by_64(hasher, head) }
        }

        #[inline(always)]
        fn agree(one: &Line, other: &Line, mask: &Line) -> bool {
            // SAFETY: as above.
            unsafe { agree_by_64(one, other, mask) }
        }

        #[inline(always)]
        fn find(set: &[u64; 4], hash: u64) -> u64 {
            // SAFETY: as above.
            unsafe { find(set, hash) }
        }

        #[inline(always)]
        fn read(
            line: &[u8; 64],
            len: usize,
            (port, hint): (PortNo, &mut u8),
            head: &mut Line,
        ) -> Option<Quick> {
            // SAFETY: as above.
            unsafe { read_by_template(line, len, (port, hint), head) }
        }
    }

    /// Two AES rounds for every 16 bytes: keyed by secrets, not linear, so that nobody who does not
    /// know them can make keys collide.
    #[target_feature(enable = "aes")]
    #[inline]
    fn hash(hasher: &KeyHasher, head: &Line) -> u64 {
        let load = |bytes: &[u8; 16]| -> __m128i {
            // SAFETY: 16 readable bytes; the load needs no alignment.
            unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
        };
        let keys = hasher.round_keys();
        let mut state = load(&keys[4]);
        for (part, key) in head.0.as_chunks::<16>().0.iter().zip(keys) {
            state = _mm_aesenc_si128(_mm_xor_si128(state, load(part)), load(key));
            state = _mm_aesenc_si128(state, load(&keys[5]));
        }
        state = _mm_aesenc_si128(state, load(&keys[6]));
        _mm_cvtsi128_si64(state).cast_unsigned()
    }

    /// The same rounds for all four parts at once, each under keys of its own; then they are folded.
    #[target_feature(enable = "avx512f,aes,vaes")]
    #[inline]
    fn hash_by_64(hasher: &KeyHasher, head: &Line) -> u64 {
        let keys = hasher.wide_keys();
        let mut state = _mm512_xor_si512(load(&head.0), load(&keys[0]));
        state = _mm512_aesenc_epi128(state, load(&keys[1]));
        state = _mm512_aesenc_epi128(state, load(&keys[2]));
        let half =
            _mm256_xor_si256(_mm512_castsi512_si256(state), _mm512_extracti64x4_epi64::<1>(state));
        let part = _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
        let key = _mm512_castsi512_si128(load(&keys[3]));
        let part = _mm_aesenc_si128(_mm_aesenc_si128(part, key), key);
        _mm_cvtsi128_si64(part).cast_unsigned()
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn find(set: &[u64; 4], hash: u64) -> u64 {
        // SAFETY: 32 readable bytes; the load needs no alignment.
        let all = unsafe { _mm256_loadu_si256(set.as_ptr().cast()) };
        let wanted = _mm256_set1_epi64x((hash >> 32).cast_signed());
        let equal = _mm256_cmpeq_epi64(_mm256_srli_epi64::<32>(all), wanted);
        let places = _mm256_movemask_pd(_mm256_castsi256_pd(equal)).cast_unsigned();
        set.get(places.trailing_zeros() as usize).copied().unwrap_or_default()
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn agree_by_32(one: &Line, other: &Line, mask: &Line) -> bool {
        let load = |bytes: &[u8; 32]| -> __m256i {
            // SAFETY: 32 readable bytes; the load needs no alignment.
            unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
        };
        let halves = |line: &'_ Line| -> [__m256i; 2] {
            let halves = line.0.as_chunks::<32>().0;
            [load(&halves[0]), load(&halves[1])]
        };
        let (one, other, mask) = (halves(one), halves(other), halves(mask));
        let differ =
            |half: usize| _mm256_and_si256(_mm256_xor_si256(one[half], other[half]), mask[half]);
        let all = _mm256_or_si256(differ(0), differ(1));
        _mm256_testz_si256(all, all) == 1
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn load(bytes: &[u8; 64]) -> __m512i {
        // SAFETY: 64 readable bytes; the load needs no alignment.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn agree_by_64(one: &Line, other: &Line, mask: &Line) -> bool {
        let differ = _mm512_xor_si512(load(&one.0), load(&other.0));
        _mm512_test_epi64_mask(differ, load(&mask.0)) == 0
    }

    /// Compares the line with each template under its mask, the one that fitted last first; the key
    /// is then a permutation of the line's bytes.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    #[inline]
    fn read_by_template(
        line: &[u8; 64],
        len: usize,
        (port, hint): (PortNo, &mut u8),
        head: &mut Line,
    ) -> Option<Quick> {
        let bytes = load(line);
        let fits = |template: &Template| {
            let differ = _mm512_xor_si512(bytes, load(&template.want));
            _mm512_test_epi8_mask(differ, load(&template.care)) == 0
        };
        let last = &TEMPLATES[usize::from(*hint) % TEMPLATES.len()];
        let template = if fits(last) {
            last
        } else {
            let (number, template) = (0..).zip(&TEMPLATES).find(|(_, template)| fits(template))?;
            *hint = number;
            template
        };
        if !template.is_long_enough(line, len) {
            return None;
        }
        let moved = _mm512_maskz_permutexvar_epi8(template.from_line, load(&template.from), bytes);
        let kept = _mm512_and_si512(moved, load(&template.keep));
        let port = _mm512_maskz_set1_epi16(1, port.0.to_be().cast_signed());
        let key = _mm512_or_si512(_mm512_or_si512(kept, load(&template.set)), port);
        // SAFETY: 64 writable bytes; the store needs no alignment.
        unsafe { _mm512_storeu_si512(head.0.as_mut_ptr().cast(), key) };
        Some(template.quick)
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::kernel::Kernel;
    use twinpath_flow::sample::{self, Random, Tunnels};

    fn line(frame: &[u8]) -> [u8; 64] {
        let mut line = [0x5a; 64];
        let length = frame.len().min(64);
        line[..length].copy_from_slice(&frame[..length]);
        line
    }

    #[test]
    fn templates_read_what_the_scalar_code_reads() {
        if !Kernel::Avx512.is_here() {
            return;
        }
        let mut random = Random::new(5);
        let (mut hint, mut read) = (0, 0);
        for _ in 0..100 {
            let ports = sample::port_table(&mut random, Tunnels::None);
            for _ in 0..300 {
                let (port, mut frame) = sample::frame(&mut random, &ports);
                if random.chance(50) && !frame.is_empty() {
                    let at = random.below(frame.len().min(60));
                    frame[at] = u8::try_from(random.below(256)).expect("a byte");
                }
                if random.chance(20) {
                    frame.truncate(random.below(frame.len() + 1));
                }
                let (line, len) = (line(&frame), frame.len());
                let (mut one, mut other) = (Line::ZERO, Line([0x5a; 64]));
                let scalar = quick::read(&line, len, port, &mut one);
                let avx512 = Avx512::read(&line, len, (port, &mut hint), &mut other);
                assert_eq!(scalar, avx512, "{frame:02x?}");
                if scalar.is_some() {
                    assert_eq!(one, other, "{frame:02x?}");
                    read += 1;
                }
            }
        }
        assert!(read > 3_000, "only {read} frames were read");
    }

    #[test]
    fn all_kernels_agree_on_agreement() {
        let mut random = Random::new(6);
        let mut drawn = |share: usize| {
            let byte = |_| {
                let byte = u8::try_from(random.below(256)).expect("a byte");
                if random.chance(share) { byte } else { 0 }
            };
            Line(std::array::from_fn(byte))
        };
        let mut agreed = 0;
        for _ in 0..20_000 {
            let (one, mask) = (drawn(100), drawn(20));
            let mut other = one;
            let (at, bits) = (usize::from(drawn(100).0[0] % 64), drawn(50).0[0]);
            other.0[at] ^= bits;
            let scalar = Scalar::agree(&one, &other, &mask);
            agreed += u32::from(scalar);
            if Kernel::Avx2.is_here() {
                assert_eq!(Avx2::agree(&one, &other, &mask), scalar);
            }
            if Kernel::Avx512.is_here() {
                assert_eq!(Avx512::agree(&one, &other, &mask), scalar);
            }
        }
        assert!((5_000..19_000).contains(&agreed), "{agreed}");
    }

    #[test]
    fn all_kernels_find_the_same_element() {
        let mut random = Random::new(8);
        let mut found = 0;
        for _ in 0..2_000 {
            // Tags are different, as a cache keeps them.
            let first = u64::try_from(random.below(4)).expect("small");
            let set = [0, 1, 2, 3].map(|i| (first + i) << 32 | (7 + i));
            let hash = u64::try_from(random.below(8)).expect("small") << 32 | 99;
            let scalar = Scalar::find(&set, hash);
            found += u32::from(scalar != 0);
            if Kernel::Avx2.is_here() {
                assert_eq!(Avx2::find(&set, hash), scalar);
            }
            if Kernel::Avx512.is_here() {
                assert_eq!(Avx512::find(&set, hash), scalar);
            }
        }
        assert!((500..1_500).contains(&found), "{found}");
    }

    #[test]
    fn the_aes_hash_spreads_counting_keys_evenly() {
        if !Kernel::Avx2.is_here() {
            return;
        }
        let hasher = KeyHasher::new(7);
        let wide = Kernel::Avx512.is_here();
        for (shift, wide) in [(0, false), (32, false), (0, wide), (32, wide)] {
            let mut hits = [0_u32; 256];
            for count in 0..65536_u32 {
                let mut head = Line::ZERO;
                head.0[36..40].copy_from_slice(&count.to_be_bytes());
                let hash = if wide { Avx512::hash } else { Avx2::hash };
                let hash = hash(&hasher, &head).rotate_right(shift).to_le_bytes();
                hits[usize::from(hash[0])] += 1;
            }
            // 256 on average with a standard deviation of 16.
            assert!(hits.iter().all(|hits| (150..370).contains(hits)), "{hits:?}");
        }
    }
}
