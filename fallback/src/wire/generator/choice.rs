//! Weighted choices as text: `80*3+443+1000-2000*5`. Alternatives are joined by `+`; each is one
//! value or a range `FIRST-LAST`, with an optional weight `*N` (1 when not written).

use std::cmp::Ordering;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::random::below;

/// Alternatives between which each flow or packet chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<T> {
    parts: Vec<Part<T>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part<T> {
    first: T,
    last: T,
    /// Sum of the weights up to and including this part.
    weight_until: u64,
}

/// Something that has a successor: numbers and addresses.
pub trait Step: Copy + PartialOrd {
    /// How many values follow `self` up to `last`, at most `u64::MAX`.
    fn distance(self, last: Self) -> u64;

    /// The value `count` after this one.
    #[must_use]
    fn plus(self, count: u64) -> Self;
}

macro_rules! numbers_step {
    ($($number:ty),*) => {$(
        impl Step for $number {
            fn distance(self, last: Self) -> u64 {
                u64::from(last - self)
            }

            fn plus(self, count: u64) -> Self {
                self + Self::try_from(count).expect("within the range it was measured for")
            }
        }
    )*};
}
numbers_step!(u8, u16, u32);

/// An address of either family; both ends of a range have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// IPv4, as a number.
    V4(u32),
    /// IPv6, as a number.
    V6(u128),
}

impl PartialOrd for Address {
    /// Addresses of two families have no order.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::V4(left), Self::V4(right)) => left.partial_cmp(right),
            (Self::V6(left), Self::V6(right)) => left.partial_cmp(right),
            _ => None,
        }
    }
}

impl Step for Address {
    fn distance(self, last: Self) -> u64 {
        match (self, last) {
            (Self::V4(first), Self::V4(last)) => u64::from(last - first),
            (Self::V6(first), Self::V6(last)) => u64::try_from(last - first).unwrap_or(u64::MAX),
            _ => 0,
        }
    }

    fn plus(self, count: u64) -> Self {
        match self {
            Self::V4(first) => Self::V4(
                first + u32::try_from(count).expect("within the range it was measured for"),
            ),
            Self::V6(first) => Self::V6(first.saturating_add(u128::from(count))),
        }
    }
}

impl Address {
    /// Reads an address.
    pub(super) fn read(text: &str) -> Option<Self> {
        let v4 = || text.parse::<Ipv4Addr>().ok().map(|address| Self::V4(address.to_bits()));
        let v6 = || text.parse::<Ipv6Addr>().ok().map(|address| Self::V6(address.to_bits()));
        v4().or_else(v6)
    }

    /// Reads `ADDRESS/LENGTH` as the range of the prefix's addresses.
    pub(super) fn read_prefix(text: &str) -> Option<(Self, Self)> {
        let (address, length) = text.split_once('/')?;
        let length: u32 = length.parse().ok()?;
        match Self::read(address)? {
            Self::V4(address) => {
                let host = u32::MAX.checked_shr(length).unwrap_or(0);
                (length <= 32).then_some((Self::V4(address & !host), Self::V4(address | host)))
            }
            Self::V6(address) => {
                let host = u128::MAX.checked_shr(length).unwrap_or(0);
                (length <= 128).then_some((Self::V6(address & !host), Self::V6(address | host)))
            }
        }
    }
}

impl<T: Step> Choice<T> {
    /// One value, always.
    pub(super) fn always(value: T) -> Self {
        Self { parts: vec![Part { first: value, last: value, weight_until: 1 }] }
    }

    /// Values between which the weights decide.
    pub(super) fn weighted(values: &[(T, u64)]) -> Self {
        let mut choice = Self { parts: Vec::new() };
        for (value, weight) in values {
            choice.append((*value, *value), *weight);
        }
        choice
    }

    /// Reads the text form; `value` reads one value, `range` other ways to write a range.
    pub(super) fn read(
        text: &str,
        value: impl Fn(&str) -> Option<T>,
        range: impl Fn(&str) -> Option<(T, T)>,
    ) -> Option<Self> {
        let mut choice = Self { parts: Vec::new() };
        for part in text.split('+') {
            let (span, weight) = match part.rsplit_once('*') {
                Some((span, weight)) => (span, weight.parse::<u32>().ok()?),
                None => (part, 1),
            };
            let (first, last) = match span.split_once('-') {
                _ if range(span).is_some() => range(span)?,
                Some((first, last)) => (value(first)?, value(last)?),
                None => (value(span)?, value(span)?),
            };
            // Addresses of two families are not ordered, and so refused here as well.
            if weight == 0 || !matches!(first.partial_cmp(&last), Some(order) if order.is_le()) {
                return None;
            }
            choice.append((first, last), u64::from(weight));
        }
        Some(choice)
    }

    fn append(&mut self, (first, last): (T, T), weight: u64) {
        let until = self.parts.last().map_or(0, |part| part.weight_until) + weight;
        self.parts.push(Part { first, last, weight_until: until });
    }

    /// The value chosen by two random numbers.
    pub(super) fn pick(&self, which: u64, within: u64) -> T {
        let total = self.parts.last().expect("a choice has parts").weight_until;
        let ticket = below(which, total);
        let part = self
            .parts
            .iter()
            .find(|part| ticket < part.weight_until)
            .expect("the ticket is below the last sum");
        part.first.plus(below(within, part.first.distance(part.last).saturating_add(1)))
    }

    /// How many values there are, repetitions counted.
    pub(super) fn len(&self) -> u64 {
        self.parts.iter().map(Part::len).fold(0, u64::saturating_add)
    }

    /// The value at `index` of all values in the order written; wraps around at the end.
    pub(super) fn nth(&self, index: u64) -> T {
        let mut left = index % self.len();
        for part in &self.parts {
            if left < part.len() {
                return part.first.plus(left);
            }
            left -= part.len();
        }
        unreachable!("the index is below the sum of all lengths")
    }

    /// The ends of all parts.
    pub(super) fn ends(&self) -> impl Iterator<Item = T> {
        self.parts.iter().flat_map(|part| [part.first, part.last])
    }
}

impl<T: Step> Part<T> {
    fn len(&self) -> u64 {
        self.first.distance(self.last).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(text: &str) -> Option<Choice<u16>> {
        Choice::read(text, |text| text.parse().ok(), |_| None)
    }

    #[test]
    fn values_ranges_and_weights_are_read() {
        let choice = ports("80*3+443+1000-1002").unwrap();
        assert_eq!(choice.len(), 5);
        let all: Vec<u16> = (0..6).map(|index| choice.nth(index)).collect();
        assert_eq!(all, [80, 443, 1000, 1001, 1002, 80]);
        assert_eq!(choice.pick(0, 0), 80);
        assert_eq!(choice.pick(u64::MAX, u64::MAX), 1002);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "80+", "5-1", "80*0", "x", "80*", "70000"] {
            assert_eq!(ports(text), None, "{text}");
        }
    }

    #[test]
    fn prefixes_are_ranges_of_addresses() {
        let range = Address::read_prefix("10.1.0.0/16").unwrap();
        assert_eq!(range, (Address::V4(0x0a01_0000), Address::V4(0x0a01_ffff)));
        let range = Address::read_prefix("2001:db8::/127").unwrap();
        assert_eq!(range.0.distance(range.1), 1);
        assert_eq!(Address::read_prefix("10.0.0.0/33"), None);
        let mixed = Choice::read("10.0.0.1-::1", Address::read, Address::read_prefix);
        assert_eq!(mixed, None);
    }
}
