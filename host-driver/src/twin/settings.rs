//! What the driver's user chooses: ring sizes and deadlines.

use std::time::Duration;

/// Sizes and deadlines of a [`super::Twin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Queue pairs wanted; the card may have fewer.
    pub queues: u16,
    /// Command ring: binary logarithm of its descriptors, 6 to 15.
    pub command_log2: u32,
    /// Receive ring of each queue: binary logarithm of its buffers, 4 to 15.
    pub receive_log2: u32,
    /// Transmit ring of each queue: binary logarithm of its buffers, 4 to 15.
    pub transmit_log2: u32,
    /// The card must be up within this time after a reset was asked for.
    pub reset_deadline: Duration,
    /// About one in so many frames that the card decides is mirrored to the host; 0 for none. Cards
    /// that cannot mirror ignore it.
    pub mirror_sample: u32,
    /// A command must be answered within this time.
    pub command_deadline: Duration,
    /// The heartbeat must move within this time.
    pub heartbeat_deadline: Duration,
    /// Added to every deadline: for how long a living card may do nothing at all. Nothing keeps
    /// hardware waiting; a card that is another process waits for its scheduler.
    pub standstill: Duration,
}

impl Settings {
    /// The longest that something takes which a card that never stands still does within `longest`.
    pub(super) fn within(&self, longest: Duration) -> Duration {
        longest + self.standstill
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queues: 1,
            command_log2: 11,
            receive_log2: 9,
            transmit_log2: 9,
            reset_deadline: Duration::from_secs(2),
            mirror_sample: 0,
            command_deadline: Duration::from_secs(1),
            // Found dead within 10 ms when polled every millisecond.
            heartbeat_deadline: Duration::from_millis(8),
            standstill: Duration::ZERO,
        }
    }
}
