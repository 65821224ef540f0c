//! `[recovery]`: how much failing of a card is put up with.

use super::Device;
use super::raw::{Located, RawConfig};
use super::value::{number, value};
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
    let count = |what, given: &Option<Spanned<i64>>, default| {
        let read = number(what, given.as_ref(), (0..=1_000, "a number from 0 to 1000"))?;
        Ok::<_, Located>(read.unwrap_or(default))
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
    value(what, given, "seconds from 0 to 86400", |seconds| {
        let read = Duration::try_from_secs_f64(*seconds).ok();
        read.filter(|read| *read <= Duration::from_secs(86_400))
    })
}
