//! `[placement]`: how much moving flows in and out of the card may cost.

use super::raw::{Located, RawConfig};
use super::value::number;
use twinpath_offload::Settings;

/// What moving flows may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Entries added or deleted in a second at most.
    pub updates_per_second: u32,
    /// Share of the control thread's own time, in percent.
    pub host_percent: u32,
}

impl Placement {
    /// What the file says.
    ///
    /// # Errors
    /// A number is out of range.
    pub(super) fn read(raw: &RawConfig) -> Result<Self, Located> {
        let default = Settings::default();
        let placement = raw.placement.as_ref();
        let updates = placement.and_then(|placement| placement.updates_per_second.as_ref());
        let host = placement.and_then(|placement| placement.host_percent.as_ref());
        let updates_range = (1..=u32::MAX, "a number from 1");
        let host_range = (1..=100, "a number from 1 to 100");
        let updates = number("updates_per_second", updates, updates_range)?;
        let host = number("host_percent", host, host_range)?;
        Ok(Self {
            updates_per_second: updates.unwrap_or(default.updates_per_second),
            host_percent: host.unwrap_or(default.host_percent),
        })
    }
}
