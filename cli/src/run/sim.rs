//! The simulated card's profile from the configuration.

use crate::config::{Config, ConfigError, Device, Fault};
use twinpath_hw_sim::Profile;

/// Profile of a configuration that names none.
const DEFAULT: &str = "small";

/// The profile that `config` describes; `None` for other devices.
///
/// # Errors
/// Unknown name or a value out of range; with its place.
pub(crate) fn profile(config: &Config) -> Result<Option<Profile>, ConfigError> {
    if config.device == Device::Sim { served(config).map(Some) } else { Ok(None) }
}

/// The profile of the card that `config` describes, whatever its device.
///
/// # Errors
/// Unknown name or a value out of range; with its place.
pub(super) fn served(config: &Config) -> Result<Profile, ConfigError> {
    let name = config.sim.profile.as_ref();
    let mut profile = Profile::named(name.map_or(DEFAULT, |(name, _)| name)).map_err(|error| {
        let span = name.map_or(0..0, |(_, span)| span.clone());
        config.at(&span, Fault::Profile(error))
    })?;
    for (key, value, span) in &config.sim.overrides {
        profile.set(key, *value).map_err(|error| config.at(span, Fault::Profile(error)))?;
    }
    profile.ports = u32::try_from(config.wires.len()).unwrap_or(u32::MAX);
    profile.queues = profile.queues.max(config.workers.into());
    let tunnels = config.ports.tunnels().count();
    profile.tunnels = profile.tunnels.max(u32::try_from(tunnels).unwrap_or(u32::MAX));
    Ok(profile)
}
