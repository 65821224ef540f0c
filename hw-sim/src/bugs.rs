//! Bugs in silicon, planted on purpose: what a host's verification must find.

use twinpath_abi::hash;
use twinpath_abi::key::KeyBytes;

/// Byte of the key that a bank with [`Bugs::wide_match`] does not compare: the last of ip_src.
pub(crate) const IGNORED_BYTE: usize = 39;

/// Which bugs a card has; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// One entry in so many, by its match, sends to the next port instead of its first.
    pub wrong_port: u32,
    /// One entry in so many, by its match, counts its packets twice.
    pub miscount: u32,
    /// Bank 0 does not compare the last byte of ip_src when nothing else matches (1: so).
    pub wide_match: u32,
}

impl Bugs {
    /// Whether an entry with this match value is among one in `every`.
    pub(crate) fn hit(every: u32, value: &KeyBytes) -> bool {
        every > 0 && hash::ways(value)[1].is_multiple_of(every)
    }
}
