//! Standard output: whole texts and JSON, nothing else ever writes there.

use crate::failure::Failure;
use serde::Serialize;
use std::io::{Write as _, stdout};

/// Writes `text`.
///
/// # Errors
/// Standard output is closed or full.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::output)
}

/// Writes `value` as one JSON object and a newline.
///
/// # Errors
/// Standard output is closed or full.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let mut line = serde_json::to_string_pretty(value).map_err(Failure::run)?;
    line.push('\n');
    text(&line)
}
