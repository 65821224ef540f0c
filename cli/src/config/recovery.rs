//! `[recovery]`: how much failing of a card is put up with.

use super::place::Fault;
use super::raw::{Located, RawConfig};
use crate::run::recovery::Limits;
use std::time::Duration;
use toml::Spanned;

/// What the file says.
///
/// # Errors
/// A number is out of range.
pub(super) fn read(raw: &RawConfig) -> Result<Limits, Located> {
    let Some(recovery) = &raw.recovery else { return Ok(Limits::default()) };
    let default = Limits::default();
    let seconds = |what, given: &Option<Spanned<f64>>, default| match given {
        None => Ok(default),
        Some(given) => {
            let read = Duration::try_from_secs_f64(*given.get_ref()).ok();
            read.filter(|read| *read <= Duration::from_secs(86_400)).ok_or_else(|| {
                let (shown, expected) = (given.get_ref().to_string(), "seconds from 0 to 86400");
                (given.span(), Fault::Value { what, given: shown, expected })
            })
        }
    };
    let count = |what, given: &Option<Spanned<i64>>, default| match given {
        None => Ok(default),
        Some(given) => {
            let read = u32::try_from(*given.get_ref()).ok().filter(|read| *read <= 1_000);
            read.ok_or_else(|| {
                let (shown, expected) = (given.get_ref().to_string(), "a number from 0 to 1000");
                (given.span(), Fault::Value { what, given: shown, expected })
            })
        }
    };
    Ok(Limits {
        failures: count("failures", &recovery.failures, default.failures)?,
        at_once: count("at_once", &recovery.at_once, default.at_once)?,
        window: seconds("window", &recovery.window, default.window)?,
        pause: seconds("pause", &recovery.pause, default.pause)?,
        pause_max: seconds("pause_max", &recovery.pause_max, default.pause_max)?,
    })
}
