//! The send queue of a socket: bounded, its buffers reused, the newest frame dropped when it is full.

use std::collections::VecDeque;

/// Most frames that wait; at 1,518 bytes about 3 MB.
const FRAMES_MAX: usize = 2048;

/// Frames waiting for a socket to take them.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    waiting: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

impl SendQueue {
    /// Appends a copy of `frame`; false when the queue is full.
    pub(super) fn push(&mut self, frame: &[u8]) -> bool {
        if self.waiting.len() >= FRAMES_MAX {
            return false;
        }
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(frame);
        self.waiting.push_back(buffer);
        true
    }

    /// The oldest frames, at most `limit`.
    pub(super) fn oldest(&self, limit: usize) -> impl Iterator<Item = &[u8]> {
        self.waiting.iter().take(limit).map(Vec::as_slice)
    }

    /// Removes the oldest `count` frames and keeps their buffers.
    pub(super) fn pop(&mut self, count: usize) {
        let count = count.min(self.waiting.len());
        self.spare.extend(self.waiting.drain(..count));
    }

    /// Number of waiting frames.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_leave_in_order_and_the_newest_is_refused_when_full() {
        let mut queue = SendQueue::default();
        for i in 0..FRAMES_MAX {
            assert!(queue.push(&i.to_be_bytes()));
        }
        assert!(!queue.push(b"too many"));
        assert_eq!(queue.oldest(2).last(), Some(&1usize.to_be_bytes()[..]));
        queue.pop(FRAMES_MAX - 1);
        assert_eq!(queue.len(), 1);
        assert!(queue.push(b"room again"));
        queue.pop(2);
        assert!(queue.is_empty());
    }
}
