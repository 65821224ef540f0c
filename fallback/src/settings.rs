//! Limits and seeds of the software path.

use crate::kernel::Kernel;

/// Flows kept unless the configuration says otherwise.
pub const FLOW_LIMIT_DEFAULT: usize = 200_000;

/// Limits and seeds of a [`crate::SoftwarePath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Seed of all hashes; random in production (an attacker must not guess it), fixed in tests.
    pub seed: u64,
    /// Most flows kept. At the bound no flow is made: packets without one are executed directly
    /// by the slow path and counted in [`crate::software_path::Totals::flow_limit`].
    pub flow_limit: usize,
    /// Slots of the exact cache at first, a power of two; it grows.
    pub cache_slots: usize,
    /// Most hits sampled per burst for the heat of flows.
    pub hit_samples: usize,
    /// Instructions to use; the best of this processor when `None` or not there.
    pub kernel: Option<Kernel>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0x7477_696e_7061_7468,
            flow_limit: FLOW_LIMIT_DEFAULT,
            cache_slots: 1 << 13,
            hit_samples: 4,
            kernel: None,
        }
    }
}
