//! Settings of a physical port (`docs/nic-abi.md` §9.11).

/// `mtu_out` without a limit.
pub const NO_LIMIT: u32 = u32::MAX;

/// What SET_PORT sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetPort {
    /// Index of the physical port.
    pub index: u32,
    /// Number that its packets have in the key.
    pub number: u16,
    /// Whether it receives and sends.
    pub enabled: bool,
    /// Longest frame received, in bytes without FCS.
    pub mtu_in: u32,
    /// Longest frame sent, likewise; [`NO_LIMIT`] for none.
    pub mtu_out: u32,
}
