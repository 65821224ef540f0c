//! `[recovery]`: how much failing of a card is put up with.

use super::Device;
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
        window: seconds("window", recovery.window.as_ref(), default.window)?,
        pause: seconds("pause", recovery.pause.as_ref(), default.pause)?,
        pause_max: seconds("pause_max", recovery.pause_max.as_ref(), default.pause_max)?,
    })
}

/// For how long a living card may stand still, beyond what its document allows.
///
/// The default is a second for a card in another process, which a busy machine may keep waiting;
/// when that process ends its socket closes, and nothing waits. Nothing else is kept waiting.
///
/// # Errors
/// The number is out of range.
pub(super) fn standstill(raw: &RawConfig, device: Device) -> Result<Duration, Located> {
    let default = match device {
        Device::VfioUser => Duration::from_secs(1),
        Device::Vfio(_) | Device::Sim | Device::None | Device::Reference => Duration::ZERO,
    };
    let given = raw.recovery.as_ref().and_then(|recovery| recovery.standstill.as_ref());
    seconds("standstill", given, default)
}

fn seconds(
    what: &'static str,
    given: Option<&Spanned<f64>>,
    default: Duration,
) -> Result<Duration, Located> {
    let Some(given) = given else { return Ok(default) };
    let read = Duration::try_from_secs_f64(*given.get_ref()).ok();
    read.filter(|read| *read <= Duration::from_secs(86_400)).ok_or_else(|| {
        let (shown, expected) = (given.get_ref().to_string(), "seconds from 0 to 86400");
        (given.span(), Fault::Value { what, given: shown, expected })
    })
}
