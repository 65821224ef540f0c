//! A number that may be left out.

use super::place::Fault;
use super::raw::Located;
use std::ops::RangeInclusive;
use toml::Spanned;

/// What is given, if it is within the range, which is told in words otherwise.
///
/// # Errors
/// It is out of range.
pub(super) fn number(
    what: &'static str,
    given: Option<&Spanned<i64>>,
    (range, expected): (RangeInclusive<u32>, &'static str),
) -> Result<Option<u32>, Located> {
    let Some(given) = given else { return Ok(None) };
    let read = u32::try_from(*given.get_ref()).ok().filter(|read| range.contains(read));
    read.map(Some).ok_or_else(|| {
        let shown = given.get_ref().to_string();
        (given.span(), Fault::Value { what, given: shown, expected })
    })
}
