//! What can be chosen about the driver.

use super::ring::RingSize;
use std::time::Duration;

/// Whether flows may depend on IPv4 headers.
///
/// The device compares protocol and type of service at their places, whatever the rest of the
/// header says. Open vSwitch, and so this project, reads both as 0 when the header is inconsistent
/// (header length below 20, total length beyond the frame). On such frames alone the device would
/// take another decision than software.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ipv4Header {
    /// Protocol and DSCP are not offered: every frame meets the same fate in card and software.
    #[default]
    Untrusted,
    /// Both are offered: senders are trusted to send consistent IPv4 headers.
    Trusted,
}

/// Settings.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Most entries. The device has no limit but searches all flows for every packet: 1,000 leave
    /// some 10,000 packets a second (measured on QEMU 7.2, TCG).
    pub entries_max: u32,
    /// Binary logarithm of receive descriptors per port; one fewer frame waits at most.
    pub rx_log2: u32,
    /// Whether flows may depend on IPv4 headers.
    pub ipv4_header: Ipv4Header,
    /// Longest wait for the interrupts of the self-test, and for bursts in progress at a reset.
    pub deadline: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            entries_max: 1000,
            rx_log2: 8,
            ipv4_header: Ipv4Header::default(),
            deadline: Duration::from_secs(2),
        }
    }
}

impl Settings {
    /// Size of the receive rings.
    pub(crate) const fn rx_ring(&self) -> RingSize {
        RingSize::log2(self.rx_log2)
    }
}
