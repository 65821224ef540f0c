//! Between the driver and one worker's queue: what both may touch, without a lock.
//!
//! A worker enters the gate for each burst. To reset the card the driver shuts all gates and then
//! waits until no burst is in progress; from then on nobody but the driver touches rings or
//! doorbells, and queues of earlier epochs stay inert.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Shared by a queue and the driver.
#[derive(Debug)]
pub(crate) struct Gate {
    open: AtomicBool,
    busy: AtomicBool,
    produced: AtomicU32,
    taken: AtomicU64,
    dropped: AtomicU64,
    accused: AtomicBool,
    empty_looks: AtomicU32,
}

/// Proof that a burst is in progress; ends it when dropped.
#[derive(Debug)]
pub(crate) struct Pass<'a>(&'a Gate);

impl Gate {
    /// An open gate.
    pub(crate) const fn new() -> Self {
        Self {
            open: AtomicBool::new(true),
            busy: AtomicBool::new(false),
            produced: AtomicU32::new(0),
            taken: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            accused: AtomicBool::new(false),
            empty_looks: AtomicU32::new(0),
        }
    }

    /// Begins a burst, unless the gate is shut.
    pub(crate) fn enter(&self) -> Option<Pass<'_>> {
        // Sequentially consistent with `shut`: either the driver sees the burst, or the worker
        // sees the shut gate.
        self.busy.store(true, Ordering::SeqCst);
        let pass = Pass(self);
        self.open.load(Ordering::SeqCst).then_some(pass)
    }

    /// Lets no burst begin from now on.
    pub(crate) fn shut(&self) {
        self.open.store(false, Ordering::SeqCst);
    }

    /// Whether no burst is in progress.
    pub(crate) fn is_idle(&self) -> bool {
        !self.busy.load(Ordering::SeqCst)
    }

    /// Publishes the transmit ring's producer index.
    pub(crate) fn publish(&self, produced: u32) {
        self.produced.store(produced, Ordering::Release);
    }

    /// The transmit ring's producer index.
    pub(crate) fn produced(&self) -> u32 {
        self.produced.load(Ordering::Acquire)
    }

    /// Publishes how many frames were received.
    pub(crate) fn publish_taken(&self, taken: u64) {
        self.taken.store(taken, Ordering::Release);
    }

    /// Frames received.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// Notes that the worker looked for frames and found none.
    pub(crate) fn note_empty(&self) {
        // One writer: the worker.
        let looks = self.empty_looks.load(Ordering::Relaxed);
        self.empty_looks.store(looks.wrapping_add(1), Ordering::Release);
    }

    /// How often the worker found no frames, modulo 2^32.
    pub(crate) fn empty_looks(&self) -> u32 {
        self.empty_looks.load(Ordering::Acquire)
    }

    /// Says that the card wrote garbage into the queue's rings.
    pub(crate) fn accuse(&self) {
        self.accused.store(true, Ordering::Relaxed);
    }

    /// Whether the card wrote garbage into the queue's rings.
    pub(crate) fn is_accused(&self) -> bool {
        self.accused.load(Ordering::Relaxed)
    }

    /// Counts a frame that cannot be sent: unknown port, too short, or longer than any buffer.
    pub(crate) fn drop_frame(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Frames dropped because they could not be sent.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shut_gate_admits_nobody_and_is_idle_once_the_last_burst_ends() {
        let gate = Gate::new();
        let pass = gate.enter().unwrap();
        gate.shut();
        assert!(!gate.is_idle());
        drop(pass);
        assert!(gate.is_idle());
        assert!(gate.enter().is_none());
        assert!(gate.is_idle());
    }
}
