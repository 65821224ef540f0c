//! Whether a thread sleeps, told to those that put work where it looks: it is never left asleep with
//! work, and nobody writes the flag's cache line while it is awake.

use crate::sync::{AtomicBool, Ordering, fence};

/// The flag; alone in two lines, as prefetchers fetch pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Sleep(AtomicBool);

impl Sleep {
    /// Asked after something was put where the thread looks: whether it must be woken.
    pub fn is_to_be_woken(&self) -> bool {
        // Pairs with the fence in `lie_down`: either the thread sees what was put there, or this
        // sees that it sleeps.
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed)
    }

    /// The thread is about to sleep; it must look once more for work after this.
    pub fn lie_down(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The thread is awake.
    pub fn get_up(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
