//! Who wants to know when a burst has passed a stage. Nobody does in a run: [`Unwatched`] compiles
//! to nothing, and the stages are then fused as suits the processor.

/// A part of the way of a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Frames were read into keys.
    Parse,
    /// The keys were hashed.
    Hash,
    /// Their flows were found.
    Lookup,
    /// Packets were counted, rewritten and put into the outbox; misses were decided.
    Edit,
}

/// Told at the end of each stage of each burst of at most 32 packets.
pub trait Watch {
    /// The burst has passed `stage`.
    fn passed(&mut self, stage: Stage);
}

/// Watches nothing and costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    #[inline(always)]
    fn passed(&mut self, _stage: Stage) {}
}
