//! A value of the file as what it means, or the fault with its place.

use super::place::Fault;
use super::raw::Located;
use std::fmt::Display;
use std::ops::RangeInclusive;
use toml::Spanned;

/// What `read` makes of a value; what is expected is told where it makes nothing.
///
/// # Errors
/// It makes nothing of it.
pub(super) fn value<T: Display, V>(
    what: &'static str,
    given: &Spanned<T>,
    expected: &'static str,
    read: impl Fn(&T) -> Option<V>,
) -> Result<V, Located> {
    let shown = || given.get_ref().to_string();
    read(given.get_ref())
        .ok_or_else(|| (given.span(), Fault::Value { what, given: shown(), expected }))
}

/// What is given, if anything is, within the range, which is told in words otherwise.
///
/// # Errors
/// It is out of range.
pub(super) fn number(
    what: &'static str,
    given: Option<&Spanned<i64>>,
    (range, expected): (RangeInclusive<u32>, &'static str),
) -> Result<Option<u32>, Located> {
    let read = |number: &i64| u32::try_from(*number).ok().filter(|read| range.contains(read));
    given.map(|given| value(what, given, expected, read)).transpose()
}
