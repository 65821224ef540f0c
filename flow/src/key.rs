//! Keys and masks: 64 bytes that every match uses, and a second line that few need.

use crate::field::{FIELDS, Field, Spec};
use std::fmt;
use std::hash::{Hash, Hasher};

/// Tag-present bit of [`Field::VlanTci`] and [`Field::InnerVlanTci`] (where a frame has DEI).
pub const VLAN_PRESENT: u16 = 0x1000;

/// One key line: 64 bytes, one cache line, one AVX-512 register, one beat of a 512-bit bus.
///
/// What is read for each packet is laid out so that no line straddles two of the cache's. The type
/// itself asks for 16 only: what the system's allocator always gives, and four times as fast.
#[derive(Clone, Copy, Eq, PartialOrd, Ord)]
#[repr(C, align(16))]
pub struct Line(pub [u8; 64]);

/// In vectors: the derived one calls the system's `memcmp`.
impl PartialEq for Line {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let (own, other) = (self.words(), other.words());
        (0..8).fold(0, |difference, i| difference | (own[i] ^ other[i])) == 0
    }
}

impl Hash for Line {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// The first key line of a packet, or a mask over it.
pub type FlowKey = Line;

impl Line {
    /// All zero: matches everything when used as a mask.
    pub const ZERO: Self = Self([0; 64]);

    /// The line as eight native words, for masked compares.
    #[must_use]
    pub fn words(&self) -> [u64; 8] {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(self.0.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        words
    }

    /// Bitwise and.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// Bitwise or.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// Whether no bit is set.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.words().iter().fold(0, |all, word| all | word) == 0
    }

    /// Whether every bit of `self` is also in `other`.
    #[must_use]
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.and(other) == *self
    }

    /// Number of set bits.
    #[must_use]
    pub fn count_ones(&self) -> u32 {
        self.words().iter().map(|word| word.count_ones()).sum()
    }

    /// Whether `self & mask == value`; `value` must have no bit outside `mask`.
    #[must_use]
    pub fn matches(&self, value: &Self, mask: &Self) -> bool {
        let (key, value, mask) = (self.words(), value.words(), mask.words());
        (0..8).fold(0, |diff, i| diff | ((key[i] & mask[i]) ^ value[i])) == 0
    }

    fn zip(&self, other: &Self, f: impl Fn(u8, u8) -> u8) -> Self {
        let mut out = *self;
        for (a, b) in out.0.iter_mut().zip(other.0) {
            *a = f(*a, b);
        }
        out
    }
}

/// Where a field lies: the start of 16 bytes of its line, the field's lowest bit there, and its bits
/// as a value. Sixteen bytes of any line are one load.
#[inline]
const fn window(field: Field) -> (usize, u32, u128) {
    const WINDOWS: [(usize, u32, u128); FIELDS.len()] = {
        let mut windows = [(0, 0, 0); FIELDS.len()];
        let mut index = 0;
        while index < FIELDS.len() {
            windows[index] = window_of(&FIELDS[index]);
            index += 1;
        }
        windows
    };
    WINDOWS[field as usize]
}

const fn window_of(spec: &Spec) -> (usize, u32, u128) {
    let end = spec.offset % 64 + spec.width;
    let bits = u128::MAX >> (128 - 8 * spec.width);
    let shift = [128, 120, 112, 104, 96, 88, 80, 72, 64, 56, 48, 40, 32, 24, 16, 8];
    if end >= 16 { (end - 16, 0, bits) } else { (0, shift[end], bits) }
}

fn number(line: &[u8; 64], window: usize) -> u128 {
    let bytes = line[window..].first_chunk().expect("a window lies within its line");
    u128::from_be_bytes(*bytes)
}

impl Default for Line {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// Both key lines of a packet, or a mask over them.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Line 1.
    pub head: Line,
    /// Line 2: inner tag, outer tunnel addresses, ARP and ND addresses, flow label, MPLS, QFI.
    pub tail: Line,
}

impl Key {
    /// All zero.
    pub const ZERO: Self = Self { head: Line::ZERO, tail: Line::ZERO };

    /// Reads a field as a number (network order resolved).
    #[must_use]
    #[inline]
    pub fn get(&self, field: Field) -> u128 {
        let (window, shift, bits) = window(field);
        let line = if field.in_line_1() { &self.head } else { &self.tail };
        (number(&line.0, window) >> shift) & bits
    }

    /// Writes a field; bits of `value` beyond the field's width are cut off.
    #[inline]
    pub fn set(&mut self, field: Field, value: u128) {
        let (window, shift, bits) = window(field);
        let line = if field.in_line_1() { &mut self.head } else { &mut self.tail };
        let kept = number(&line.0, window) & !(bits << shift);
        let new = kept | ((value & bits) << shift);
        line.0[window..window + 16].copy_from_slice(&new.to_be_bytes());
    }

    /// This key with one more field set.
    #[must_use]
    pub fn with(mut self, field: Field, value: u128) -> Self {
        self.set(field, value);
        self
    }

    /// Adds `bits` to a field (for masks).
    pub fn or_field(&mut self, field: Field, bits: u128) {
        let (window, shift, width) = window(field);
        let line = if field.in_line_1() { &mut self.head } else { &mut self.tail };
        let new = number(&line.0, window) | ((bits & width) << shift);
        line.0[window..window + 16].copy_from_slice(&new.to_be_bytes());
    }

    /// Bitwise and.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self { head: self.head.and(&other.head), tail: self.tail.and(&other.tail) }
    }

    /// Bitwise or.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self { head: self.head.or(&other.head), tail: self.tail.or(&other.tail) }
    }

    /// Whether `self & mask == value`; `value` must have no bit outside `mask`.
    #[must_use]
    pub fn matches(&self, value: &Self, mask: &Self) -> bool {
        self.head.matches(&value.head, &mask.head) && self.tail.matches(&value.tail, &mask.tail)
    }

    /// Whether every bit of `self` is also in `other`.
    #[must_use]
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.head.is_subset_of(&other.head) && self.tail.is_subset_of(&other.tail)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for spec in &FIELDS {
            let value = self.get(spec.field);
            if value != 0 {
                map.entry(&spec.name, &format_args!("{value:#x}"));
            }
        }
        map.finish()
    }
}

/// A masked key: what a flow matches, and what a rule matches besides metadata.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MaskedKey {
    /// Wanted bits; none outside `mask`.
    pub value: Key,
    /// Bits compared.
    pub mask: Key,
}

impl MaskedKey {
    /// A masked key; bits of `value` outside `mask` are cleared.
    #[must_use]
    pub fn new(value: &Key, mask: Key) -> Self {
        Self { value: value.and(&mask), mask }
    }

    /// Whether `key` matches.
    #[must_use]
    pub fn matches(&self, key: &Key) -> bool {
        key.matches(&self.value, &self.mask)
    }

    /// Demands `bits` of a field to equal those of `value`.
    pub fn constrain(&mut self, field: Field, value: u128, bits: u128) {
        self.value.set(field, (self.value.get(field) & !bits) | (value & bits));
        self.mask.or_field(field, bits);
    }

    /// Whether some packet can match both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let common = self.mask.and(&other.mask);
        self.value.and(&common) == other.value.and(&common)
    }

    /// Whether the second key line takes part.
    #[must_use]
    pub fn uses_tail(&self) -> bool {
        !self.mask.tail.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_then_get_returns_the_value_of_every_field() {
        for spec in &FIELDS {
            let value = spec.field.full_mask();
            let key = Key::ZERO.with(spec.field, value);
            assert_eq!(key.get(spec.field), value, "{}", spec.name);
            let bits = key.head.count_ones() + key.tail.count_ones();
            assert_eq!(bits, spec.bits, "{}", spec.name);
        }
    }

    #[test]
    fn a_masked_key_matches_only_equal_masked_bits() {
        let mut wanted = MaskedKey::default();
        wanted.constrain(Field::IpDst, 0x0a00_0000, 0xff00_0000);
        assert!(wanted.matches(&Key::ZERO.with(Field::IpDst, 0x0a01_0203)));
        assert!(!wanted.matches(&Key::ZERO.with(Field::IpDst, 0x0b01_0203)));
    }
}
